"""How long training and evaluation will take, well enough for a plan and a progress display.

The rates were measured on two CPU cores; a run corrects the estimates as it goes, so their ratios matter most. How far
another machine is from them, `slowness` says by one product of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.tasks.task import Example
from common.timing.matmul_rate import matmul_rate

PRODUCT = (512, 384, 1536)
"""Tokens, width and inner width of MiniLM's feed-forward block."""

PRODUCT_FLOPS_PER_SECOND = 180e9
"""Of that product in float32, where the two rates below were measured; training reaches 0.7 of it."""

TRAINING_FLOPS_PER_SECOND = 125e9
FORWARD_FLOPS_PER_SECOND = 130e9
PIECES_PER_WORD = 1.3
SPECIAL_TOKENS = 3


def token_estimate(examples: Sequence[Example], max_length: int | None = None) -> float:
    """About how many tokens `examples` will have, each cut to `max_length`; from the words of at most 500 of them."""
    if not examples:
        return 0.0
    sample = examples[:: max(1, len(examples) // 500)]
    lengths = [SPECIAL_TOKENS + PIECES_PER_WORD * len(f"{e.text_a} {e.text_b or ''}".split()) for e in sample]
    cut = lengths if max_length is None else [min(max_length, length) for length in lengths]
    return len(examples) * sum(cut) / len(sample)


def training_seconds(layer_parameters: int, tokens: float) -> float:
    """Seconds to train on `tokens`: 6 FLOPs per parameter of the layers and token."""
    return 6 * layer_parameters * tokens / TRAINING_FLOPS_PER_SECOND


def forward_seconds(layer_parameters: int, tokens: float) -> float:
    """Seconds of forward passes over `tokens`: 2 FLOPs per parameter of the layers and token."""
    return 2 * layer_parameters * tokens / FORWARD_FLOPS_PER_SECOND


def slowness(precision: str = "float32") -> float:
    """How many times as long as estimated the CPU of this machine takes, as busy as it is now; some milliseconds."""
    return PRODUCT_FLOPS_PER_SECOND / matmul_rate(*PRODUCT, precision=precision)
