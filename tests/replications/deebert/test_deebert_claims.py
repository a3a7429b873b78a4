"""The statistics behind DeeBERT's verdicts, on invented trials whose answer is known."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from common.early_exit.runtime import Outcome
from common.replication import Run
from common.scales import SCALES
from common.timing.paired import CONTROL, PairedTimings
from replications.deebert import claims
from replications.deebert.findings import ALLOWED_DROPS, EQUAL_SAVING, SWEEP, sweep_arm
from replications.deebert.timing import BASELINE, Clocked

N, LAYERS, TIMED = 400, 6, 60


@dataclass
class Invented:
    """A trial whose every number is set by hand: each arm saves `saving`, DeeBERT loses `lost` of N examples."""

    name: str = "sst-2"
    seed: int = 0
    saving: float = 0.5
    lost: dict[str, int] = field(default_factory=dict)
    truncated_lost: int = 0
    gap: float = 0.0
    stage1_differs: bool = False
    equal_layer: int = LAYERS // 2

    @property
    def trial(self) -> Any:
        return SimpleNamespace(
            task_name=self.name,
            seed=self.seed,
            num_layers=LAYERS,
            truncated_layers=LAYERS // 2,
            task=SimpleNamespace(metric="accuracy", labels=("a", "b")),
            source=SimpleNamespace(backbone="x"),
        )

    unlearned: bool = False

    @property
    def labels(self) -> np.ndarray:
        return np.arange(N) % 2

    @property
    def full(self) -> np.ndarray:
        return np.zeros(N, dtype=np.int64) if self.unlearned else self.labels

    constant = np.zeros(N, dtype=np.int64)

    def _wrong_on(self, count: int) -> np.ndarray:
        return np.where(np.arange(N) < count, 1 - self.labels, self.labels)

    @property
    def thresholds(self) -> dict[str, float]:
        return {name: float(i) for i, name in enumerate([*ALLOWED_DROPS, EQUAL_SAVING])}

    def predictions(self, threshold: float) -> np.ndarray:
        name = [*ALLOWED_DROPS, EQUAL_SAVING][int(threshold)]
        return self._wrong_on(self.lost.get(name, 0))

    @property
    def truncated(self) -> np.ndarray:
        return self._wrong_on(self.truncated_lost)

    def outcome(self, threshold: float) -> Outcome:
        """Every sample leaves at one layer, the lower the higher the threshold."""
        layer = max(1, LAYERS - SWEEP.index(threshold)) if threshold in SWEEP else self.equal_layer
        return Outcome(torch.zeros(N, 2), torch.full((N,), layer))

    @property
    def clocked(self) -> Clocked:
        arms = (BASELINE, *ALLOWED_DROPS, EQUAL_SAVING, *map(sweep_arm, SWEEP), CONTROL)
        base = 1 + np.random.default_rng(self.seed).random(TIMED)
        shares = [1.0] + [1 - self.saving] * 4
        shares += [float(self.outcome(s).exit_layer[0]) / LAYERS + self.gap for s in SWEEP] + [1.0]
        seconds = np.stack([share * base for share in shares])[:, None, :]
        return Clocked(np.arange(TIMED), PairedTimings(BASELINE, arms, seconds))

    def points(self, predictions: np.ndarray) -> float:
        return 100 * float((predictions == self.labels).mean())

    @property
    def logits(self) -> Any:
        answers = self._wrong_on(1 if self.stage1_differs else 0)
        return SimpleNamespace(stage1=torch.nn.functional.one_hot(torch.tensor(answers), 2))


def by_task(*trials: Invented) -> Any:
    grouped: dict[str, list[Invented]] = {}
    for trial in trials:
        grouped.setdefault(trial.name, []).append(trial)
    return grouped


def test_saves_40_takes_the_best_point_that_loses_little() -> None:
    cheap = Invented("sst-2", saving=0.45, lost={"threshold-3": 40})
    dear = Invented("mrpc", saving=0.9, lost=dict.fromkeys(ALLOWED_DROPS, 200))
    decision = claims.saves_40(by_task(cheap, dear))
    assert decision.interval.value == pytest.approx(0.45)
    assert decision.interval.low == pytest.approx(0.45)
    assert "sst-2" in decision.note


def test_saves_40_is_zero_if_everything_loses_too_much() -> None:
    decision = claims.saves_40(by_task(Invented(lost=dict.fromkeys(ALLOWED_DROPS, 200))))
    assert decision.interval.value == 0.0


def test_a_loss_near_the_limit_widens_the_interval() -> None:
    """4 of 400 lost is exactly 1 point: half of the resamples lose more."""
    decision = claims.saves_40(by_task(Invented(saving=0.4, lost=dict.fromkeys(ALLOWED_DROPS, 4))))
    assert decision.interval.value == pytest.approx(0.4)
    assert decision.interval.low == 0.0


def test_small_drop_saving_takes_the_worst_task() -> None:
    decision = claims.small_drop_saving(by_task(Invented("sst-2", saving=0.5), Invented("mrpc", saving=0.2)))
    assert decision.interval.value == pytest.approx(0.2)
    lossy = Invented("rte", saving=0.5, lost={"threshold-1": 100})
    assert claims.small_drop_saving(by_task(Invented(), lossy)).interval.value == 0.0


def test_beating_the_static_baseline_is_the_smaller_of_the_two_tasks_of_the_paper() -> None:
    trials = [
        Invented("sst-2", truncated_lost=12, lost={EQUAL_SAVING: 4}),
        Invented("qqp-sample", truncated_lost=8, lost={EQUAL_SAVING: 4}),
        Invented("rte", truncated_lost=0, lost={EQUAL_SAVING: 100}),
    ]
    decision = claims.beats_static(by_task(*trials))
    assert decision is not None
    assert decision.interval.value == pytest.approx(1.0)
    assert claims.beats_static(by_task(Invented("rte"))) is None


def test_beating_the_static_baseline_wants_an_equal_saving() -> None:
    """Better at a third of the saving is no comparison at about equal saving."""
    slow = Invented("sst-2", truncated_lost=100, equal_layer=LAYERS - 2)
    assert claims.beats_static(by_task(slow)) is None


def test_beating_an_untaught_static_baseline_counts_for_nothing() -> None:
    assert claims.beats_static(by_task(Invented("sst-2", truncated_lost=N // 2))) is None


def test_expected_against_measured_is_the_largest_gap() -> None:
    decision = claims.expected_equals_measured(by_task(Invented(gap=0.0), Invented("mrpc", gap=0.07)))
    assert decision.interval.value == pytest.approx(0.07)


def test_a_rising_threshold_has_rank_correlation_one() -> None:
    assert claims.monotone_threshold([Invented()]).interval.value == pytest.approx(1.0)


def test_the_last_exit_must_not_change_at_all() -> None:
    assert claims.last_exit_unchanged([Invented(), Invented(seed=1)]).interval.value == 0.0
    changed = claims.last_exit_unchanged([Invented(), Invented(stage1_differs=True)])
    assert changed.interval.value == pytest.approx(100 / N)


def _run(scale: str) -> Run:
    return Run("x", SCALES[scale], "builtin", None, (), (0, 1), Any, Any, lambda *_: None, print)  # type: ignore[arg-type]


def test_every_claim_of_the_card_that_can_be_decided_is() -> None:
    trials = [Invented("sst-2"), Invented("sst-2", seed=1), Invented("qqp-sample")]
    measured = {m.system: m for m in claims.claim_measurements(_run("mini"), trials)}  # type: ignore[arg-type]
    assert set(measured) == {
        "deebert-saves-40",
        "deebert-small-drop-saving",
        "deebert-beats-distilbert-quality",
        "deebert-expected-equals-measured",
        "deebert-monotone-threshold",
        "deebert-last-exit-unchanged",
    }
    assert all(m.ci_low is not None and m.ci_high is not None for m in measured.values())
    assert measured["deebert-saves-40"].timed
    assert not measured["deebert-monotone-threshold"].timed


def test_a_task_that_was_not_learned_decides_nothing() -> None:
    """Where the baseline answers like a constant, leaving at once is free and proves nothing."""
    assert claims.is_learned([Invented()])  # type: ignore[list-item]
    assert not claims.is_learned([Invented(unlearned=True)])  # type: ignore[list-item]
    mixed = claims.without_unlearned(claims.saves_40, by_task(Invented(), Invented("rte", unlearned=True)))
    assert mixed is not None
    assert mixed.note.endswith("rte")
    trials = [Invented("rte", unlearned=True)]
    systems = {m.system for m in claims.claim_measurements(_run("mini"), trials)}  # type: ignore[arg-type]
    assert "deebert-saves-40" not in systems
    assert "deebert-last-exit-unchanged" in systems


def test_an_untrained_scale_decides_nothing_about_quality() -> None:
    systems = {m.system for m in claims.claim_measurements(_run("smoke"), [Invented()])}  # type: ignore[list-item]
    assert systems == {"deebert-monotone-threshold"}
