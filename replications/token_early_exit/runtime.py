"""SENTEE and TOKEE at work: a layer is computed for the pieces that still need it, and for no other.

Keys and values are computed of every piece, since who has left remains readable; queries, the attention's output and
the feed-forward block of active pieces alone, packed over the sentences of a batch. [CLS] and [SEP] are active until
their sentence is finished; then it is taken out of the batch. What comes out is what each sentence alone would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.costs.flops import EncoderShape, embedding_flops, layer_flops, linear_flops
from common.encoders.layer_parts import LayerParts, mask_rows
from common.errors import UserError
from common.models.tagger import of_words
from common.training.word_pieces import NO_WORD, TaggedBatch
from replications.token_early_exit.method import BEFORE_NORM, Rule, TokenExits, of_pieces, uncertainty


@dataclass(frozen=True)
class TokenOutcome:
    """How the words of B sentences left.

    Attributes:
        answers: (B, W) tag of each word; -1 where there is none.
        exits: (B, W) the layer, 1..n, that it left at; 0 where there is none.
        active: (B, n) how many pieces were computed at each layer; 0 once the sentence was finished.
    """

    answers: Tensor
    exits: Tensor
    active: Tensor


@dataclass
class _Sentences:
    """What is left of the batch: states h and r (see `TokenExits.copy`), the mask, and who has not left."""

    batch: TaggedBatch
    h: Tensor
    r: Tensor
    mask: Tensor | None
    active: Tensor

    @property
    def pieces(self) -> Tensor:
        """(B, L) which pieces are active; of [CLS] and [SEP] both."""
        present = self.batch.attention_mask.bool()
        return of_pieces(self.active, self.batch.word_of, special=True) & present

    def only(self, kept: Tensor) -> _Sentences:
        """These sentences (B,) alone."""
        b = self.batch
        parts = (b.input_ids, b.attention_mask, b.starts, b.word_of, b.labels, b.rows)
        mask = None if self.mask is None else self.mask[kept]
        return _Sentences(TaggedBatch(*(p[kept] for p in parts)), self.h[kept], self.r[kept], mask, self.active[kept])


@torch.inference_mode()
def run_token_exits(model: TokenExits, batch: TaggedBatch, rule: Rule) -> TokenOutcome:
    """Tag the sentences of a batch, words leaving by `rule`; at layer n all that are left leave.

    Args:
        model: in evaluation mode.
        batch: its `labels` say where there are words.
        rule: who leaves; `SentenceBelow` makes it SENTEE, `WindowBelow` TOKEE.

    Raises:
        UserError: the batch is empty, or a sentence has no word.
    """
    if not len(batch.rows) or not bool(batch.is_word.any(1).all()):
        raise UserError("leaving early needs at least one sentence, and in each at least one word")
    n, device = model.num_layers, batch.input_ids.device
    places = torch.arange(len(batch.rows), device=device)
    outcome = TokenOutcome(
        torch.full_like(batch.labels, -1),
        torch.zeros_like(batch.labels),
        torch.zeros((len(places), n), dtype=torch.long, device=device),
    )
    h, mask = model.encoder.embed(batch.input_ids, batch.attention_mask)
    left = _Sentences(batch, h, torch.zeros_like(h), mask, batch.is_word)
    for i, parts in enumerate(model.layers, 1):
        pieces = left.pieces
        outcome.active[places, i - 1] = pieces.sum(1)
        advance(left, parts, pieces, keep_norm_same=model.copy == BEFORE_NORM)
        logits = model.heads[i - 1](of_words(left.h, left.batch))
        leaving = left.active if i == n else rule(uncertainty(logits), left.batch.is_word, left.active, i, n)
        rows, words = leaving.nonzero(as_tuple=True)
        outcome.answers[places[rows], words] = logits[rows, words].argmax(-1)
        outcome.exits[places[rows], words] = i
        left.active = left.active & ~leaving
        unfinished = left.active.any(1)
        if not bool(unfinished.any()):
            break
        if not bool(unfinished.all()):
            left, places = left.only(unfinished), places[unfinished]
    return outcome


def advance(left: _Sentences, parts: LayerParts, pieces: Tensor, *, keep_norm_same: bool) -> None:
    """Compute one layer for the active pieces (B, L), in place."""
    h = left.h
    key, value = parts.key(h), parts.value(h)
    if bool(pieces.all()):
        r = parts.before_norm(h, parts.attention(parts.query(h), key, value, left.mask))
        left.r, left.h = r, parts.norm(r)
        return
    where = pieces.nonzero(as_tuple=True)
    states = h[where]
    r = parts.before_norm(states, _read(parts, states, (key, value, left.mask), pieces, where))
    if keep_norm_same:
        left.r[where] = r
        left.h = parts.norm(left.r)
    else:
        left.h = h.index_put(where, parts.norm(r))


def _read(
    parts: LayerParts,
    states: Tensor,
    memory: tuple[Tensor, Tensor, Tensor | None],
    pieces: Tensor,
    where: tuple[Tensor, ...],
) -> Tensor:
    """(T, H) what the T active pieces read; for the attention alone they are padded to the longest sentence's.

    Those of one sentence alone need no padding and are handed over as they are, which gives the same to the last bit.
    """
    query, (key, value, mask), (sentence, place) = parts.query(states), memory, where
    if len(key) == 1:
        own = None if mask is None else mask[:, :, place]
        return parts.attention(query[None], key, value, own)[0]
    slots = pieces.cumsum(1)[where] - 1
    size, most = len(key), int(slots.max()) + 1
    padded = query.new_zeros((size, most, query.shape[-1]))
    padded[sentence, slots] = query
    places = place.new_zeros((size, most))
    places[sentence, slots] = place
    return parts.attention(padded, key, value, mask_rows(mask, places))[sentence, slots]


# -- What it costs ----------------------------------------------------------------------------------------------------


def spent_flops(
    shape: EncoderShape, tags: int, pieces: NDArray[np.int64], words: NDArray[np.int64], active: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(S,) FLOPs of sentences of N pieces of which M_i are active at layer i, unpadded.

    A layer costs 2 (2 N d^2 + 2 M_i d^2 + 2 N M_i d + 8 M_i d^2) (the last for a feed-forward block of 4 d): keys and
    values of all, queries, output and feed-forward block of the active; nothing once the sentence is finished. Each
    layer that is executed asks its classifier about every word. The official counter takes one head's width for d in
    the attention product (cal_custom_flops.py); here it is that of all heads.

    Args:
        shape: of the encoder.
        tags: C.
        pieces: (S,) N of each sentence.
        words: (S,) of each sentence.
        active: (S, n) of `TokenOutcome`.
    """
    spent = np.array([embedding_flops(shape, int(n)) for n in pieces], dtype=float)
    cache: dict[tuple[int, int], int] = {}
    for s, (total, row) in enumerate(zip(pieces.tolist(), active.tolist(), strict=True)):
        for m in row:
            if m:
                if (total, m) not in cache:
                    cache[total, m] = layer_flops(shape, total, active=m)
                spent[s] += cache[total, m]
        spent[s] += sum(m > 0 for m in row) * linear_flops(shape.hidden, tags, rows=int(words[s]))
    return spent


def whole(pieces: NDArray[np.int64], exits: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(S, n) active pieces where sentences of so many pieces (S,) leave whole at these layers (S,)."""
    layers = np.arange(1, n + 1)
    return np.where(layers <= exits[:, None], pieces[:, None], 0)


__all__ = ["NO_WORD", "TokenOutcome", "advance", "run_token_exits", "spent_flops", "whole"]
