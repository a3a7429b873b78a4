"""Two texts as two segments of their own, each with its special tokens and its positions, padded apart.

    first    [CLS] a_1 .. a_m [SEP], padded to a slot of fixed size; token type 0
    second   b_1 .. b_m [SEP], without a [CLS]; token type 1, on padding too

Each is embedded by itself: how long the first text is does not matter to the second. Its positions begin anew, or run
on behind the first one's slot, which is as long for every text. Padding stands between the two, and is masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from common.tasks.task import Example
from common.training.batches import padded_ids, rows_by_length


@dataclass(frozen=True)
class SegmentLayout:
    """How many tokens two segments may have.

    Attributes:
        max_seq: both together, special tokens and padding included.
        max_first: of the first text, without [CLS] and [SEP].
        whole_slots: whether the second segment is padded to its slot, as in fixed-size graphs, or to the longest of
            its batch. Padding is masked, so that what is computed of other tokens is the same.
        runs_on: whether the second segment's positions run on behind the first one's slot, or begin anew.
    """

    max_seq: int
    max_first: int
    whole_slots: bool = False
    runs_on: bool = False

    def __post_init__(self) -> None:
        """Refuse a layout that leaves no room.

        Raises:
            UserError: there is none for a token of either text.
        """
        if self.max_first < 1 or self.second_pieces < 1:
            raise UserError(
                f"{self.max_seq} tokens with {self.max_first} for the first text leave no room: expected at least one "
                "for each text and three for [CLS], [SEP], [SEP]"
            )

    def at_scale(self, scale: str) -> SegmentLayout:
        """The layout at a scale: whole slots and positions that begin anew at `paper`, as in DeFormer's official code.

        Below it the second segment is padded to its batch, and its positions run on.
        """
        published = scale == "paper"
        return replace(self, whole_slots=published, runs_on=not published)

    @property
    def first_slot(self) -> int:
        """Tokens of the first segment: [CLS], the text, [SEP], padding."""
        return self.max_first + 2

    @property
    def second_slot(self) -> int:
        """Tokens of the second segment: the text, [SEP], padding."""
        return self.max_seq - self.first_slot

    def first_position(self, token_type: int) -> int:
        """Where the positions of the first segment (token type 0) or of the second (1) begin."""
        return self.first_slot if self.runs_on and token_type == 1 else 0

    @property
    def second_pieces(self) -> int:
        """Word pieces that the second text may have."""
        return self.second_slot - 1


@dataclass(frozen=True)
class Segment:
    """B texts of one side.

    Attributes:
        input_ids, attention_mask: (B, L); the mask is 1 on tokens, 0 on padding.
        token_type: of every position, padding too.
        first_position: of the first token, from 0.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type: int
    first_position: int = 0

    @property
    def token_type_ids(self) -> Tensor:
        """(B, L)."""
        return torch.full_like(self.input_ids, self.token_type)

    def to(self, device: torch.device) -> Segment:
        """The same on `device`."""
        return replace(self, input_ids=self.input_ids.to(device), attention_mask=self.attention_mask.to(device))

    def rows(self, index: Tensor) -> Segment:
        """Some of the texts, in the order of `index`."""
        return replace(self, input_ids=self.input_ids[index], attention_mask=self.attention_mask[index])


@dataclass(frozen=True)
class TwoSegmentBatch:
    """B pairs.

    Attributes:
        first, second: the segments.
        labels: (B,) classes or values; of questions (B, 2), where the answer begins and ends among the L positions of
            both segments together.
        rows: (B,) places of these pairs in their split.
    """

    first: Segment
    second: Segment
    labels: Tensor
    rows: Tensor

    @property
    def tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.first.input_ids.numel() + self.second.input_ids.numel()

    @property
    def attention_mask(self) -> Tensor:
        """(B, L) of both segments together."""
        return torch.cat([self.first.attention_mask, self.second.attention_mask], dim=1)

    @property
    def second_text(self) -> Tensor:
        """(B, L) True on the second text's own tokens: not on its [SEP], nor on padding or the first segment."""
        return text_of_second(self.first.input_ids.shape[1], self.second.attention_mask)

    def to(self, device: torch.device) -> TwoSegmentBatch:
        """The same batch on `device`."""
        return TwoSegmentBatch(
            self.first.to(device), self.second.to(device), self.labels.to(device), self.rows.to(device)
        )


def text_of_second(first_tokens: int, second_mask: Tensor) -> Tensor:
    """(B, L) True on the second text's own tokens, of positions `first_tokens` + those of `second_mask`."""
    own = second_mask.clone()
    own.scatter_(1, second_mask.sum(1, keepdim=True) - 1, 0)
    return torch.cat([own.new_zeros(len(own), first_tokens), own], dim=1).bool()


@dataclass(frozen=True)
class TwoSegmentSplit:
    """A split after tokenisation: special tokens are there, padding is not."""

    first_ids: tuple[tuple[int, ...], ...]
    second_ids: tuple[tuple[int, ...], ...]
    labels: Tensor
    padding_id: int
    layout: SegmentLayout

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.first_ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each second segment, by which pairs share a batch."""
        return [len(ids) for ids in self.second_ids]

    def batch(self, rows: Sequence[int]) -> TwoSegmentBatch:
        """Pad the pairs at `rows` as the layout says."""
        index, layout = torch.tensor(rows), self.layout
        first = padded([self.first_ids[row] for row in rows], self.padding_id, 0, layout.first_slot)
        at_least = layout.second_slot if layout.whole_slots else 0
        begin = layout.first_position(1)
        second = padded([self.second_ids[row] for row in rows], self.padding_id, 1, at_least, begin)
        return TwoSegmentBatch(first, second, self.labels[index], index)

    def first(self, count: int) -> TwoSegmentSplit:
        """The first `count` pairs alone."""
        ids = (self.first_ids[:count], self.second_ids[:count])
        return TwoSegmentSplit(*ids, self.labels[:count], self.padding_id, self.layout)

    def by_length(self, batch_size: int) -> Iterator[TwoSegmentBatch]:
        """Every pair once, shortest first; for evaluation."""
        return map(self.batch, rows_by_length(self.lengths, batch_size))


def padded(
    texts: Sequence[Sequence[int]], padding_id: int, token_type: int, at_least: int, first_position: int = 0
) -> Segment:
    """Texts as one segment, padded to `at_least` tokens or to the longest of them."""
    return Segment(*padded_ids(texts, padding_id, at_least), token_type, first_position)


def first_segment(tokenizer: Any, pieces: Sequence[int]) -> tuple[int, ...]:  # noqa: ANN401
    """[CLS] pieces [SEP], by the tokenizer's own names for them."""
    return (tokenizer.cls_token_id, *pieces, tokenizer.sep_token_id)


def second_segment(tokenizer: Any, pieces: Sequence[int]) -> tuple[int, ...]:  # noqa: ANN401
    """Pieces [SEP]."""
    return (*pieces, tokenizer.sep_token_id)


def encode_pairs(
    tokenizer: Any,  # noqa: ANN401
    examples: Sequence[Example],
    layout: SegmentLayout,
    *,
    regression: bool,
) -> TwoSegmentSplit:
    """Tokenise pairs of texts; each text is cut to its own slot.

    Raises:
        UserError: there are no examples, or they are single texts.
    """
    if not examples:
        raise UserError("there is nothing to tokenise: the split has no examples")
    if examples[0].text_b is None:
        raise UserError("two segments want pairs of texts, and these examples are single ones")
    sides = [pieces_of(tokenizer, [getattr(e, side) for e in examples]) for side in ("text_a", "text_b")]
    labels = torch.tensor([e.label for e in examples], dtype=torch.float if regression else torch.long)
    return TwoSegmentSplit(
        tuple(first_segment(tokenizer, pieces[: layout.max_first]) for pieces in sides[0]),
        tuple(second_segment(tokenizer, pieces[: layout.second_pieces]) for pieces in sides[1]),
        labels,
        tokenizer.pad_token_id,
        layout,
    )


def pieces_of(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:  # noqa: ANN401
    """Word pieces of each text, without special tokens, uncut."""
    pieces: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return pieces
