"""The clock of CascadeBERT's experiments: the operating points beside the baseline, and where a cascade's time goes.

Three arms split the cost. `SMALL` runs the small model alone. `BOTH` runs both models on everyone and asks no rule:
what the official code does. `ASKED` also asks the rule and passes everyone on: above `BOTH` it pays for the selection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.early_exit.clock import Arm
from common.early_exit.rules import AskedInVain, ExitRule
from common.early_exit.runtime import all_exits, early_exit_arm
from common.statistics import Interval, bootstrap_statistic
from replications.cascadebert.method import Cascade

SMALL = "small model alone"
BOTH = "both for everyone"
ASKED = "both for everyone, rule asked"


def cost_arms(cascade: Cascade, rule: ExitRule) -> dict[str, Arm]:
    """The three arms for a cascade of two; `rule` is asked in vain."""
    return {
        SMALL: cascade.models[0],
        BOTH: lambda batch: all_exits(cascade, batch),
        ASKED: early_exit_arm(cascade, AskedInVain(rule)),
    }


Array = NDArray[np.float64]


class Statistic(Protocol):
    """Reduces three arms' seconds along an axis."""

    def __call__(self, small: Array, both: Array, asked: Array, axis: int = -1) -> Array:
        """The statistic."""


def _share(part: Callable[[Array, Array, Array], Array]) -> Statistic:
    def share(small: Array, both: Array, asked: Array, axis: int = -1) -> Array:
        return np.asarray(part(small, both, asked).sum(axis=axis) / asked.sum(axis=axis))

    return share


SHARES: Mapping[str, Statistic] = {
    "small_share": _share(lambda small, both, asked: small),
    "big_share": _share(lambda small, both, asked: both - small),
    "selection_share": _share(lambda small, both, asked: asked - both),
}


def cost_shares(seconds: Callable[[str], Array]) -> dict[str, Interval]:
    """Of the time of a run that passes everyone on; the shares sum to 1.

    Args:
        seconds: one time per sample of each of the arms `SMALL`, `BOTH` and `ASKED`.
    """
    arms = [seconds(arm) for arm in (SMALL, BOTH, ASKED)]
    return {metric: bootstrap_statistic(share, *arms) for metric, share in SHARES.items()}
