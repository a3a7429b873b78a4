"""Tables 2 and 3 and Figures 3 to 6 of FastBERT at a run's scale; Table 1 and the full-size shapes are in `shapes.py`.

Scores and exit layers come from simulations on logits collected once; the clock runs the real model, one text at a
time as in the paper, interleaved with the baseline. The paper's Speedup is a ratio of FLOPs by a count of its own: it
is given as such, and in layers, FLOPs as counted here, wall clock at batch 1 and throughput in batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.standard import (
    SPEEDUPS,
    OperatingTable,
    average_rows,
    cost_rows,
    exit_histogram,
    score_by_difficulty,
    score_by_exit,
    standard_evidence,
    with_all_tasks,
)
from common.early_exit.systems import Array, OnTheClock, Scored, System, answers_of
from common.errors import UserError
from common.records.measurements import Measurement
from common.records.predictions import Evidence, answers_name, at_layer, seconds_name
from common.records.statistics import bootstrap_mean
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.timing.paired import PairedThroughput
from replications.fastbert.contender import SETTINGS, FastBERT
from replications.fastbert.flops import PrintedCount, head_flops, teacher_flops
from replications.fastbert.luha import tenths
from replications.fastbert.method import uncertainty
from replications.fastbert.names import (
    COUNT,
    DROPOUT_ON,
    FASTBERT,
    FIXED,
    FROM_LABELS,
    PRINTED_DIRECTION,
    TEACHER,
    UNDISTILLED,
    as_deep_as,
    as_fast_as,
    figure_4_layers,
    quarter_layers,
    speed_setting,
    uncertainty_at,
)
from replications.fastbert.shapes import shape_steps as shape_steps

# -- What is run ------------------------------------------------------------------------------------------------------

TASKS = {
    "builtin": ("sentiment", "paraphrase"),
    "files": ("sst-2", "trec", "mrpc", "rte", "cola", "qqp-sample", "ag-news", "imdb"),
    "hub": ("sst-2", "trec", "ag-news", "imdb"),
}
"""AG News is the one data set of the paper; the others are near it, or shared with the other exit methods. Of the
generated tasks two, which is what ten minutes allow; the teacher does not learn entailment in one epoch."""

FIRST_SEED_ALONE = frozenset({"ag-news", "imdb", "mrpc", "rte", "cola"})
"""What takes long for its length or its epochs: one seed where the scale spares."""

ABLATED = frozenset({"mood", "sentiment", "sst-2", "trec"})
"""Where learning from labels is tried instead, and with the first seed KL as printed: short texts."""

WITH_DROPOUT = frozenset({"mood", "sentiment"})
"""Where stage 3 is also done with dropout on, with the first seed: it passes the backbone once an epoch."""

SHALLOW = frozenset({"mood", "sentiment", "sst-2", "trec", "qqp-sample"})
"""Where encoders of one layer and of a quarter of the layers stand beside, with the first seed."""

TABLE_2, TABLE_3, FIGURE_5 = (0.1, 0.5, 0.8), (0.2, 0.7), (0.3, 0.5, 0.8)
"""Speeds of Table 2, of the ablation, and of the histograms of exit layers."""

FIGURE_3 = (0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Speeds along the curves, dense below 0.1 as the paper's."""

EQUAL_SPEEDUPS = (1.5, 2.0, 3.0)
"""Speed-ups in layers at which the exit methods are compared."""


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed, then average over tasks."""
    steps: list[Step] = []
    found: list[Findings] = []
    for task in run.tasks_or(TASKS):
        for seed in run.seeds_of(task, FIRST_SEED_ALONE):
            found.append(Findings(TaskRun.of(run, task, seed, SETTINGS[run.scale.name].stage2)))
            steps.extend(found[-1].steps())
    return [*steps, Step("averages", 3.0 * len(found), lambda: list(averages(found)))]


class Findings:
    """What one task run says, table by table."""

    def __init__(self, run: TaskRun) -> None:
        if run.task.is_regression:
            raise UserError(
                f"{run.task_name} is a regression, and FastBERT leaves by the uncertainty of a classification. "
                "Take a task with classes, or another paper (PABEE does regressions)"
            )
        self.run, self.scored, self.fastbert = run, Scored(run), FastBERT(run)
        ablated, first = run.task_name in ABLATED, run.seed == run.run.seeds[0]
        wanted = {
            FROM_LABELS: ablated,
            PRINTED_DIRECTION: ablated and first,
            DROPOUT_ON: run.task_name in WITH_DROPOUT and first,
        }
        self.variants = [self.fastbert, *(FastBERT(run, name) for name in wanted if wanted[name])]
        self.untaught = [FastBERT(run, UNDISTILLED)] if ablated else []
        shallow = {1, self.quarter} if run.task_name in SHALLOW and first else set()
        self.depths = sorted({run.half, *shallow})

    @property
    def quarter(self) -> int:
        """A quarter of the depth."""
        return quarter_layers(self.run.num_layers)

    def steps(self) -> Iterator[Step]:
        """Train everything, then measure."""
        run = self.run
        yield from run.static_steps(self.depths)
        yield from self.fastbert.training_steps()
        for variant in self.variants[1:]:
            yield variant.training_steps()[-1]  # The teacher is FastBERT's.
        contenders = [*self.variants, *self.untaught]
        collect = lambda: [contender.exits("dev") for contender in contenders]  # noqa: E731
        yield Step.making(f"{run.label}: every classifier's logits", len(contenders) * run.scored_seconds, collect)
        yield Step(f"{run.label}: timing, tables and figures", run.clock_seconds(12), self.measure)

    def measure(self) -> list[Measurement]:
        """Everything, the record's evidence kept."""
        row = Rows(self.run.task_name, self.run.seed, self.run.backbone.backbone, len(self.scored.labels))
        batched = self.clock.in_batches(self.at_speeds(TABLE_2))
        self.run.run.keep(self.evidence(batched))
        rows = [*self.table2(row, batched), *self.table3(row), *self.figure3(row), *self.figure4(row)]
        rows += [*self.figure5(row), *self.figure6(row), *self.classifiers(row), *self.costs(row)]
        return [*rows, *score_by_difficulty(row, self.scored, self.middle)]

    # -- Operating points ---------------------------------------------------------------------------------------------

    def at_speeds(self, speeds: Sequence[float], contender: FastBERT | None = None) -> list[System]:
        """FastBERT (or a variant) at Speeds as they are."""
        return [System(contender or self.fastbert, speed_setting(speed), speed) for speed in speeds]

    @property
    def middle(self) -> System:
        """Speed 0.5."""
        return self.at_speeds([0.5])[0]

    @cached_property
    def table(self) -> OperatingTable:
        """Table 2: the paper's Speeds, then equal speed-ups in layers, tuned and dev-tuned."""
        systems = self.at_speeds(TABLE_2)
        for split, how in (("tune", ""), ("dev", " (dev-tuned)")):
            savings = {f"{speedup:g}x{how}": 1 - 1 / speedup for speedup in EQUAL_SPEEDUPS}
            systems += [System.at_saving(self.fastbert, name, saving, split) for name, saving in savings.items()]
        return OperatingTable("table2", SPEEDUPS, self.scored, self.clock, systems)

    @property
    def equal(self) -> list[System]:
        """Where FastBERT matches the static systems: truncated encoders in FLOPs, a fixed layer in layers.

        A truncated encoder has no classifiers on the way, so FastBERT may execute fewer layers than it.
        """
        layers, quarter = self.run.num_layers, self.quarter
        of_classifiers = self.count.speedup(layers)
        savings = {as_fast_as(depth): 1 - of_classifiers * depth / layers for depth in self.depths}
        savings[as_deep_as(quarter)] = 1 - quarter / layers
        return [System.at_saving(self.fastbert, name, saving) for name, saving in savings.items()]

    # -- Costs --------------------------------------------------------------------------------------------------------

    @cached_property
    def clock(self) -> OnTheClock:
        """Table 2's Speeds and the teacher alone."""
        teacher = {TEACHER: lambda: self.fastbert.teacher().to(self.run.timing_device)}
        return OnTheClock(self.run, self.at_speeds(TABLE_2), asked=self.middle, beside=teacher)

    @property
    def count(self) -> PrintedCount:
        """The paper's FLOPs count."""
        return PrintedCount.of(self.run.shape)

    def printed_speedup(self, system: System) -> float:
        """The paper's Speedup, by its own count."""
        return self.count.speedup(float(system.exit_layers().mean()))

    @property
    def teacher_flops_speedup(self) -> float:
        """FLOPs of the baseline over those of backbone and teacher."""
        lengths, outputs = self.run.splits["dev"].lengths, self.run.outputs
        spent = sum(teacher_flops(self.run.shape, outputs, tokens) for tokens in lengths)
        return float(self.run.baseline_flops("dev").sum() / spent)

    # -- Tables -------------------------------------------------------------------------------------------------------

    @property
    def exits(self) -> Tensor:
        """(N, L, C) of FastBERT's classifiers on dev."""
        return self.fastbert.exits("dev")

    def fixed(self, layer: int) -> Array:
        """(N,) answers on dev if everyone leaves at `layer`; at the last it is the teacher's."""
        return answers_of(self.exits[:, layer - 1], self.run)

    @property
    def teacher(self) -> Array:
        """(N,) the teacher's answers: what the paper's tables call BERT."""
        return self.fixed(self.run.num_layers)

    def table2(self, row: Rows, batched: PairedThroughput) -> Iterator[Measurement]:
        """Score and speed of the baseline, truncated encoders, the teacher and FastBERT."""
        clocked, table = self.clock.one_by_one, self.table
        yield from table.rows(row, self.depths)
        yield from table.score_rows(row, TEACHER, self.teacher)
        speedups = {"layer_speedup": 1.0, "flops_speedup": self.teacher_flops_speedup, "printed_speedup": 1.0}
        for metric, speedup in speedups.items():
            yield row("table2", TEACHER, metric, speedup, "ratio")
        yield row("table2", TEACHER, "time_speedup", clocked.speedup(TEACHER), "ratio", **clocked.timed(TEACHER))
        for system in table.systems:
            at = {"setting": system.setting, "at": system.at}
            yield row("table2", FASTBERT, "printed_speedup", self.printed_speedup(system), "ratio", **at)
        for system in self.clock.systems:
            yield from clocked.latency_rows(row, "table2", FASTBERT, system.arm, setting=system.setting)
        yield from table.batch_rows(row, batched, self.at_speeds(TABLE_2))

    def table3(self, row: Rows) -> Iterator[Measurement]:
        """The ablation: FastBERT, its variants at the same Speeds, and everyone leaving at one layer."""
        for variant in self.variants:
            for system in self.at_speeds((*TABLE_3, 0.5), variant):
                yield from self.rows_of(row, "table3", system)
        for layer in range(1, self.run.num_layers):
            at = {"setting": at_layer(layer), "at": layer}
            yield row("table3", FIXED, "score", self.scored.score(self.fixed(layer)), "points", **at)
            yield row("table3", FIXED, "layer_speedup", self.run.num_layers / layer, "ratio", **at)
            yield row("table3", FIXED, "printed_speedup", self.count.speedup(layer), "ratio", **at)

    def classifiers(self, row: Rows) -> Iterator[Measurement]:
        """Ours: what each layer's classifier scores alone and how often it answers as the teacher does, by variant."""
        for variant in self.variants:
            exits = variant.exits("dev")
            yield from score_by_exit(row, "classifiers", variant.name, self.scored, exits)
            agreeing = (exits.argmax(-1) == exits[:, -1:].argmax(-1)).double().mean(0)
            for layer, share in enumerate(agreeing.tolist(), 1):
                at = {"setting": at_layer(layer), "at": layer}
                yield row("classifiers", variant.name, "agreement", share, "fraction", **at)

    def costs(self, row: Rows) -> Iterator[Measurement]:
        """Ours: where time and FLOPs of a full-depth run go."""
        yield from cost_rows(row, FASTBERT, self.clock)
        run, lengths = self.run, self.run.splits["dev"].lengths
        students = (run.num_layers - 1) * sum(head_flops(run.shape.hidden, run.outputs, t) for t in lengths)
        whole = self.fastbert.flops_of_layers("dev", np.full(len(lengths), run.num_layers)).sum()
        note = "full depth, all of dev"
        yield row("costs", FASTBERT, "exits_flops_share", float(students / whole), "fraction", note=note)

    # -- Figures ------------------------------------------------------------------------------------------------------

    def figure3(self, row: Rows) -> Iterator[Measurement]:
        """Score and Speedup over Speed."""
        for system in self.at_speeds(FIGURE_3):
            yield from self.rows_of(row, "figure3", system)

    def rows_of(self, row: Rows, experiment: str, system: System) -> Iterator[Measurement]:
        """Score and Speedup of a system."""
        at = {"setting": system.setting, "at": system.at}
        yield row(experiment, system.name, "score", self.scored.score(system.answers()), "points", **at)
        yield row(experiment, system.name, "layer_speedup", system.layer_speedup, "ratio", **at)
        yield row(experiment, system.name, "printed_speedup", self.printed_speedup(system), "ratio", **at)

    def figure4(self, row: Rows) -> Iterator[Measurement]:
        """Accuracy inside tenths of uncertainty, of the first and the middle student and the teacher."""
        for name, layer in figure_4_layers(self.run.num_layers).items():
            right = self.fixed(layer) == self.scored.labels
            for tenth in tenths(self.uncertainty(layer), right):
                at = {"setting": tenth.label, "at": tenth.middle}
                yield row("figure4", name, "accuracy", bootstrap_mean(tenth.right.astype(float)), "fraction", **at)

    def uncertainty(self, layer: int) -> NDArray[np.float32]:
        """(N,) U of one layer's classifier on dev."""
        return np.asarray(uncertainty(self.exits[:, layer - 1]).numpy())

    def figure5(self, row: Rows) -> Iterator[Measurement]:
        """Where examples leave; the paper counts layers from 0, so its averages and medians are one less."""
        for system in self.at_speeds(FIGURE_5):
            yield from exit_histogram(row, "figure5", system, "share")
            exits = system.outcome().exit_layer
            summary = {"mean_from_0": float(exits.double().mean()) - 1, "median_from_0": float(exits.median()) - 1}
            for metric, value in summary.items():
                yield row("exit-layers", FASTBERT, metric, value, "layers", setting=system.setting)
            first = bootstrap_mean((exits == 1).double().numpy())
            yield row("exit-layers", FASTBERT, "first_share", first, "fraction", setting=system.setting)

    def figure6(self, row: Rows) -> Iterator[Measurement]:
        """Quartiles of the uncertainty of those who reach a layer, where at least one does."""
        metrics = ("lower_quartile", "median_uncertainty", "upper_quartile")
        for system in self.at_speeds((0.0, *FIGURE_5)):
            for layer in range(1, self.run.num_layers + 1):
                there = self.uncertainty(layer)[system.exit_layers() >= layer]
                at = {"setting": system.setting, "at": layer, "n": len(there)}
                quartiles = np.percentile(there, (25, 50, 75)).tolist() if len(there) else []
                for metric, value in zip(metrics, quartiles, strict=False):
                    yield row("figure6", FASTBERT, metric, value, "fraction", **at)

    # -- What is kept -------------------------------------------------------------------------------------------------

    def evidence(self, batched: PairedThroughput) -> Evidence:
        """Everyone's answers, exit layers and seconds, at every setting of the tables, and what LUHA is judged by."""
        systems = [*self.table.systems, *self.at_speeds(FIGURE_3), *self.equal]
        systems += [system for variant in self.variants for system in self.at_speeds((*TABLE_3, 0.5), variant)]
        systems += [system for untaught in self.untaught for system in self.at_speeds([0.5], untaught)]
        exits = {variant.name: variant.exits("dev") for variant in self.variants}
        kept = standard_evidence(self.scored, self.clock, self.depths, systems, exits, batched)
        own: dict[str, Array] = {
            COUNT: np.array([self.count.baseline, self.count.layer + self.count.classifier]),
            answers_name(TEACHER): self.teacher,
            seconds_name(TEACHER): self.clock.one_by_one.seconds(TEACHER),
        }
        for layer in figure_4_layers(self.run.num_layers).values():
            own[uncertainty_at(layer)] = self.uncertainty(layer)
        return replace(kept, arrays={**kept.arrays, **own})


def averages(found: Sequence[Findings]) -> Iterator[Measurement]:
    """The plain mean over tasks, for each seed that did them all."""
    teachers = {id(f.table): f.scored.points(f.teacher) for f in found}
    for row, tables in with_all_tasks([f.table for f in found]):
        yield from average_rows("table2", tables, row, [tables[0].scored.task_run.half])
        score = float(np.mean([teachers[id(table)] for table in tables]))
        yield row("table2", TEACHER, "score", score, "points")
