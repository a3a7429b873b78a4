"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

RIGHT_TOOL = "RightTool"
RELEASED_MIX = "RightTool, mix as released"
NOT_CALIBRATED = "RightTool, not calibrated"

LOSSLESS = "no loss"
"""The fastest threshold that loses nothing on held-back examples against RightTool's own last classifier, at which all
leave at a threshold above 1. What that one loses against the baseline is a claim of its own."""

OPERATING_POINTS = (LOSSLESS, "1 point", "3 points")
"""By what they may lose there."""

NEVER = 1.01
"""A threshold at which nobody leaves early."""

SWEEP = (0.6, 0.75, 0.9, 0.95, 0.99, NEVER)
"""Thresholds of the trade-off plot."""


def threshold_name(threshold: float) -> str:
    """Name of the setting at a threshold."""
    return f"t={threshold:.9g}"
