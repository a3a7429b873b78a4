"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

PABEE = "PABEE"
BRANCHYNET = "BranchyNet"
SHALLOW_DEEP = "Shallow-Deep"

PRINTED_SPEEDUPS = {BRANCHYNET: 1.88, SHALLOW_DEEP: 1.95}
"""Where Table 1 has the two confidence exits; their thresholds are not known."""

AT_EQUAL_SPEED = "at PABEE's speed"
"""The setting of a confidence exit that saves as many layers as PABEE at its main patience."""

TEST = "test/"
"""Begins the names of what is kept of the test split: `test/labels`, and answers under the names of dev's."""


def patience_setting(patience: int) -> str:
    """Name of PABEE's setting at a patience."""
    return f"t={patience}"


def speed_setting(speedup: float) -> str:
    """Name of a confidence exit's setting at a speed-up in layers on held-back examples."""
    return f"{speedup:g}x"


def matched_setting(patience: int) -> str:
    """Name of a confidence exit's setting that saves as many layers as PABEE at a patience, on held-back examples."""
    return f"as fast as {patience_setting(patience)}"


def half_patience(layers: int) -> int:
    """The paper's main patience, 6 of 12, as a share of the depth."""
    return max(1, layers // 2)


def saving_of(speedup: float) -> float:
    """The share of layers saved at a speed-up in layers."""
    return 1 - 1 / speedup
