"""What the systems and settings of a trained run are called: in tables, in figures, and in the stored predictions.

Nothing is imported here: the claims are decided from stored predictions, without a model.
"""

from __future__ import annotations

TEACHER, SMALL, LSTM_STUDENT, CNN_STUDENT = "teacher", "small Transformer", "LSTM (KD)", "CNN (KD)"
SCRATCH, PRIVATE, DISTILLED = "DAN (from scratch)", "DAN (KD, no task data)", "DAN (KD)"
STUDENT = "DAN (KD+FT)"
"""The system that the paper calls its own where it names one."""

CONTENDER = "DAN"
"""What a comparison with other methods calls the same student."""

POOLING = "pooling"
"""The group of Table 5's variants that differ in how the n-grams of a text become one vector."""

FROM_ALL, FROM_TRAIN = "C and D_train", "D_train"
"""Where Figure 5 counts how frequent an n-gram is."""

FULL_TEACHER, FULL_STUDENT = "RoBERTa-Large", "DAN"
"""Those of the paper's own size, with random weights (shapes)."""


def grid_system(budget: str) -> str:
    """A column of Table 8, by the numbers in its tables."""
    return f"DAN ({budget})"


def grid_setting(size: int) -> str:
    """A row of Table 8, by the n-grams that were asked for."""
    return f"|V| = {size:,}"


def table_shape_name(budget: str) -> str:
    """Evidence, (cells, 3): of each cell of a budget |V| asked for, |V| of the corpus and d_e, in the table's order."""
    return f"{grid_system(budget)}/tables"


def longest_setting(longest: int) -> str:
    """A row of Table 10."""
    return f"n <= {longest}"


def kept_setting(share: float, counts: str) -> str:
    """A point of Figure 5 in the stored predictions."""
    return f"{share:.0%} by {counts}"
