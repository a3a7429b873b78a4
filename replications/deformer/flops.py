"""FLOPs of DeFormer in closed form, and the lengths at which the paper counts them (its tables round to these).

    F(N)    = 2N(4d^2 + 2 d d_ff) + 4N^2 d      one layer on N tokens: `common.costs.flops.layer_flops`
    full    = n F(N)
    cached  = k F(q) + (n - k) F(N)             q: the segment that is not cached, special tokens included

Fixed slots count whole, padding included, as in the paper. Embeddings and heads are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.costs.flops import EncoderShape, layer_flops
from common.training.segments import SegmentLayout


@dataclass(frozen=True)
class Lengths:
    """Tokens of one of the paper's tasks.

    Attributes:
        layout: fixed slots, as in the official code.
        live: tokens of the segment that is not cached.
        sequences: how many sequences one example is (RACE: one for each of four options).
    """

    layout: SegmentLayout
    live: int
    sequences: int = 1


def _lengths(max_seq: int, max_first: int, *, cached_first: bool = False, sequences: int = 1) -> Lengths:
    layout = SegmentLayout(max_seq, max_first, whole_slots=True)
    return Lengths(layout, layout.second_slot if cached_first else layout.first_slot, sequences)


PAPER_LENGTHS: Mapping[str, Lengths] = {
    "squad": _lengths(320, 25),
    "race": _lengths(512, 30, sequences=4),
    "boolq": _lengths(320, 15),
    "mnli": _lengths(120, 85, cached_first=True),
    "qqp": _lengths(100, 40),
}
"""Official code, tasks/__init__.py. MNLI caches its premise. For QQP the paper caches the first question, the official
profiling the second, which leaves fewer tokens alive (42 of 100, not 58) and is taken here."""

PAPER_K = {"bert-base": 9, "bert-large": 20}
"""Of BERT-large the text does not say; figure 4 and tables 3 and 5 agree at 20."""


def full_flops(shape: EncoderShape, tokens: int) -> int:
    """FLOPs of the full model on `tokens` tokens."""
    return shape.layers * layer_flops(shape, tokens)


def cached_flops(shape: EncoderShape, k: int, live: int, tokens: int) -> int:
    """FLOPs while a question waits: `live` tokens through k layers, all `tokens` through the others."""
    return k * layer_flops(shape, live) + (shape.layers - k) * layer_flops(shape, tokens)


def flops_speedup(shape: EncoderShape, k: int, live: int, tokens: int) -> float:
    """Times as few FLOPs as the full model."""
    return full_flops(shape, tokens) / cached_flops(shape, k, live, tokens)


def speedup_at(shape: EncoderShape, k: int, lengths: Lengths) -> float:
    """The same at a task's lengths."""
    return flops_speedup(shape, k, lengths.live, lengths.layout.max_seq)
