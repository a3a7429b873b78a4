"""Points, correlations along an axis, and differences with intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.early_exit.scoring import (
    decide_on_learned,
    delta_interval,
    gain,
    grouped_by_task,
    is_positive,
    points_along,
    score_interval,
    surely_above,
)
from common.records.replicated import Decision
from common.records.statistics import Interval
from common.tasks.metrics import score

values = st.lists(st.integers(-5, 5), min_size=3, max_size=30)


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=3), st.sampled_from(["pearson", "spearman"]), st.integers(0, 99))
def test_correlations_along_an_axis_equal_scipys(rows: list[list[int]], metric: str, seed: int) -> None:
    width = min(map(len, rows))
    predictions = np.array([row[:width] for row in rows], dtype=float)
    labels = np.random.default_rng(seed).integers(0, 4, predictions.shape).astype(float)
    along = points_along(metric)(predictions, labels)
    for p, y, value in zip(predictions, labels, along, strict=True):
        assert value == pytest.approx(100 * score(metric, p, y), abs=1e-9)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews"])
def test_classes_are_scored_in_points(metric: str) -> None:
    rng = np.random.default_rng(0)
    p, y = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    assert float(points_along(metric)(p, y)) == pytest.approx(100 * score(metric, p, y))
    assert score_interval(metric, p, y).value == pytest.approx(100 * score(metric, p, y))


def test_a_constant_correlates_with_nothing() -> None:
    assert float(points_along("spearman")(np.full(9, 2.7), np.arange(9.0))) == 0.0


def test_a_delta_is_the_difference_of_two_scores() -> None:
    y = np.arange(100) % 2
    worse = np.where(np.arange(100) < 10, 1 - y, y)
    interval = delta_interval("accuracy", worse, y, y)
    assert interval.value == pytest.approx(-10)
    assert interval.low < -10 < interval.high < 0
    paired = gain("accuracy", [(y, worse, y)])
    assert paired.value == pytest.approx(10)
    assert is_positive(paired, 100)
    assert not is_positive(gain("accuracy", [(worse, y, y)]), 100)
    assert surely_above("accuracy", [(y, worse, y)])
    assert not surely_above("accuracy", [(worse, y, y)])


def test_tasks_that_were_not_learned_are_left_out_and_named() -> None:
    def decide(known: dict[str, list[int]]) -> Decision:
        return Decision(Interval.exact(float(sum(map(sum, known.values())))), "sum", timed=False)

    tasks = grouped_by_task([1, 2, 30], lambda f: "big" if f > 9 else "small")
    assert tasks == {"small": [1, 2], "big": [30]}
    some = decide_on_learned(decide, tasks, lambda fs: fs[0] < 9)
    assert some is not None
    assert some.interval.value == 3
    assert some.note.endswith("did not learn it: big")
    everything = decide_on_learned(decide, tasks, lambda fs: True)
    assert everything is not None
    assert everything.note == "sum"
    assert decide_on_learned(decide, tasks, lambda fs: False) is None
