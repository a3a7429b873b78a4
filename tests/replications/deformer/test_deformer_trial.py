"""A small run from data to claims: what is trained, what is measured, what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.toy_run import picked, quiet, run_steps, toy_task
from toy_pairs import LAYOUT, RUNS_ON, split_of

from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.reading_run import ReadingRun
from common.records.measurements import Measurement
from common.records.predictions import Evidence, answers_name
from common.records.runs import RunRecord
from common.run.artifacts import ArtifactStore, recipe_key
from common.run.replication import Run
from common.scales import find_scale
from common.tasks.spans import limits
from common.tasks.task import Example
from common.training.segments import SegmentLayout
from replications.deformer import settings as settings_module
from replications.deformer.claims import DECIDERS
from replications.deformer.experiments import trained_steps
from replications.deformer.findings import kept_share
from replications.deformer.flops import PAPER_LENGTHS
from replications.deformer.method import DeFormer, LossWeights
from replications.deformer.names import (
    BASELINE,
    CONSTANT,
    DEFORMER,
    F1,
    FOUND,
    NO_LRS,
    PLAIN,
    TEACHER,
    UNCACHED,
    at_k,
    depth_of,
    marks_name,
)
from replications.deformer.readers import Readers
from replications.deformer.representations import distance_by_layer, layer_states, question_variance, variance_by_layer
from replications.deformer.settings import PUBLISHED_WEIGHTS, SETTINGS, pair_lengths, tasks_of
from replications.deformer.weights import FIRST_PROBE, search_weights


def run_of(folder: Path, *tasks: str, seeds: tuple[int, ...] = (0,), scale: str = "smoke") -> Run:
    found = replace(find_scale(scale), timing_examples=2, timing_rounds=1)
    store = ArtifactStore(folder)
    return Run("r", found, "builtin", None, tasks, seeds, store, folder, quiet, lambda line: None)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Measurement], list[Evidence]]:
    """Every step at the smoke scale on a tenth of its questions, for one epoch."""
    folder = tmp_path_factory.mktemp("deformer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(limits.QUESTIONS, "smoke", (40, 16))
        smoke = SETTINGS["smoke"]
        short = replace(smoke.recipe, whole=replace(smoke.recipe.whole, epochs=1))
        patch.setattr(settings_module, "SETTINGS", {"smoke": replace(smoke, recipe=short)})
        patch.setattr("replications.deformer.experiments.SETTINGS", {"smoke": replace(smoke, recipe=short)})
        run = run_of(folder)
        run._tasks["reply"] = replace(toy_task("reply", ("denies", "agrees"), lambda i: i % 2, "f1"), train=_pairs(64))
        run._tasks["reply"] = replace(run._tasks["reply"], tune=_pairs(20), dev=_pairs(30), test=())
        run._whole["reply"] = 64
        return run_steps(trained_steps(run), run, folder), run.evidence


def _pairs(count: int):  # noqa: ANN202

    return tuple(
        Example(f"the film {i % 7}", "yes, true" if i % 2 else "no, never", float(i % 2)) for i in range(count)
    )


# -- The run ----------------------------------------------------------------------------------------------------------


def test_every_table_and_figure_has_its_rows(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    rows, _ = measured
    scores = {(m.system, m.setting) for m in picked(rows, experiment="table1", metric="score")}
    assert scores == {(CONSTANT, ""), (BASELINE, ""), ("truncated 2L", ""), (TEACHER, ""), (DEFORMER, "k=3")}
    ablation = {m.system for m in picked(rows, experiment="table5", metric="score")}
    assert ablation == {BASELINE, DEFORMER, NO_LRS, PLAIN, FOUND}
    sweep = {m.at for m in picked(rows, experiment="figure4", metric="score_delta")}
    assert sweep == {1, 3} and all(m.system == PLAIN for m in picked(rows, experiment="figure4"))
    assert [m.at for m in picked(rows, experiment="figure2")] == [1, 2, 3, 4]
    for figure in ("figure5a", "figure5b"):
        assert {m.system for m in picked(rows, experiment=figure)} == {DEFORMER, PLAIN}
    assert {m.system for m in picked(rows, experiment="latency", metric="time_speedup")} >= {DEFORMER, UNCACHED}
    assert {m.system for m in picked(rows, experiment="table2", metric="score")} == {
        CONSTANT, BASELINE, TEACHER, DEFORMER,
    }  # fmt: skip
    assert {m.metric for m in picked(rows, experiment="weights")} == {"alpha", "beta", "gamma"}
    assert {m.at for m in picked(rows, experiment="difficulty")} == {1, 2, 3, 4}


def test_claims_read_what_a_run_keeps(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    rows, kept = measured
    (lookup,) = [e for e in kept if e.task == "lookup"]
    (reply,) = [e for e in kept if e.task == "reply"]
    assert len(lookup[marks_name(DEFORMER, "k=3", F1)]) == 16
    assert lookup[marks_name(PLAIN, "k=1", F1)].max() <= 1
    assert answers_name(DEFORMER, "k=3") in reply

    learned = {marks_name(name, "", F1): np.ones(16) for name in (BASELINE, TEACHER)}

    class Kept(RunRecord):
        evidence = tuple(replace(e, arrays={**e.arrays, **(learned if e is lookup else {})}) for e in kept)
        quality_counts = True

    record = Kept("r", tuple(rows))
    decided = {claim for claim, decide in DECIDERS.items() if decide(record) is not None}
    assert decided >= {
        "deformer-qa-drop-1-8", "deformer-retain-squad-98-4", "deformer-aux-base", "deformer-lrs-helps",
        "deformer-early-split-free", "deformer-last-layers-cliff", "deformer-lower-layers-stable",
    }  # fmt: skip


def test_a_seed_that_is_spared_has_the_papers_depth_alone(tmp_path: Path) -> None:
    """Baseline, teacher, DeFormer, without LRS, without both: everyone has them; search, sweep and ladder the first."""
    names = [step.name for step in trained_steps(run_of(tmp_path, "lookup", seeds=(0, 1)))]
    second = [name.removeprefix("lookup seed 1: ") for name in names if "seed 1" in name]
    assert second == [
        "the baseline", TEACHER, f"{DEFORMER} k=3", f"{NO_LRS} k=3", f"{PLAIN} k=3", "timing, tables and figures",
    ]  # fmt: skip
    assert any("loss weights" in name for name in names) and any("static ladder" in name for name in names)


def test_a_default_run_of_one_seed_leaves_out_what_a_record_has(tmp_path: Path) -> None:
    sparing = replace(SETTINGS["smoke"], trials=0, spares_one_seed=True)

    def trained(*seeds: int) -> set[tuple[str, int]]:
        reading = ReadingRun.of(run_of(tmp_path, "lookup", seeds=seeds), "lookup", 0, sparing.recipe)
        return {(reader.system, reader.k) for reader in Readers(reading, sparing).readers}

    assert trained(0) == {(TEACHER, 0), (DEFORMER, 3), (PLAIN, 3)}
    assert trained(0, 1) - trained(0) == {(NO_LRS, 3), (PLAIN, 1)}
    assert tasks_of(run_of(tmp_path, scale="mini")) == ("reading",)
    assert tasks_of(run_of(tmp_path, scale="mini", seeds=(0, 1))) == ("reading", "paraphrase")
    assert tasks_of(run_of(tmp_path, "paraphrase", scale="mini")) == ("paraphrase",)
    assert [name for name, scale in SETTINGS.items() if scale.spares_one_seed] == ["mini"]


def test_depths_are_the_papers() -> None:
    assert [depth_of(n) for n in (12, 24, 6, 4, 2)] == [9, 20, 4, 3, 1]
    assert SETTINGS["paper"].sweep_depths(12) == tuple(range(1, 12))
    assert SETTINGS["mini"].sweep_depths(6) == (1, 3, 4, 5)
    assert LossWeights(alpha=1.1, beta=0.5, gamma=0.7) == PUBLISHED_WEIGHTS


def test_what_a_run_trains_without_being_asked(tmp_path: Path) -> None:
    assert tasks_of(run_of(tmp_path)) == ("lookup", "reply")
    assert tasks_of(run_of(tmp_path, scale="mini")) == ("reading",), "pairs are left to a record"
    assert tasks_of(run_of(tmp_path, scale="mini", seeds=(0, 1, 2))) == ("reading", "paraphrase")


def test_single_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mood has single texts, and DeFormer parts pairs"):
        trained_steps(run_of(tmp_path, "mood"))


def test_equal_readers_are_trained_once(tmp_path: Path) -> None:
    """The plain DeFormer at the paper's depth is in the ablation and in the sweep."""
    readers = Readers(ReadingRun.of(run_of(tmp_path), "lookup", 0), SETTINGS["smoke"]).readers
    assert len(readers) == len(set(readers)) == 5


def test_where_positions_begin_is_part_of_a_readers_key_and_not_of_the_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(run: ReadingRun, kind: str, facts: dict[str, object], *_: object) -> Path:
        return Path(f"{kind}-{recipe_key(facts)}")

    monkeypatch.setattr(ReadingRun, "trained", key)
    readers = Readers(ReadingRun.of(run_of(tmp_path), "lookup", 0), SETTINGS["smoke"])
    here = readers.reading.reader_folder(), readers.folder(readers.teacher), readers.folder(readers.plain)
    assert readers.reading.layout.runs_on
    anew = replace(readers.reading.layout, runs_on=False)
    monkeypatch.setattr(ReadingRun, "layout", property(lambda _: anew))
    there = readers.reading.reader_folder(), readers.folder(readers.teacher), readers.folder(readers.plain)
    assert here[0] == there[0] and here[1] != there[1] and here[2] != there[2]


def test_pairs_have_the_layout_of_their_scale() -> None:
    for task in ("mnli", "rte", "paraphrase", "mine"):
        for scale, whole in (("paper", True), ("base", False), ("mini", False), ("smoke", False)):
            layout = pair_lengths(task, scale).layout
            assert (layout.whole_slots, layout.runs_on) == (whole, not whole)
    assert not any(lengths.layout.runs_on for lengths in PAPER_LENGTHS.values()), "full size is as published"


def test_where_the_baseline_is_right_nowhere_nothing_is_said_of_what_is_kept() -> None:
    assert kept_share(np.array([0.5, 0.0]), np.array([1.0, 0.0])) == 0.5
    assert kept_share(np.array([0.5, 0.0]), np.zeros(2)) is None


# -- The search -------------------------------------------------------------------------------------------------------


def test_the_search_begins_with_the_first_probe_and_stays_on_tenths() -> None:
    seen: list[LossWeights] = []

    def score(weights: LossWeights) -> float:
        seen.append(weights)
        return -abs(weights.beta - 0.7)

    found = search_weights(score, 4)
    tried = tuple(seen)
    assert tried[0] == FIRST_PROBE and len(tried) == 4
    values = [v for w in tried for v in (w.alpha, w.beta, w.gamma)]
    assert all(0.1 <= v <= 2.0 and round(v, 1) == v for v in values)
    assert found.weights == max(tried, key=score) and found.trials == 4
    seen.clear()
    assert search_weights(score, 4) == found and tuple(seen) == tried, "one seed, one search"


# -- Representations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [LAYOUT, RUNS_ON], ids=["anew", "running on"])
def test_layer_states_are_those_of_the_passes(layout: SegmentLayout) -> None:
    model = DeFormer.reader(random_encoder("tiny"), 2, seed=0).eval()
    batch = split_of(3, layout=layout).batch(range(3))
    states = layer_states(model, batch)
    with torch.inference_mode():
        joint = model.joint(batch).states
        lower = torch.cat([model.lower(batch.first), model.lower(batch.second)], dim=1)
    assert len(states) == 4
    for found, expected in zip(states[1:], [lower, *joint], strict=True):
        torch.testing.assert_close(found, expected)


def test_variance_is_the_questions_share() -> None:
    tokens = torch.randn(1, 6, 3)
    assert question_variance(tokens.expand(5, -1, -1)) == pytest.approx(0.0, abs=1e-12)
    assert question_variance(torch.randn(5, 1, 3).expand(-1, 6, -1)) == pytest.approx(1.0)
    assert question_variance(torch.ones(5, 6, 3)) == 0.0


def test_below_k_the_question_changes_nothing_and_above_it_does() -> None:
    model = DeFormer.reader(random_encoder("tiny"), 2, seed=0).eval()
    found = variance_by_layer(model, split_of(8), [0, 5])
    assert found.shape == (2, 4)
    assert found[:, :2].max() < 1e-10 < 1e-6 < found[:, 2:].min()


def test_distances_are_zero_to_oneself_and_of_both_texts() -> None:
    encoder = random_encoder("tiny")
    teacher, model = DeFormer.reader(encoder, 0, seed=0).eval(), DeFormer.reader(encoder, 2, seed=0).eval()
    own = distance_by_layer(teacher, teacher, split_of(4), [0, 1])
    assert all(np.abs(part).max() < 1e-6 for part in own)
    passage, question = distance_by_layer(model, teacher, split_of(4), [0, 1, 2])
    assert passage.shape == question.shape == (3, 4)
    assert passage.min() > 0 and question.min() > 0
    assert at_k(2) == "k=2"
