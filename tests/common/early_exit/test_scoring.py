"""Points, and differences with intervals."""

import numpy as np
import pytest

from common.early_exit.scoring import delta_interval, points_along, score_interval
from common.tasks.metrics import score


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews"])
def test_classes_are_scored_in_points(metric: str) -> None:
    rng = np.random.default_rng(0)
    p, y = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    assert float(points_along(metric)(p, y)) == pytest.approx(100 * score(metric, p, y))
    assert score_interval(metric, p, y).value == pytest.approx(100 * score(metric, p, y))


def test_a_delta_is_the_difference_of_two_scores() -> None:
    y = np.arange(100) % 2
    worse = np.where(np.arange(100) < 10, 1 - y, y)
    interval = delta_interval("accuracy", worse, y, y)
    assert interval.value == pytest.approx(-10)
    assert interval.low < -10 < interval.high < 0
