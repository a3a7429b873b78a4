"""What pre-training needs to know of a tokenizer: special ids, how rows are framed, where words begin."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError

_WORD_STARTS = ("Ġ", "▁")
"""What byte-level BPE and SentencePiece put before the first piece of a word; WordPiece marks the others, by ##."""


@dataclass(frozen=True)
class Words:
    """A vocabulary.

    Attributes:
        size: rows V.
        mask, padding: ids.
        special: ids that are never masked, and never drawn in place of another.
        before, between, after: ids that frame a text, `before a after`, or two, `before a between b after`.
        has_types: whether the tokenizer tells the two texts of a pair apart (0 and 1).
        continues: (V,) whether a piece goes on with the word of the piece before.
        fingerprint: of the tokenizer.
    """

    size: int
    mask: int
    padding: int
    special: tuple[int, ...]
    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    has_types: bool
    continues: Tensor
    fingerprint: str

    @staticmethod
    def of(tokenizer: Any) -> Words:  # noqa: ANN401
        """Read off a fast tokenizer of transformers.

        Raises:
            UserError: it has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise UserError("the encoder's tokenizer has no mask token: masked-language pre-training needs one")
        first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("one", "two"))
        pair = tokenizer("one", "two")
        ids = pair["input_ids"]
        a = ids.index(first[0])
        b = ids.index(second[0], a + len(first))
        return Words(
            size=len(tokenizer),
            mask=tokenizer.mask_token_id,
            padding=tokenizer.pad_token_id,
            special=tuple(sorted(set(tokenizer.all_special_ids))),
            before=tuple(ids[:a]),
            between=tuple(ids[a + len(first) : b]),
            after=tuple(ids[b + len(second) :]),
            has_types="token_type_ids" in pair,
            continues=_continues(tokenizer),
            fingerprint=hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        )

    @property
    def ordinary(self) -> Tensor:
        """(V - special,) ids that are no special ones, ascending."""
        kept = torch.ones(self.size, dtype=torch.bool)
        kept[list(self.special)] = False
        return kept.nonzero()[:, 0]

    def maskable(self, ids: Tensor) -> Tensor:
        """Which of `ids` (any shape) may be masked: all but the special ones."""
        return ~torch.isin(ids, torch.tensor(self.special))


def _continues(tokenizer: Any) -> Tensor:  # noqa: ANN401
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    if any(piece.startswith("##") for piece in pieces):
        return torch.tensor([piece.startswith("##") for piece in pieces])
    return torch.tensor([not piece.startswith(_WORD_STARTS) for piece in pieces])
