"""The statistics behind FastBERT's verdicts, on invented trials whose answer is known."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from common.early_exit.operating_points import OperatingPoint
from common.early_exit.runtime import Outcome
from common.replication import Run
from common.scales import SCALES
from common.timing.flops import EncoderShape
from replications.fastbert import claims
from replications.fastbert.findings import Point
from replications.fastbert.flops import PrintedCount
from replications.fastbert.trial import DISTILLED, FROM_LABELS

N, LAYERS = 400, 6
SHAPE = EncoderShape(layers=LAYERS, hidden=384, intermediate=1536, heads=12, vocabulary=30522)
COUNT = PrintedCount.of(SHAPE)


@dataclass
class Invented:
    """A trial whose every number is set by hand; `lost` counts wrong examples of N by (variant, Speed)."""

    name: str = "sst-2"
    seed: int = 0
    teacher_lost: int = 40
    lost: dict[tuple[str, float], int] = field(default_factory=dict)
    early: dict[float, float] = field(default_factory=dict)
    fixed_lost: int = 40
    shallow_lost: dict[int, int] = field(default_factory=dict)
    unlearned: bool = False
    ordered: bool = True

    labels = np.arange(N) % 2
    constant = np.zeros(N, dtype=np.int64)
    # Saves two thirds of the layers at Speed 0.33, as everyone leaving at layer 2 of 6.
    tune_sweep = (OperatingPoint(0.1, 0, 0.2), OperatingPoint(0.33, 0, 0.65), OperatingPoint(0.9, 0, 0.8))
    figure_4 = {"first student": 1, "middle student": 3, "teacher": 6}  # noqa: RUF012 (as findings has it)

    @property
    def trial(self) -> Any:
        return SimpleNamespace(
            task_name=self.name,
            seed=self.seed,
            num_layers=LAYERS,
            quarter_layers=2,
            shape=SHAPE,
            static_depths=(3, *self.shallow_lost),
            variants=(FROM_LABELS,) if any(v == FROM_LABELS for v, _ in self.lost) else (),
            task=SimpleNamespace(metric="accuracy"),
        )

    def wrong_on(self, count: int) -> np.ndarray:
        return np.where(np.arange(N) < count, 1 - self.labels, self.labels)

    @property
    def teacher(self) -> np.ndarray:
        return self.constant if self.unlearned else self.wrong_on(self.teacher_lost)

    def predictions(self, point: Point, variant: str = DISTILLED) -> np.ndarray:
        return self.wrong_on(self.lost.get((variant, point.speed), self.teacher_lost))

    def fixed(self, layer: int) -> np.ndarray:
        return self.wrong_on(self.fixed_lost)

    def truncated(self, depth: int) -> np.ndarray:
        return self.wrong_on(self.shallow_lost[depth])

    def outcome(self, point: Point) -> Outcome:
        share = self.early.get(point.speed, 0.5)
        layers = torch.where(torch.arange(N) < round(share * N), 1, LAYERS)
        return Outcome(torch.zeros(N, 2), layers)

    @property
    def uncertainties(self) -> torch.Tensor:
        """Grows with the position; the wrong ones come first in `wrong_on`, so it must fall to be ordered."""
        rising = torch.linspace(0.999, 0.0, N) if self.ordered else torch.linspace(0.0, 0.999, N)
        return rising[:, None].expand(-1, LAYERS)


def by_task(*trials: Invented) -> Any:
    grouped: dict[str, list[Invented]] = {}
    for trial in trials:
        grouped.setdefault(trial.name, []).append(trial)
    return grouped


def speedup_of(share: float) -> float:
    return COUNT.speedup(share + LAYERS * (1 - share))


def at(speed: float, lost: int) -> dict[tuple[str, float], int]:
    return {(DISTILLED, speed): lost}


def test_the_loss_is_against_the_teacher_and_the_largest_over_tasks() -> None:
    """The paper's BERT is the backbone with the teacher's classifier, not one with a linear head."""
    decision = claims.lossless(by_task(Invented(lost=at(0.1, 44)), Invented("trec", lost=at(0.1, 36))))
    assert decision.interval.value == pytest.approx(1.0)
    assert "sst-2 +1.0, trec -1.0" in decision.note


def test_twice_as_fast_is_a_share_of_the_tasks_by_the_papers_count() -> None:
    trials = [Invented(early={0.1: 0.9}), Invented("trec", early={0.1: 0.7}), Invented("mrpc", early={0.1: 0.1})]
    decision = claims.often_twice_as_fast(by_task(*trials))
    assert decision.interval.value == pytest.approx(2 / 3)
    assert f"mrpc {speedup_of(0.1):.2f}x" in decision.note


def test_speedups_at_08_are_shares_of_the_ceiling() -> None:
    trials = by_task(Invented(early={0.8: 1.0}), Invented("trec", early={0.8: 0.5}, lost=at(0.8, 60)))
    assert claims.greatest_speedup(trials).interval.value == pytest.approx(1.0)
    least = claims.least_speedup(trials)
    assert least.interval.value == pytest.approx(speedup_of(0.5) / COUNT.ceiling)
    assert "trec +5.0" in least.note, "what it costs stands beside"


def test_flops_are_cut_on_what_stands_for_book_review() -> None:
    trials = by_task(Invented("sentiment", early={0.5: 0.8}), Invented("trec", early={0.5: 0.0}))
    decision = claims.cuts_flops(trials)
    assert decision is not None
    assert decision.interval.value == pytest.approx(speedup_of(0.8) / COUNT.ceiling)
    assert claims.cuts_flops(by_task(Invented("trec"))) is None


def test_the_first_exit_is_the_share_at_layer_1() -> None:
    decision = claims.first_exit(by_task(Invented(early={0.8: 0.6}), Invented(seed=1, early={0.8: 0.7})))
    assert decision is not None
    assert decision.interval.value == pytest.approx(0.65)
    assert claims.first_exit(by_task(Invented("mrpc"))) is None


def test_a_quarter_is_beaten_only_by_who_is_no_worse_and_no_slower() -> None:
    good = Invented(early={0.5: 0.9}, lost=at(0.5, 40), shallow_lost={2: 60})
    slow = Invented("trec", early={0.5: 0.5}, lost=at(0.5, 40), shallow_lost={2: 60})
    worse = Invented("mrpc", early={0.5: 0.9}, lost=at(0.5, 80), shallow_lost={2: 60})
    assert speedup_of(0.9) > 3 > speedup_of(0.5)
    decision = claims.beats_quarter(by_task(good, slow, worse, Invented("imdb")))
    assert decision is not None
    assert decision.interval.value == pytest.approx(1 / 3)
    assert decision.interval.n == 3, "a task without shallow baselines is no comparison"
    assert claims.beats_quarter(by_task(Invented())) is None


def test_one_layer_has_to_be_beaten_and_not_tied() -> None:
    better = Invented(lost=at(0.8, 40), shallow_lost={1: 60})
    tie = Invented("trec", lost=at(0.8, 60), shallow_lost={1: 60})
    decision = claims.beats_one_layer(by_task(better, tie))
    assert decision is not None
    assert decision.interval.value == 0.5


def test_shallow_encoders_are_compared_on_the_seeds_that_have_them() -> None:
    first = Invented(lost=at(0.8, 40), shallow_lost={1: 60})
    decision = claims.beats_one_layer(by_task(first, Invented(seed=1, lost=at(0.8, 400))))
    assert decision is not None
    assert decision.interval.value == 1.0


def test_the_gain_of_distilling_is_the_smallest_over_tasks_and_speeds() -> None:
    lost = {(DISTILLED, 0.2): 40, (FROM_LABELS, 0.2): 48, (DISTILLED, 0.7): 60, (FROM_LABELS, 0.7): 64}
    decision = claims.distillation_gain(by_task(Invented(lost=lost), Invented("mrpc")))
    assert decision is not None
    assert decision.interval.value == pytest.approx(1.0)
    assert "sst-2 speed=0.2 +2.0, sst-2 speed=0.7 +1.0" in decision.note
    assert claims.distillation_gain(by_task(Invented())) is None


def test_adapting_is_compared_with_a_fixed_layer_at_as_many_layers() -> None:
    decision = claims.adaptive_gain(by_task(Invented(lost=at(0.33, 40), fixed_lost=52), Invented("trec")))
    assert decision is not None
    assert decision.interval.value == pytest.approx(3.0)
    assert "layer 2 of 6" in decision.note
    assert claims.adaptive_gain(by_task(Invented("trec"))) is None


def test_luha_takes_the_worst_classifier_and_the_mean_over_tasks() -> None:
    ordered = Invented(teacher_lost=100, fixed_lost=100)
    decision = claims.luha(by_task(ordered))
    assert decision.interval.value < -0.7
    backwards = Invented("trec", fixed_lost=100, ordered=False)
    assert claims.luha(by_task(backwards)).interval.value > 0.7
    both = claims.luha(by_task(ordered, backwards)).interval.value
    assert both == pytest.approx(0.0, abs=1e-9)


def test_the_classifiers_share_follows_from_the_architecture() -> None:
    decision = claims.classifier_share()
    assert decision.interval.value == pytest.approx(0.02546, abs=1e-5)
    assert decision.interval.low == decision.interval.high
    assert "0.0232" in decision.note


def _run(scale: str) -> Run:
    return Run("x", SCALES[scale], "builtin", None, (), (0, 1), Any, Any, lambda *_: None, print)  # type: ignore[arg-type]


def test_every_claim_is_decided() -> None:
    lost = {(DISTILLED, 0.2): 40, (FROM_LABELS, 0.2): 48}
    first = Invented(lost=lost, shallow_lost={1: 60, 2: 50})
    trials = [first, Invented(seed=1, lost=lost), Invented("mrpc")]
    measured = {m.system: m for m in claims.claim_measurements(_run("mini"), trials)}  # type: ignore[arg-type]
    assert set(measured) == {"fastbert-flops-classifier-share", *claims.LEARNED_CLAIMS}
    assert len(measured) == 12
    assert all(m.ci_low is not None and m.ci_high is not None for m in measured.values())


def test_an_untrained_scale_decides_what_follows_from_the_architecture() -> None:
    systems = {m.system for m in claims.claim_measurements(_run("smoke"), [Invented()])}  # type: ignore[list-item]
    assert systems == {"fastbert-flops-classifier-share"}


def test_a_task_that_was_not_learned_decides_nothing() -> None:
    assert claims.is_learned([Invented()])  # type: ignore[list-item]
    assert not claims.is_learned([Invented(unlearned=True)])  # type: ignore[list-item]
    trials = [Invented("rte", unlearned=True)]
    systems = {m.system for m in claims.claim_measurements(_run("mini"), trials)}  # type: ignore[arg-type]
    assert systems == {"fastbert-flops-classifier-share"}
