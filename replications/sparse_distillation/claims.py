"""What decides the paper's claims, from stored predictions and measurements alone.

Claims over the paper's six single-sentence tasks are decided on those that there are; where the paper's own table has
an exception ("5 of 6"), that task decides nothing. Nor does a task that the teacher did not learn, or a rival that did
not learn. What the paper studies on IMDB is decided there, else on the generated `sentiment`. Every task here is
scored by accuracy, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.records.claims import (
    SURE,
    Answers,
    Cell,
    Decide,
    Decision,
    by_task,
    constant_answer,
    gain,
    has_learned,
    hits,
    learned,
    system,
)
from common.records.effects import Component, Effect, mean_effect, ratio_of_means
from common.records.predictions import Evidence, seconds_name
from replications.sparse_distillation.names import (
    DISTILLED,
    FROM_TRAIN,
    FULL_STUDENT,
    FULL_TEACHER,
    POOLING,
    PRIVATE,
    SCRATCH,
    STUDENT,
    TEACHER,
    grid_setting,
    grid_system,
    kept_setting,
    longest_setting,
    table_shape_name,
)

if TYPE_CHECKING:
    from common.records.runs import RunRecord

Array = NDArray[Any]
Tasks = dict[str, list[Evidence]]

SINGLE = ("imdb", "sst-2", "trec", "ag-news", "sentiment")
"""The paper's single-sentence tasks that are at hand, and the generated one."""

QUESTION_PAIRS = ("qqp", "qqp-sample")
DOCUMENTS = ("imdb", "sentiment")
"""The first that there is stands for the paper's IMDB."""

PRUNED = ("imdb", "ag-news", "sentiment")
SMALL_SET = "trec"
OTHER_POOLINGS = ("max", "sum", "attentive")

ENOUGH_ROUNDS = 6
"""Fewer passes on the clock are a range, not an interval."""


# -- Which tasks decide -----------------------------------------------------------------------------------------------


def taught(record: RunRecord, names: Sequence[str]) -> tuple[Tasks, list[str]]:
    """Of the named tasks those that the teacher learned, and why the others decide nothing."""
    found = by_task([e for e in record.evidence if e.task in names and e.has_answers(TEACHER)])
    known, left_out = learned(found, system(TEACHER), "the teacher")
    return dict(known), list(left_out)


def first_of(record: RunRecord, names: Sequence[str]) -> tuple[Tasks, list[str]]:
    """The same of the first of these tasks that the run has."""
    there = {e.task for e in record.evidence}
    return taught(record, [name for name in names if name in there][:1])


def rivals_that_learned(tasks: Tasks, name: str, left_out: list[str]) -> Tasks:
    """The tasks that the system learned as well; for the others a clause is added to `left_out`."""
    known, more = learned(tasks, system(name), name)
    left_out.extend(more)
    return known


def without(tasks: Tasks, exception: str, why: str, left_out: list[str]) -> Tasks:
    """The tasks but for the paper's own exception."""
    if exception in tasks:
        left_out.append(f"{exception}: {why}")
    return {task: seeds for task, seeds in tasks.items() if task != exception}


def decided(cells: Iterable[Cell], note: str = "", left_out: Sequence[str] = ()) -> Decision | None:
    """The decision of these cells, or None where there are none."""
    found = tuple(cells)
    return Decision(found, note, left_out=tuple(left_out)) if found else None


# -- Effects of a task ------------------------------------------------------------------------------------------------


def right(e: Evidence, name: str, setting: str = "") -> Array:
    """(N,) 1 where the system is right, else 0."""
    return hits(e, system(name, setting)).astype(np.int8)


def above(seeds: Sequence[Evidence], first: str, second: str) -> Effect:
    """Points that one system scores above another."""
    return gain(seeds, system(first), system(second))


def mean_points(seeds: Sequence[Evidence], answers: Answers) -> str:
    """A system's score, for a note."""
    return f"{100 * np.mean([hits(e, answers) for e in seeds]):.1f}"


def share(seeds: Sequence[Evidence], parts: Sequence[Array], wholes: Sequence[Array]) -> Effect:
    """Mean of `parts` over mean of `wholes`, each (N,) for each seed."""

    def part(a: Array, b: Array, axis: int = -1) -> Array:
        return np.asarray(a.mean(axis=axis))

    def whole(a: Array, b: Array, axis: int = -1) -> Array:
        return np.asarray(b.mean(axis=axis))

    return ratio_of_means([seeds[0].task], [list(zip(parts, wholes, strict=True))], part, whole)


# -- Student and teacher (Table 2) ------------------------------------------------------------------------------------


def retained(record: RunRecord) -> Decision | None:
    """Share of the teacher's accuracy that the student keeps."""
    tasks, left_out = taught(record, SINGLE)

    def kept(seeds: list[Evidence]) -> Effect:
        return share(seeds, [right(e, STUDENT) for e in seeds], [right(e, TEACHER) for e in seeds])

    return decided((Cell(task, kept(seeds), task) for task, seeds in tasks.items()), STUDENT, left_out)


def gap_to_teacher(record: RunRecord) -> Decision | None:
    """Points that the student lacks to its teacher."""
    tasks, left_out = taught(record, SINGLE)
    tasks = without(tasks, "sst-2", "the paper's own exception", left_out)
    cells = (Cell(task, above(seeds, TEACHER, STUDENT), task) for task, seeds in tasks.items())
    return decided(cells, f"{STUDENT} below the teacher", left_out)


def gap_closed(record: RunRecord) -> Decision | None:
    """Share of the way from the student without a teacher to the teacher that distillation goes."""
    tasks, left_out = taught(record, SINGLE)
    tasks = without(tasks, "ag-news", "the paper's own exception", left_out)
    tasks = rivals_that_learned(tasks, SCRATCH, left_out)
    cells = []
    for task, seeds in tasks.items():
        if above(seeds, TEACHER, SCRATCH).p_above(0.0) > SURE:
            left_out.append(f"{task}: no sure gap between the teacher and {SCRATCH}")
            continue
        gained = [right(e, STUDENT) - right(e, SCRATCH) for e in seeds]
        cells.append(Cell(task, share(seeds, gained, [right(e, TEACHER) - right(e, SCRATCH) for e in seeds]), task))
    return decided(cells, f"{STUDENT} between {SCRATCH} and the teacher", left_out)


def largest_on_the_small_set(record: RunRecord) -> Decision | None:
    """Points by which distillation gains more on TREC than on each other task."""
    tasks, left_out = taught(record, (*SINGLE, *QUESTION_PAIRS))
    tasks = rivals_that_learned(tasks, SCRATCH, left_out)
    gains = {task: above(seeds, DISTILLED, SCRATCH) for task, seeds in tasks.items()}
    if SMALL_SET not in gains:
        return None
    small = gains.pop(SMALL_SET)
    cells = (
        Cell(f"{SMALL_SET} above {task}", mean_effect([small, -gain]).scaled(2), task) for task, gain in gains.items()
    )
    low, high = small.interval
    note = f"{DISTILLED} above {SCRATCH} on {SMALL_SET}: {small.value:.1f} [{low:.1f}, {high:.1f}] points"
    return decided(cells, note, left_out)


# -- Without task data (Section 4.4) ----------------------------------------------------------------------------------


def cost_of_privacy(record: RunRecord) -> Decision | None:
    """Points that leaving the task's data out of distillation costs."""
    tasks, left_out = taught(record, SINGLE)
    tasks = rivals_that_learned(tasks, DISTILLED, left_out)
    return decided((Cell(task, above(seeds, DISTILLED, PRIVATE), task) for task, seeds in tasks.items()), "", left_out)


def collapse_of_pairs(record: RunRecord) -> Decision | None:
    """Share of what the student knows of question pairs, beyond the constant answer, that is lost without task data."""
    tasks, left_out = first_of(record, QUESTION_PAIRS)
    tasks = rivals_that_learned(tasks, DISTILLED, left_out)
    cells, notes = [], []
    for task, seeds in tasks.items():
        lost = [right(e, DISTILLED) - right(e, PRIVATE) for e in seeds]
        lead = [right(e, DISTILLED) - hits(e, constant_answer) for e in seeds]
        cells.append(Cell(task, share(seeds, lost, lead), task))
        constant = sum(len(np.unique(e.answers(PRIVATE))) == 1 for e in seeds)
        notes.append(
            f"{100 * np.mean(lost):.1f} points lost of {100 * np.mean(lead):.1f} above the constant; "
            f"{PRIVATE} gives one answer to every pair in {constant} of {len(seeds)} seeds"
        )
    return decided(cells, "; ".join(notes), left_out)


# -- The vocabulary and the pooling (IMDB) ----------------------------------------------------------------------------


def width_over_vocabulary(record: RunRecord) -> Decision | None:
    """For each budget, points that its widest table is above its narrowest.

    A corpus has only so many n-grams: a table that it does not fill is smaller than its budget, and is left out.
    """
    tasks, left_out = first_of(record, DOCUMENTS)
    tasks = rivals_that_learned(tasks, DISTILLED, left_out)
    cells, steps = [], []
    for task, seeds in tasks.items():
        for budget in budgets_of(seeds[0]):
            asked = [int(size) for size, actual, _ in seeds[0][table_shape_name(budget)] if actual == size]
            if len(asked) < 2:
                left_out.append(f"{budget}: the corpus has too few n-grams to fill two of its tables")
                continue
            tables = [system(grid_system(budget), grid_setting(size)) for size in asked]
            name = f"{budget}: {asked[0]:,} n-grams above {asked[-1]:,}"
            cells.append(Cell(name, gain(seeds, tables[0], tables[-1]), task))
            steps.append(f"{budget}: {', '.join(mean_points(seeds, table) for table in tables)}")
    return decided(cells, f"points from the widest table to the narrowest: {'; '.join(steps)}", left_out)


def budgets_of(e: Evidence) -> list[str]:
    """The budgets of Table 8 that were trained."""
    start, end = table_shape_name("|").split("|")
    return [name[len(start) : -len(end)] for name in e.arrays if name.startswith(start) and name.endswith(end)]


def mean_over_other_poolings(record: RunRecord) -> Decision | None:
    """Points of mean pooling above each other pooling."""
    tasks, left_out = first_of(record, DOCUMENTS)
    cells = []
    for task, seeds in tasks.items():
        for name in OTHER_POOLINGS:
            if not has_learned(seeds, system(POOLING, name)):
                left_out.append(f"{name}: did not learn")
                continue
            mean, other = (system(POOLING, setting) for setting in ("mean", name))
            cells.append(Cell(f"above {name}", gain(seeds, mean, other), task))
    return decided(cells, DISTILLED, left_out)


def lost_without(seeds: Sequence[Evidence], setting: str) -> Effect:
    """Points that the student loses when n-grams are disabled after training."""
    return gain(seeds, system(STUDENT), system(STUDENT, setting))


def pruned_to_3_percent(record: RunRecord) -> Decision | None:
    """Points lost with the 3 % of the n-grams that are most frequent in the training set."""
    tasks, left_out = taught(record, PRUNED)
    tasks = rivals_that_learned(tasks, STUDENT, left_out)
    setting = kept_setting(0.03, FROM_TRAIN)
    scores = ", ".join(f"{task} {mean_points(seeds, system(STUDENT, setting))}" for task, seeds in tasks.items())
    cells = (Cell(task, lost_without(seeds, setting), task) for task, seeds in tasks.items())
    return decided(cells, f"points that remain: {scores}", left_out)


def bigrams_suffice(record: RunRecord) -> Decision | None:
    """Points lost without 3- and 4-grams."""
    tasks, left_out = first_of(record, DOCUMENTS)
    tasks = rivals_that_learned(tasks, STUDENT, left_out)
    cells = (Cell(task, lost_without(seeds, longest_setting(2)), task) for task, seeds in tasks.items())
    return decided(cells, STUDENT, left_out)


# -- Size and speed (Table 4, the shapes run) -------------------------------------------------------------------------


def parameters(record: RunRecord) -> Decision | None:
    """How many times the teacher's parameters the student has, in closed form."""
    counts = {m.system: m.value for m in record.of("table4") if m.metric == "parameters_total"}
    if not {FULL_STUDENT, FULL_TEACHER} <= counts.keys():
        return None
    student, teacher = counts[FULL_STUDENT], counts[FULL_TEACHER]
    return decided(
        [Cell("parameters", Effect.exact(student / teacher))], f"{student:,.0f} and {teacher:,.0f} parameters"
    )


def speed_on_a_cpu(record: RunRecord) -> Decision | None:
    """Speed-up over the teacher at IMDB's length: the mean over rounds, each of one pass of both."""
    student, teacher = seconds_name(FULL_STUDENT), seconds_name(FULL_TEACHER)
    timed = [e for e in record.evidence if e.task == "imdb" and student in e and teacher in e]
    if not timed:
        return None
    (e,) = timed
    ratios = e[teacher].astype(float) / e[student]
    n = len(ratios)
    note = f"{n} rounds of batches of 32, random weights; tokenisation excluded, as in the paper"
    if n < ENOUGH_ROUNDS:
        note += f"; too few for an interval: they range from {ratios.min():,.0f} to {ratios.max():,.0f}"
    variance = float(ratios.var(ddof=1)) / n
    effect = Effect(float(ratios.mean()), (Component(variance, variance, n - 1),), n, 0)
    return Decision((Cell("IMDB's length", effect),), note, timed=True)


DECIDERS: Mapping[str, Decide] = {
    "sd-retain-97": retained,
    "sd-gap-3": gap_to_teacher,
    "sd-speed-600-cpu": speed_on_a_cpu,
    "sd-kd-half-gap": gap_closed,
    "sd-private-1-2": cost_of_privacy,
    "sd-private-qqp-collapse": collapse_of_pairs,
    "sd-trec-13": largest_on_the_small_set,
    "sd-dim-over-vocab": width_over_vocabulary,
    "sd-prune-3pct": pruned_to_3_percent,
    "sd-bigrams-suffice": bigrams_suffice,
    "sd-mean-pool-best": mean_over_other_poolings,
    "sd-1b-params": parameters,
}
