"""Questions on passages as two segments: long passages in overlapping windows, answers as places among the tokens.

A passage of more word pieces than its slot holds is read in windows that begin `stride` pieces apart. In training a
window without the whole answer is dropped; for use all of a passage's windows are read and the surest answer counts.
An answer is given back as characters of the passage, exactly as they stand there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from common.tasks.spans.task import Answer, Question
from common.training.segments import SegmentLayout, TwoSegmentSplit, first_segment, pieces_of, second_segment

STRIDE = 128
"""Word pieces from one window to the next (BERT's own scripts, and most readers since)."""


@dataclass(frozen=True, slots=True)
class TokenisedPassage:
    """A passage's word pieces and, for each, the characters [begin, end) that it stands for."""

    pieces: tuple[int, ...]
    characters: tuple[tuple[int, int], ...]

    def windows(self, size: int, stride: int = STRIDE) -> list[int]:
        """Where windows of at most `size` pieces begin; the last one ends with the passage."""
        begins = [0]
        while begins[-1] + size < len(self.pieces):
            begins.append(begins[-1] + min(size, stride))
        return begins

    def place_of(self, answer: Answer) -> tuple[int, int] | None:
        """First and last piece of an answer; None where no piece stands for any of its characters."""
        touched = [i for i, (begin, end) in enumerate(self.characters) if begin < answer.end and end > answer.start]
        return (touched[0], touched[-1]) if touched else None


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of which question's passage a row of a split holds.

    Attributes:
        question: place of the question in its split.
        begin: the passage's piece that the window begins with.
    """

    question: int
    begin: int


@dataclass(frozen=True)
class Windows:
    """A split of questions, a row for each window.

    Attributes:
        split: the rows; labels (rows, 2) are an answer's first and last position among those of both segments.
        places: what each row holds.
        passages: by question.
        questions: as they were read.
        cut: how many questions were longer than their slot.
    """

    split: TwoSegmentSplit
    places: tuple[Window, ...]
    passages: tuple[TokenisedPassage, ...]
    questions: tuple[Question, ...]
    cut: int

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.places)

    def characters(self, row: int, first: int, last: int) -> tuple[int, int]:
        """The characters [begin, end) of a row's passage that its positions `first` to `last` stand for."""
        place, slot = self.places[row], self.split.layout.first_slot
        known = self.passages[place.question].characters
        return known[place.begin + first - slot][0], known[place.begin + last - slot][1]


def tokenised(tokenizer: Any, passages: Sequence[str]) -> list[TokenisedPassage]:  # noqa: ANN401
    """Tokenise passages with a fast tokenizer of transformers."""
    encoded = tokenizer(list(passages), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [
        TokenisedPassage(tuple(ids), tuple((int(a), int(b)) for a, b in offsets))
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def question_pieces(
    tokenizer: Any,  # noqa: ANN401
    texts: Sequence[str],
    names: Sequence[str],
    layout: SegmentLayout,
    *,
    may_cut: bool,
) -> tuple[list[list[int]], int]:
    """Word pieces of questions, and how many were longer than their slot and were cut.

    Args:
        tokenizer: of the model.
        texts: the questions.
        names: what a message calls each.
        layout: how long a question may be.
        may_cut: whether a longer one is cut, as published readers do; else it is refused.

    Raises:
        UserError: a question is longer than its slot and may not be cut, or nothing is left of it.
    """
    pieces, cut = pieces_of(tokenizer, texts), 0
    for i, (name, found) in enumerate(zip(names, pieces, strict=True)):
        if not found:
            raise UserError(f"{name}: the question is empty for the tokenizer: {texts[i]!r}")
        if len(found) > layout.max_first:
            if not may_cut:
                raise UserError(
                    f"{name}: the question has {len(found)} word pieces and its slot holds {layout.max_first}: ask "
                    "more briefly, or give it a longer slot"
                )
            cut += 1
    return [found[: layout.max_first] for found in pieces], cut


def encode_questions(
    tokenizer: Any,  # noqa: ANN401
    questions: Sequence[Question],
    layout: SegmentLayout,
    *,
    training: bool,
    may_cut: bool = True,
) -> Windows:
    """Tokenise questions with their passages.

    Args:
        tokenizer: a fast one of transformers.
        questions: at least one.
        layout: of the segments.
        training: whether windows without the first answer are dropped; else all are kept, and labels mean nothing
            where the answer is not in the window.
        may_cut: whether a question longer than its slot is cut; else it is refused.

    Raises:
        UserError: there are no questions, a question is too long, a passage is empty for the tokenizer, or no window
            with an answer is left to train on.
    """
    if not questions:
        raise UserError("there is nothing to tokenise: the split has no questions")
    names = [f"question {q.id!r}" for q in questions]
    asked, cut = question_pieces(tokenizer, [q.text for q in questions], names, layout, may_cut=may_cut)
    texts = list(dict.fromkeys(q.passage for q in questions))
    known = dict(zip(texts, tokenised(tokenizer, texts), strict=True))
    passages = tuple(known[q.passage] for q in questions)
    for name, passage in zip(names, passages, strict=True):
        if not passage.pieces:
            raise UserError(f"{name}: the passage is empty for the tokenizer")
    places, labels = [], []
    for place, span in _places(questions, passages, layout):
        if span is not None or not training:
            places.append(place)
            labels.append(span or (layout.first_slot, layout.first_slot))
    if not places:
        raise UserError("no window holds an answer: the passages' slot is too short for the answers")
    split = TwoSegmentSplit(
        tuple(first_segment(tokenizer, asked[place.question]) for place in places),
        tuple(second_segment(tokenizer, window_pieces(passages[p.question], p.begin, layout)) for p in places),
        torch.tensor(labels),
        tokenizer.pad_token_id,
        layout,
    )
    return Windows(split, tuple(places), passages, tuple(questions), cut)


def window_pieces(passage: TokenisedPassage, begin: int, layout: SegmentLayout) -> tuple[int, ...]:
    """The pieces of the window that begins at `begin`."""
    return passage.pieces[begin : begin + layout.second_pieces]


def _places(
    questions: Sequence[Question], passages: Sequence[TokenisedPassage], layout: SegmentLayout
) -> Iterator[tuple[Window, tuple[int, int] | None]]:
    """Every window, and the positions of the first answer where it holds it wholly."""
    for number, (question, passage) in enumerate(zip(questions, passages, strict=True)):
        span = passage.place_of(question.answers[0]) if question.answers else None
        for begin in passage.windows(layout.second_pieces):
            end = begin + layout.second_pieces
            inside = span is not None and begin <= span[0] and span[1] < end
            shift = layout.first_slot - begin
            yield Window(number, begin), (span[0] + shift, span[1] + shift) if inside and span else None


def surest(places: Sequence[Window], sureness: Tensor, questions: int) -> list[int]:
    """For each question the row whose answer is the surest; the earlier window where two are equally sure.

    Args:
        places: what each row holds.
        sureness: (rows,) product of the probabilities of begin and end.
        questions: how many; each has a row.
    """
    best: dict[int, int] = {}
    for row, place in enumerate(places):
        held = best.get(place.question)
        if held is None or sureness[row] > sureness[held]:
            best[place.question] = row
    return [best[number] for number in range(questions)]
