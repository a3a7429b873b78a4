"""Scores of answers with intervals over examples, and differences of two systems on the same examples.

Points are 0..100 of the task's own metric. Regressions are scored by a correlation, for which the vectorised forms
are here: ranks are recomputed in every resample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from common.claims import Array, Decision, Replicated
from common.records.statistics import Interval, bootstrap_statistic, percentile_interval
from common.tasks.vectorised import AxisScore, score_along

RESAMPLES = 2000

FindingsT = TypeVar("FindingsT")


def points_along(metric: str) -> AxisScore:
    """`metric` in points as `points(predictions, labels, axis=-1)`, correlations included.

    Raises:
        UserError: no such metric.
    """
    correlations: dict[str, AxisScore] = {"pearson": _pearson, "spearman": _spearman}
    fraction = correlations[metric] if metric in correlations else score_along(metric)
    return lambda predictions, labels, axis=-1: 100 * fraction(predictions, labels, axis=axis)


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


def score_interval(metric: str, predictions: Array, labels: Array) -> Interval:
    """Score in points."""
    return bootstrap_statistic(points_along(metric), predictions, labels, resamples=RESAMPLES)


def delta_interval(metric: str, predictions: Array, reference: Array, labels: Array) -> Interval:
    """Points gained over `reference` on the same examples (negative: lost)."""
    return bootstrap_statistic(difference(metric), predictions, reference, labels, resamples=RESAMPLES)


def gain(metric: str, seeds: Sequence[tuple[Array, Array, Array]]) -> Replicated:
    """Points that the first predictions score above the second; each seed gives (first, second, labels)."""
    return Replicated.of(seeds, difference(metric))


def difference(metric: str) -> Callable[..., Array]:
    """`f(first, second, labels, axis=-1)`: points that the first predictions score above the second."""
    points = points_along(metric)

    def statistic(first: Array, second: Array, labels: Array, axis: int = -1) -> Array:
        return np.asarray(points(first, labels, axis=axis) - points(second, labels, axis=axis))

    return statistic


def is_positive(difference: Replicated, examples: int) -> bool:
    """Whether the whole 95 % interval lies above 0."""
    return percentile_interval(difference.value, difference.replicates, examples).low > 0


def surely_above(metric: str, seeds: Sequence[tuple[Array, Array, Array]]) -> bool:
    """Whether the first predictions score above the second: the whole 95 % interval of `gain` does."""
    return is_positive(gain(metric, seeds), len(seeds[0][2]))


def decide_on_learned(
    decide: Callable[[dict[str, list[FindingsT]]], Decision | None],
    by_task: Mapping[str, list[FindingsT]],
    is_learned: Callable[[list[FindingsT]], bool],
) -> Decision | None:
    """Decide on the tasks that the baseline learned; the others are named in the note."""
    known = {task: findings for task, findings in by_task.items() if is_learned(findings)}
    decision = decide(known) if known else None
    if decision is None or len(known) == len(by_task):
        return decision
    left_out = ", ".join(sorted(by_task.keys() - known.keys()))
    return replace(decision, note=f"{decision.note}; left out, as the baseline did not learn it: {left_out}")


def grouped_by_task(findings: Sequence[FindingsT], task_of: Callable[[FindingsT], str]) -> dict[str, list[FindingsT]]:
    """The findings of each task, seeds in order."""
    by_task: dict[str, list[FindingsT]] = {}
    for f in findings:
        by_task.setdefault(task_of(f), []).append(f)
    return by_task
