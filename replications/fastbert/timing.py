"""The clock of FastBERT's experiments: samples one by one, as in the paper; every Speed beside the baseline.

Two more arms split the cost. `EVERY_EXIT` computes all layers and all classifiers and asks no rule: above the plain
classifier it pays for the exits. `ASKED` also asks the rule after every layer and lets nobody leave: above
`EVERY_EXIT` it pays for the selection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.early_exit.clock import BASELINE, TRUNCATED, Arm, Clocked
from common.early_exit.rules import AskedInVain, ExitRule
from common.early_exit.runtime import all_exits, early_exit_arm
from common.statistics import Interval, bootstrap_statistic
from common.timing.paired import PairedThroughput
from replications.fastbert.method import Teacher
from replications.fastbert.trial import Trial

TEACHER = "teacher"
EVERY_EXIT = "every exit"
ASKED = "every exit, rule asked"


def clock(trial: Trial, rules: Mapping[str, ExitRule], asked: ExitRule) -> Clocked:
    """Time the static models, the two full-depth arms and FastBERT under each of `rules` (by arm name)."""
    model = trial.model()
    arms: dict[str, Arm] = {
        BASELINE: trial.classifier(trial.num_layers),
        TRUNCATED: trial.classifier(trial.truncated_layers),
        TEACHER: Teacher.load(trial.teacher_folder()).to(trial.device),
        EVERY_EXIT: lambda batch: all_exits(model, batch),
        ASKED: early_exit_arm(model, AskedInVain(asked)),
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


Array = NDArray[np.float64]


class Statistic(Protocol):
    """Reduces three arms' seconds along an axis."""

    def __call__(self, plain: Array, every: Array, asked: Array, axis: int = -1) -> Array:
        """The statistic."""


def _share(part: Callable[[Array, Array, Array], Array]) -> Statistic:
    def share(plain: Array, every: Array, asked: Array, axis: int = -1) -> Array:
        return np.asarray(part(plain, every, asked).sum(axis=axis) / asked.sum(axis=axis))

    return share


SHARES: Mapping[str, Statistic] = {
    "backbone_share": _share(lambda plain, every, asked: plain),
    "exits_share": _share(lambda plain, every, asked: every - plain),
    "selection_share": _share(lambda plain, every, asked: asked - every),
}


def cost_shares(seconds: Callable[[str], Array]) -> dict[str, Interval]:
    """Of the time of a run that computes every classifier and asks the rule at each; the shares sum to 1.

    Args:
        seconds: one time per sample of each of the arms `BASELINE`, `EVERY_EXIT` and `ASKED`.
    """
    arms = [seconds(arm) for arm in (BASELINE, EVERY_EXIT, ASKED)]
    return {metric: bootstrap_statistic(share, *arms) for metric, share in SHARES.items()}
