"""The classification metrics for many resamples at once, as the bootstrap wants them: arrays first, then an axis.

Equal to `common.tasks.metrics` on every single row (a test compares them), thousands of times as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

Array = NDArray[Any]
AxisScore = Callable[..., Array]
"""`score(predictions, labels, axis=-1)`: reduces that axis to the metric, a fraction."""


def score_along(metric: str) -> AxisScore:
    """The vectorised form of `metric`.

    Raises:
        UserError: it has none here.
    """
    known: dict[str, AxisScore] = {"accuracy": _accuracy, "f1": _f1, "matthews": _matthews}
    if metric not in known:
        raise UserError(f"no vectorised {metric!r}; there are {', '.join(known)}")
    return known[metric]


def _accuracy(predictions: Array, labels: Array, axis: int = -1) -> Array:
    return np.asarray(np.mean(predictions == labels, axis=axis))


def _f1(predictions: Array, labels: Array, axis: int = -1) -> Array:
    """2 TP / (2 TP + FP + FN) of class 1; 0 where there is no positive at all."""
    true_positives = ((predictions == 1) & (labels == 1)).sum(axis=axis)
    positives = (predictions == 1).sum(axis=axis) + (labels == 1).sum(axis=axis)
    return np.asarray(2 * true_positives / np.maximum(1, positives))


def _matthews(predictions: Array, labels: Array, axis: int = -1) -> Array:
    """Correlation of two binary variables; 0 where one is constant."""
    p, t = (predictions == 1).astype(float), (labels == 1).astype(float)
    covariance = (p * t).mean(axis=axis) - p.mean(axis=axis) * t.mean(axis=axis)
    spread = np.sqrt(p.var(axis=axis) * t.var(axis=axis))
    return np.where(spread > 0, covariance / np.where(spread > 0, spread, 1.0), 0.0)
