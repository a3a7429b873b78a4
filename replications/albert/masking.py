"""n-gram masking (section 4.1): what has to be guessed are spans of one to three whole words, short ones more often.

    p(n) = (1/n) / Σ_{k=1..3} 1/k        6/11, 3/11, 2/11

Words are tried in random order as the first of a span, until 15 % of the tokens are chosen, at most `most` in a row.
Near the end of a row only the lengths that still fit take part, with p renormalised; a span beyond what is left of
the budget loses words at its end; one that meets a chosen word is passed over. What becomes of a chosen token is
`common.training.pretraining.masking.Corruption`, BERT's 80/10/10. Masks are drawn anew for every batch; the official
code writes 40 masked copies of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import UserError

SHARE = 0.15
LONGEST = 3


@dataclass(frozen=True)
class NgramMasking:
    """A `Masking` by spans of whole words.

    Attributes:
        continues: (V,) whether a piece goes on with the word of the piece before.
        share: of a row's tokens that are chosen.
        longest: words of the longest span; 1 chooses single words.
        most: chosen tokens in a row at most; the official code's default is 20, whatever the length.

    Raises:
        UserError: a share outside (0, 1), or spans or choices below 1.
    """

    continues: Tensor
    share: float = SHARE
    longest: int = LONGEST
    most: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.longest < 1 or (self.most is not None and self.most < 1):
            raise UserError(
                f"masking needs a share between 0 and 1, and spans and choices of at least 1, found {self.share}, "
                f"{self.longest} and {self.most}"
            )

    @property
    def chances(self) -> NDArray[np.float64]:
        """p(1), p(2), ..., where every length fits."""
        weights = 1 / np.arange(1, self.longest + 1)
        return np.asarray(weights / weights.sum())

    def budget(self, tokens: int) -> int:
        """How many of so many tokens are chosen at most; at least one."""
        wanted = max(1, round(tokens * self.share))
        return wanted if self.most is None else min(wanted, self.most)

    def __call__(self, ids: Tensor, maskable: Tensor, generator: torch.Generator) -> Tensor:
        """See `Masking`: (B, L) booleans."""
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        chosen = np.zeros(ids.shape, dtype=np.bool_)
        continues = self.continues[ids].numpy()
        for row, (free, goes_on) in enumerate(zip(maskable.numpy(), continues, strict=True)):
            chosen[row, self.places(free, goes_on, rng)] = True
        return torch.from_numpy(chosen)

    def places(self, free: NDArray[np.bool_], goes_on: NDArray[np.bool_], rng: np.random.Generator) -> list[int]:
        """The chosen positions of one row.

        Args:
            free: (L,) whether a token may be chosen.
            goes_on: (L,) whether it goes on with the word before.
            rng: of all draws.
        """
        words = whole_words(free, goes_on)
        budget = self.budget(int(free.sum()))
        order = rng.permutation(len(words)).tolist()
        lengths = self._lengths(len(words), rng)
        chosen: set[int] = set()
        for first in order:
            if len(chosen) >= budget:
                break
            span = words[first : first + lengths[first]]
            while sum(map(len, span)) > budget - len(chosen):
                span = span[:-1]
            found = [place for word in span for place in word]
            if chosen.isdisjoint(found):
                chosen.update(found)
        return sorted(chosen)

    def _lengths(self, words: int, rng: np.random.Generator) -> list[int]:
        """A length for a span that begins at each word, among those that fit."""
        fits = np.minimum(words - np.arange(words), self.longest)
        up_to = self.chances.cumsum()
        drawn = 1 + np.searchsorted(up_to, rng.random(words) * up_to[fits - 1], side="right")
        return [int(length) for length in drawn]


def whole_words(free: NDArray[np.bool_], goes_on: NDArray[np.bool_]) -> list[list[int]]:
    """The positions of each word's tokens; a special token ends a word and belongs to none."""
    words: list[list[int]] = []
    before = False
    for place, (may, continued) in enumerate(zip(free.tolist(), goes_on.tolist(), strict=True)):
        if may and before and continued:
            words[-1].append(place)
        elif may:
            words.append([place])
        before = may
    return words
