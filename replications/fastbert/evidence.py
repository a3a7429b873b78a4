"""What a run keeps of a task and seed: everyone's answers, exit layers and seconds, at every setting of the tables."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.runtime import simulate
from common.records.predictions import LABELS, Evidence, answers_name, exits_name, seconds_name
from common.timing.paired import CONTROL
from replications.fastbert.findings import FIGURE_3, TABLE_3, Array, Findings, Point, at_speed, predictions
from replications.fastbert.flops import PrintedCount
from replications.fastbert.names import (
    COUNT,
    DISTILLED,
    FASTBERT,
    TEACHER,
    TIMED,
    UNDISTILLED,
    at_layer,
    truncated_system,
    uncertainty_at,
)


def evidence_of(f: Findings) -> Evidence:
    """The arrays of one trial.

    `baseline` is the plain classifier; `FastBERT@layer=i` answers at layer i for everyone, and so for each variant;
    `TIMED` holds the places in dev of the texts that were timed, in the order of all seconds.
    """
    trial = f.trial
    arrays = {
        LABELS: f.labels,
        "difficulty": np.array([e.difficulty if e.difficulty is not None else 0 for e in trial.task.dev]),
        COUNT: _count(PrintedCount.of(trial.shape)),
        answers_name("baseline"): f.full,
        answers_name(TEACHER): f.teacher,
    }
    for depth in trial.static_depths:
        arrays[answers_name(truncated_system(depth))] = f.truncated(depth)
    for point in {p.setting: p for p in (*f.table_points, *map(at_speed, FIGURE_3), *f.equal_points)}.values():
        arrays |= _left(FASTBERT, f.exits(DISTILLED), point)
    for variant in (DISTILLED, *trial.variants):
        exits = f.exits(variant)
        for layer in range(1, trial.num_layers + 1):
            arrays[answers_name(variant, at_layer(layer))] = predictions(exits[:, layer - 1])
        for point in map(at_speed, (*TABLE_3, 0.5)):
            arrays |= _left(variant, exits, point)
    if trial.is_ablated:
        arrays |= _left(UNDISTILLED, trial.exits(UNDISTILLED), at_speed(0.5))
    for layer in f.figure_4.values():
        arrays[uncertainty_at(layer)] = f.uncertainties[:, layer - 1].numpy()
    arrays |= _seconds(f)
    return Evidence(trial.task_name, trial.seed, trial.task.metric, trial.classes, trial.num_layers, arrays)


def _count(count: PrintedCount) -> Array:
    return np.array([count.baseline, count.layer + count.classifier])


def _left(system: str, exits: Tensor, point: Point) -> dict[str, Array]:
    """Answers and exit layers of a system whose classifiers answer `exits` (M, L, N)."""
    outcome = simulate(exits, point.rule)
    return {
        answers_name(system, point.setting): predictions(outcome.logits),
        exits_name(system, point.setting): outcome.exit_layer.numpy(),
    }


def _seconds(f: Findings) -> dict[str, Array]:
    """Of everyone on the clock."""
    arms = {
        seconds_name("baseline"): BASELINE,
        seconds_name(CONTROL): CONTROL,
        seconds_name(TEACHER): TEACHER,
        seconds_name(truncated_system(f.trial.truncated_layers)): TRUNCATED,
        **{seconds_name(FASTBERT, point.setting): point.arm for point in f.timed_points},
    }
    return {TIMED: f.clocked.rows, **{name: f.clocked.seconds(arm) for name, arm in arms.items()}}
