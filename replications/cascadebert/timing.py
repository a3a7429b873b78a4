"""The clock of CascadeBERT's experiments: the operating points beside the baseline, and where a cascade's time goes.

Three arms split the cost. `SMALL` runs the small model alone. `BOTH` runs both models on everyone and asks no rule:
what the official code does. `ASKED` also asks the rule and passes everyone on: above `BOTH` it pays for the selection.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from common.early_exit.clock import Arm
from common.early_exit.cost_split import nested_shares
from common.early_exit.rules import AskedInVain, ExitRule
from common.early_exit.runtime import all_exits, early_exit_arm
from common.records.statistics import Interval
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


def cost_shares(seconds: Callable[[str], NDArray[np.float64]]) -> dict[str, Interval]:
    """Of the time of a run that passes everyone on; the shares sum to 1.

    Args:
        seconds: one time per sample of each of the arms `SMALL`, `BOTH` and `ASKED`.
    """
    return nested_shares(seconds, (SMALL, BOTH, ASKED), ("small_share", "big_share", "selection_share"))
