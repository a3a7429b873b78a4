"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

DEEBERT = "DeeBERT"

EQUAL_SAVING = "equal-saving"
"""The setting that saves as many layers as half of the static ladder, to compare their scores."""

SWEEP = (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6)
"""Thresholds of Figures 2 and 3: the official script's list, thinned, because each one is timed."""


def sweep_arm(threshold: float) -> str:
    """Name of the setting at a threshold of the sweep."""
    return f"S={threshold:g}"
