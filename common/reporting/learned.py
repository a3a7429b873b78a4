"""What a run learned at all: a task on which nothing beat the constant answer has no panel and sets no axis.

A task is learned if the reference (the baseline) scores above the constant answer, by its 95 % interval, in at least
one seed.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.records.measurements import Measurement
from common.reporting.series import Point, Series

CONSTANT = "constant answer"
ON_SCORES = ("score", "score_delta")
"""Metrics on whose axis the constant answer has a place."""

LEAST_MARGIN = 5.0
"""An axis of scores reaches at least so far below the constant answer (and above the best score), in points."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a score's axis that a panel may show; `constant` is where the constant answer lies."""

    constant: float
    low: float
    high: float

    def __contains__(self, y: float) -> bool:
        return self.low <= y <= self.high


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of each task with a constant answer.

    Attributes:
        constant, reference: the scores in points, means over seeds, by task.
        not_learned: tasks on which the reference beats the constant answer in no seed.
    """

    constant: dict[str, float]
    reference: dict[str, float]
    not_learned: tuple[str, ...]

    def constant_as(self, metric: str, task: str) -> float | None:
        """Return the constant answer's place on the axis of `metric`; None where it has none."""
        if task not in self.constant:
            return None
        if metric == "score_delta":
            return self.constant[task] - self.reference[task] if task in self.reference else None
        return self.constant[task] if metric in ON_SCORES else None


def learned(measurements: Iterable[Measurement], reference: str) -> Learned:
    """Compare `reference` with the constant answer, in the experiments that score both."""
    scores: dict[str, dict[str, list[Measurement]]] = defaultdict(lambda: defaultdict(list))
    rows = [m for m in measurements if m.metric == "score" and m.system in (CONSTANT, reference)]
    both = {m.experiment for m in rows if m.system == CONSTANT}
    for m in rows:
        if m.experiment in both:
            scores[m.task][m.system].append(m)
    constant = {task: _mean(of[CONSTANT]) for task, of in scores.items() if of[CONSTANT]}
    known = {task: of[reference] for task, of in scores.items() if of[CONSTANT] and of[reference]}
    return Learned(
        constant,
        {task: _mean(of) for task, of in known.items()},
        tuple(task for task, of in known.items() if not any(_lies_above(m, constant[task]) for m in of)),
    )


def _mean(scores: Sequence[Measurement]) -> float:
    return statistics.fmean(m.value for m in scores)


def _lies_above(score: Measurement, constant: float) -> bool:
    return (score.value if score.ci_low is None else score.ci_low) > constant


def collapsed_seeds(measurements: Iterable[Measurement], known: Learned) -> dict[tuple[str, str], tuple[int, int]]:
    """Return, by system and task, in how many of its seeds no score beats the constant answer, where not in all."""
    best: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for m in measurements:
        if m.metric == "score" and m.task in known.constant and m.seed is not None:
            of = best[m.system, m.task]
            of[m.seed] = max(of.get(m.seed, m.value), m.value)
    counts = {key: (sum(top <= known.constant[key[1]] for top in of.values()), len(of)) for key, of in best.items()}
    return {key: (failed, seeds) for key, (failed, seeds) in counts.items() if 0 < failed < seeds}


def window(constant: float, series: Iterable[Series]) -> Window | None:
    """Return what one panel's axis of scores may show, so that a collapsed rival does not flatten it.

    It reaches as far below the constant answer as half the way from there up to the best point. None where no point
    beats the constant answer: there is nothing to keep in view.
    """
    best = max(point.y for one in series for point in one.points)
    if best <= constant:
        return None
    margin = max(LEAST_MARGIN, (best - constant) / 2)
    return Window(constant, constant - margin, best + margin)


def below(view: Window | None, series: Series) -> list[Point]:
    """Return the points of a line that lie below what the panel shows."""
    return [] if view is None else [point for point in series.points if point.y < view.low]
