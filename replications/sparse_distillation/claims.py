"""The statistics that decide the paper's claims about quality, each with a 95 % interval over seeds and examples.

Counts of tasks ("5 of 6") are brought to the paper's six by the share of our tasks. Claims about time are decided in
the shapes run; those about a GPU are not run without one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.claims import Array, Decision, Replicated
from common.paper import load_paper
from common.records.measurements import Measurement
from common.records.statistics import percentile_interval
from common.replication import Run
from common.tasks.catalogue import match_key
from replications.sparse_distillation.findings import STUDENT, TEACHER, Findings, Predictions
from replications.sparse_distillation.settings import Design
from replications.sparse_distillation.trial import KD
from replications.sparse_distillation.variants import VARIANTS

ByTask = dict[str, list[Findings]]
Answers = Callable[[Findings], Predictions]

QUESTION_PAIRS = frozenset({"qqp", "qqp-sample"})
DOCUMENTS = frozenset({"imdb", "sentiment"})
PRUNED = frozenset({"imdb", "ag-news"})
KD_SYSTEM, SCRATCH, PRIVATE = "DAN (KD)", "DAN (from scratch)", "DAN (KD, no task data)"
TASKS_OF_THE_PAPER = 6


def claim_measurements(run: Run, found: Sequence[Findings]) -> list[Measurement]:
    """One measurement for every claim that this run can decide; none where nothing is learned (smoke).

    A task on which the teacher is no better than a constant answer is left out, and the note says so.
    """
    if not run.scale.quality_verdicts:
        return []
    by_task: ByTask = {}
    for f in found:
        by_task.setdefault(f.trial.lesson.task_name, []).append(f)
    known = {task: fs for task, fs in by_task.items() if is_learned(fs)}
    single = {task: fs for task, fs in known.items() if not fs[0].trial.lesson.task.is_pair}
    pruned = {task: fs for task, fs in single.items() if task in PRUNED}
    documents = next(([(task, fs)] for task, fs in single.items() if task in DOCUMENTS), [])
    deciders: list[tuple[str, str, object, Callable[[], Decision]]] = [
        ("sd-retain-97", "fraction", single, lambda: retained(single)),
        ("sd-gap-3", "tasks", single, lambda: within_3_points(single)),
        ("sd-kd-half-gap", "tasks", single, lambda: half_of_the_gap(single)),
        ("sd-private-1-2", "points", single, lambda: cost_of_privacy(single)),
        ("sd-private-qqp-collapse", "points", known.keys() & QUESTION_PAIRS, lambda: collapse(known)),
        ("sd-trec-13", "points", "trec" in known, lambda: gain_of_kd("trec", known["trec"])),
        ("sd-prune-3pct", "points", pruned, lambda: pruned_to_3_percent(pruned)),
        ("sd-bigrams-suffice", "points", documents, lambda: bigrams(*documents[0])),
        ("sd-mean-pool-best", "points", documents, lambda: mean_pooling(*documents[0])),
        ("sd-dim-over-vocab", "budgets", documents, lambda: rising_budgets(*documents[0])),
    ]
    left_out = ", ".join(sorted(by_task.keys() - known.keys()))
    more = f"; left out, as the teacher did not learn it: {left_out}" if left_out else ""
    decided = ((claim, unit, decide()) for claim, unit, there, decide in deciders if there)
    return [replace(d, note=d.note + more).measurement(claim, unit, run) for claim, unit, d in decided]


# -- Pieces -----------------------------------------------------------------------------------------------------------


def system(name: str) -> Answers:
    """The predictions of a system of Table 2."""
    return lambda f: f.predictions[name]


def hits(f: Findings, answers: Answers) -> Array:
    """(N,) 1 where right."""
    return np.asarray(answers(f) == f.labels, dtype=float)


def points(found: Sequence[Findings], first: Answers, second: Answers) -> Replicated:
    """Points of accuracy that `first` has above `second` on the same examples."""

    def difference(a: Array, b: Array, axis: int = -1) -> Array:
        return np.asarray(100 * (a.mean(axis=axis) - b.mean(axis=axis)))

    return Replicated.of([(hits(f, first), hits(f, second)) for f in found], difference)


def is_learned(found: Sequence[Findings]) -> bool:
    """Whether the teacher's interval lies above every constant answer."""
    above = points(found, system(TEACHER), lambda f: f.constant)
    return percentile_interval(above.value, above.replicates, len(found[0].labels)).low > 0


def combined(rows: Sequence[Replicated], how: Callable[[Array], Array], note: str, n: int | None = None) -> Decision:
    """A statistic over tasks, on every replicate; `how` reduces the first axis."""
    value = float(how(np.array([r.value for r in rows])))
    replicates = how(np.stack([r.replicates for r in rows]))
    return Decision(percentile_interval(value, replicates, n or len(rows)), note, timed=False)


def each(rows: dict[str, Replicated], form: str) -> str:
    """Every task's value, for a note."""
    return ", ".join(f"{task} {r.value:{form}}" for task, r in rows.items())


# -- The claims -------------------------------------------------------------------------------------------------------


def retained(by_task: ByTask) -> Decision:
    """Mean over tasks of the share of the teacher's accuracy that the student keeps."""

    def share(a: Array, b: Array, axis: int = -1) -> Array:
        return np.asarray(a.mean(axis=axis) / b.mean(axis=axis))

    def of(found: list[Findings]) -> Replicated:
        return Replicated.of([(hits(f, system(STUDENT)), hits(f, system(TEACHER))) for f in found], share)

    rows = {task: of(found) for task, found in by_task.items()}
    return combined(list(rows.values()), lambda x: x.mean(axis=0), f"{STUDENT}: {each(rows, '.0%')}")


def within_3_points(by_task: ByTask) -> Decision:
    """Of six tasks, how many are within 3 points of the teacher, with KD or KD+FT."""
    rows = {task: _gap(found) for task, found in by_task.items()}
    note = f"share of {len(rows)} tasks times 6; points below the teacher: {each(rows, '.1f')}"
    return combined(list(rows.values()), lambda x: TASKS_OF_THE_PAPER * (x <= 3.05).mean(axis=0), note)


def _gap(found: list[Findings]) -> Replicated:
    """Points from the teacher down to the better of KD and KD+FT."""

    def gap(t: Array, kd: Array, ft: Array, axis: int = -1) -> Array:
        return np.asarray(100 * (t.mean(axis=axis) - np.maximum(kd.mean(axis=axis), ft.mean(axis=axis))))

    systems = (TEACHER, KD_SYSTEM, STUDENT)
    return Replicated.of([tuple(hits(f, system(name)) for name in systems) for f in found], gap)


def half_of_the_gap(by_task: ByTask) -> Decision:
    """Of six tasks, on how many distillation closes over half of the gap from scratch to teacher."""

    def closed(s: Array, kd: Array, ft: Array, t: Array, axis: int = -1) -> Array:
        low, high = s.mean(axis=axis), t.mean(axis=axis)
        best = np.maximum(kd.mean(axis=axis), ft.mean(axis=axis))
        # Above 0 is over half; where the teacher is not above the student from scratch there is no gap to close.
        return np.asarray(np.where(high > low, best - (low + high) / 2, -1.0))

    systems = (SCRATCH, KD_SYSTEM, STUDENT, TEACHER)
    rows = {
        task: Replicated.of([tuple(hits(f, system(name)) for name in systems) for f in found], closed)
        for task, found in by_task.items()
    }
    scored = {task: Replicated(100 * r.value, r.replicates) for task, r in rows.items()}
    note = f"share of {len(rows)} tasks times 6; points above the middle: {each(scored, '+.1f')}"
    return combined(list(rows.values()), lambda x: TASKS_OF_THE_PAPER * (x > 0).mean(axis=0), note)


def cost_of_privacy(by_task: ByTask) -> Decision:
    """Largest loss, over tasks, of leaving D_train out of distillation."""
    rows = {task: points(found, system(KD_SYSTEM), system(PRIVATE)) for task, found in by_task.items()}
    return combined(list(rows.values()), lambda x: x.max(axis=0), f"points lost: {each(rows, '.1f')}")


def collapse(by_task: ByTask) -> Decision:
    """The same for question pairs."""
    rows = {
        task: points(found, system(KD_SYSTEM), system(PRIVATE))
        for task, found in by_task.items()
        if task in QUESTION_PAIRS
    }
    return combined(list(rows.values()), lambda x: x.mean(axis=0), f"points lost: {each(rows, '.1f')}")


def gain_of_kd(task: str, found: list[Findings]) -> Decision:
    """What distillation gives over training from scratch."""
    gain = points(found, system(KD_SYSTEM), system(SCRATCH))
    return combined([gain], lambda x: x[0], f"{task}, {KD_SYSTEM} above {SCRATCH}", len(found[0].labels))


def pruned_to_3_percent(by_task: ByTask) -> Decision:
    """Lowest score with 3 % of V: the share of accuracy that our student keeps, times the published full score."""
    rows = {}
    for task, found in by_task.items():
        full = published_full_score(task)

        def kept(a: Array, b: Array, axis: int = -1, full: float = full) -> Array:
            return np.asarray(full * a.mean(axis=axis) / b.mean(axis=axis))

        arrays = [(hits(f, _few), hits(f, system(STUDENT))) for f in found]
        rows[task] = Replicated.of(arrays, kept)
    note = f"the share of accuracy kept here, times the published score of the full vocabulary: {each(rows, '.1f')}"
    return combined(list(rows.values()), lambda x: x.min(axis=0), note)


def published_full_score(task: str) -> float:
    """Table 10, n <= 4: the score that Figure 5's curve starts from."""
    paper = load_paper(Path(__file__).with_name("paper.yaml"))
    (table10,) = (table for table in paper.tables if table.id == "table10")
    (cell,) = (
        c
        for c in table10.cells
        if match_key(c.task) == match_key(task) and c.setting == "n <= 4" and c.metric == "score"
    )
    return float(cell.value)


def _few(f: Findings) -> Predictions:
    return f.pruned(f.most_frequent(0.03, f.train_counts))


def bigrams(task: str, found: list[Findings]) -> Decision:
    """Points that 3- and 4-grams are worth at inference."""
    worth = points(found, system(STUDENT), lambda f: f.pruned(f.vocabulary.n <= 2))
    return combined([worth], lambda x: x[0], f"{task}, {STUDENT}", len(found[0].labels))


def mean_pooling(task: str, found: list[Findings]) -> Decision:
    """Points of mean pooling above the best other pooling."""

    def of(name: str) -> Answers:
        change: Callable[[Design], Design] = VARIANTS["pooling"][name]
        return lambda f: f.trial.answers((KD,), change(f.trial.design))

    rows = {name: points(found, of("mean"), of(name)) for name in ("max", "sum", "attentive")}
    note = f"{task}, points above {each(rows, '+.1f')}"
    return combined(list(rows.values()), lambda x: x.min(axis=0), note, len(found[0].labels))


def rising_budgets(task: str, found: list[Findings]) -> Decision:
    """At how many budgets accuracy ever rises, by more than rounding, as |V| grows and d_e shrinks."""
    by_budget: dict[str, list[Replicated]] = {}
    settings = found[0].trial.lesson.settings
    for budget, cells in settings.grid.items():
        for (small, wide), (large, narrow) in itertools.pairwise(cells):

            def answers(f: Findings, size: int, dimension: int) -> Predictions:
                design = replace(f.trial.design, vocabulary_size=size, dimension=dimension)
                return f.trial.answers((KD,), design)

            step = points(
                found,
                lambda f, v=large, d=narrow: answers(f, v, d),  # type: ignore[misc]
                lambda f, v=small, d=wide: answers(f, v, d),  # type: ignore[misc]
            )
            by_budget.setdefault(budget, []).append(step)
    worst = {
        budget: Replicated(max(s.value for s in steps), np.max([s.replicates for s in steps], axis=0))
        for budget, steps in by_budget.items()
    }
    note = f"{task}, largest rise in points: {each(worst, '+.1f')}"
    return combined(list(worst.values()), lambda x: (x >= 0.05).sum(axis=0), note)
