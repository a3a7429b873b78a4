"""Tables 1, 2 and 4 at a run's scale, and how well everyone guesses masked words. Table 3 is in `shapes.py`.

The students are pre-trained once for the run, on its plain text, and fine-tuned on every task and seed by the recipe of
the static ladder: the same layers, as many of them, and no distillation, stand beside as its half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from common.early_exit.clock import BASELINE, TRUNCATED, Arm, Clocked
from common.early_exit.systems import Array, Scored, answers_of
from common.methods import ONLY
from common.reading_run import ReadingRun
from common.records.measurements import Measurement
from common.records.predictions import LABELS, TIMED, Evidence, answers_name, seconds_name, static_name
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.tasks.metrics import points_along
from common.tasks.spans import is_span_task
from common.timing.paired import CONTROL
from replications.distilbert.contender import DistilBERT
from replications.distilbert.names import ABLATIONS, DISTILBERT, REFERENCE, TEACHER, UNIGRAM
from replications.distilbert.reading import Readers
from replications.distilbert.shapes import shape_steps as shape_steps
from replications.distilbert.students import MAIN, SETTINGS, VARIANTS, Students

TASKS = {
    "builtin": ("sentiment", "entailment", "paraphrase"),
    "files": ("sst-2", "mrpc", "rte", "cola", "sts-b"),
    "hub": ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst-2", "sts-b"),
}
"""GLUE without WNLI where it can be had. IMDb and SQuAD (generated: `reading`) are long: measured if asked for."""

MACRO = "macro"


def trained_steps(run: Run) -> list[Step]:
    """Pre-train the students, then fine-tune and measure every task and seed."""
    students, tasks = Students.of(run), run.tasks_or(TASKS)
    steps = students.steps((MAIN, *VARIANTS))
    rows = Step("pre-training: masked words guessed", students.scoring_seconds, lambda: pretraining_rows(students))
    steps.append(rows)
    settings = SETTINGS[run.scale.name]
    for place, task in enumerate(tasks):
        if is_span_task(task, run.data, run.data_dir):
            for seed in run.seeds:
                steps.extend(Readers(ReadingRun.of(run, task, seed, settings.recipe), students).steps())
            continue
        ablated = settings.ablation_tasks is None or place < settings.ablation_tasks
        for seed in run.seeds:
            steps.extend(_steps_of(TaskRun.of(run, task, seed, settings.recipe), students, ablated=ablated))
    return [*steps, Step("means over tasks", 1.0, lambda: macro_rows(run))]


def _steps_of(task_run: TaskRun, students: Students, *, ablated: bool) -> Iterator[Step]:
    chosen = (MAIN, *VARIANTS) if ablated else (MAIN,)
    findings = Findings(task_run, [DistilBERT(task_run, students, variant) for variant in chosen])
    yield from task_run.static_steps([task_run.half])
    for student in findings.students:
        yield student.fine_tuning_step
    yield Step(f"{task_run.label}: timing and tables", task_run.clock_seconds(4), findings.measure)


# -- Pre-training -----------------------------------------------------------------------------------------------------


def pretraining_rows(students: Students) -> list[Measurement]:
    """Who guesses how many masked words of text held back, and how much was read."""
    score, backbone = students.teacher_score, students.run.encoder(students.backbone).backbone

    def row(system: str, metric: str, value: float, unit: str, n: int) -> Measurement:
        return Measurement(
            experiment="pretraining", system=system, metric=metric, value=value, unit=unit, n=n, backbone=backbone
        )

    rows = [
        row(UNIGRAM, "masked_accuracy", score.unigram_accuracy, "fraction", score.n),
        row(TEACHER, "masked_accuracy", score.accuracy, "fraction", score.n),
        row(TEACHER, "masked_perplexity", float(np.exp(score.loss)), "ratio", score.n),
    ]
    for variant in (MAIN, *VARIANTS):
        found = students.score(variant)
        rows += [
            row(variant.name, "masked_accuracy", found.accuracy, "fraction", found.n),
            row(variant.name, "tokens", float(students.tokens(variant)), "count", found.n),
        ]
    return rows


# -- One task run -----------------------------------------------------------------------------------------------------


class Findings:
    """What one task run says, table by table."""

    def __init__(self, task_run: TaskRun, students: Sequence[DistilBERT]) -> None:
        self.task_run, self.students, self.scored = task_run, students, Scored(task_run)

    @property
    def main(self) -> DistilBERT:
        """The student of the paper."""
        return self.students[0]

    def answers(self, student: DistilBERT) -> Array:
        """(N,) of a student on dev."""
        return answers_of(student.logits("dev"), self.task_run)

    def measure(self) -> list[Measurement]:
        """Everything, the record's evidence kept."""
        run = self.task_run
        clocked = run.clock.one_by_one(self._arms())
        run.run.keep(self._evidence(clocked))
        row = Rows(run.task_name, run.seed, run.backbone.backbone, len(self.scored.labels))
        return [*self.table1(row, clocked), *self.table4(row), *self.difficulty(row)]

    def _arms(self) -> dict[str, Arm]:
        run = self.task_run
        return {
            BASELINE: run.classifier().to(run.timing_device),
            TRUNCATED: run.classifier(run.half).to(run.timing_device),
            DISTILBERT: self.main.arm(ONLY),
        }

    def table1(self, row: Rows, clocked: Clocked) -> Iterator[Measurement]:
        """Score and speed of the baseline, half of the static ladder and the student."""
        scored, half = self.scored, static_name(self.task_run.half)
        yield row("table1", "constant answer", "score", scored.points(scored.constant), "points")
        yield row("table1", "baseline", "score", scored.score(scored.baseline), "points")
        yield row("table1", "baseline", "time_speedup", 1.0, "ratio", note="by definition")
        yield row("table1", CONTROL, "time_speedup", clocked.speedup(CONTROL), "ratio", timed=True)
        systems = (
            (half, TRUNCATED, scored.static(self.task_run.half)),
            (DISTILBERT, DISTILBERT, self.answers(self.main)),
        )
        for name, arm, answers in systems:
            yield row("table1", name, "score", scored.score(answers), "points")
            yield row("table1", name, "score_delta", scored.gain(answers), "points")
            yield row("table1", name, "time_speedup", clocked.speedup(arm), "ratio", **clocked.timed(arm))
        yield from clocked.latency_rows(row, "table1", DISTILBERT, DISTILBERT)

    def table4(self, row: Rows) -> Iterator[Measurement]:
        """Points that each ablation scores above the triple loss on as much text."""
        known = {student.name: self.answers(student) for student in self.students}
        if REFERENCE not in known:
            return
        metric, labels, whole = self.task_run.task.metric, self.scored.labels, known[REFERENCE]
        yield row("table4", REFERENCE, "score", self.scored.score(whole), "points")
        for name in ABLATIONS:
            delta = float(points_along(metric)(known[name], labels) - points_along(metric)(whole, labels))
            yield row("table4", name, "score", self.scored.score(known[name]), "points")
            yield row("table4", name, "delta", delta, "points")

    def difficulty(self, row: Rows) -> Iterator[Measurement]:
        """Where difficulty is known (builtin tasks): where do the missing layers cost?"""
        levels, labels, answers = self.scored.difficulty, self.scored.labels, self.answers(self.main)
        for level in sorted(set(levels.tolist()) - {0}):
            chosen = levels == level
            at = {"at": level, "setting": f"level {level}", "n": int(chosen.sum())}
            for name, found in ((DISTILBERT, answers), ("baseline", self.scored.baseline)):
                yield row("difficulty", name, "score", 100 * float((found == labels)[chosen].mean()), "points", **at)

    def _evidence(self, clocked: Clocked) -> Evidence:
        run, half = self.task_run, static_name(self.task_run.half)
        arrays = {
            LABELS: self.scored.labels,
            "difficulty": self.scored.difficulty,
            TIMED: clocked.rows,
            answers_name("baseline"): self.scored.baseline,
            answers_name(half): self.scored.static(run.half),
        }
        arrays |= {answers_name(student.name): self.answers(student) for student in self.students}
        for name, arm in (("baseline", BASELINE), (half, TRUNCATED), (DISTILBERT, DISTILBERT), (CONTROL, CONTROL)):
            arrays[seconds_name(name)] = clocked.seconds(arm)
        return Evidence(run.task_name, run.seed, run.task.metric, len(run.task.labels), run.num_layers, arrays)


# -- Means over tasks -------------------------------------------------------------------------------------------------


def macro_rows(run: Run) -> list[Measurement]:
    """Plain means over the tasks of each seed, of the systems that all of them have; none for one task."""
    backbone = run.encoder(run.backbone or SETTINGS[run.scale.name].recipe.backbone).backbone
    rows: list[Measurement] = []
    for seed in run.seeds:
        found = [e for e in run.evidence if e.seed == seed and e.has_answers(DISTILBERT)]
        rows += _macro("table1", found, ("baseline", DISTILBERT), Rows(MACRO, seed, backbone, len(found)))
        ablated = [e for e in found if e.has_answers(REFERENCE)]
        rows += _macro("table4", ablated, (REFERENCE, *ABLATIONS), Rows(MACRO, seed, backbone, len(ablated)))
    return rows


def _macro(experiment: str, tasks: Sequence[Evidence], systems: Sequence[str], row: Rows) -> Iterator[Measurement]:
    if len(tasks) < 2:
        return
    means = {name: _mean_points(tasks, name) for name in systems}
    first, metric = means[systems[0]], "score_delta" if experiment == "table1" else "delta"
    for name, value in means.items():
        yield row(experiment, name, "score", value, "points")
        if name != systems[0]:
            yield row(experiment, name, metric, value - first, "points")


def _mean_points(tasks: Sequence[Evidence], name: str) -> float:
    return float(np.mean([points_along(e.metric)(e.answers(name), e.labels) for e in tasks]))
