"""The clock of DeeBERT's experiments: samples one by one, as in the paper, all thresholds interleaved.

Savings are against the plain fine-tuned classifier. (The authors' plots divide by DeeBERT's own run at S = 0, which
already pays for every off-ramp; that run is one of the arms here, so the difference can be seen.)
"""

from __future__ import annotations

from collections.abc import Mapping

from common.early_exit.clock import BASELINE, TRUNCATED, Arm, Clocked
from common.early_exit.runtime import early_exit_arm
from common.timing.paired import PairedThroughput
from replications.deebert.method import leaves_below
from replications.deebert.trial import Trial


def clock(trial: Trial, thresholds: Mapping[str, float]) -> Clocked:
    """Time the baseline, the truncated classifier and DeeBERT at each of `thresholds` (arm name to S)."""
    model = trial.model()
    arms: dict[str, Arm] = {
        BASELINE: trial.classifier(trial.num_layers),
        TRUNCATED: trial.classifier(trial.truncated_layers),
    }
    for name, threshold in thresholds.items():
        arms[name] = early_exit_arm(model, leaves_below(threshold))
    return trial.clock.one_by_one(arms)


def clock_batched(trial: Trial, threshold: float) -> PairedThroughput:
    """Time whole passes in batches of 32, the baseline against DeeBERT with compaction at `threshold`."""
    early_exit = early_exit_arm(trial.model(), leaves_below(threshold))
    return trial.clock.in_batches({BASELINE: trial.classifier(trial.num_layers), "DeeBERT": early_exit})
