"""What systems, settings and kept arrays are called, wherever a number of theirs is kept."""

from __future__ import annotations

BORT = "Bort"

# -- Full size: the two readings of the paper's size, and whom Bort is compared with -------------------------------

RELEASED, AS_COUNTED = "released: 1024 wide, feed-forward 768", "as counted: 768 wide, feed-forward 1024"
"""The released weights, and the sizes that the printed counts fit."""

BERT_BASE, BERT_LARGE, ROBERTA_LARGE = "BERT-base", "BERT-large", "RoBERTa-large"

ARMS = {RELEASED: f"{BORT} 1024/768", AS_COUNTED: f"{BORT} 768/1024"}
"""What each reading is called on the clock."""


def workload(tokens: int, batch: int) -> str:
    """Name of what is timed."""
    return f"{tokens} tokens, batch {batch}"


# -- The search ----------------------------------------------------------------------------------------------------

SEARCH = "FPTAS"

SEARCH_EVIDENCE = "the search"
"""Names what the search kept: no task of the catalogue."""

STEPS = 3
"""n: steps of SGD after which the paper's error surrogate is taken (one secondary source)."""

TRIED, ERRORS, BY_ROW = "/tried", "/errors", "/by row"


def tried_name(steps: int) -> str:
    """(C,) places of the candidates that were trained for n steps, in the order by parameters."""
    return f"n={steps}{TRIED}"


MASKS = "masks"
"""(S,) masked tokens of each held-out sequence."""


def theta_name(rate: float) -> str:
    """A set of hyper-parameters of the search."""
    return f"rate {rate:g}"


def errors_name(theta: str, steps: int) -> str:
    """(C,) e-hat of every candidate tried, in nats a masked token."""
    return f"{theta}, n={steps}{ERRORS}"


def by_row_name(theta: str, steps: int) -> str:
    """(C, S) cross-entropy against the maximum point, summed over the masked tokens of each held-out sequence."""
    return f"{theta}, n={steps}{BY_ROW}"


# -- Pre-training --------------------------------------------------------------------------------------------------

PRETRAINING_EVIDENCE = "pre-training"
"""Names what pre-training kept: no task of the catalogue."""

DISTILLED, SELF_SUPERVISED = f"{BORT}, distilled", f"{BORT}, self-supervised"
RELEASED_LOSS = f"{BORT}, loss as released"


def right_name(arm: str) -> str:
    """(S,) masked tokens of each held-out sequence that a pre-trained model gets right."""
    return f"{arm}/right"


# -- Fine-tuning ---------------------------------------------------------------------------------------------------

AGORA, PLAIN, ONCE = f"{BORT}, Agora", f"{BORT}, plain at equal budget", f"{BORT}, plain once"

THETAS_OF_AGORA = "agora/thetas"
"""(1,) |Theta|."""
