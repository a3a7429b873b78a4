"""What decides each claim, on invented predictions: shown, refuted, and what decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.paper import load_paper
from common.records.claims import Decision
from common.records.measurements import ClaimResult, Measurement
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name, write_predictions
from common.records.runs import RunRecord
from common.records.verdicts import decide_claims
from replications.sparse_distillation import claims
from replications.sparse_distillation.claims import DECIDERS
from replications.sparse_distillation.names import (
    DISTILLED,
    FROM_TRAIN,
    FULL_STUDENT,
    FULL_TEACHER,
    POOLING,
    PRIVATE,
    SCRATCH,
    STUDENT,
    TEACHER,
    grid_setting,
    grid_system,
    kept_setting,
    longest_setting,
    table_shape_name,
)

PAPER = load_paper(Path(claims.__file__).with_name("paper.yaml"))
N = 1000
TEXTS = np.arange(N)
Points = dict[str, float]
Recorded = Callable[..., RunRecord]

MAIN = {TEACHER: 95.0, SCRATCH: 80.0, PRIVATE: 90.0, DISTILLED: 90.0, STUDENT: 91.0}
FEW, SHORT = f"{STUDENT}@{kept_setting(0.03, FROM_TRAIN)}", f"{STUDENT}@{longest_setting(2)}"


def task(name: str, seed: int = 0, *, positives: int = 500, **more: Any) -> Evidence:
    """A task of two classes with `positives` of `N` in class 1; systems score the points given, wrong at the end."""
    labels = (positives > TEXTS % 1000).astype(np.int8)
    labels = labels[np.random.default_rng(5).permutation(N)]
    points: Points = {**MAIN, **more.pop("points", {})}
    arrays = {LABELS: labels, **more}
    for system, value in points.items():
        arrays[answers_name(system)] = np.where(round(value * N / 100) > TEXTS, labels, 1 - labels)
    return Evidence(name, seed, "accuracy", 2, 6, arrays)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """A record of this evidence, on disk."""

    def record(*evidence: Evidence, rows: Sequence[Measurement] = (), environment: Any = None) -> RunRecord:
        write_predictions(tmp_path / "predictions.npz", evidence)
        return RunRecord("mini-files", tuple(rows), environment=environment or {}, folder=tmp_path)

    return record


def verdict(record: RunRecord, claim: str) -> ClaimResult:
    (one,) = (c for c in PAPER.claims if c.id == claim)
    (result,) = decide_claims(PAPER.model_copy(update={"claims": (one,)}), record, {claim: DECIDERS[claim]})
    return result


def cells(record: RunRecord, claim: str) -> dict[str, float]:
    decision = DECIDERS[claim](record)
    assert isinstance(decision, Decision)
    return {cell.name: pytest.approx(cell.effect.value) for cell in decision.cells}  # type: ignore[misc]


# -- Student and teacher ----------------------------------------------------------------------------------------------


def test_retained_is_the_mean_share_of_single_sentence_tasks(recorded: Recorded) -> None:
    good = recorded(task("imdb", points={STUDENT: 94.5}), task("trec", points={STUDENT: 95.0}), task("qqp-sample"))
    assert cells(good, "sd-retain-97") == {"imdb": 94.5 / 95, "trec": 1.0}
    result = verdict(good, "sd-retain-97")
    assert (result.verdict, result.measured) == ("seen here", pytest.approx((94.5 / 95 + 1) / 2))
    assert "without the paper's sst-2, ag-news" in result.premise_lacks
    low = recorded(task("imdb", points={STUDENT: 85.0}), task("trec", points={STUDENT: 86.0}))
    assert verdict(low, "sd-retain-97").verdict == "not seen here"
    near = recorded(task("imdb", points={STUDENT: 92.0}))
    assert verdict(near, "sd-retain-97").verdict == "inconclusive"


def test_the_gap_is_on_every_task_but_the_paper_s_exception(recorded: Recorded) -> None:
    far = task("sst-2", points={STUDENT: 80.0})
    good = recorded(task("imdb", points={STUDENT: 94.0}), task("ag-news", points={STUDENT: 94.5}), far)
    assert cells(good, "sd-gap-3") == {"imdb": 1.0, "ag-news": 0.5}
    result = verdict(good, "sd-gap-3")
    assert result.verdict == "seen here"
    assert "sst-2: the paper's own exception" in result.note
    bad = recorded(task("imdb", points={STUDENT: 94.0}), task("ag-news", points={STUDENT: 88.0}))
    assert verdict(bad, "sd-gap-3").verdict == "not seen here", "one task that is surely beyond is enough"
    assert verdict(recorded(task("imdb", points={STUDENT: 92.0})), "sd-gap-3").verdict == "inconclusive"
    assert DECIDERS["sd-gap-3"](recorded(far)) is None


def test_the_gap_closed_is_a_share_of_the_way_from_scratch_to_teacher(recorded: Recorded) -> None:
    good = recorded(task("imdb"), task("trec", points={SCRATCH: 65.0}), task("ag-news", points={STUDENT: 81.0}))
    assert cells(good, "sd-kd-half-gap") == {"imdb": 11 / 15, "trec": 26 / 30}
    assert verdict(good, "sd-kd-half-gap").verdict == "seen here"
    little = verdict(recorded(task("imdb", points={STUDENT: 85.0})), "sd-kd-half-gap")
    assert (little.verdict, little.direction, little.size) == ("seen here", "yes", "no"), "some of it, not half"
    none = recorded(task("imdb", points={STUDENT: 76.0}))
    assert verdict(none, "sd-kd-half-gap").verdict == "not seen here"


def test_no_gap_and_no_rival_close_no_gap(recorded: Recorded) -> None:
    closed, constant = task("imdb", points={SCRATCH: 94.9}), task("trec", points={SCRATCH: 50.0})
    result = verdict(recorded(closed, constant, task("sst-2")), "sd-kd-half-gap")
    assert [cell.name for cell in result.cells] == ["sst-2"]
    assert "imdb: no sure gap" in result.note
    assert f"trec: {SCRATCH} did not learn it" in result.note


def test_a_task_that_the_teacher_did_not_learn_decides_nothing(recorded: Recorded) -> None:
    result = verdict(recorded(task("imdb"), task("trec", points={TEACHER: 51.0})), "sd-retain-97")
    assert [cell.name for cell in result.cells] == ["imdb"]
    assert "trec: the teacher did not learn it" in result.note
    assert DECIDERS["sd-retain-97"](recorded(task("imdb", points={TEACHER: 51.0}))) is None


def test_a_task_of_one_s_own_decides_nothing(recorded: Recorded) -> None:
    assert DECIDERS["sd-retain-97"](recorded(task("rte"), task("mine"))) is None


def test_the_gain_is_largest_where_it_exceeds_every_other(recorded: Recorded) -> None:
    small = task("trec", points={SCRATCH: 65.0})  # gains 25
    good = recorded(small, task("imdb"), task("qqp-sample", points={SCRATCH: 84.0}))
    assert cells(good, "sd-trec-13") == {"trec above imdb": 15.0, "trec above qqp-sample": 19.0}
    result = verdict(good, "sd-trec-13")
    assert (result.verdict, result.size) == ("seen here", "yes")
    assert "on trec: 25.0 [" in result.note
    bad = recorded(small, task("imdb"), task("sst-2", points={SCRATCH: 55.0}))
    assert verdict(bad, "sd-trec-13").verdict == "not seen here", "large, but not the largest"
    assert DECIDERS["sd-trec-13"](recorded(task("imdb"), task("sst-2"))) is None
    assert DECIDERS["sd-trec-13"](recorded(task("trec", points={SCRATCH: 50.0}), task("imdb"))) is None


def test_a_margin_between_tasks_has_the_variances_of_both(recorded: Recorded) -> None:
    decision = DECIDERS["sd-trec-13"](recorded(task("trec", points={SCRATCH: 65.0}), task("imdb")))
    assert isinstance(decision, Decision)
    # Gains of 25 and 10 points on 1,000 examples each: variances of a share p are p (1 - p) / n.
    expected = 100 * np.sqrt((0.25 * 0.75 + 0.1 * 0.9) / N)
    assert decision.cells[0].effect.error == pytest.approx(expected, rel=0.1)


# -- Without task data ------------------------------------------------------------------------------------------------


def test_the_cost_of_privacy_is_bounded_on_every_task(recorded: Recorded) -> None:
    good = recorded(task("imdb", points={PRIVATE: 89.9}), task("trec", points={PRIVATE: 90.5}))
    assert cells(good, "sd-private-1-2") == {"imdb": 0.1, "trec": -0.5}
    assert verdict(good, "sd-private-1-2").verdict == "seen here"
    bad = recorded(task("imdb", points={PRIVATE: 89.9}), task("trec", points={PRIVATE: 86.0}))
    assert verdict(bad, "sd-private-1-2").verdict == "not seen here"
    collapsed = task("trec", points={DISTILLED: 51.0})
    assert "trec: DAN (KD) did not learn it" in verdict(recorded(task("imdb"), collapsed), "sd-private-1-2").note


def collapsed(seed: int, positives: int = 370) -> Evidence:
    """A student that says "not duplicate" to every pair, where KD is 6 points above that."""
    e = task("qqp-sample", seed, positives=positives, points={DISTILLED: 69.0, SCRATCH: 65.0, STUDENT: 69.0})
    return Evidence(e.task, seed, e.metric, 2, 6, {**e.arrays, answers_name(PRIVATE): np.zeros(N, dtype=np.int8)})


def test_a_student_that_answers_the_constant_has_collapsed(recorded: Recorded) -> None:
    result = verdict(recorded(collapsed(0), collapsed(1), task("imdb")), "sd-private-qqp-collapse")
    assert (result.verdict, result.measured, result.ci_low) == ("seen here", 1.0, 1.0)
    assert "6.0 points lost of 6.0 above the constant" in result.note
    assert "one answer to every pair in 2 of 2 seeds" in result.note


def test_a_student_that_keeps_some_of_it_has_not_collapsed(recorded: Recorded) -> None:
    half = task("qqp-sample", points={DISTILLED: 80.0, PRIVATE: 65.0})
    result = verdict(recorded(half), "sd-private-qqp-collapse")
    assert (result.verdict, result.measured) == ("not seen here", pytest.approx(0.5))
    assert DECIDERS["sd-private-qqp-collapse"](recorded(task("paraphrase"))) is None
    ignorant = task("qqp-sample", points={DISTILLED: 51.0, PRIVATE: 50.0})
    assert DECIDERS["sd-private-qqp-collapse"](recorded(ignorant)) is None, "nothing was known that could be lost"


# -- IMDB's studies ---------------------------------------------------------------------------------------------------


def grid(name: str, budgets: dict[str, list[tuple[int, int, float]]]) -> Evidence:
    """For each budget (|V| asked for, |V| there, points); d_e halves as |V| doubles."""
    points, shapes = {}, {}
    for budget, tables in budgets.items():
        points |= {f"{grid_system(budget)}@{grid_setting(size)}": value for size, _, value in tables}
        shapes[table_shape_name(budget)] = np.array([(size, there, 8000 // size) for size, there, _ in tables])
    return task(name, points=points, **shapes)


def test_the_widest_table_wins_in_every_budget(recorded: Recorded) -> None:
    good = recorded(
        grid("imdb", {"1K": [(10, 10, 92), (20, 20, 91), (40, 40, 88)], "2K": [(20, 20, 93), (40, 40, 90)]})
    )
    names = ["1K: 10 n-grams above 40", "2K: 20 n-grams above 40"]
    assert cells(good, "sd-dim-over-vocab") == dict(zip(names, (4.0, 3.0), strict=True))
    result = verdict(good, "sd-dim-over-vocab")
    assert result.verdict == "seen here"
    assert "1K: 92.0, 91.0, 88.0" in result.note
    bad = recorded(grid("imdb", {"1K": [(10, 10, 92), (20, 20, 88)], "2K": [(20, 20, 88), (40, 40, 91)]}))
    assert verdict(bad, "sd-dim-over-vocab").verdict == "not seen here"


def test_a_table_that_the_corpus_does_not_fill_is_not_in_its_budget(recorded: Recorded) -> None:
    record = recorded(
        grid("sentiment", {"1K": [(10, 10, 92), (20, 20, 90), (40, 25, 99)], "2K": [(20, 20, 93), (40, 25, 80)]})
    )
    assert cells(record, "sd-dim-over-vocab") == {"1K: 10 n-grams above 20": 2.0}
    assert "2K: the corpus has too few n-grams" in verdict(record, "sd-dim-over-vocab").note


def poolings(**points: float) -> Evidence:
    values = {"mean": 90.0, "max": 85.0, "sum": 88.0, "attentive": 87.0, **points}
    return task("imdb", points={f"{POOLING}@{name}": value for name, value in values.items()})


def test_mean_pooling_is_held_against_each_other_pooling(recorded: Recorded) -> None:
    good = recorded(poolings())
    assert cells(good, "sd-mean-pool-best") == {"above max": 5.0, "above sum": 2.0, "above attentive": 3.0}
    assert verdict(good, "sd-mean-pool-best").verdict == "seen here"
    assert verdict(recorded(poolings(sum=93.0)), "sd-mean-pool-best").verdict == "not seen here"
    unlearned = verdict(recorded(poolings(max=50.0)), "sd-mean-pool-best")
    assert [cell.name for cell in unlearned.cells] == ["above sum", "above attentive"]
    assert "max: did not learn" in unlearned.note


@pytest.mark.parametrize(("claim", "system"), [("sd-prune-3pct", FEW), ("sd-bigrams-suffice", SHORT)])
def test_disabled_n_grams_cost_points_of_the_student_s_own(recorded: Recorded, claim: str, system: str) -> None:
    """91 with all n-grams. Nothing printed enters."""
    good = recorded(task("imdb", points={system: 90.8}))
    assert cells(good, claim) == {"imdb": 0.2}
    assert verdict(good, claim).verdict == "seen here"
    assert verdict(recorded(task("imdb", points={system: 80.0})), claim).verdict == "not seen here"
    assert DECIDERS[claim](recorded(task("imdb", points={STUDENT: 51.0, system: 51.0}))) is None


def test_pruning_is_judged_on_every_task_and_bigrams_on_the_documents_alone(recorded: Recorded) -> None:
    both = {FEW: 90.8, SHORT: 90.8}
    record = recorded(task("sentiment", points=both), task("imdb", points=both), task("ag-news", points=both))
    assert set(cells(record, "sd-prune-3pct")) == {"imdb", "ag-news", "sentiment"}
    assert set(cells(record, "sd-bigrams-suffice")) == {"imdb"}


# -- Size and speed ---------------------------------------------------------------------------------------------------


def size(system: str, value: float) -> Measurement:
    return Measurement(experiment="table4", system=system, metric="parameters_total", value=value, unit="count")


def test_the_size_is_a_ratio_of_counts(recorded: Recorded) -> None:
    record = recorded(rows=[size(FULL_STUDENT, 1001e6), size(FULL_TEACHER, 355e6)])
    result = verdict(record, "sd-1b-params")
    assert (result.verdict, result.measured) == ("holds", pytest.approx(1001 / 355))
    small = recorded(rows=[size(FULL_STUDENT, 900e6), size(FULL_TEACHER, 355e6)])
    assert verdict(small, "sd-1b-params").verdict == "broken"
    assert DECIDERS["sd-1b-params"](recorded(rows=[size(FULL_STUDENT, 1001e6)])) is None


def timed(ratios: Sequence[float], name: str = "imdb") -> Evidence:
    seconds = np.linspace(0.01, 0.02, len(ratios))
    arrays = {seconds_name(FULL_STUDENT): seconds, seconds_name(FULL_TEACHER): seconds * np.array(ratios)}
    return Evidence(name, 0, "", 0, 0, arrays)


QUIET = {"timing": {"others_load_max": 0.1}}


def test_the_speed_up_is_the_mean_over_rounds_with_its_own_interval(recorded: Recorded) -> None:
    record = recorded(timed([650, 660, 670, 655, 665, 660]), timed([3] * 6, "sst-2"), environment=QUIET)
    result = verdict(record, "sd-speed-600-cpu")
    assert (result.verdict, result.measured) == ("seen here", pytest.approx(660, rel=1e-5))
    # Standard deviation sqrt(50), six rounds: t of 2.571 with 5 degrees of freedom.
    assert result.ci_high == pytest.approx(660 + 2.5706 * np.sqrt(50 / 6), rel=1e-4)
    assert [(cell.n, cell.seeds) for cell in result.cells] == [(6, 0)]
    assert "6 rounds" in result.note and "too few" not in result.note
    slower = recorded(timed([0.5, 0.51, 0.49, 0.5, 0.52, 0.5]), environment=QUIET)
    assert verdict(slower, "sd-speed-600-cpu").verdict == "not seen here"
    assert DECIDERS["sd-speed-600-cpu"](recorded(timed([600] * 6, "sst-2"))) is None


def test_two_rounds_are_a_range_and_say_so(recorded: Recorded) -> None:
    result = verdict(recorded(timed([3154, 6973]), environment=QUIET), "sd-speed-600-cpu")
    assert result.verdict == "inconclusive"
    assert "2 rounds" in result.note
    assert "they range from 3,154 to 6,973" in result.note


def test_a_busy_machine_decides_no_speed(recorded: Recorded) -> None:
    busy = {"timing": {"others_load_max": 1.5}}
    record = recorded(timed([650, 660, 670, 655, 665, 660]), environment=busy)
    assert verdict(record, "sd-speed-600-cpu").verdict == "inconclusive"
