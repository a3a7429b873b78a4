"""Training on the token states of a frozen encoder: each layer's are computed once, from those of the layer before.

For heads that read whole sequences; heads that read one state of a text have `frozen.py`, which is lighter. A loss that
is a plain sum over heads separates: each head can learn for all its epochs on its own layer's states, and the encoder
passes over the texts once instead of once an epoch. Its dropout has to be off for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from common.encoders.layered import LayeredEncoder
from common.training.batches import EncodedSplit, length_buckets, rows_by_length

BATCH_SIZE = 64
"""Texts that the encoder takes at a time."""

TokenHead = Callable[[Tensor, Tensor | None], Tensor]
"""(B, C) from states (B, T, H) and the mask of what may be attended to, (B, 1, 1, T) or None without padding."""


@dataclass(frozen=True)
class TokenStates:
    """One layer's states of all texts of a split, without padding.

    Attributes:
        lengths: tokens of each text.
        states: (sum of lengths, H), text after text.
    """

    lengths: Sequence[int]
    states: Tensor

    @cached_property
    def starts(self) -> list[int]:
        """Where each text begins."""
        return [0, *accumulate(self.lengths)]

    def padded(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States (B, T, H), padded with zeros, and which positions are tokens (B, T)."""
        hidden = pad_sequence([self.states[self.starts[r] : self.starts[r + 1]] for r in rows], batch_first=True)
        lengths = torch.tensor([self.lengths[r] for r in rows])
        return hidden, torch.arange(hidden.shape[1]) < lengths[:, None]

    def put(self, rows: Sequence[int], hidden: Tensor) -> None:
        """Keep the states of texts from a padded batch (B, T, H)."""
        for row, states in zip(rows, hidden.cpu(), strict=True):
            self.states[self.starts[row] : self.starts[row + 1]] = states[: self.lengths[row]]

    @torch.inference_mode()
    def answers(self, head: TokenHead, device: torch.device) -> Tensor:
        """(N, C) what a head on `device` answers to all texts."""
        found, order = [], []
        for rows in rows_by_length(self.lengths, BATCH_SIZE):
            hidden, present = (x.to(device) for x in self.padded(rows))
            found.append(head(hidden, present[:, None, None, :]).cpu())
            order.extend(rows)
        return torch.cat(found)[torch.tensor(order).argsort()]


@dataclass
class LayerStates:
    """h_1, ..., h_n of all texts of a split under a frozen encoder, each made when first asked for.

    Attributes:
        encoder: in evaluation mode, on `device`.
        split: the texts.
        device: where the encoder computes; states are kept on the CPU.
        memory: bytes that may hold all layers' states. If they take more, the last one alone is kept: who asks for
            layers in ascending order costs one pass, who goes back another.
    """

    encoder: LayeredEncoder
    split: EncodedSplit
    device: torch.device
    memory: int = 4 * 2**30
    _kept: dict[int, TokenStates] = field(default_factory=dict)

    def at(self, layer: int) -> TokenStates:
        """h_i, i = `layer` from 1."""
        if layer not in self._kept:
            before = max((known for known in self._kept if known < layer), default=0)
            states = self._kept[before] if before else self._embedded()
            for index in range(before + 1, layer + 1):
                states = self._advanced(index, states)
                if self.bytes > self.memory:
                    self._kept.clear()
                self._kept[index] = states
        return self._kept[layer]

    @property
    def bytes(self) -> int:
        """What all layers take."""
        return 4 * self.encoder.num_layers * sum(self.split.lengths) * self.encoder.hidden_size

    @torch.inference_mode()
    def _embedded(self) -> TokenStates:
        states = self._room()
        for batch in self.split.by_length(BATCH_SIZE):
            b = batch.to(self.device)
            hidden, _ = self.encoder.embed(b.input_ids, b.attention_mask, b.token_type_ids)
            states.put(batch.rows.tolist(), hidden)
        return states

    @torch.inference_mode()
    def _advanced(self, layer: int, before: TokenStates) -> TokenStates:
        after = self._room()
        for rows in rows_by_length(before.lengths, BATCH_SIZE):
            hidden, present = (x.to(self.device) for x in before.padded(rows))
            mask = self.encoder.prepare_mask(hidden, present.long())
            after.put(rows, self.encoder.layer(layer, hidden, mask))
        return after

    def _room(self) -> TokenStates:
        lengths = self.split.lengths
        return TokenStates(lengths, torch.empty(sum(lengths), self.encoder.hidden_size))


# -- Batches ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenBatch:
    """What a head learns from: states (B, T, H), a key mask (B, 1, 1, T) or None without padding, targets (B, ...)."""

    hidden: Tensor
    mask: Tensor | None
    targets: Tensor

    @property
    def tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.hidden.shape[0] * self.hidden.shape[1]

    def to(self, device: torch.device) -> TokenBatch:
        """The same batch on `device`."""
        mask = None if self.mask is None else self.mask.to(device)
        return TokenBatch(self.hidden.to(device), mask, self.targets.to(device))


@dataclass(frozen=True)
class TokenBatches:
    """An `EpochSource` of one layer's states, with the batches that `BucketedBatches` would draw of the texts.

    Attributes:
        states: of all texts.
        targets: (N, ...) what is learned of each: labels, or a teacher's answers.
    """

    states: TokenStates
    targets: Tensor
    batch_size: int
    seed: int

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.states.lengths) // self.batch_size)

    def epoch(self, number: int) -> Iterator[TokenBatch]:
        """The batches of epoch `number`."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        for rows in length_buckets(self.states.lengths, self.batch_size, generator):
            hidden, present = self.states.padded(rows)
            mask = None if present.all() else present[:, None, None, :]
            yield TokenBatch(hidden, mask, self.targets[rows])
