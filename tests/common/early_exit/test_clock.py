"""The clock on real texts: which samples, every arm on each, saved and read again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.costs.flops import EncoderShape
from common.early_exit.clock import BASELINE, BATCH_SIZE, Clock, Clocked
from common.early_exit.imposed import WAITING, leaving, plain_classifier, spread_exits, waiting
from common.models.classifier import EncoderClassifier
from common.rows import Rows
from common.scales import SCALES
from common.timing.paired import CONTROL, PairedTimings
from common.training.batches import Batch, EncodedSplit

SCALE = replace(SCALES["smoke"], timing_examples=40, timing_rounds=2)


@pytest.fixture
def clock() -> Clock:
    split = EncodedSplit(tuple((1,) * (1 + i % 7) for i in range(60)), None, torch.zeros(60), 0)
    return Clock(split, SCALE, torch.device("cpu"), lambda done, total: None)


def test_every_arm_runs_on_every_timed_sample_alone(clock: Clock) -> None:
    seen: dict[str, list[int]] = {BASELINE: [], "arm": []}

    def noting(name: str) -> object:
        def arm(batch: Batch) -> None:
            assert len(batch.rows) == 1
            seen[name].append(int(batch.rows[0]))

        return arm

    clocked = clock.one_by_one({name: noting(name) for name in seen})  # type: ignore[misc]
    expected = np.random.default_rng(0).permutation(60)[:40].tolist()
    assert clocked.rows.tolist() == expected
    assert set(seen["arm"]) == set(expected)
    assert len(seen["arm"]) == 2 * 40 + 10, "two rounds and the warm-up"
    assert clocked.timings.arms == (BASELINE, "arm", CONTROL)
    assert clocked.timings.seconds.shape == (3, 2, 40)


def test_batches_hold_texts_of_like_length_once_each(clock: Clock) -> None:
    sizes: list[int] = []
    seen: list[int] = []

    def arm(batch: Batch) -> None:
        sizes.append(len(batch.rows))
        seen.extend(batch.rows.tolist())

    throughput = clock.in_batches({BASELINE: arm, "other": arm})
    assert set(sizes) == {BATCH_SIZE, 40 - BATCH_SIZE}
    assert throughput.examples == 40
    assert set(seen) == set(clock.rows.tolist())


def invented() -> Clocked:
    base = 1 + np.random.default_rng(0).random(30)
    seconds = np.stack([base, base / 2, base * 1.001])[:, None, :]
    return Clocked(np.arange(30), PairedTimings(BASELINE, (BASELINE, "half", CONTROL), seconds))


def test_speedup_saving_and_noise() -> None:
    clocked = invented()
    assert clocked.speedup("half").value == pytest.approx(2)
    assert clocked.saving("half").value == pytest.approx(0.5)
    assert clocked.timed("half") == {"timed": True, "note": ""}
    assert "not distinguishable" in str(clocked.timed(CONTROL)["note"])


def test_latency_rows_are_the_three_percentiles() -> None:
    rows = list(invented().latency_rows(Rows("t", 0, "b", 30), "table1", "PABEE", "half", setting="t=3"))
    assert [m.metric for m in rows] == ["latency_p50", "latency_p90", "latency_p99"]
    assert all(m.timed and m.unit == "ms" and m.setting == "t=3" for m in rows)
    assert rows[0].value == pytest.approx(1000 * float(np.percentile(invented().seconds("half"), 50)))


def test_timings_survive_saving(tmp_path: Path) -> None:
    invented().save(tmp_path / "c.npz")
    loaded = Clocked.load(tmp_path / "c.npz")
    assert loaded.timings.arms == invented().timings.arms
    np.testing.assert_array_equal(loaded.timings.seconds, invented().timings.seconds)
    np.testing.assert_array_equal(loaded.rows, np.arange(30))


class HeadEverywhere:
    """A plain classifier whose head answers after every layer."""

    def __init__(self, plain: EncoderClassifier) -> None:
        self.plain, self.num_layers = plain, plain.encoder.num_layers

    def embed(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.plain.encoder.embed(batch.input_ids, batch.attention_mask)

    def layer(self, index: int, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return self.plain.encoder.layer(index, hidden, mask)

    def exit_logits(self, index: int, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        logits: torch.Tensor = self.plain.head(hidden[:, 0])
        return logits


def test_spread_exits_know_their_layer_ratio() -> None:
    plain = plain_classifier("tiny", 2)
    model = HeadEverywhere(plain)
    layers: list[list[int]] = []

    def noting(batch: Batch, plan: torch.Tensor) -> object:
        layers.append(plan.tolist())
        return leaving(model)(batch, plan)

    shape = EncoderShape.from_config(plain.encoder.config)
    spread = spread_exits(plain, {"X": noting, WAITING: waiting(model)}, shape, size=8, passes=2, rounds=1)
    assert spread.layer_ratio == pytest.approx(4 / 2.5), "layers 1..4 evenly"
    assert sorted(layers[0]) == [1, 1, 2, 2, 3, 3, 4, 4]
    slow = spread.timings.sample_seconds(WAITING).sum()
    assert spread.over_waiting("X").value == pytest.approx(slow / spread.timings.sample_seconds("X").sum())
    assert {m.metric for m in spread.rows("X", "tiny")} == {
        "speedup",
        "share_of_layer_ratio",
        "share_of_matmul_ceiling",
    }
