"""What decides a claim: cells with effects, or a check that something holds by construction.

A paper's `claims.py` has one function a claim, from the record of a run to a `Decision`. It reads stored predictions
and measurements alone: no model, no torch. What is common to all papers is here: which tasks were learned at all, gains
and savings as effects, and the rule that a rival which did not learn decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.records.effects import Effect, effect_of
from common.records.predictions import Evidence
from common.records.tagging import labels_words, sentence_counts
from common.tasks.metrics import points_along
from common.tasks.tag_metrics import points as points_of_counts
from common.tasks.tag_metrics import points_ahead

if TYPE_CHECKING:
    from common.records.runs import RunRecord

Array = NDArray[Any]
ByTask = Mapping[str, Sequence[Evidence]]
"""The seeds of each task."""

Answers = Callable[[Evidence], Array]
"""The predictions of one system, (N,) on dev."""

SURE = 0.025
"""One-sided level of every comparison that stands for a 95 % interval."""


@dataclass(frozen=True)
class Limit:
    """What a claim also asks of a cell: that `effect` is at most `value` (a saving that costs little, say)."""

    effect: Effect
    value: float


@dataclass(frozen=True)
class Cell:
    """One task and setting of a comparison.

    Attributes:
        name: what it is.
        effect: in the claim's unit.
        task: empty where none is involved.
        limit: what must be kept besides; the cell is on the claim's side where both are sure, and on the other where
            one surely fails.
    """

    name: str
    effect: Effect
    task: str = ""
    limit: Limit | None = None


@dataclass(frozen=True)
class Decision:
    """The cells that decide an empirical claim, in the claim's unit.

    Attributes:
        cells: at least one.
        note: what a reader must know of how they were got.
        timed: whether they depend on the clock.
        left_out: tasks and rivals that decide nothing, each with its reason.
        averaged: the tasks behind cells that are means over tasks and so have none of their own.
    """

    cells: tuple[Cell, ...]
    note: str = ""
    timed: bool = False
    left_out: tuple[str, ...] = ()
    averaged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a decision without a cell: what cannot be decided is None."""
        if not self.cells:
            raise ValueError("a decision needs a cell")

    @property
    def tasks(self) -> list[str]:
        """The tasks that decide, in order."""
        return list(dict.fromkeys((*self.averaged, *(cell.task for cell in self.cells if cell.task))))

    @property
    def seeds(self) -> int:
        """The fewest seeds that a cell has."""
        return min(cell.effect.seeds for cell in self.cells)


@dataclass(frozen=True)
class Check:
    """Whether something that follows from the rule or a closed form does hold here."""

    holds: bool
    value: float
    note: str = ""


@dataclass(frozen=True)
class Undecided:
    """Why a run that has what a claim is about cannot decide it: every task and rival left out, with its reason."""

    left_out: tuple[str, ...]


Decide = Callable[["RunRecord"], "Decision | Check | Undecided | None"]
"""None: this run does not measure it."""


# -- Which tasks count ------------------------------------------------------------------------------------------------


def by_task(evidence: Sequence[Evidence]) -> dict[str, list[Evidence]]:
    """The seeds of each task, tasks in order of appearance."""
    grouped: dict[str, list[Evidence]] = {}
    for one in evidence:
        grouped.setdefault(one.task, []).append(one)
    return grouped


def constant_answer(evidence: Evidence) -> Array:
    """(N,) the constant that scores best on dev: a class, or for a regression the mean."""
    if not evidence.classes:
        return np.full(len(evidence.labels), float(np.mean(evidence.labels)))
    answers = [np.full_like(evidence.labels, label) for label in range(evidence.classes)]
    if labels_words(evidence):
        return max(answers, key=lambda a: sentence_counts(evidence, a).points)
    points = points_along(evidence.metric)
    return max(answers, key=lambda a: float(points(a, evidence.labels)))


def has_learned(seeds: Sequence[Evidence], answers: Answers) -> bool:
    """Whether a system surely scores above the constant answer (one-sided, 2.5 %), over all of its seeds.

    One rule for baselines, teachers and rivals alike. Where it fails, whoever is cheapest loses nothing.
    """
    return gain(seeds, answers, constant_answer).p_above(0.0) <= SURE


def learned(
    tasks: ByTask, answers: Answers, who: str = "the baseline"
) -> tuple[dict[str, list[Evidence]], tuple[str, ...]]:
    """The tasks that `answers` learned, and for the others a clause on why they decide nothing."""
    known = {task: list(seeds) for task, seeds in tasks.items() if has_learned(seeds, answers)}
    return known, _not_learned(tasks, known, who)


def learned_tasks(
    record: RunRecord, name: str = "baseline", who: str = "the baseline", among: Collection[str] = ()
) -> tuple[dict[str, list[Evidence]], tuple[str, ...]]:
    """The tasks of a run that the system `name` learned, and for the others a clause on why they decide nothing.

    None at a scale where trained quality means nothing; not what the architectures' shapes kept.

    Args:
        record: the run.
        name: whoever has to have learned a task for it to count.
        who: what a reader calls it.
        among: these tasks alone; empty for all.
    """
    if not record.quality_counts:
        return {}, ()
    trained = by_task([e for e in record.evidence if e.metric and (not among or e.task in among)])
    known = {task: seeds for task, seeds in trained.items() if _has_learned_once(tuple(seeds), name)}
    return known, _not_learned(trained, known, who)


@lru_cache(maxsize=64)
def _has_learned_once(seeds: tuple[Evidence, ...], name: str) -> bool:
    # Remembered, because every claim of a paper asks, and ranks of thousands of resamples take seconds.
    return has_learned(seeds, system(name))


def _not_learned(tasks: Collection[str], known: Collection[str], who: str) -> tuple[str, ...]:
    return tuple(f"{task}: {who} did not learn it" for task in tasks if task not in known)


# -- Effects of a task ------------------------------------------------------------------------------------------------


def system(name: str, setting: str = "") -> Answers:
    """The predictions of a system at a setting."""
    return lambda evidence: evidence.answers(name, setting)


def gain(seeds: Sequence[Evidence], first: Answers, second: Answers) -> Effect:
    """Points of the task's metric that `first` scores above `second` on the same examples.

    Where words are labelled, an example is a sentence.
    """
    if labels_words(seeds[0]):
        counts = [(*sentence_counts(e, first(e)).arrays, *sentence_counts(e, second(e)).arrays) for e in seeds]
        return effect_of(seeds[0].task, counts, points_ahead)
    if seeds[0].metric == "accuracy":  # the same number from one array: several times as fast
        ahead = [hits(e, first).astype(np.int8) - hits(e, second) for e in seeds]
        return effect_of(seeds[0].task, [(a,) for a in ahead], np.mean).scaled(100.0)
    points = points_along(seeds[0].metric)

    def difference(a: Array, b: Array, labels: Array, axis: int = -1) -> Array:
        return np.asarray(points(a, labels, axis=axis) - points(b, labels, axis=axis))

    return effect_of(seeds[0].task, [(first(e), second(e), e.labels) for e in seeds], difference)


def hits(evidence: Evidence, answers: Answers) -> Array:
    """(N,) whether a system is right."""
    return np.asarray(answers(evidence) == evidence.labels)


def score(seeds: Sequence[Evidence], answers: Answers) -> Effect:
    """Score in points."""
    if labels_words(seeds[0]):
        return effect_of(seeds[0].task, [sentence_counts(e, answers(e)).arrays for e in seeds], points_of_counts)
    return effect_of(seeds[0].task, [(answers(e), e.labels) for e in seeds], points_along(seeds[0].metric))


def time_saved(seeds: Sequence[Evidence], name: str, setting: str = "", baseline: str = "baseline") -> Effect:
    """Share of the baseline's wall time saved on the timed texts, each text timed under both."""

    def saved(mine: Array, full: Array, axis: int = -1) -> Array:
        return np.asarray(1 - mine.sum(axis=axis) / full.sum(axis=axis))

    return effect_of(seeds[0].task, [(e.seconds(name, setting), e.seconds(baseline)) for e in seeds], saved)


def speedup(seeds: Sequence[Evidence], name: str, setting: str = "", baseline: str = "baseline") -> Effect:
    """How many times as fast as the baseline on the timed texts."""

    def times(mine: Array, full: Array, axis: int = -1) -> Array:
        return np.asarray(full.sum(axis=axis) / mine.sum(axis=axis))

    return effect_of(seeds[0].task, [(e.seconds(name, setting), e.seconds(baseline)) for e in seeds], times)
