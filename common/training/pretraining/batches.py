"""Batches of masked rows: a function of the seed, the epoch and the batch's number alone, so any can be made first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.training.pretraining.masking import BERT_CORRUPTION, Corruption, Masking
from common.training.pretraining.rows import Rows
from common.training.pretraining.words import Words


@dataclass(frozen=True)
class MaskedBatch:
    """B rows of L tokens, M of which are to be guessed.

    Attributes:
        input_ids: (B, L), corrupted.
        attention_mask, token_type_ids, order: as of `RowBatch`.
        places: (M,) where the chosen tokens are in the flattened rows, b L + l, ascending.
        targets: (M,) their ids.
    """

    input_ids: Tensor
    attention_mask: Tensor | None
    token_type_ids: Tensor | None
    order: Tensor | None
    places: Tensor
    targets: Tensor

    @property
    def texts(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What an encoder takes: ids, mask, types."""
        return self.input_ids, self.attention_mask, self.token_type_ids

    @property
    def present(self) -> Tensor:
        """(B, L) booleans: tokens, not padding."""
        mask = self.attention_mask
        return torch.ones_like(self.input_ids, dtype=torch.bool) if mask is None else mask.bool()

    @property
    def tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> MaskedBatch:
        """The same batch on `device`."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=moved(self.attention_mask),
            token_type_ids=moved(self.token_type_ids),
            order=moved(self.order),
            places=self.places.to(device),
            targets=self.targets.to(device),
        )


@dataclass(frozen=True)
class MaskedBatches:
    """An `EpochSource` that can begin in mid-epoch; rows in random order, masked anew in every epoch.

    Attributes:
        rows: of a corpus.
        words: of its tokenizer.
        masking: what is to be guessed; None: nothing, and ids stay as they are.
        batch_size: rows in a batch; the last may hold fewer.
        seed: of everything drawn.
        corruption: what becomes of the chosen.
    """

    rows: Rows
    words: Words
    masking: Masking | None
    batch_size: int
    seed: int
    corruption: Corruption = BERT_CORRUPTION

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.rows) // self.batch_size)

    def epoch(self, number: int) -> Iterator[MaskedBatch]:
        """The batches of epoch `number`."""
        return self.epoch_from(number, 0)

    def epoch_from(self, number: int, first: int) -> Iterator[MaskedBatch]:
        """The same from batch `first` on; those before are not made."""
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(self._seed(number, 0)))
        for index in range(first, len(self)):
            rows = order[index * self.batch_size : (index + 1) * self.batch_size].tolist()
            yield self.batch(rows, torch.Generator().manual_seed(self._seed(number, 1 + index)))

    def _seed(self, epoch: int, index: int) -> int:
        return (self.seed * 100_003 + epoch) * 10_000_019 + index

    def batch(self, rows: list[int], generator: torch.Generator) -> MaskedBatch:
        """These rows, masked."""
        found = self.rows.batch(rows, generator)
        ids, nothing = found.ids, torch.zeros(0, dtype=torch.long)
        batch = MaskedBatch(ids, found.attention_mask, found.token_type_ids, found.order, nothing, nothing)
        if self.masking is None:
            return batch
        chosen = self.masking(ids, self.words.maskable(ids) & batch.present, generator)
        places = chosen.flatten().nonzero()[:, 0]
        corrupted = self.corruption(ids, chosen, self.words, generator)
        return replace(batch, input_ids=corrupted, places=places, targets=ids.flatten()[places])
