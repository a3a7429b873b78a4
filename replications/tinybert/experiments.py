"""Tables 1 to 4 and 7 at a run's scale. Parameters, FLOPs and speed at full size are in `shapes.py`.

General students are made once for a run, at its first seed; a task's teacher and students for each of its seeds. What
the ablations compare is the narrow student. The clock runs the students one text at a time, interleaved with the
baseline and half of the static ladder.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from common.early_exit.clock import BASELINE, TRUNCATED, Arm, Clocked
from common.early_exit.scoring import delta_interval
from common.early_exit.systems import Array, Scored, answers_of
from common.records.measurements import Measurement
from common.records.predictions import LABELS, TIMED, Evidence, answers_name, seconds_name, static_name
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.timing.paired import CONTROL
from replications.tinybert.contender import student_flops
from replications.tinybert.distillation import Distillation
from replications.tinybert.general import SCORE, General, slug
from replications.tinybert.names import (
    BERT_TINY,
    LANGUAGE_MODEL,
    NARROW,
    REFERENCE,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_7,
    TEACHER,
    TINYBERT,
    UNIFORM,
)
from replications.tinybert.settings import SETTINGS
from replications.tinybert.shapes import shape_steps as shape_steps
from replications.tinybert.students import OBJECTIVES, VARIANTS

TASKS = {
    "builtin": ("sentiment",),
    "files": ("sst-2", "mrpc", "cola", "rte", "sts-b"),
    "hub": ("sst-2", "mrpc", "cola", "rte", "sts-b", "mnli", "qqp", "qnli"),
}
"""The paper's, where they are at hand; of the generated ones what a quarter of an hour allows."""

ABLATED = frozenset({"mood", "sentiment", "mrpc", "cola", "mnli"})
"""Where the ablations are trained, in a run that spares with its first seed alone: the paper's tasks, and a generated
one."""

ABLATIONS: Mapping[str, Mapping[str, str]] = {
    "table2": {name: name for name in TABLE_2},
    "table3": {name: name for name in TABLE_3},
    "table4": TABLE_4,
    "table7": TABLE_7,
}
"""By table, the name of each row and the student that it is of."""

COMPARED_WITH = {"table2": REFERENCE, "table3": REFERENCE, "table4": UNIFORM, "table7": BERT_TINY}
"""The row from which a table's differences are counted."""


def trained_steps(run: Run) -> list[Step]:
    """Make the general students, then train and measure every task and seed, then average over tasks."""
    settings = SETTINGS[run.scale.name]
    general = General(run, run.encoder(run.backbone or settings.recipe.backbone))
    runs = [TaskRun.of(run, task, seed, settings.recipe) for task in run.tasks_or(TASKS) for seed in run.seeds]
    found = [Findings(Distillation(task_run, general)) for task_run in runs]
    ablated = any(one.ablated for one in found)
    steps = general.steps(list(settings.students), ablated=ablated, rival=True)
    steps.append(Step("general students", 2.0, lambda: general_rows(general, ablated=ablated)))
    for one in found:
        steps.extend(one.steps())
    return [*steps, Step("averages", 2.0, lambda: list(averages(found)))]


def general_rows(general: General, *, ablated: bool) -> list[Measurement]:
    """How well each general student imitates on held-back text, and on how many tokens it learned to."""
    row = Rows("", 0, general.source.backbone, general.tokens)
    folders = {(TINYBERT, setting): general.folder(setting) for setting in general.settings.students}
    if ablated:
        folders |= {(name, ""): general.ablated_folder(name) for name in OBJECTIVES}
    rows = []
    for (name, setting), folder in folders.items():
        scores = json.loads((folder.parent / SCORE).read_text(encoding="utf-8"))[slug(name)]
        rows += [
            row("pretraining", name, metric, value, "mean square", setting=setting) for metric, value in scores.items()
        ]
        rows.append(row("pretraining", name, "tokens", float(general.tokens), "count", setting=setting))
    language = general.language_teacher.score
    masked = {"masked_accuracy": language.accuracy, "unigram_accuracy": language.unigram_accuracy}
    rows += [row("pretraining", LANGUAGE_MODEL, metric, value, "fraction") for metric, value in masked.items()]
    return rows


class Findings:
    """What one task run says, table by table."""

    def __init__(self, distillation: Distillation) -> None:
        run = distillation.task_run
        self.distillation, self.scored = distillation, Scored(run)
        self.students = list(distillation.settings.students)
        first = run.seed == run.run.seeds[0] or not run.run.scale.spares
        self.compared = list(VARIANTS) if first and run.task_name in ABLATED else [BERT_TINY]
        sizes = distillation.settings.students.values()
        self.depths = sorted({run.half, *(size.layers for size in sizes)} - {run.num_layers})

    @property
    def run(self) -> TaskRun:
        """Whose findings these are."""
        return self.distillation.task_run

    def steps(self) -> Iterator[Step]:
        """Train everything, then measure."""
        yield from self.run.static_steps(self.depths)
        yield from self.distillation.steps(self.students, self.compared)
        yield Step(f"{self.run.label}: timing, tables and figures", self.run.clock_seconds(6), self.measure)

    def measure(self) -> list[Measurement]:
        """Everything, the record's evidence kept."""
        row = Rows(self.run.task_name, self.run.seed, self.run.backbone.backbone, len(self.scored.labels))
        self.run.run.keep(self.evidence())
        return [*self.table1(row), *self.ablations(row)]

    # -- Answers ------------------------------------------------------------------------------------------------------

    @cached_property
    def answers(self) -> dict[tuple[str, str], Array]:
        """(N,) on dev, by system and setting."""
        d, run = self.distillation, self.run
        found = {
            ("baseline", ""): self.scored.baseline,
            **{(static_name(k), ""): self.scored.static(k) for k in self.depths},
            (TEACHER, ""): answers_of(d.teacher_logits["dev"], run),
        }
        for setting in self.students:
            found[TINYBERT, setting] = answers_of(d.logits(TINYBERT, setting)["dev"], run)
        for name in self.compared:
            found[name, ""] = answers_of(d.logits(name)["dev"], run)
        return found

    @property
    def ablated(self) -> bool:
        """Whether the tables of ablations are filled."""
        return TINYBERT in self.compared

    # -- Tables -------------------------------------------------------------------------------------------------------

    def table1(self, row: Rows) -> Iterator[Measurement]:
        """Score and speed of the baseline, the static ladder, the teacher, the students and their direct rival."""
        scored, full = self.scored, self.run.baseline_flops("dev").sum()
        yield row("table1", "constant answer", "score", scored.points(scored.constant), "points")
        for (name, setting), answers in self.answers.items():
            if name in VARIANTS and not setting and name != BERT_TINY:
                continue
            yield row("table1", name, "score", scored.score(answers), "points", setting=setting)
            yield row("table1", name, "score_delta", scored.gain(answers), "points", setting=setting)
            spent = self._flops(name, setting).sum()
            yield row("table1", name, "flops_speedup", float(full / spent), "ratio", setting=setting)
        timed = {("baseline", ""): BASELINE, (static_name(self.run.half), ""): TRUNCATED, (CONTROL, ""): CONTROL}
        timed |= {(TINYBERT, setting): _arm(setting) for setting in self.students}
        for (name, setting), arm in timed.items():
            how = {"setting": setting, **self.clocked.timed(arm)}
            yield row("table1", name, "time_speedup", self.clocked.speedup(arm), "ratio", **how)

    def _flops(self, name: str, setting: str) -> np.ndarray:
        """(N,) on dev."""
        if name in (TINYBERT, BERT_TINY):
            return student_flops(self.run, self.distillation, "dev", setting or NARROW)
        depths = {static_name(k): k for k in self.depths}
        return self.run.static_flops("dev", depths.get(name, self.run.num_layers))

    def ablations(self, row: Rows) -> Iterator[Measurement]:
        """Tables 2, 3, 4 and 7: scores, and differences from one row of each."""
        if not self.ablated:
            return
        scored, metric = self.scored, self.run.task.metric
        for table, rows in ABLATIONS.items():
            reference = self.answers[rows[COMPARED_WITH[table]], ""]
            for shown, name in rows.items():
                answers = self.answers[name, ""]
                yield row(table, shown, "score", scored.score(answers), "points")
                delta = delta_interval(metric, answers, reference, scored.labels)
                yield row(table, shown, "score_delta", delta, "points")

    # -- The clock, and what is kept ----------------------------------------------------------------------------------

    @cached_property
    def clocked(self) -> Clocked:
        """Batch-1 latencies, measured once in a run."""
        run, path = self.run, self.run.run.scratch / f"{self.run.task_name}-{self.run.seed}.npz"
        if not path.exists():
            device = run.timing_device
            arms: dict[str, Arm] = {
                BASELINE: run.classifier().to(device),
                TRUNCATED: run.classifier(run.half).to(device),
            }
            arms |= {_arm(s): self.distillation.model(TINYBERT, s).to(device) for s in self.students}
            run.clock.one_by_one(arms).save(path)
        return Clocked.load(path)

    def evidence(self) -> Evidence:
        """Everyone's answers, and the seconds of who was timed."""
        run, clocked = self.run, self.clocked
        arrays: dict[str, np.ndarray] = {
            LABELS: self.scored.labels,
            "difficulty": self.scored.difficulty,
            TIMED: clocked.rows,
            seconds_name("baseline"): clocked.seconds(BASELINE),
            seconds_name(static_name(run.half)): clocked.seconds(TRUNCATED),
            seconds_name(CONTROL): clocked.seconds(CONTROL),
        }
        arrays |= {seconds_name(TINYBERT, s): clocked.seconds(_arm(s)) for s in self.students}
        arrays |= {answers_name(*system): answers for system, answers in self.answers.items()}
        return Evidence(run.task_name, run.seed, run.task.metric, len(run.task.labels), run.num_layers, arrays)


def _arm(setting: str) -> str:
    return f"{TINYBERT} {setting}"


# -- Averages over tasks ----------------------------------------------------------------------------------------------


def averages(findings: Iterable[Findings]) -> Iterator[Measurement]:
    """The plain means over tasks, for each seed that did all of them: of ablations over the tasks that have them."""
    by_seed: dict[int, list[Findings]] = defaultdict(list)
    for one in findings:
        by_seed[one.run.seed].append(one)
    most = max(map(len, by_seed.values()), default=0)
    for seed, found in by_seed.items():
        if len(found) < most or most < 2:
            continue
        row = Rows("macro", seed, found[0].run.backbone.backbone, len(found))
        shared = [key for key in found[0].answers if all(key in one.answers for one in found)]
        for name, setting in shared:
            if name not in VARIANTS or setting or name == BERT_TINY:
                yield row("table1", name, "score", _mean(found, name, setting), "points", setting=setting)
        ablated = [one for one in found if one.ablated]
        if len(ablated) < 2:
            continue
        row = Rows("macro", seed, found[0].run.backbone.backbone, len(ablated))
        for table, rows in ABLATIONS.items():
            base = _mean(ablated, rows[COMPARED_WITH[table]])
            for shown, name in rows.items():
                yield row(table, shown, "score", _mean(ablated, name), "points")
                yield row(table, shown, "score_delta", _mean(ablated, name) - base, "points")


def _mean(findings: Sequence[Findings], name: str, setting: str = "") -> float:
    return float(np.mean([one.scored.points(one.answers[name, setting]) for one in findings]))
