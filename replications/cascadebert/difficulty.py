"""Which examples are hard, and how well a model's confidence knows it: labels for training, DIS for judging.

Difficulty Inversion Score: the share of pairs of a hard and an easy example in which the easy one has the higher
confidence; higher is better. With two levels and no ties it is the area under the ROC curve of confidence.

The paper's rule for difficulty labels was not found. The one here is an assumption: train the small model several
times by cross-validation on the training set; easy is what was always right when held out, all else is hard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

# -- Confidence in a form that ranks ----------------------------------------------------------------------------------


def log_odds(logits: Tensor) -> NDArray[np.float64]:
    """(N,) ln(c / (1 - c)) of the predicted class from (N, C) logits, C at least 2, in float64.

    Ranks as the largest probability c does, but never saturates: float32's softmax is exactly 1 from a margin of
    about 17 on, and such ties would count as inversions. For two classes it is the margin between the logits.
    """
    ordered = logits.double().sort(dim=-1, descending=True).values
    return np.asarray((ordered[:, 0] - ordered[:, 1:].logsumexp(-1)).cpu().numpy(), dtype=np.float64)


# -- Difficulty Inversion Score ---------------------------------------------------------------------------------------


def inversion_score(confidences: Array, levels: Array) -> float:
    """DIS in percent over all pairs of unequal difficulty; ties in confidence count as inverted.

    Args:
        confidences: (N,) anything that ranks, see `log_odds`.
        levels: (N,) difficulty; of two examples the one with the lower level is the easy one. Booleans: True is hard.

    Raises:
        ValueError: all examples are equally difficult, so that there is no pair.
    """
    known = np.unique(levels)
    won = pairs = 0
    for i, level in enumerate(known[:-1]):
        easy = confidences[levels == level]
        harder = np.sort(confidences[np.isin(levels, known[i + 1 :])])
        won += int(np.searchsorted(harder, easy, side="left").sum())
        pairs += easy.size * harder.size
    if pairs == 0:
        raise ValueError("a difficulty inversion score needs both easy and hard examples")
    return 100 * won / pairs


# -- Difficulty labels ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossValidation:
    """How difficulty labels are made: the small model, this often, on all folds but one.

    Attributes:
        seeds: how many times; each time examples are divided anew.
        folds: into how many parts.
    """

    seeds: int
    folds: int

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Every (seed, fold)."""
        return [(seed, fold) for seed in range(self.seeds) for fold in range(self.folds)]

    def held_out(self, seed: int, fold: int, count: int) -> list[int]:
        """The rows of `count` that part (seed, fold) holds out; over a seed's folds every row comes once."""
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        return sorted(order[fold :: self.folds].tolist())

    def trained_on(self, seed: int, fold: int, count: int) -> list[int]:
        """The other rows."""
        held = set(self.held_out(seed, fold, count))
        return [row for row in range(count) if row not in held]


def hard_unless_always_right(right: Sequence[Tensor]) -> Tensor:
    """(N,) booleans, True is hard: not right in every one of the (N,) held-out answers, one for each seed."""
    return ~torch.stack(tuple(right)).all(0)
