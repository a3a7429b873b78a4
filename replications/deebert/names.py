"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

DEEBERT = "DeeBERT"

EQUAL_SAVING = "equal-saving"
"""The operating point that saves as many layers as the truncated baseline, to compare their scores."""

SWEEP = (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6)
"""Thresholds of Figures 2 and 3: the official script's list, thinned, because each one is timed."""

TIMED = "timed/rows"
"""Places in dev of the texts that were timed, in the order of every system's seconds."""


def sweep_arm(threshold: float) -> str:
    """Name of the setting, and of the timed arm, at a threshold of the sweep."""
    return f"S={threshold:g}"


def at_layer(layer: int) -> str:
    """Name of the setting at which everyone leaves at one layer."""
    return f"layer {layer}"


def truncated_layers(layers: int) -> int:
    """The static baseline keeps the first half."""
    return max(1, layers // 2)


def truncated_system(layers: int) -> str:
    """Name of the static baseline of an encoder of so many layers."""
    return f"truncated {truncated_layers(layers)}L"
