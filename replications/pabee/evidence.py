"""What a run keeps of a task and seed: everyone's answers, exit layers and seconds, at every setting of the tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.runtime import simulate
from common.records.predictions import LABELS, Array, Evidence, answers_name, exits_name, seconds_name
from common.timing.paired import CONTROL
from replications.pabee.findings import CURVE, TOLERANCES, Findings, Point
from replications.pabee.names import (
    PABEE,
    PRINTED_SPEEDUPS,
    TEST,
    at_layer,
    matched_setting,
    saving_of,
    speed_setting,
    truncated_system,
)


def evidence_of(f: Findings) -> Evidence:
    """The arrays of one trial; `PABEE@layer i` answers at exit i for everyone."""
    trial = f.trial
    truncated = truncated_system(trial.num_layers)
    arrays: dict[str, Array] = {
        LABELS: f.labels,
        "difficulty": np.array([e.difficulty if e.difficulty is not None else 0 for e in trial.task.dev]),
        answers_name("baseline"): f.full,
        answers_name(truncated): f.truncated,
        seconds_name("baseline"): f.clocked.seconds(BASELINE),
        seconds_name(truncated): f.clocked.seconds(TRUNCATED),
        seconds_name(CONTROL): f.clocked.seconds(CONTROL),
    }
    for layer in range(1, trial.num_layers + 1):
        arrays[answers_name(PABEE, at_layer(layer))] = f.exit_predictions(layer)
    for point in (*_table_points(f), *_simulated_points(f)):
        outcome = f.outcome(point.rule)
        arrays[answers_name(point.system, point.setting)] = trial.predict(outcome.logits)
        arrays[exits_name(point.system, point.setting)] = outcome.exit_layer.numpy()
    for point in filter(f.is_timed, _table_points(f)):
        arrays[seconds_name(point.system, point.setting)] = f.clocked.seconds(f.clock_arm(point))
    for number, arm in enumerate(f.batched.arms):
        arrays[f"{arm}/seconds in batches"] = f.batched.seconds[number]
    arrays.update(_of_test(f))
    return Evidence(trial.task_name, trial.seed, trial.task.metric, len(trial.task.labels), trial.num_layers, arrays)


def _table_points(f: Findings) -> list[Point]:
    """Every patience, and the rows of Table 1: a rule that has two names is kept under both."""
    return [*map(f.patience, f.patiences), *f.table_points]


def _simulated_points(f: Findings) -> Iterator[Point]:
    """What is on no clock: a regression's tolerances, or the confidence exits' curves."""
    if f.trial.task.is_regression:
        yield from map(f.tolerance_point, TOLERANCES)
        return
    for system in PRINTED_SPEEDUPS:
        yield from (f.confidence(system, saving_of(speed), speed_setting(speed)) for speed in CURVE)
        yield from (f.matched(system, f.patience(t), matched_setting(t)) for t in f.patiences)


def _of_test(f: Findings) -> dict[str, Array]:
    if f.test is None:
        return {}
    early = simulate(f.test.exits, f.main.rule).logits
    return {
        TEST + LABELS: f.test.labels,
        TEST + answers_name("baseline"): f.trial.predict(f.test.plain),
        TEST + answers_name(PABEE, f.main.setting): f.trial.predict(early),
    }
