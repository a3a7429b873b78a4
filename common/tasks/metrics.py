"""The metrics of GLUE and its kin in one form: arrays first, then the axis that is reduced.

`score` gives one number and `points_along` thousands at once, as the bootstrap wants them, so that a printed score and
its interval are of the same metric for any number of classes. Where a metric is undefined (a correlation with a
constant, F1 without any positive) the value is 0, as in GLUE's own scoring.

On every row equal to `common.tasks.evaluate_metrics`, the same metrics from scikit-learn and SciPy (a test compares the
two), and thousands of times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import UserError

Array = NDArray[Any]
AxisScore = Callable[..., Array]
"""`score(predictions, labels, axis=-1)`: reduces that axis to the metric, a fraction."""

REGRESSION_METRICS = ("pearson", "spearman")


def score(metric: str, predictions: ArrayLike, labels: ArrayLike) -> float:
    """Score one vector of predictions against labels.

    Args:
        metric: one of `METRICS`.
        predictions: predicted class indices, or values for `pearson` and `spearman`; shape (n,).
        labels: true class indices or values; shape (n,).

    Returns:
        A fraction (0.87, not 87): 0..1, or -1..1 for correlations.

    Raises:
        UserError: no such metric.
        ValueError: nothing to score, different lengths, or values that are not finite.
    """
    compute = score_along(metric)
    predicted, true = np.asarray(predictions), np.asarray(labels)
    if predicted.ndim != 1 or predicted.shape != true.shape or predicted.size == 0:
        raise ValueError(f"need two equally long, non-empty vectors, got {predicted.shape} and {true.shape}")
    if not (np.isfinite(predicted).all() and np.isfinite(true).all()):
        raise ValueError("predictions and labels must be finite numbers")
    return float(compute(predicted, true))


def score_along(metric: str) -> AxisScore:
    """The vectorised form of `metric`.

    Raises:
        UserError: no such metric.
    """
    if metric not in METRICS:
        raise UserError(f"unknown metric '{metric}'; known: {', '.join(METRICS)}.")
    return METRICS[metric]


def points_along(metric: str) -> AxisScore:
    """`metric` in points, 0..100 (correlations -100..100), as `points(predictions, labels, axis=-1)`.

    Raises:
        UserError: no such metric.
    """
    fraction = score_along(metric)
    return lambda predictions, labels, axis=-1: 100 * fraction(predictions, labels, axis=axis)


def _accuracy(predictions: Array, labels: Array, axis: int = -1) -> Array:
    return np.asarray(np.mean(predictions == labels, axis=axis))


def _f1(predictions: Array, labels: Array, axis: int = -1) -> Array:
    """2 TP / (2 TP + FP + FN) of class 1 of two; 0 where there is no positive at all."""
    true_positives = ((predictions == 1) & (labels == 1)).sum(axis=axis)
    positives = (predictions == 1).sum(axis=axis) + (labels == 1).sum(axis=axis)
    return np.asarray(2 * true_positives / np.maximum(1, positives))


def _macro_f1(predictions: Array, labels: Array, axis: int = -1) -> Array:
    """Mean F1 over the classes that occur, predicted or true, in the row; resamples may lack a rare one."""
    predicted, true, both = _class_counts(predictions, labels, axis)
    occurring = predicted + true
    f1 = 2 * both / np.maximum(1, occurring)
    return np.asarray(f1.sum(axis=-1) / (occurring > 0).sum(axis=-1))


def _matthews(predictions: Array, labels: Array, axis: int = -1) -> Array:
    """Gorodkin's R_K, for two classes Matthews' own coefficient; 0 where one side is constant."""
    predicted, true, both = _class_counts(predictions, labels, axis)
    count, hits = true.sum(axis=-1), both.sum(axis=-1)
    covariance = count * hits - (predicted * true).sum(axis=-1)
    variances = [count**2 - (side**2).sum(axis=-1) for side in (predicted, true)]
    spread = np.sqrt(variances[0].astype(float) * variances[1])
    return np.where(spread > 0, covariance / np.where(spread > 0, spread, 1.0), 0.0)


def _class_counts(predictions: Array, labels: Array, axis: int) -> tuple[Array, Array, Array]:
    """How often each class is predicted, is true, and is both: three arrays (..., C)."""
    predicted, true = (np.moveaxis(side, axis, -1) for side in np.broadcast_arrays(predictions, labels))
    classes = 1 + int(max(predicted.max(), true.max()))
    rows = predicted.shape[:-1]
    count = int(np.prod(rows))
    first = classes * np.arange(count)[:, None]
    flat = [first + side.reshape(count, -1).astype(np.int64) for side in (predicted, true)]
    hits = flat[1][flat[0] == flat[1]]
    tables = (np.bincount(side.ravel(), minlength=count * classes) for side in (*flat, hits))
    found = [table.reshape(*rows, classes) for table in tables]
    return found[0], found[1], found[2]


def _pearson(predictions: Array, labels: Array, axis: int = -1) -> Array:
    """Correlation; 0 where one side is constant."""
    p = predictions - predictions.mean(axis=axis, keepdims=True)
    y = labels - labels.mean(axis=axis, keepdims=True)
    spread = np.sqrt((p * p).sum(axis=axis) * (y * y).sum(axis=axis))
    covariance = (p * y).sum(axis=axis)
    varies = (np.ptp(predictions, axis=axis) > 0) & (np.ptp(labels, axis=axis) > 0) & (spread > 0)
    return np.where(varies, covariance / np.where(varies, spread, 1.0), 0.0)


def _spearman(predictions: Array, labels: Array, axis: int = -1) -> Array:
    """Correlation of ranks, ties sharing their mean rank; 0 where one side is constant."""
    from scipy.stats import rankdata

    return _pearson(rankdata(predictions, axis=axis), rankdata(labels, axis=axis), axis=axis)


METRICS: Mapping[str, AxisScore] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "f1": _f1,
        "macro_f1": _macro_f1,
        "matthews": _matthews,
        "pearson": _pearson,
        "spearman": _spearman,
    }
)
