"""Where the time of a run at full depth goes: the part that is needed anyway, what was added, and asking the rule.

Arms that nest are timed beside each other: a base, all that the method computes, and that with the rule asked after
every step though nobody leaves. Their differences are the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.early_exit.clock import BASELINE, Arm
from common.early_exit.rules import AskedInVain, ExitRule
from common.early_exit.runtime import MultiExitModel, all_exits, early_exit_arm
from common.records.statistics import Interval, bootstrap_statistic

EVERY_EXIT = "every exit"
ASKED = "every exit, rule asked"

Array = NDArray[np.float64]


def full_depth_arms(model: MultiExitModel, rule: ExitRule) -> dict[str, Arm]:
    """`EVERY_EXIT` computes all layers and exits and asks no rule; `ASKED` also asks `rule`, in vain."""
    return {
        EVERY_EXIT: lambda batch: all_exits(model, batch),
        ASKED: early_exit_arm(model, AskedInVain(rule)),
    }


def cost_shares(seconds: Callable[[str], Array]) -> dict[str, Interval]:
    """Of the time of a run that computes every exit and asks the rule at each; the shares sum to 1.

    Args:
        seconds: one time per sample of each of the arms `BASELINE`, `EVERY_EXIT` and `ASKED`.
    """
    names = ("backbone_share", "exits_share", "selection_share")
    return nested_shares(seconds, (BASELINE, EVERY_EXIT, ASKED), names)


def nested_shares(
    seconds: Callable[[str], Array], arms: tuple[str, str, str], names: tuple[str, str, str]
) -> dict[str, Interval]:
    """Of the time of the last arm: that of the first, what the second adds to it, and what the last adds to that.

    Args:
        seconds: one time per sample of each arm.
        arms: the base, all that the method computes, and that with the rule asked.
        names: of the three shares, in this order.
    """
    times = [seconds(arm) for arm in arms]
    return {name: bootstrap_statistic(part, *times) for name, part in zip(names, PARTS, strict=True)}


class Statistic(Protocol):
    """Reduces three arms' seconds along an axis."""

    def __call__(self, base: Array, whole: Array, asked: Array, axis: int = -1) -> Array:
        """The statistic."""


def _share(part: Callable[[Array, Array, Array], Array]) -> Statistic:
    def share(base: Array, whole: Array, asked: Array, axis: int = -1) -> Array:
        return np.asarray(part(base, whole, asked).sum(axis=axis) / asked.sum(axis=axis))

    return share


PARTS = (
    _share(lambda base, whole, asked: base),
    _share(lambda base, whole, asked: whole - base),
    _share(lambda base, whole, asked: asked - whole),
)
