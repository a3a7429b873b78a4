"""What systems are called, wherever a number of theirs is kept."""

from __future__ import annotations

DISTILBERT = "DistilBERT"

NO_CE, NO_COS, NO_MLM, RANDOM = "without L_ce", "without L_cos", "without L_mlm", "random initialisation"
LOSSES = (NO_CE, NO_COS, NO_MLM)
ABLATIONS = (*LOSSES, RANDOM)
"""Table 4's rows."""

REFERENCE = "triple loss, teacher's weights"
"""What Table 4's rows are compared with: all losses, on as much text as the ablations had."""

TEACHER, UNIGRAM = "teacher", "word counts"
"""Rows of the table on pre-training."""

BASELINE, CONSTANT = "baseline", "constant answer"

TWICE = "DistilBERT (D)"
"""Distilled a second time while it is fine-tuned on questions."""

F1, EXACT = "f1", "em"


def marks_name(system: str, metric: str) -> str:
    """Name of a system's marks (N,), question by question, in a record."""
    return f"{system}/{metric}"
