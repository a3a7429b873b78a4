"""Scores of answers with intervals over examples, and differences of two systems on the same examples.

Points are 0..100 of the task's own metric, in the vectorised forms of `common.tasks.vectorised`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from common.records.replicated import Array, Decision, Replicated
from common.records.statistics import Interval, bootstrap_statistic, percentile_interval
from common.tasks.vectorised import points_along as points_along

RESAMPLES = 2000

FindingsT = TypeVar("FindingsT")


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
