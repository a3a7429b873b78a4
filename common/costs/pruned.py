"""FLOPs of layers with fewer attention heads and feed-forward units."""

from __future__ import annotations

from dataclasses import replace

from common.costs.flops import EncoderShape, feed_forward_flops, linear_flops


def pruned_layer_flops(shape: EncoderShape, tokens: int, *, heads: int, units: int) -> int:
    """FLOPs of one layer that keeps `heads` of `shape.heads` heads and `units` of its feed-forward units, on one text.

    The four projections lead to and from heads * hidden / shape.heads numbers a token, and the two products of
    attention are over as many.
    """
    inner = heads * shape.hidden // shape.heads
    projections = 4 * linear_flops(shape.hidden, inner, rows=tokens)
    products = 2 * linear_flops(inner, tokens, rows=tokens)
    return projections + products + feed_forward_flops(replace(shape, intermediate=units), tokens)
