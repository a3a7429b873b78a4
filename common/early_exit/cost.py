"""FLOPs of leaving at a layer, heads included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.costs.flops import EncoderShape, embedding_flops, layer_flops, linear_flops, pooler_flops


def pooled_head_flops(shape: EncoderShape, outputs: int) -> int:
    """FLOPs of a pooler and a linear classifier on one first token."""
    return pooler_flops(shape) + linear_flops(shape.hidden, outputs)


def exit_flops(shape: EncoderShape, tokens: int, head: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) FLOPs of one text of `tokens` tokens that leaves at layer 1..n, every exit on the way computed.

    `head` is what one exit costs, the last one too; or (n,) where layers differ.
    """
    layers = np.arange(1, shape.layers + 1, dtype=np.int64)
    heads = np.cumsum(np.broadcast_to(np.asarray(head, dtype=np.int64), shape.layers))
    return embedding_flops(shape, tokens) + layers * layer_flops(shape, tokens) + heads
