"""Texts as padded batches, bucketed by length.

Sentences of like length share a batch and are padded to that batch's longest, not to a global maximum: on SST-2,
padding every sentence to 128 tokens would cost about ten times the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from common.errors import UserError
from common.tasks.task import Example

BatchT = TypeVar("BatchT", bound="Movable", covariant=True)


class Movable(Protocol):
    """What the training loop asks of a batch, whatever it holds."""

    @property
    def tokens(self) -> int:
        """How many positions it holds, padding included (for the throughput that is reported)."""

    def to(self, device: torch.device) -> Any:  # noqa: ANN401
        """The same batch on `device`."""


class EpochSource(Protocol[BatchT]):
    """Batches for training, the same ones whenever the same epoch is asked for."""

    def __len__(self) -> int:
        """Batches in each epoch."""

    def epoch(self, number: int) -> Iterator[BatchT]:
        """The batches of epoch `number` (from 0)."""


@runtime_checkable
class ResumableSource(Protocol[BatchT]):
    """An `EpochSource` that can begin in mid-epoch without making the batches before."""

    def epoch_from(self, number: int, first: int) -> Iterator[BatchT]:
        """The batches of epoch `number` (from 0) from batch `first` (from 0) on."""


def batches_from(source: EpochSource[BatchT], epoch: int, first: int) -> Iterator[BatchT]:
    """The batches of an epoch without its first `first` ones."""
    if isinstance(source, ResumableSource):
        return source.epoch_from(epoch, first)
    return islice(source.epoch(epoch), first, None)


@dataclass(frozen=True)
class Batch:
    """B texts, padded on the right to the longest of them (L tokens).

    Attributes:
        input_ids, attention_mask: (B, L) integers; the mask is 1 on tokens, 0 on padding.
        token_type_ids: (B, L) segment ids, or None where the tokenizer has none (RoBERTa).
        labels: (B,) class indices, or float targets of a regression.
        rows: (B,) positions of these examples in their split.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor | None
    labels: Tensor
    rows: Tensor

    @property
    def tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        types = None if self.token_type_ids is None else self.token_type_ids.to(device)
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            types,
            self.labels.to(device),
            self.rows.to(device),
        )


@dataclass(frozen=True)
class EncodedSplit:
    """A split after tokenisation, unpadded."""

    input_ids: tuple[tuple[int, ...], ...]
    token_type_ids: tuple[tuple[int, ...], ...] | None
    labels: Tensor
    padding_id: int

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.input_ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return [len(ids) for ids in self.input_ids]

    def batch(self, rows: Sequence[int]) -> Batch:
        """Pad the examples at `rows` to the longest of them."""
        texts = [self.input_ids[row] for row in rows]
        ids, mask = padded_ids(texts, self.padding_id)
        types = None if self.token_type_ids is None else filled_up([self.token_type_ids[row] for row in rows], 0)
        index = torch.tensor(rows)
        return Batch(ids, mask, types, self.labels[index], index)

    def by_length(self, batch_size: int) -> Iterator[Batch]:
        """Every example once, shortest first; for evaluation."""
        return map(self.batch, rows_by_length(self.lengths, batch_size))


def filled_up(rows: Sequence[Sequence[int]], value: int, at_least: int = 0) -> Tensor:
    """(B, L) integers: rows of unequal length, filled up with `value` on the right to the longest or to `at_least`."""
    length = max(at_least, *map(len, rows))
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows], dtype=torch.long)


def padded_ids(texts: Sequence[Sequence[int]], padding_id: int, at_least: int = 0) -> tuple[Tensor, Tensor]:
    """(B, L) token ids of texts, padded to the longest or to `at_least`; and their mask, 1 on tokens, 0 on padding."""
    return filled_up(texts, padding_id, at_least), filled_up([[1] * len(text) for text in texts], 0, at_least)


def encode(tokenizer: Any, examples: Sequence[Example], *, regression: bool, max_length: int) -> EncodedSplit:  # noqa: ANN401
    """Tokenise `examples` (single texts or pairs), cut to `max_length` tokens.

    Raises:
        UserError: there are no examples.
    """
    if not examples:
        raise UserError("there is nothing to tokenise: the split has no examples")
    first = [e.text_a for e in examples]
    second = None if examples[0].text_b is None else [e.text_b for e in examples]
    encoded = tokenizer(first, second, truncation=True, max_length=max_length)
    types = encoded.get("token_type_ids")
    labels = torch.tensor([e.label for e in examples], dtype=torch.float if regression else torch.long)
    return EncodedSplit(
        input_ids=tuple(map(tuple, encoded["input_ids"])),
        token_type_ids=None if types is None else tuple(map(tuple, types)),
        labels=labels,
        padding_id=tokenizer.pad_token_id,
    )


def rows_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """The positions of examples of like length, `batch_size` at a time, shortest first."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def length_buckets(lengths: Sequence[int], batch_size: int, generator: torch.Generator) -> list[list[int]]:
    """Random batches of examples of like length: shuffle, sort within windows of 50 batches, shuffle batches.

    Every example appears exactly once.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    window = 50 * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(order), window):
        rows = sorted(order[start : start + window], key=lambda row: lengths[row])
        batches.extend(rows[i : i + batch_size] for i in range(0, len(rows), batch_size))
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[i] for i in shuffled]


class Bucketed(Protocol[BatchT]):
    """What batches are made of: examples of known lengths, padded a few at a time."""

    @property
    def lengths(self) -> list[int]:
        """Of each example, by which examples share a batch."""

    def batch(self, rows: Sequence[int]) -> BatchT:
        """Pad the examples at `rows`."""


@dataclass(frozen=True)
class BucketedBatches(Generic[BatchT]):
    """An `EpochSource` over an encoded split of any kind: random batches of examples of like length."""

    split: Bucketed[BatchT]
    batch_size: int
    seed: int

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.split.lengths) // self.batch_size)

    def epoch(self, number: int) -> Iterator[BatchT]:
        """The batches of epoch `number`, a function of the seed and the number alone."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        for rows in length_buckets(self.split.lengths, self.batch_size, generator):
            yield self.split.batch(rows)
