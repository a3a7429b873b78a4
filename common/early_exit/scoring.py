"""Scores of answers with intervals over examples, and differences of two systems on the same examples.

Points are 0..100 of the task's own metric, in the vectorised forms of `common.tasks.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.records.statistics import Interval, bootstrap_statistic
from common.tasks.metrics import points_along as points_along

RESAMPLES = 2000

Array = NDArray[Any]


def score_interval(metric: str, predictions: Array, labels: Array) -> Interval:
    """Score in points."""
    return bootstrap_statistic(points_along(metric), predictions, labels, resamples=RESAMPLES)


def delta_interval(metric: str, predictions: Array, reference: Array, labels: Array) -> Interval:
    """Points gained over `reference` on the same examples (negative: lost)."""
    return bootstrap_statistic(difference(metric), predictions, reference, labels, resamples=RESAMPLES)


def difference(metric: str) -> Callable[..., Array]:
    """`f(first, second, labels, axis=-1)`: points that the first predictions score above the second."""
    points = points_along(metric)

    def statistic(first: Array, second: Array, labels: Array, axis: int = -1) -> Array:
        return np.asarray(points(first, labels, axis=axis) - points(second, labels, axis=axis))

    return statistic
