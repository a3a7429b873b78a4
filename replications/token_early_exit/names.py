"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

SENTEE = "SENTEE"
TOKEE = "TOKEE"

STAGE_ONE = "TOKEE, stage 1 alone"
"""Token-level exits of a model that was never trained with halted words."""

AFTER_NORM = "TOKEE, copied after the norm"
EXITED_SILENT = "TOKEE, exited words silent"
"""Who has left no longer counts in a window's maximum."""

FULL_DEPTH = "full depth"
"""The setting at which nobody leaves early."""

SPEEDS = (2, 3, 4)
"""FLOPs of the full model over those spent: the paper's three groups."""

WINDOWS = {2: 15, 3: 5, 4: 5}
"""The window at each speed, in words: the official README's for Chinese OntoNotes."""


def speed_name(speed: int) -> str:
    """Name of the setting at about such a speed."""
    return f"{speed}x"
