"""What a run keeps of a task and seed: everyone's answers, executed layers and seconds, at every setting of the tables.

Confidences are kept as ranks of the log-odds: probabilities saturate, and their ties would count as inversions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.early_exit.clock import BASELINE
from common.records.ordering import dense_ranks
from common.records.predictions import LABELS, TIMED, Evidence, answers_name, exits_name, seconds_name
from common.timing.paired import CONTROL
from replications.cascadebert.findings import PRINTED_THRESHOLDS, Array, Findings, Point
from replications.cascadebert.names import (
    CASCADE,
    COMPARED,
    DEEBERT,
    EMITTED,
    TARGETS,
    TRUNCATED,
    label,
    layers,
    rank_name,
)
from replications.cascadebert.timing import ASKED, BOTH, SMALL


def evidence_of(f: Findings) -> Evidence:
    """The arrays of one trial.

    `baseline` is the big model. `exits` are layers executed, all that was run before included: 7 where a model of one
    layer passes on to one of six. `TIMED` holds the places in dev of the texts that were timed.
    """
    run = f.task_run
    arrays = {
        LABELS: f.labels,
        "difficulty": np.zeros_like(f.labels) if f.levels is None else f.levels,
        "trained/hard": f.small.hard.numpy(),
        COMPARED: np.array(f.settings.shallow),
        answers_name("baseline"): f.full,
        exits_name(DEEBERT, EMITTED): f.emitted.exit_layer.numpy(),
    }
    for point in (*f.table_points, *f.dev_tuned, *f.curve, *map(f.threshold, PRINTED_THRESHOLDS)):
        arrays |= _left(point)
    for speedup in TARGETS:
        depth = f.layers_at(speedup)
        arrays[answers_name(TRUNCATED, label(speedup))] = f.scored.static(depth)
        arrays[exits_name(TRUNCATED, label(speedup))] = np.full(len(f.labels), depth)
    for depth in f.truncations:
        arrays[answers_name(TRUNCATED, layers(depth))] = f.scored.static(depth)
    arrays |= dict(_shallow(f))
    arrays |= _seconds(f)
    classes = len(run.task.labels)
    return Evidence(run.task_name, run.seed, run.task.metric, classes, run.num_layers, arrays)


def _left(point: Point) -> dict[str, Array]:
    return {
        answers_name(point.system.name, point.setting): point.predictions,
        exits_name(point.system.name, point.setting): point.executed,
    }


def _shallow(f: Findings) -> Iterator[tuple[str, Array]]:
    """Answers and ranked confidences of everything shallow that is compared."""
    for depth in f.settings.shallow:
        for family, logits in f.shallow(depth).items():
            yield answers_name(family, layers(depth)), np.asarray(logits.argmax(-1).numpy())
            yield rank_name(family, depth), dense_ranks(f.knows(logits)[0])


def _seconds(f: Findings) -> dict[str, Array]:
    """Of everyone on the clock."""
    arms = {
        seconds_name("baseline"): BASELINE,
        seconds_name(CONTROL): CONTROL,
        **{seconds_name(point.system.name, point.setting): point.arm for point in f.timed},
        **{seconds_name(CASCADE, arm): arm for arm in (SMALL, BOTH, ASKED)},
    }
    for speedup in TARGETS:
        arms[seconds_name(TRUNCATED, label(speedup))] = f.truncated_arm(f.layers_at(speedup))
    return {TIMED: f.clocked.rows, **{name: f.clocked.seconds(arm) for name, arm in arms.items()}}
