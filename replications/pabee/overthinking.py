"""Section 3's question: how often is an earlier exit right where the last one is wrong?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Overthinking:
    """Where the exits are right and wrong, on N examples with classes.

    Attributes:
        right: (N, n) whether exit i alone would be right.
    """

    right: NDArray[np.bool_]

    @staticmethod
    def of(exits: Tensor, labels: NDArray[np.generic]) -> Overthinking:
        """From every exit's (N, n, C) logits."""
        return Overthinking(exits.argmax(-1).numpy() == labels[:, None])

    @property
    def earlier_right(self) -> NDArray[np.bool_]:
        """(N,) the last exit is wrong and an earlier one is right."""
        return np.asarray(~self.right[:, -1] & self.right[:, :-1].any(axis=1))

    @property
    def later_right(self) -> NDArray[np.bool_]:
        """(N,) the last exit is right and not all earlier ones are: what thinking on is good for."""
        return np.asarray(self.right[:, -1] & ~self.right[:, :-1].all(axis=1))

    @property
    def ever_right(self) -> NDArray[np.bool_]:
        """(N,) the oracle's bound on accuracy: it leaves at the earliest correct exit."""
        return np.asarray(self.right.any(axis=1))

    @property
    def earliest_right(self) -> NDArray[np.int64]:
        """(N,) the earliest correct exit, 1..n; n where none is correct."""
        n = self.right.shape[1]
        return np.asarray(np.where(self.ever_right, self.right.argmax(axis=1) + 1, n), dtype=np.int64)
