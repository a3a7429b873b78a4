"""Tagged sentences as padded batches of word pieces.

A tokenizer splits words into pieces; a word is represented by its first one, and its tag is that one's label. The other
pieces, [CLS] and [SEP] have none. Words are split one by one, so that each keeps its pieces whatever stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor

from common.errors import UserError
from common.tasks.tagging import Sentence
from common.training.batches import filled_up, padded_ids, rows_by_length

NO_WORD = -1
"""In `word_of`: [CLS], [SEP] and padding."""

NO_TAG = -100
"""The label of padding, which PyTorch's cross-entropy passes over."""


@dataclass(frozen=True)
class TaggedBatch:
    """B sentences, padded on the right to the longest (L pieces, W words).

    Attributes:
        input_ids, attention_mask: (B, L) integers; the mask is 1 on pieces, 0 on padding.
        starts: (B, W) place of each word's first piece; 0 where there is no word.
        word_of: (B, L) the word that a piece belongs to, or `NO_WORD`.
        labels: (B, W) tag indices, or `NO_TAG`.
        rows: (B,) positions of these sentences in their split.
    """

    input_ids: Tensor
    attention_mask: Tensor
    starts: Tensor
    word_of: Tensor
    labels: Tensor
    rows: Tensor

    @property
    def tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.input_ids.numel()

    @property
    def is_word(self) -> Tensor:
        """(B, W) True for a word, False for padding."""
        return self.labels != NO_TAG

    def to(self, device: torch.device) -> TaggedBatch:
        """The same batch on `device`."""
        parts = (self.input_ids, self.attention_mask, self.starts, self.word_of, self.labels, self.rows)
        return TaggedBatch(*(part.to(device) for part in parts))


@dataclass(frozen=True)
class TaggedSplit:
    """A split after tokenisation, unpadded.

    Attributes:
        input_ids: of each sentence, [CLS] and [SEP] included.
        starts: of each sentence the places of its words' first pieces.
        labels: of each sentence the tags of its words.
        padding_id: the tokenizer's.
    """

    input_ids: tuple[tuple[int, ...], ...]
    starts: tuple[tuple[int, ...], ...]
    labels: tuple[tuple[int, ...], ...]
    padding_id: int

    def __len__(self) -> int:
        """How many sentences there are."""
        return len(self.input_ids)

    @property
    def lengths(self) -> list[int]:
        """Pieces of each sentence, [CLS] and [SEP] included."""
        return [len(ids) for ids in self.input_ids]

    @property
    def words(self) -> list[int]:
        """Words of each sentence."""
        return [len(starts) for starts in self.starts]

    def batch(self, rows: Sequence[int]) -> TaggedBatch:
        """Pad the sentences at `rows` to the longest of them."""
        ids, mask = padded_ids([self.input_ids[row] for row in rows], self.padding_id)
        starts = filled_up([self.starts[row] for row in rows], 0)
        labels = filled_up([self.labels[row] for row in rows], NO_TAG)
        word_of = filled_up([self._word_of(row) for row in rows], NO_WORD)
        return TaggedBatch(ids, mask, starts, word_of, labels, torch.tensor(rows))

    def _word_of(self, row: int) -> list[int]:
        """The word that each piece of a sentence belongs to."""
        starts, length = self.starts[row], len(self.input_ids[row])
        ends = (*starts[1:], length - 1)
        words = [[word] * (end - start) for word, (start, end) in enumerate(zip(starts, ends, strict=True))]
        return [NO_WORD, *chain.from_iterable(words), NO_WORD]

    def by_length(self, batch_size: int) -> Iterator[TaggedBatch]:
        """Every sentence once, shortest first; for evaluation."""
        return map(self.batch, rows_by_length(self.lengths, batch_size))


def positions_of(config: Any) -> int:  # noqa: ANN401
    """How many pieces an encoder takes, [CLS] and [SEP] included; RoBERTa and MPNet count positions from 2."""
    offset = 2 if config.model_type in ("roberta", "mpnet") else 0
    return int(config.max_position_embeddings) - offset


def encode_tagged(tokenizer: Any, sentences: Sequence[Sentence], positions: int) -> TaggedSplit:  # noqa: ANN401
    """Split the words of `sentences` into pieces.

    A word of which the tokenizer leaves nothing (a lone control character) becomes the unknown piece: no word vanishes.

    Args:
        tokenizer: a fast tokenizer of transformers.
        sentences: with their tags.
        positions: at most so many pieces are a sentence, [CLS] and [SEP] included.

    Raises:
        UserError: there are no sentences, or one has no word or too many pieces; the message says where it stands.
    """
    if not sentences:
        raise UserError("there is nothing to tokenise: the split has no sentences")
    pieces = _pieces_of_words(tokenizer, {word for sentence in sentences for word in sentence.words})
    encoded = [_encoded(tokenizer, sentence, pieces, positions) for sentence in sentences]
    ids, starts = zip(*encoded, strict=True)
    return TaggedSplit(ids, starts, tuple(sentence.tags for sentence in sentences), tokenizer.pad_token_id)


def _pieces_of_words(tokenizer: Any, words: set[str]) -> dict[str, tuple[int, ...]]:  # noqa: ANN401
    ordered = sorted(words)
    # A byte-level vocabulary (RoBERTa's) has pieces of its own for a word's beginning: those with the blank before.
    blank = " " if isinstance(tokenizer.backend_tokenizer.pre_tokenizer, ByteLevel) else ""
    found = tokenizer([f"{blank}{word}" for word in ordered], add_special_tokens=False)["input_ids"] if ordered else []
    return {word: tuple(ids) or (tokenizer.unk_token_id,) for word, ids in zip(ordered, found, strict=True)}


def _encoded(
    tokenizer: Any,  # noqa: ANN401
    sentence: Sentence,
    pieces: dict[str, tuple[int, ...]],
    positions: int,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """[CLS], the pieces, [SEP]; and where each word begins."""
    where = f"{sentence.where}: " if sentence.where else ""
    if not sentence.words:
        raise UserError(f"{where}a sentence without a word cannot be tagged")
    ids, starts = [tokenizer.cls_token_id], []
    for word in sentence.words:
        starts.append(len(ids))
        ids.extend(pieces[word])
    ids.append(tokenizer.sep_token_id)
    if len(ids) > positions:
        raise UserError(
            f"{where}the sentence has {len(sentence.words)} words in {len(ids)} pieces, and the encoder takes "
            f"{positions}: part it into two sentences by a blank line (no word is cut off in silence)"
        )
    return tuple(ids), tuple(starts)
