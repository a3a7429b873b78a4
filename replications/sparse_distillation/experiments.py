"""Tables 1, 2, 5, 6, 8, 9, 10 and 13, Figures 1, 4, 5 and 6 at a run's scale. What is of true size is in `shapes.py`.

The paper scores accuracy on every task of its own, QQP included, and so does this folder (`ACCURACY_TASKS`); other
tasks are scored by their own metric. What the paper studies on IMDB alone (variants, vocabulary against dimension,
pruning) is studied on IMDB where it is at hand, and on the generated `sentiment` elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from common.records.measurements import Measurement
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from replications.sparse_distillation.answers import (
    DOCUMENT_TASKS,
    PRUNED_TASKS,
    grid_answers,
    keep_evidence,
    pruned_answers,
    shortened_answers,
    variant_answers,
)
from replications.sparse_distillation.clock import speeds, tokenisation_times
from replications.sparse_distillation.corpus import check_unlabelled
from replications.sparse_distillation.distillation import Distillation
from replications.sparse_distillation.findings import Findings, score
from replications.sparse_distillation.names import STUDENT, TEACHER, grid_setting, grid_system, longest_setting
from replications.sparse_distillation.settings import settings_of
from replications.sparse_distillation.shapes import shape_steps as shape_steps
from replications.sparse_distillation.transfer import source_of, transfer_steps

TASKS = {
    "builtin": ("sentiment", "paraphrase"),
    "files": ("sst-2", "imdb", "trec", "ag-news", "qqp-sample"),
    "hub": ("imdb", "sst-2", "trec", "ag-news", "qqp"),
}
"""The paper's seven tasks less CivilComments and WikiToxic, which are not to be had."""

# -- The steps of a run -----------------------------------------------------------------------------------------------


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every student of every task and seed."""
    steps: list[Step] = []
    found: list[Findings] = []
    for task in run.tasks_or(TASKS):
        check_unlabelled(run, task)
        for seed in run.seeds:
            task_run = TaskRun.of(run, task, seed, settings_of(run.scale.name, run.data).teacher)
            found.append(Findings(Distillation(task_run)))
            steps.extend(_steps_of(found[-1]))
    steps.extend(transfer_steps(found))
    steps.extend(_evidence_step(f, source_of(f, found)) for f in found)
    return steps


def _steps_of(f: Findings) -> Iterator[Step]:
    run, task, seconds = f.task_run, f.task_run.task_name, f.students.student_seconds
    label = run.label
    yield from run.static_steps([run.half])
    teaching = f.students.labelling_seconds
    yield Step.making(f"{label}: the teacher's answers", teaching, lambda: f.students.teacher_logits)
    yield Step.making(f"{label}: students", 6 * seconds, lambda: f.predictions)
    experiments: list[Callable[[Findings, Rows], Iterator[Measurement]]] = [table1, table2, table13, figure1, figure6]
    if run.run.data == "builtin":
        experiments.append(language)
    if task in PRUNED_TASKS:
        experiments += [table10, figure5]
    yield Step(f"{label}: tables and figures", seconds, lambda: _measure(f, experiments))
    if task in DOCUMENT_TASKS:
        yield Step(f"{label}: variants", 8 * seconds, lambda: _measure(f, [table5]))
        yield Step(f"{label}: vocabulary against dimension", 5 * seconds, lambda: _measure(f, [table8]))
        if run.seed == run.run.seeds[0]:
            yield Step(f"{label}: tokenisation", 20.0, lambda: _measure(f, [table9]))


def _evidence_step(f: Findings, source: Findings | None) -> Step:
    """Answers alone, of students that are all trained by then."""
    return Step.making(f"{f.task_run.label}: the answers of every system", 5.0, lambda: keep_evidence(f, source))


def _measure(
    f: Findings, experiments: Sequence[Callable[[Findings, Rows], Iterator[Measurement]]]
) -> list[Measurement]:
    run = f.task_run
    row = Rows(run.task_name, run.seed, run.backbone.backbone, len(f.labels))
    return [m for experiment in experiments for m in experiment(f, row)]


# -- One function per table or figure ---------------------------------------------------------------------------------


def table1(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Sizes of the data, and the mean number of words of an input."""
    task = f.students.task
    words = [len(e.text_a.split()) + len((e.text_b or "").split()) for e in f.students.train]
    yield row("table1", "data", "train_size", float(len(task.train)), "count")
    yield row("table1", "data", "dev_size", float(len(task.dev)), "count")
    yield row("table1", "data", "average_tokens", float(np.mean(words)), "count", note="words between blanks")
    yield row("table1", "data", "corpus_size", float(len(f.students.corpus)), "count")


def table2(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score of every system."""
    yield row("table2", "constant answer", "score", score(f, f.constant), "points")
    for system, predictions in f.predictions.items():
        yield row("table2", system, "score", score(f, predictions), "points")


def table5(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Variants of the distilled student (KD)."""
    for group, name, predictions in variant_answers(f):
        yield row("table5", group, "score", score(f, predictions), "points", setting=name)


def table8(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Vocabulary against dimension at a fixed budget (KD): the data of Figure 4."""
    for budget, size, dimension, predictions in grid_answers(f):
        at = {"setting": grid_setting(size), "at": size}
        yield row("table8", grid_system(budget), "score", score(f, predictions), "points", **at)
        yield row("table8", grid_system(budget), "dimension", float(dimension), "count", **at)


def table9(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Time to tokenise the dev texts, one worker, relative to BPE."""
    for tokenizer, ratio in tokenisation_times(f).items():
        yield row("table9", tokenizer, "time_ratio", ratio, "ratio", timed=True, note="dev texts, one worker")


def table10(f: Findings, row: Rows) -> Iterator[Measurement]:
    """N-grams longer than n disabled at inference."""
    for longest, left, predictions in shortened_answers(f):
        at = {"setting": longest_setting(longest), "at": longest}
        yield row("table10", STUDENT, "score", score(f, predictions), "points", **at)
        yield row("table10", STUDENT, "vocabulary_size", float(left), "count", **at)


def table13(f: Findings, row: Rows) -> Iterator[Measurement]:
    """The vocabulary V0 against the n-grams of train (V1) and dev (V2)."""
    known_train = np.unique(f.train_ids)
    dev = [f.split.first] + ([f.split.second] if f.split.second is not None else [])
    known_dev = np.unique(np.concatenate([bags.ids for bags in dev]))
    both = np.intersect1d(known_train, known_dev)
    counts = {
        "v0_vocab": len(f.vocabulary),
        "v0_and_v1": len(known_train),
        "v0_and_v2": len(known_dev),
        "v0_and_v1_and_v2": len(both),
    }
    for metric, count in counts.items():
        yield row("table13", "data", metric, float(count), "count")
    activated = sum(len(bags.ids) for bags in dev) / len(f.labels)
    yield row("table13", "data", "activated_per_example", activated, "count")


def figure1(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score against speed of the trained systems: examples per second in batches of 32, relative to the teacher."""
    timings, flops = speeds(f)
    for system in timings.arms:
        at = {"timed": True, "note": "batches of 32, tokenised beforehand"}
        yield row("figure1", system, "speedup", timings.speedup(system), "ratio", **at)
        if system in f.predictions:
            yield row("figure1", system, "score", score(f, f.predictions[system]), "points")
    for system, per_example in flops.items():
        yield row("figure1", system, "flops_ratio", flops[TEACHER] / per_example, "ratio", note="per dev example")


def figure5(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Only the most frequent n-grams kept, by their frequency in C u D_train or in D_train."""
    for setting, share, predictions in pruned_answers(f):
        at = {"setting": setting, "at": 100 * share}
        yield row("figure5", STUDENT, "score", score(f, predictions), "points", **at)


def figure6(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Median cross-entropy by coverage bucket (10 % wide, named by its middle), and how many examples are in it."""
    bucket = np.minimum((f.coverage * 10).astype(int), 9)
    for index in range(10):
        chosen = bucket == index
        at = {"at": 10 * index + 5, "setting": f"{10 * index}-{10 * index + 10} %", "n": int(chosen.sum())}
        yield row("figure6", STUDENT, "example_share", float(chosen.mean()), "fraction", **at)
        if chosen.any():
            median = float(np.median(f.cross_entropy[chosen]))
            yield row("figure6", STUDENT, "cross_entropy", median, "nats", **at)


def language(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Ours, where difficulty is known (builtin): what negation, contrast and distance do to n-grams."""
    levels = np.array([e.difficulty or 0 for e in f.students.task.dev])
    for level in sorted(set(levels.tolist()) - {0}):
        chosen = levels == level
        at = {"at": level, "setting": f"level {level}"}
        for system, predictions in f.predictions.items():
            yield row("language", system, "score", score(f, predictions, chosen), "points", **at)
