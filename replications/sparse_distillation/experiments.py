"""Tables 1, 2, 5, 6, 8, 9, 10 and 13, Figures 1, 4, 5 and 6 at a run's scale. What is of true size is in `shapes.py`.

The paper scores accuracy on every task of its own, QQP included, and so does this folder (`lesson.ACCURACY_TASKS`);
other tasks are scored by their own metric. What the paper studies on IMDB alone
(variants, vocabulary against dimension, pruning) is studied on IMDB where it is at hand, and on the generated
`sentiment` elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from common.records.measurements import Measurement
from common.replication import Run, Step
from common.rows import Rows
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
from replications.sparse_distillation.findings import Findings, score
from replications.sparse_distillation.lesson import Lesson
from replications.sparse_distillation.names import STUDENT, TEACHER, grid_setting, grid_system, longest_setting
from replications.sparse_distillation.shapes import shape_steps as shape_steps
from replications.sparse_distillation.transfer import source_of, transfer_steps
from replications.sparse_distillation.trial import Trial

TASKS = {
    "builtin": ("sentiment", "paraphrase"),
    "files": ("sst-2", "imdb", "trec", "ag-news", "qqp-sample"),
    "hub": ("imdb", "sst-2", "trec", "ag-news", "qqp"),
}
"""The paper's seven tasks less CivilComments and WikiToxic, which are not to be had."""

# -- The steps of a run -----------------------------------------------------------------------------------------------


def trained_steps(run: Run) -> list[Step]:
    """Teach every task, train and measure every student."""
    steps: list[Step] = []
    found: list[Findings] = []
    for task in run.tasks_or(TASKS):
        lesson = Lesson(run, task)
        check_unlabelled(run, task)
        steps.extend(_lesson_steps(lesson))
        for seed in run.seeds:
            found.append(Findings(Trial(lesson, seed)))
            steps.extend(_trial_steps(found[-1]))
    steps.extend(transfer_steps(found))
    steps.extend(_evidence_step(f, source_of(f, found)) for f in found)
    return steps


def _lesson_steps(lesson: Lesson) -> Iterator[Step]:
    name, layers = lesson.task_name, lesson.source.encoder.num_layers
    yield Step.making(f"{name}: the teacher", lesson.teacher_seconds, lambda: lesson.classifier_folder(layers))
    small = lambda: lesson.classifier_folder(lesson.small_layers)  # noqa: E731
    yield Step.making(f"{name}: a small Transformer", lesson.teacher_seconds / 2, small)
    yield Step.making(f"{name}: the teacher's answers", lesson.labelling_seconds, lambda: lesson.teacher_logits)


def _trial_steps(f: Findings) -> Iterator[Step]:
    lesson = f.trial.lesson
    label, seconds = f"{lesson.task_name} seed {f.trial.seed}", lesson.student_seconds
    yield Step.making(f"{label}: students", 6 * seconds, lambda: f.predictions)
    experiments: list[Callable[[Findings, Rows], Iterator[Measurement]]] = [table1, table2, table13, figure1, figure6]
    if lesson.run.data == "builtin":
        experiments.append(language)
    if lesson.task_name in PRUNED_TASKS:
        experiments += [table10, figure5]
    yield Step(f"{label}: tables and figures", seconds, lambda: _measure(f, experiments))
    if lesson.task_name in DOCUMENT_TASKS:
        yield Step(f"{label}: variants", 8 * seconds, lambda: _measure(f, [table5]))
        yield Step(f"{label}: vocabulary against dimension", 5 * seconds, lambda: _measure(f, [table8]))
        if f.trial.seed == lesson.run.seeds[0]:
            yield Step(f"{label}: tokenisation", 20.0, lambda: _measure(f, [table9]))


def _evidence_step(f: Findings, source: Findings | None) -> Step:
    """Answers alone, of students that are all trained by then."""
    label = f"{f.trial.lesson.task_name} seed {f.trial.seed}: the answers of every system"
    return Step.making(label, 5.0, lambda: keep_evidence(f, source))


def _measure(
    f: Findings, experiments: Sequence[Callable[[Findings, Rows], Iterator[Measurement]]]
) -> list[Measurement]:
    lesson = f.trial.lesson
    row = Rows(lesson.task_name, f.trial.seed, lesson.source.backbone, len(f.labels))
    return [m for experiment in experiments for m in experiment(f, row)]


# -- One function per table or figure ---------------------------------------------------------------------------------


def table1(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Sizes of the data, and the mean number of words of an input."""
    lesson = f.trial.lesson
    words = [len(e.text_a.split()) + len((e.text_b or "").split()) for e in lesson.task.train]
    yield row("table1", "data", "train_size", float(len(lesson.task.train)), "count")
    yield row("table1", "data", "dev_size", float(len(lesson.task.dev)), "count")
    yield row("table1", "data", "average_tokens", float(np.mean(words)), "count", note="words between blanks")
    yield row("table1", "data", "corpus_size", float(len(lesson.corpus)), "count")


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
    levels = np.array([e.difficulty or 0 for e in f.trial.lesson.task.dev])
    for level in sorted(set(levels.tolist()) - {0}):
        chosen = levels == level
        at = {"at": level, "setting": f"level {level}"}
        for system, predictions in f.predictions.items():
            yield row("language", system, "score", score(f, predictions, chosen), "points", **at)
