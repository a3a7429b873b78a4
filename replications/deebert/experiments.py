"""Table 1 and Figures 2, 3, 4 and 6 of DeeBERT at a run's scale. Figure 5 and the sizes are in `shapes.py`.

Scores and exit layers come from simulations on logits collected once; the clock runs the real model, one text at a
time as in the paper, interleaved with the baseline. Thresholds of Table 1 are chosen on a held-back part of train; the
paper chose them on the dev set, which is shown beside as `dev-tuned`.
"""

from __future__ import annotations

from collections.abc import Iterator

from common.early_exit.clock import TRUNCATED
from common.early_exit.standard import (
    SAVINGS,
    OperatingTable,
    exit_histogram,
    score_by_difficulty,
    score_by_exit,
    standard_evidence,
)
from common.early_exit.systems import OnTheClock, Scored, System
from common.errors import UserError
from common.records.measurements import Measurement
from common.records.predictions import static_name
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from replications.deebert.contender import SETTINGS, DeeBERT
from replications.deebert.names import DEEBERT, EQUAL_SAVING, SWEEP, sweep_arm
from replications.deebert.shapes import shape_steps as shape_steps

TASKS = {
    "builtin": ("sentiment", "entailment", "paraphrase"),
    "files": ("sst-2", "mrpc", "rte", "qqp-sample"),
    "hub": ("sst-2", "mrpc", "qnli", "rte", "qqp", "mnli"),
}
"""The paper's six tasks where they can be had; elsewhere what comes nearest."""

ALLOWED_DROPS = {"threshold-1": 0.005, "threshold-2": 0.01, "threshold-3": 0.03}
"""Table 1's three operating points, as the loss of score (a fraction) that each may cost on the tune split.

The paper aims at under 0.5 points for the first and 2-4 for the last; of the middle one it says nothing (ours: 1).
"""

FIGURE_6 = (0.01, 0.05, 0.4)
"""Thresholds of Figure 6 for BERT-base."""


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed."""
    steps: list[Step] = []
    for task in run.tasks_or(TASKS):
        for seed in run.seeds:
            steps.extend(_steps_of(TaskRun.of(run, task, seed, SETTINGS[run.scale.name].stage1)))
    return steps


def _steps_of(task_run: TaskRun) -> Iterator[Step]:
    if task_run.task.is_regression:
        raise UserError(
            f"DeeBERT leaves by entropy, which needs classes; {task_run.task_name} is a regression. Drop it from TASKS"
        )
    deebert = DeeBERT(task_run)
    yield from task_run.static_steps([task_run.half])
    yield from deebert.training_steps()
    yield Step.making(f"{task_run.label}: every exit's logits", task_run.scored_seconds, lambda: deebert.exits("dev"))
    yield Step(f"{task_run.label}: timing, tables and figures", task_run.clock_seconds(14), Findings(deebert).measure)


class Findings:
    """What one task run says, table by table."""

    def __init__(self, deebert: DeeBERT) -> None:
        self.deebert = deebert
        self.scored = Scored(deebert.task_run)

    def measure(self) -> list[Measurement]:
        """Everything, the record's evidence kept."""
        run = self.deebert.task_run
        self.chosen = [*self._operating_points()]
        self.sweep = [System(self.deebert, sweep_arm(threshold), threshold) for threshold in SWEEP]
        timed = [s for s in (*self.chosen, *self.sweep) if s.is_timed and "dev-tuned" not in s.setting]
        self.clock = OnTheClock(run, timed)
        self.middle = next(s for s in self.chosen if s.setting == "threshold-2")
        self.batched = self.clock.in_batches([self.middle])
        exits = {DEEBERT: self.deebert.exits("dev")}
        systems = [*self.chosen, *self.sweep]
        run.run.keep(standard_evidence(self.scored, self.clock, [run.half], systems, exits, self.batched))
        row = Rows(run.task_name, run.seed, run.backbone.backbone, len(self.scored.labels))
        rows = [*self.table1(row), *self.figure2(row), *self.figure3(row), *self.figure6(row)]
        rows += score_by_exit(row, "figure4", DEEBERT, self.scored, exits[DEEBERT])
        return [*rows, *score_by_difficulty(row, self.scored, self.middle)]

    def _operating_points(self) -> Iterator[System]:
        for name, drop in ALLOWED_DROPS.items():
            yield System(self.deebert, name, self.deebert.fastest_within(drop))
            yield System(self.deebert, f"{name} (dev-tuned)", self.deebert.fastest_within(drop, "dev"))
        run = self.deebert.task_run
        yield System.at_saving(self.deebert, EQUAL_SAVING, 1 - run.half / run.num_layers)

    def table1(self, row: Rows) -> Iterator[Measurement]:
        """Score and time of the baseline, half the static ladder, and DeeBERT at its operating points."""
        table = OperatingTable("table1", SAVINGS, self.scored, self.clock, self.chosen)
        yield from table.rows(row, [self.deebert.task_run.half])
        setting = self.middle.setting
        yield from self.clock.one_by_one.latency_rows(row, "table1", DEEBERT, self.middle.arm, setting=setting)
        yield from table.batch_rows(row, self.batched, [self.middle])

    def figure2(self, row: Rows) -> Iterator[Measurement]:
        """Score against wall time saved, over thresholds; the static systems as single points."""
        scored, clocked, half = self.scored, self.clock.one_by_one, self.deebert.task_run.half
        for system in self.sweep:
            at = {"setting": system.setting, "at": system.at}
            yield row("figure2", DEEBERT, "score", scored.points(system.answers()), "points", **at)
            yield row("figure2", DEEBERT, "layer_saving", system.layer_saving, "fraction", **at)
            saving = clocked.saving(system.arm)
            yield row("figure2", DEEBERT, "time_saving", saving, "fraction", timed=True, **at)
        yield row("figure2", "baseline", "score", scored.points(scored.baseline), "points")
        yield row("figure2", "baseline", "time_saving", 0.0, "fraction", note="by definition")
        yield row("figure2", static_name(half), "score", scored.points(scored.static(half)), "points")
        yield row("figure2", static_name(half), "time_saving", clocked.saving(TRUNCATED), "fraction", timed=True)

    def figure3(self, row: Rows) -> Iterator[Measurement]:
        """Layers saved against wall time saved, on the same texts (the timed ones)."""
        clocked, layers = self.clock.one_by_one, self.deebert.task_run.num_layers
        for system in self.sweep:
            at = {"setting": system.setting, "at": system.at, "n": len(clocked.rows)}
            expected = 1 - float(system.exit_layers()[clocked.rows].mean()) / layers
            yield row("figure3", DEEBERT, "expected_saving", expected, "fraction", **at)
            saving = clocked.saving(system.arm)
            yield row("figure3", DEEBERT, "measured_saving", saving, "fraction", timed=True, **at)

    def figure6(self, row: Rows) -> Iterator[Measurement]:
        """Share of texts that leave at each layer, at the paper's three thresholds, with saving and drop."""
        for threshold in FIGURE_6:
            system = System(self.deebert, sweep_arm(threshold), threshold)
            setting = system.setting
            yield from exit_histogram(row, "figure6", system)
            yield row("figure6", DEEBERT, "layer_saving", system.layer_saving, "fraction", setting=setting)
            gained = self.scored.gain(system.answers())
            yield row("figure6", DEEBERT, "score_delta", gained, "points", setting=setting)
