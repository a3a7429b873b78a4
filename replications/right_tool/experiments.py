"""RightTool's operating points, calibration and trade-off at a run's scale. The sizes are in `shapes.py`.

Scores and exit layers come from simulations on logits collected once; the clock runs the real model, one text at a
time as in the paper, interleaved with the baseline. Thresholds are chosen on a held-back part of train, on which the
temperatures were fitted before.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.standard import (
    SPEEDUPS,
    OperatingTable,
    exit_histogram,
    score_by_difficulty,
    standard_evidence,
)
from common.early_exit.systems import OnTheClock, Scored, System
from common.records.measurements import Measurement
from common.records.predictions import Array, at_layer, static_name
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from replications.right_tool.contender import SETTINGS, NotCalibrated, ReleasedMix, RightTool
from replications.right_tool.method import classifier_layers
from replications.right_tool.names import OPERATING_POINTS, RIGHT_TOOL, SWEEP, threshold_name
from replications.right_tool.shapes import shape_steps as shape_steps

TASKS = {
    "builtin": ("sentiment", "entailment", "paraphrase"),
    "files": ("sst-2", "mrpc", "rte", "qqp-sample"),
    "hub": ("ag-news", "imdb", "sst-2", "mnli"),
}
"""The paper's where they can be had (its SST is of whole sentences; SNLI is left out); elsewhere what comes nearest."""

ALLOWED_DROPS = dict(zip(OPERATING_POINTS, (0.0, 0.01, 0.03), strict=True))
"""Fractions of score that each operating point may lose on tune, against never leaving early."""


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed."""
    recipe = SETTINGS[run.scale.name].recipe
    runs = [TaskRun.of(run, task, seed, recipe) for task in run.tasks_or(TASKS) for seed in run.seeds]
    return [step for task_run in runs for step in _steps_of(task_run)]


def _steps_of(task_run: TaskRun) -> Iterator[Step]:
    findings = Findings(RightTool(task_run))
    yield from task_run.static_steps(findings.depths)
    for model in findings.models:
        yield from model.training_steps()
        logits = f"{task_run.label}: {model.name}, every classifier's logits"
        yield Step.making(logits, task_run.scored_seconds, lambda model=model: model.exits("dev"))  # type: ignore[misc]
    yield Step(f"{task_run.label}: timing, tables and figures", task_run.clock_seconds(12), findings.measure)


class Findings:
    """What one task run says, table by table."""

    def __init__(self, right_tool: RightTool) -> None:
        run = right_tool.task_run
        self.right_tool, self.not_calibrated = right_tool, NotCalibrated(right_tool)
        self.scored, self.depths = Scored(run), run.recipe.depths(run.num_layers)
        self.models = [right_tool]
        if run.seed == run.run.seeds[0] or not run.run.scale.spares:
            self.models.append(ReleasedMix(run))

    def measure(self) -> list[Measurement]:
        """Everything, the record's evidence kept."""
        run = self.right_tool.task_run
        self.chosen = operating_points(self.right_tool)
        self.sweep = [System(self.right_tool, threshold_name(t), t) for t in SWEEP]
        self.clock = OnTheClock(run, [*self.chosen, *self.sweep])
        variants = [s for m in (self.not_calibrated, *self.models[1:]) for s in operating_points(m)]
        systems, exits = [*self.chosen, *variants, *self.sweep], {RIGHT_TOOL: self.right_tool.exits("dev")}
        run.run.keep(standard_evidence(self.scored, self.clock, self.depths, systems, exits))
        row = Rows(run.task_name, run.seed, run.backbone.backbone, len(self.scored.labels))
        points = [*self.chosen, *variants]
        rows = [*OperatingTable("operating-points", SPEEDUPS, self.scored, self.clock, points).rows(row, self.depths)]
        rows += [*self.calibration(row), *self.trade_off(row)]
        for system in self.chosen:
            rows += exit_histogram(row, "exits", system)
        return [*rows, *score_by_difficulty(row, self.scored, self.chosen[1])]

    def calibration(self, row: Rows) -> Iterator[Measurement]:
        """Temperature and calibration error of each classifier, after and before."""
        labels = self.scored.labels
        for contender in (self.right_tool, self.not_calibrated):
            temperatures = contender.model().temperatures.tolist()
            for depth, temperature in zip(
                classifier_layers(self.right_tool.task_run.num_layers), temperatures, strict=True
            ):
                at = {"setting": at_layer(depth), "at": depth}
                yield row("calibration", contender.name, "temperature", temperature, "ratio", **at)
                best = torch.softmax(contender.exits("dev")[:, depth - 1].double(), dim=-1).max(dim=-1)
                error = calibration_error(best.values.numpy(), best.indices.numpy() == labels)
                yield row("calibration", contender.name, "calibration_error", 100 * error, "points", **at)

    def trade_off(self, row: Rows) -> Iterator[Measurement]:
        """Score against times as fast, over thresholds; baseline and half the static ladder as single points."""
        scored, clocked, half = self.scored, self.clock.one_by_one, self.right_tool.task_run.half
        statics = (("baseline", BASELINE, scored.baseline), (static_name(half), TRUNCATED, scored.static(half)))
        for name, arm, answers in statics:
            yield row("tradeoff", name, "score", scored.points(answers), "points")
            yield row("tradeoff", name, "time_speedup", clocked.speedup(arm), "ratio", timed=True)
        for system in self.sweep:
            at = {"setting": system.setting, "at": system.at}
            yield row("tradeoff", RIGHT_TOOL, "score", scored.points(system.answers()), "points", **at)
            yield row("tradeoff", RIGHT_TOOL, "layer_speedup", system.layer_speedup, "ratio", **at)
            yield row("tradeoff", RIGHT_TOOL, "time_speedup", clocked.speedup(system.arm), "ratio", timed=True, **at)


def operating_points(contender: RightTool) -> list[System]:
    """The fastest threshold within each allowed drop on tune."""
    return [System(contender, name, contender.fastest_within(drop)) for name, drop in ALLOWED_DROPS.items()]


def calibration_error(confidence: Array, right: Array, bins: int = 15) -> float:
    """Mean distance of confidence (N,) and accuracy over equal bins (low, high] of confidence, by their share of N."""
    bin_of = np.clip(np.ceil(confidence * bins).astype(int), 1, bins)
    gaps = [abs(float((confidence - right)[bin_of == b].sum())) for b in range(1, bins + 1)]
    return sum(gaps) / len(confidence)
