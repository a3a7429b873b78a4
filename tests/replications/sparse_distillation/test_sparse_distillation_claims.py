"""The statistics behind the verdicts, on invented findings whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.replication import Run
from common.scales import SCALES
from replications.sparse_distillation import claims
from replications.sparse_distillation.settings import Design
from replications.sparse_distillation.trial import KD

N = 400
SYSTEMS = ("teacher", "DAN (from scratch)", "DAN (KD, no task data)", "DAN (KD)", "DAN (KD+FT)")


@dataclass
class Invented:
    """Findings whose accuracies (in points, multiples of 0.25) are set by hand; classes alternate."""

    name: str = "sst-2"
    seed: int = 0
    is_pair: bool = False
    teacher: float = 95.0
    scratch: float = 80.0
    private: float = 90.0
    kd: float = 90.0
    ft: float = 90.0
    few: float = 85.0
    short: float = 89.0
    variants: dict[str, float] = field(default_factory=dict)
    grid: dict[tuple[int, int], float] = field(default_factory=dict)

    def of(self, points: float) -> np.ndarray:
        """Predictions with so many points: wrong on the last examples."""
        return np.where(np.arange(N) < round(points * N / 100), self.labels, 1 - self.labels)

    @property
    def labels(self) -> np.ndarray:
        return np.arange(N) % 2

    constant = np.zeros(N, dtype=np.int64)

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        points = (self.teacher, self.scratch, self.private, self.kd, self.ft)
        return {system: self.of(value) for system, value in zip(SYSTEMS, points, strict=True)}

    @property
    def trial(self) -> Any:
        task = SimpleNamespace(is_pair=self.is_pair)
        settings = SimpleNamespace(grid={"1K": ((10, 100), (20, 50), (40, 25)), "2K": ((20, 100), (40, 50))})
        lesson = SimpleNamespace(task_name=self.name, task=task, settings=settings)
        return SimpleNamespace(lesson=lesson, seed=self.seed, design=Design(7, 3), answers=self.answers)

    def answers(self, stages: tuple[str, ...], design: Design) -> np.ndarray:
        assert stages == (KD,), "Tables 5 and 8 are about the distilled student"
        if design.pooling != "mean":
            return self.of(self.variants.get(design.pooling, 90.0))
        return self.of(self.grid.get((design.vocabulary_size, design.dimension), self.kd))

    vocabulary = SimpleNamespace(n=np.array([1, 2, 2, 3, 4]))
    train_counts = np.array([9, 1, 0, 0, 4])

    def most_frequent(self, share: float, counts: np.ndarray) -> str:
        assert counts is self.train_counts, "frequencies of D_train, not of C"
        return f"{share:.0%} most frequent"

    def pruned(self, keep: Any) -> np.ndarray:
        if isinstance(keep, str):
            assert keep == "3% most frequent"
            return self.of(self.few)
        assert keep.tolist() == [True, True, True, False, False]
        return self.of(self.short)


def by_task(*found: Invented) -> Any:
    grouped: dict[str, list[Invented]] = {}
    for f in found:
        grouped.setdefault(f.name, []).append(f)
    return grouped


def run(scale: str = "mini") -> Run:
    return Run("x", SCALES[scale], "builtin", None, (), (0, 1), Any, Any, lambda *_: None, print)  # type: ignore[arg-type]


def measured(*found: Invented, scale: str = "mini") -> dict[str, Any]:
    return {m.system: m for m in claims.claim_measurements(run(scale), found)}  # type: ignore[arg-type]


# -- Each claim's number ----------------------------------------------------------------------------------------------


def test_retained_is_the_mean_over_tasks_of_the_share_of_the_teacher() -> None:
    decision = claims.retained(by_task(Invented("a", teacher=80, ft=60), Invented("b", teacher=90, ft=90)))
    assert decision.interval.value == pytest.approx((60 / 80 + 1) / 2)
    assert decision.interval.low < decision.interval.value < decision.interval.high
    assert "a 75%, b 100%" in decision.note


def test_seeds_are_averaged_within_a_task() -> None:
    decision = claims.retained(by_task(Invented(teacher=80, ft=60), Invented(seed=1, teacher=80, ft=80)))
    assert decision.interval.value == pytest.approx((0.75 + 1.0) / 2)
    assert (decision.interval.low, decision.interval.high) == (pytest.approx(0.75, abs=0.06), pytest.approx(1.0))


def test_within_3_points_counts_the_better_of_kd_and_ft_on_a_scale_of_six() -> None:
    near = Invented("near", teacher=95, kd=80, ft=92.5)
    by_kd = Invented("by kd", teacher=95, kd=95, ft=50)
    far = Invented("far", teacher=95, kd=80, ft=80)
    assert claims.within_3_points(by_task(near, by_kd, far)).interval.value == pytest.approx(4.0)
    assert claims.within_3_points(by_task(near)).interval.value == 6.0
    exactly = Invented("exactly", teacher=95, kd=92, ft=80)
    assert claims.within_3_points(by_task(exactly)).interval.value == 6.0, "rounded to a tenth, as printed"
    beyond = Invented("beyond", teacher=95, kd=91.75, ft=80)
    assert claims.within_3_points(by_task(beyond)).interval.value == 0.0


def test_over_half_of_the_gap_is_above_the_middle() -> None:
    def count(**points: float) -> float:
        return claims.half_of_the_gap(by_task(Invented(**points))).interval.value  # type: ignore[arg-type]

    assert count(scratch=80, teacher=90, kd=85.25, ft=70) == 6.0
    assert count(scratch=80, teacher=90, kd=70, ft=85.25) == 6.0
    assert count(scratch=80, teacher=90, kd=85, ft=85) == 0.0, "half is not more than half"
    assert count(scratch=80, teacher=90, kd=84, ft=84) == 0.0
    assert count(scratch=90, teacher=80, kd=95, ft=95) == 0.0, "where there is no gap none is closed"
    some = by_task(Invented("a"), Invented("b", kd=81, ft=81))
    assert claims.half_of_the_gap(some).interval.value == pytest.approx(3.0)


def test_the_cost_of_privacy_is_the_largest_over_tasks() -> None:
    found = by_task(
        Invented("a", kd=90, private=89), Invented("b", kd=90, private=87.5), Invented("c", kd=80, private=85)
    )
    decision = claims.cost_of_privacy(found)
    assert decision.interval.value == pytest.approx(2.5)
    assert "a 1.0, b 2.5, c -5.0" in decision.note


def test_the_collapse_is_that_of_question_pairs_alone() -> None:
    found = by_task(
        Invented("qqp-sample", is_pair=True, kd=84, private=63), Invented("paraphrase", is_pair=True, private=0)
    )
    assert claims.collapse(found).interval.value == pytest.approx(21.0)


def test_the_gain_of_kd_is_over_training_from_scratch() -> None:
    assert claims.gain_of_kd("trec", [Invented("trec", kd=90, scratch=76.5)]).interval.value == pytest.approx(13.5)  # type: ignore[list-item]


def test_pruning_takes_the_share_kept_times_the_published_score_and_the_worst_task() -> None:
    found = by_task(Invented("imdb", ft=90, few=81), Invented("ag-news", ft=80, few=80))
    decision = claims.pruned_to_3_percent(found)
    assert decision.interval.value == pytest.approx(93.47 * 0.9)
    assert claims.published_full_score("ag-news") == pytest.approx(93.05, abs=0.6)
    assert claims.pruned_to_3_percent(by_task(Invented("imdb", ft=70, few=70))).interval.value == pytest.approx(93.47)


def test_bigrams_is_what_longer_ngrams_are_worth() -> None:
    assert claims.bigrams("imdb", [Invented("imdb", ft=90, short=88.5)]).interval.value == pytest.approx(1.5)  # type: ignore[list-item]


def test_mean_pooling_is_compared_with_the_best_other() -> None:
    def decide(**variants: float) -> float:
        found: Any = [Invented("imdb", kd=90, variants=variants)]
        return claims.mean_pooling("imdb", found).interval.value

    assert decide(max=80, sum=89, attentive=70) == pytest.approx(1.0)
    assert decide(max=80, sum=70, attentive=92) == pytest.approx(-2.0)
    assert decide(max=91, sum=70, attentive=80) == pytest.approx(-1.0)


def test_a_budget_rises_if_any_step_does() -> None:
    def decide(grid: dict[tuple[int, int], float]) -> Any:
        found: Any = [Invented("imdb", grid=grid)]
        return claims.rising_budgets("imdb", found).interval

    falling = {(10, 100): 90.0, (20, 50): 89.0, (40, 25): 85.0, (20, 100): 92.0, (40, 50): 91.0}
    assert decide(falling).value == 0
    assert decide(falling | {(40, 25): 89.5}).value == 1
    assert decide(falling | {(40, 25): 89.5, (40, 50): 95.0}).value == 2
    level = decide(dict.fromkeys(falling, 90.0))
    assert (level.value, level.low, level.high) == (0, 0, 0), "equal is not a rise"


# -- Which claims are decided, and on what ----------------------------------------------------------------------------

EVERYTHING = [
    Invented("imdb"),
    Invented("imdb", seed=1),
    Invented("trec"),
    Invented("ag-news"),
    Invented("qqp-sample", is_pair=True, private=60),
]
ALWAYS = {"sd-retain-97", "sd-gap-3", "sd-kd-half-gap", "sd-private-1-2"}
OF_DOCUMENTS = {"sd-bigrams-suffice", "sd-mean-pool-best", "sd-dim-over-vocab"}


def test_every_claim_about_quality_is_decided_where_its_tasks_are() -> None:
    found = measured(*EVERYTHING)
    assert set(found) == ALWAYS | OF_DOCUMENTS | {"sd-private-qqp-collapse", "sd-trec-13", "sd-prune-3pct"}
    for m in found.values():
        assert m.experiment == "claims"
        assert m.ci_low <= m.value <= m.ci_high
        assert not m.timed
        assert m.note.endswith("2 seeds")


def test_claim_ids_and_units_are_the_paper_s() -> None:
    from pathlib import Path

    from common.paper import load_paper

    published = {c.id: c for c in load_paper(Path(claims.__file__).with_name("paper.yaml")).claims}
    found = measured(*EVERYTHING)
    for name, m in found.items():
        assert published[name].unit == m.unit
        assert published[name].kind == "quality"
    undecided = set(published) - set(found)
    assert {published[name].kind for name in undecided} == {"efficiency"}


def test_the_builtin_tasks_decide_what_they_can() -> None:
    found = measured(Invented("sentiment"), Invented("paraphrase", is_pair=True, private=10))
    assert set(found) == ALWAYS | OF_DOCUMENTS
    assert found["sd-private-1-2"].value == pytest.approx(0.0), "a pair task is no single-sentence task"


def test_pairs_are_told_by_the_data_not_by_their_name() -> None:
    """A task of the user's own."""
    found = measured(Invented("sst-2"), Invented("mine", is_pair=True, private=10, ft=10))
    assert found["sd-private-1-2"].value == pytest.approx(0.0)
    assert found["sd-retain-97"].value == pytest.approx(90 / 95)


def test_a_task_that_the_teacher_did_not_learn_decides_nothing() -> None:
    assert claims.is_learned([Invented()])  # type: ignore[list-item]
    assert not claims.is_learned([Invented(teacher=50.0)])  # type: ignore[list-item]
    assert not claims.is_learned([Invented(teacher=51.0)])  # type: ignore[list-item]
    with_trec = measured(Invented("sst-2"), Invented("trec", teacher=50.0, ft=50.0))
    assert set(with_trec) == ALWAYS
    assert with_trec["sd-retain-97"].value == pytest.approx(90 / 95)
    assert all("left out, as the teacher did not learn it: trec" in m.note for m in with_trec.values())
    assert not measured(Invented(teacher=50.0))
    assert "left out" not in measured(Invented())["sd-gap-3"].note


def test_a_scale_at_which_nothing_is_learned_decides_nothing() -> None:
    assert not measured(*EVERYTHING, scale="smoke")


def test_an_interval_covers_the_choice_of_examples() -> None:
    """90 of 95: the interval of one proportion's difference, from the normal approximation."""
    decide: Callable[..., Any] = claims.gain_of_kd
    interval = decide("trec", [Invented("trec", kd=90, scratch=80)]).interval
    half = 1.96 * 100 * np.sqrt(0.1 * 0.9 / N)
    assert interval.value == pytest.approx(10.0)
    assert (interval.low, interval.high) == (pytest.approx(10 - half, abs=0.6), pytest.approx(10 + half, abs=0.6))
    assert interval.n == N
