"""The metrics of GLUE and its kin, as fractions, on scikit-learn and scipy.

`score("f1", predictions, labels)` is all that the rest of the project calls. Values are fractions (0.87, not
87), so that tables alone decide about points. Where a metric is undefined (a correlation with a constant, F1
without any positive), the value is 0.0, as in GLUE's own scoring, and no warning is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import UserError

Values = Sequence[float] | npt.NDArray[Any]
_Array = npt.NDArray[Any]

REGRESSION_METRICS = ("pearson", "spearman")


def score(metric: str, predictions: Values, labels: Values) -> float:
    """Score predictions against labels.

    Args:
        metric: one of `METRICS`.
        predictions: predicted class indices, or values for `pearson` and `spearman`; shape (n,).
        labels: true class indices or values; shape (n,).

    Returns:
        A fraction: 0..1, or -1..1 for correlations.

    Raises:
        UserError: unknown metric.
        ValueError: nothing to score, different lengths, or values that are not finite.
    """
    try:
        compute = METRICS[metric]
    except KeyError:
        raise UserError(f"unknown metric '{metric}'; known: {', '.join(METRICS)}.") from None
    predicted, true = np.asarray(predictions), np.asarray(labels)
    if predicted.ndim != 1 or predicted.shape != true.shape or predicted.size == 0:
        raise ValueError(f"need two equally long, non-empty vectors, got {predicted.shape} and {true.shape}")
    if not (np.isfinite(predicted).all() and np.isfinite(true).all()):
        raise ValueError("predictions and labels must be finite numbers")
    return compute(predicted, true)


def _accuracy(predicted: _Array, true: _Array) -> float:
    return float(np.mean(predicted == true))


def _f1(predicted: _Array, true: _Array) -> float:
    """F1 of class 1 in a two-class task (MRPC, QQP)."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, pos_label=1, average="binary", zero_division=0.0))


def _macro_f1(predicted: _Array, true: _Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="macro", zero_division=0.0))


def _matthews(predicted: _Array, true: _Array) -> float:
    """Matthews' correlation; 0.0 where all predictions or all labels are one class."""
    from sklearn.metrics import matthews_corrcoef

    if _constant(predicted) or _constant(true):
        return 0.0
    return float(matthews_corrcoef(true, predicted))


def _pearson(predicted: _Array, true: _Array) -> float:
    from scipy.stats import pearsonr

    return 0.0 if _constant(predicted) or _constant(true) else float(pearsonr(predicted, true).statistic)


def _spearman(predicted: _Array, true: _Array) -> float:
    from scipy.stats import spearmanr

    return 0.0 if _constant(predicted) or _constant(true) else float(spearmanr(predicted, true).statistic)


def _constant(values: _Array) -> bool:
    return bool(np.all(values == values[0]))


METRICS: Mapping[str, Callable[[_Array, _Array], float]] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "f1": _f1,
        "macro_f1": _macro_f1,
        "matthews": _matthews,
        "pearson": _pearson,
        "spearman": _spearman,
    }
)
