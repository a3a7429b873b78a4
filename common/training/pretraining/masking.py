"""Dynamic masking: which tokens are hidden is drawn anew for every batch, by a rule that a paper may bring itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from common.training.pretraining.words import Words


class Masking(Protocol):
    """Chooses what a model has to guess."""

    def __call__(self, ids: Tensor, maskable: Tensor, generator: torch.Generator) -> Tensor:
        """(B, L) booleans: the chosen ones.

        Args:
            ids: (B, L) of the rows.
            maskable: (B, L) booleans, False on special ids and padding: they are never chosen.
            generator: where all draws come from.
        """


@dataclass(frozen=True)
class Uniform:
    """Of each row this share of its maskable tokens, at least one, each as likely as any other (BERT, section 3.1)."""

    share: float = 0.15

    def __call__(self, ids: Tensor, maskable: Tensor, generator: torch.Generator) -> Tensor:
        """See `Masking`."""
        noise = torch.rand(ids.shape, generator=generator).masked_fill(~maskable, 2.0)
        rank = noise.argsort(dim=1).argsort(dim=1)
        wanted = (self.share * maskable.sum(1)).round().clamp(min=1)
        return (rank < wanted[:, None]) & maskable


@dataclass(frozen=True)
class Corruption:
    """What becomes of a chosen token: `mask` of them the mask, `other` of them a random word; the rest stay."""

    mask: float = 0.8
    other: float = 0.1

    def __call__(self, ids: Tensor, chosen: Tensor, words: Words, generator: torch.Generator) -> Tensor:
        """(B, L) ids of which the chosen ones (B, L) are corrupted."""
        dice = torch.rand(ids.shape, generator=generator)
        ordinary = words.ordinary
        drawn = ordinary[torch.randint(len(ordinary), ids.shape, generator=generator)]
        hidden = torch.where(chosen & (dice < self.mask), words.mask, ids)
        return torch.where(chosen & (dice >= self.mask) & (dice < self.mask + self.other), drawn, hidden)


BERT_CORRUPTION = Corruption()
"""80 % masked, 10 % another word, 10 % kept (BERT, section 3.1)."""
