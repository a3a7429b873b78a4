"""Rows of a corpus, unmasked: windows packed to one length, or pairs of segments that follow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from common.errors import UserError
from common.training.pretraining.encoded import EncodedText, Shard
from common.training.pretraining.words import Words

Ordering = Literal["none", "next sentence", "order"]
"""What is asked of two segments: nothing; does b follow a or is it another document's (NSP); are they swapped (SOP)."""


@dataclass(frozen=True)
class RowBatch:
    """B rows of L tokens, unmasked.

    Attributes:
        ids: (B, L).
        attention_mask: (B, L), 1 on tokens, 0 on padding; None without padding.
        token_type_ids: (B, L), 0 and 1 for the two segments; None where there is one, or the encoder has no use for it.
        order: (B,) 1 where b is another document's (NSP) or the segments are swapped (SOP), else 0; None: not asked.
    """

    ids: Tensor
    attention_mask: Tensor | None = None
    token_type_ids: Tensor | None = None
    order: Tensor | None = None


class Rows(Protocol):
    """A corpus cut into rows."""

    @property
    def length(self) -> int:
        """The most tokens that a row has."""

    def __len__(self) -> int:
        """How many rows there are."""

    def batch(self, numbers: Sequence[int], generator: torch.Generator) -> RowBatch:
        """These rows; whatever is drawn comes from `generator`."""


@dataclass(frozen=True)
class PackedRows:
    """Windows of `length` tokens, specials included, without padding: the text goes on from row to row.

    Documents are parted by the separator. The last window of a shard is left out where it is not full.

    Raises:
        UserError: the corpus has not enough text for one row.
    """

    text: EncodedText
    words: Words
    length: int

    def __post_init__(self) -> None:
        if not len(self):
            raise UserError(
                f"the text to pre-train on has {self.text.tokens} tokens: not enough for one row of {self.length}"
            )

    @property
    def body(self) -> int:
        """Tokens of text in a row."""
        return self.length - len(self.words.before) - len(self.words.after)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """(shards,) how many rows there are up to the end of each shard."""
        return np.cumsum([len(shard.tokens) // self.body for shard in self.text.shards])

    def __len__(self) -> int:
        """Full windows."""
        return int(self._ends[-1])

    def batch(self, numbers: Sequence[int], generator: torch.Generator) -> RowBatch:
        """(B, length) ids; nothing is drawn."""
        frame = [torch.tensor(part).expand(len(numbers), -1) for part in (self.words.before, self.words.after)]
        body = torch.from_numpy(np.stack([self._window(number) for number in numbers]).astype(np.int64))
        return RowBatch(torch.cat([frame[0], body, frame[1]], dim=1))

    def _window(self, number: int) -> NDArray[Any]:
        shard = int(np.searchsorted(self._ends, number, side="right"))
        start = (number - int(self._ends[shard - 1] if shard else 0)) * self.body
        window: NDArray[Any] = self.text.shards[shard].tokens[start : start + self.body]
        return window


@dataclass(frozen=True)
class SegmentPairs:
    """`before a between b after`: two segments of consecutive sentences of one document, padded to the batch's longest.

    A chunk is as many sentences of a document as fit; where a ends and b begins is drawn anew each time, so are the
    changes that `ordering` asks for. A document of one sentence, or a sentence that fills a row, gives none.

    Attributes:
        short: share of the chunks that are filled to a random shorter length (BERT's 0.1).

    Raises:
        UserError: no document has two sentences.
    """

    text: EncodedText
    words: Words
    length: int
    ordering: Ordering = "none"
    short: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not len(self):
            raise UserError("no document of the text has two sentences that fit a row: pairs of segments need that")

    @property
    def body(self) -> int:
        """Tokens of text that a row holds at most."""
        return self.length - sum(map(len, (self.words.before, self.words.between, self.words.after)))

    @cached_property
    def chunks(self) -> NDArray[np.int64]:
        """(N, 4) of each chunk: shard, document, first sentence, sentence after its last."""
        rng = np.random.default_rng(self.seed)
        found = [c for number, shard in enumerate(self.text.shards) for c in self._of_shard(number, shard, rng)]
        return np.array(found, dtype=np.int64).reshape(-1, 4)

    def __len__(self) -> int:
        """Chunks."""
        return len(self.chunks)

    def _of_shard(self, number: int, shard: Shard, rng: np.random.Generator) -> Iterator[tuple[int, int, int, int]]:
        lengths = (shard.sentences[:, 1] - shard.sentences[:, 0]).tolist()
        bounds = shard.documents.tolist()
        for document, (first, end) in enumerate(pairwise(bounds)):
            begin, held, target = first, 0, self._target(rng)
            for sentence in range(first, end):
                if held and held + lengths[sentence] > target:
                    if sentence - begin >= 2:
                        yield number, document, begin, sentence
                    begin, held, target = sentence, 0, self._target(rng)
                held += lengths[sentence]
                if held > self.body:  # one sentence alone fills more than a row
                    begin, held = sentence + 1, 0
            if end - begin >= 2:
                yield number, document, begin, end

    def _target(self, rng: np.random.Generator) -> int:
        return int(rng.integers(2, self.body + 1)) if rng.random() < self.short else self.body

    def batch(self, numbers: Sequence[int], generator: torch.Generator) -> RowBatch:
        """B pairs."""
        pairs = [self._pair(number, generator) for number in numbers]
        frame = (self.words.before, self.words.between, self.words.after)
        before, between, after = (torch.tensor(part) for part in frame)
        rows = [torch.cat([before, a, between, b, after]) for a, b, _ in pairs]
        lengths = torch.tensor([len(row) for row in rows])
        ids = pad_sequence(rows, batch_first=True, padding_value=self.words.padding)
        place = torch.arange(ids.shape[1])
        second = torch.tensor([len(before) + len(a) + len(between) for a, _, _ in pairs])
        present = place < lengths[:, None]
        types = ((place >= second[:, None]) & present).long() if self.words.has_types else None
        order = None if self.ordering == "none" else torch.tensor([label for _, _, label in pairs])
        return RowBatch(ids, present.long(), types, order)

    def _pair(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
        a, b = self._split(number, generator)
        changed = self.ordering != "none" and bool(torch.rand((), generator=generator) < 0.5)
        if not changed:
            return a, b, 0
        if self.ordering == "order":
            return b, a, 1
        other = self._elsewhere(number, generator)
        if other is None:
            return a, b, 0
        return a, self._split(other, generator)[1][: self.body - len(a)], 1

    def _split(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The chunk's two segments; between which sentences it is cut is drawn."""
        shard, _, first, end = self.chunks[number].tolist()
        cut = int(torch.randint(first + 1, end, (), generator=generator))
        found = self.text.shards[shard]
        bounds = found.sentences
        tokens = [found.tokens[bounds[i, 0] : bounds[j - 1, 1]] for i, j in ((first, cut), (cut, end))]
        return torch.from_numpy(tokens[0].astype(np.int64)), torch.from_numpy(tokens[1].astype(np.int64))

    def _elsewhere(self, number: int, generator: torch.Generator) -> int | None:
        """A random chunk of another document; None where, after ten draws, there seems to be none."""
        for _ in range(10):
            other = int(torch.randint(len(self), (), generator=generator))
            if (self.chunks[other, :2] != self.chunks[number, :2]).any():
                return other
        return None


@dataclass(frozen=True)
class Part:
    """Some rows of others: `first` to `end`."""

    rows: Rows
    first: int
    end: int

    @property
    def length(self) -> int:
        """As of all rows."""
        return self.rows.length

    def __len__(self) -> int:
        """How many."""
        return self.end - self.first

    def batch(self, numbers: Sequence[int], generator: torch.Generator) -> RowBatch:
        """Numbered from 0 within the part."""
        return self.rows.batch([self.first + number for number in numbers], generator)


def held_out(rows: Rows, share: float = 0.02, most: int = 2048) -> tuple[Part, Part]:
    """Rows to train on, and the last ones to score on: a share of them, of few rows a tenth; at most `most`.

    Raises:
        UserError: there are not two rows.
    """
    if len(rows) < 2:
        raise UserError("the text to pre-train on gives one row: too little to hold some back. Give more text")
    kept = min(most, max(1, int(share * len(rows)), min(64, len(rows) // 10)))
    cut = len(rows) - kept
    return Part(rows, 0, cut), Part(rows, cut, len(rows))
