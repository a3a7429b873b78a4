"""The clock of FastBERT's experiments: samples one by one, as in the paper; every Speed beside the baseline.

Two more arms run at full depth and split the cost (`common.early_exit.cost_split`).
"""

from __future__ import annotations

from collections.abc import Mapping

from common.early_exit.clock import BASELINE, TRUNCATED, Arm, Clocked
from common.early_exit.cost_split import full_depth_arms
from common.early_exit.rules import ExitRule
from common.early_exit.runtime import early_exit_arm
from common.timing.paired import PairedThroughput
from replications.fastbert.method import Teacher
from replications.fastbert.names import TEACHER
from replications.fastbert.trial import Trial


def clock(trial: Trial, rules: Mapping[str, ExitRule], asked: ExitRule) -> Clocked:
    """Time the static models, the two full-depth arms and FastBERT under each of `rules` (by arm name)."""
    model = trial.model()
    arms: dict[str, Arm] = {
        BASELINE: trial.classifier(trial.num_layers),
        TRUNCATED: trial.classifier(trial.truncated_layers),
        TEACHER: Teacher.load(trial.teacher_folder()).to(trial.device),
        **full_depth_arms(model, asked),
    }
    for name, rule in rules.items():
        arms[name] = early_exit_arm(model, rule)
    return trial.clock.one_by_one(arms)


def clock_batched(trial: Trial, rules: Mapping[str, ExitRule]) -> PairedThroughput:
    """Time whole passes in batches of 32, the baseline against FastBERT with compaction under each rule."""
    model = trial.model()
    arms: dict[str, Arm] = {BASELINE: trial.classifier(trial.num_layers)}
    for name, rule in rules.items():
        arms[name] = early_exit_arm(model, rule)
    return trial.clock.in_batches(arms)
