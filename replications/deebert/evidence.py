"""What a run keeps of a task and seed: everyone's answers, exit layers and seconds, at every setting of the tables."""

from __future__ import annotations

import numpy as np

from common.early_exit.clock import BASELINE, TRUNCATED
from common.records.claims import Array
from common.records.predictions import LABELS, Evidence, answers_name, exits_name, seconds_name
from common.timing.paired import CONTROL
from replications.deebert.findings import Findings
from replications.deebert.names import DEEBERT, SWEEP, TIMED, at_layer, sweep_arm, truncated_system


def evidence_of(f: Findings) -> Evidence:
    """The arrays of one trial.

    `baseline` is the classifier as stage 1 left it; `DeeBERT@layer i` answers at exit i for everyone; `TIMED` holds the
    places in dev of the texts that were timed, in the order of all seconds.
    """
    trial = f.trial
    truncated = truncated_system(trial.num_layers)
    arrays: dict[str, Array] = {
        LABELS: f.labels,
        "difficulty": np.array([e.difficulty if e.difficulty is not None else 0 for e in trial.task.dev]),
        answers_name("baseline"): f.logits.stage1.argmax(-1).numpy(),
        answers_name(truncated): f.truncated,
        TIMED: f.clocked.rows,
        seconds_name("baseline"): f.clocked.seconds(BASELINE),
        seconds_name(truncated): f.clocked.seconds(TRUNCATED),
        seconds_name(CONTROL): f.clocked.seconds(CONTROL),
    }
    for layer in range(1, trial.num_layers + 1):
        arrays[answers_name(DEEBERT, at_layer(layer))] = f.logits.dev[:, layer - 1].argmax(-1).numpy()
    for setting, threshold in {**f.thresholds, **{sweep_arm(s): s for s in SWEEP}}.items():
        arrays[answers_name(DEEBERT, setting)] = f.predictions(threshold)
        arrays[exits_name(DEEBERT, setting)] = f.outcome(threshold).exit_layer.numpy()
        if "dev-tuned" not in setting:
            arrays[seconds_name(DEEBERT, setting)] = f.clocked.seconds(setting)
    for number, arm in enumerate(f.batched.arms):
        arrays[f"{arm}/seconds in batches"] = f.batched.seconds[number]
    return Evidence(trial.task_name, trial.seed, trial.task.metric, len(trial.task.labels), trial.num_layers, arrays)
