"""Points, correlations along an axis, and differences with intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.early_exit.scoring import delta_interval, points_along, score_interval
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
