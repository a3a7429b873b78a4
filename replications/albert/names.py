"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

from typing import Literal

ALL, ATTENTION, FEED_FORWARD, NONE = "all-shared", "shared-attention", "shared-FFN", "not-shared"
"""Table 4's strategies, by its names."""

STRATEGIES = (ALL, ATTENTION, FEED_FORWARD, NONE)

Objective = Literal["none", "NSP", "SOP"]
Optimiser = Literal["LAMB", "AdamW"]
LAMB: Optimiser = "LAMB"
ADAMW: Optimiser = "AdamW"

NO_TASK: Objective = "none"
NSP: Objective = "NSP"
SOP: Objective = "SOP"
OBJECTIVES: tuple[Objective, ...] = (NO_TASK, NSP, SOP)
"""What is asked of two segments (Table 5)."""

ALBERT = "ALBERT"
"""Everything shared, E = H/6, sentence order: the row that every ablation changes one thing of."""

DROPOUT, NO_DROPOUT = "with dropout", "without dropout"
GROUPS = "in groups"

INTRINSIC = "intrinsic"
"""Stands as the task of what is scored on pre-training text held back."""

WORD_HITS = "words/right"
"""Part of an array's name: whether each masked word was guessed."""

PAIR_HITS = {NSP: "next sentence/right", SOP: "sentence order/right"}
"""Parts of arrays' names: whether each pair was judged rightly."""

TRAINING, INFERENCE = "training", "inference"
"""What is timed at full size."""


def embedding_setting(embedding: int, hidden: int) -> str:
    """E as a share of H: the paper's 64, 128, 256 and 768 of 768 stand beside the same shares of other widths."""
    if embedding == hidden:
        return "E = H"
    return f"E = H/{hidden // embedding}" if hidden % embedding == 0 else f"E = {embedding}"


NARROW, SIXTH, WIDE = embedding_setting(64, 768), embedding_setting(128, 768), embedding_setting(768, 768)


def depth_setting(layers: int) -> str:
    """Table 11's rows."""
    return f"{layers} layer" if layers == 1 else f"{layers} layers"


def width_setting(hidden: int) -> str:
    """Table 12's rows."""
    return f"H={hidden}"


def rows_setting(rows: int) -> str:
    """Of a training step."""
    return f"{rows} row" if rows == 1 else f"{rows} rows"


def groups_setting(groups: int) -> str:
    """Ours."""
    return f"{groups} groups"


def hits_name(system: str, setting: str, part: str) -> str:
    """Name of a row's hits, e.g. `all-shared@E = H/6/words/right`."""
    return f"{system}@{setting}/{part}" if setting else f"{system}/{part}"
