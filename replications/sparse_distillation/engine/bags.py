"""Texts as bags of n-gram ids, one after the other without padding, and the batches that the student learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import UserError
from replications.sparse_distillation.engine.extraction import Bags, Vocabulary

MAX_NGRAMS = 2048
"""Most n-grams of one text that training sees (official code, `--max-positions`)."""


@dataclass(frozen=True)
class Bag:
    """B texts as n-gram ids: text i is ids[offsets[i] : offsets[i + 1]], to the end for the last.

    Attributes:
        ids: (M,) rows of the table.
        offsets: (B,) where each text starts.
    """

    ids: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        """B."""
        return len(self.offsets)

    @property
    def lengths(self) -> Tensor:
        """(B,) n-grams of each text, m."""
        return torch.diff(self.offsets, append=self.offsets.new_tensor([len(self.ids)]))

    @property
    def text_of_id(self) -> Tensor:
        """(M,) the text that each id belongs to."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.ids.device), self.lengths)

    def to(self, device: torch.device) -> Bag:
        """The same texts on `device`."""
        return Bag(self.ids.to(device), self.offsets.to(device))

    @staticmethod
    def of(bags: Bags) -> Bag:
        """As tensors."""
        return Bag(torch.from_numpy(bags.ids), torch.from_numpy(bags.offsets[:-1]))


@dataclass(frozen=True)
class BagBatch:
    """B examples, one or two texts each.

    Attributes:
        first, second: the texts; `second` is None for single texts.
        targets: (B,) class indices, or (B, C) teacher logits.
        rows: (B,) positions of these examples in their split.
    """

    first: Bag
    second: Bag | None
    targets: Tensor
    rows: Tensor

    @property
    def tokens(self) -> int:
        """N-grams in the batch."""
        return len(self.first.ids) + (0 if self.second is None else len(self.second.ids))

    def to(self, device: torch.device) -> BagBatch:
        """The same batch on `device`."""
        second = None if self.second is None else self.second.to(device)
        return BagBatch(self.first.to(device), second, self.targets.to(device), self.rows.to(device))


def bag_batch(vocabulary: Vocabulary, first: Sequence[str], second: Sequence[str] | None = None) -> BagBatch:
    """Texts, or pairs of them, as a batch of which nothing is to be learned."""
    bags = Bag.of(vocabulary.bags(first))
    others = None if second is None else Bag.of(vocabulary.bags(second))
    return BagBatch(bags, others, torch.zeros(len(first)), torch.arange(len(first)))


@dataclass(frozen=True)
class BagSplit:
    """A split's texts as bags, with what is to be learned of each.

    Raises:
        UserError: there are not as many targets as texts.
    """

    first: Bags
    second: Bags | None
    targets: Tensor

    def __post_init__(self) -> None:
        if len(self.targets) != len(self.first):
            raise UserError(
                f"expected one target (a label, or a line of teacher logits) for each of {len(self.first)} texts, "
                f"found {len(self.targets)}; were the teacher's logits computed on other data?"
            )

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.first)

    def batch(self, rows: Sequence[int] | NDArray[np.int64]) -> BagBatch:
        """The examples at `rows`."""
        index = np.asarray(rows, dtype=np.int64)
        second = None if self.second is None else Bag.of(self.second.take(index))
        positions = torch.from_numpy(index)
        return BagBatch(Bag.of(self.first.take(index)), second, self.targets[positions], positions)

    def in_order(self, batch_size: int) -> Iterator[BagBatch]:
        """Every example once, in order; for evaluation."""
        for start in range(0, len(self), batch_size):
            yield self.batch(np.arange(start, min(start + batch_size, len(self))))


@dataclass(frozen=True)
class BagBatches:
    """An `EpochSource` of random batches; each n-gram is dropped with probability `ngram_dropout`."""

    split: BagSplit
    batch_size: int
    seed: int
    ngram_dropout: float

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.split) // self.batch_size)

    def epoch(self, number: int) -> Iterator[BagBatch]:
        """The batches of epoch `number`, a function of the seed and the number alone."""
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(len(self.split))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            first = thin_out(self.split.first.take(rows), self.ngram_dropout, rng)
            second = None
            if self.split.second is not None:
                second = Bag.of(thin_out(self.split.second.take(rows), self.ngram_dropout, rng))
            positions = torch.from_numpy(rows)
            yield BagBatch(Bag.of(first), second, self.split.targets[positions], positions)


def thin_out(bags: Bags, dropout: float, rng: np.random.Generator) -> Bags:
    """Drop each n-gram with probability `dropout`, then at random what a text has beyond `MAX_NGRAMS`.

    (The official file is missing from the repository: which n-grams it cuts from a long text is not known.)
    """
    keep = rng.random(len(bags.ids)) >= dropout
    for text in np.flatnonzero(bags.lengths > MAX_NGRAMS):
        kept = bags.offsets[text] + np.flatnonzero(keep[bags.offsets[text] : bags.offsets[text + 1]])
        if len(kept) > MAX_NGRAMS:
            keep[rng.choice(kept, len(kept) - MAX_NGRAMS, replace=False)] = False
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    return Bags(bags.ids[keep], kept_before[bags.offsets])
