"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

CASCADE = "CascadeBERT"
WITHOUT_DAR = "CascadeBERT, no DAR"
DEEBERT = "DeeBERT"
PABEE = "PABEE"
TRUNCATED = "BERT-kL"
COMPLETE = "BERT-Complete"
COMPLETE_DAR = "BERT-Complete, DAR"

SMALL = "small model alone"
BOTH = "both for everyone"
"""Both models on everyone, asking no rule: what the official code does."""

SHARES = ("small_share", "big_share", "selection_share")
"""Parts of the time of a run that passes everyone on: the small model, what the big one adds, what asking adds."""

TARGETS = (2.0, 3.0, 4.0)
"""The groups of the main table, speed-ups in layers."""

EMITTED = "emitted"
"""Setting at which DeeBERT's exits are looked at layer by layer: as near to the fastest group as it comes."""

COMPARED = "compared/depths"
"""Depths at which shallow models are compared; the first is the smallest complete model's."""


def layers(depth: int) -> str:
    """A depth as a setting."""
    return f"{depth} layer{'s' * (depth > 1)}"


def label(speedup: float) -> str:
    """A speed-up as a setting."""
    return f"{speedup:g}x"


def rank_name(family: str, depth: int) -> str:
    """Name of the ranks of a shallow model's confidences on dev: 0 for the lowest, equal ones alike."""
    return f"{family}@{layers(depth)}/confidence rank"
