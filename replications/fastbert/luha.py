"""Lower uncertainty, higher accuracy: accuracy inside bins of uncertainty (Figure 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10
LEAST = 10
"""A bin with fewer examples has no accuracy worth showing."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Bin:
    """Examples whose uncertainty lies in one tenth of [0, 1]."""

    index: int
    right: Array

    @property
    def label(self) -> str:
        """E.g. `0.3-0.4`."""
        return f"{self.index / BINS:.1f}-{(self.index + 1) / BINS:.1f}"

    @property
    def middle(self) -> float:
        """The middle of the bin, for an axis."""
        return (self.index + 0.5) / BINS


def bins(uncertainty: Array, right: Array) -> Iterator[Bin]:
    """The bins that hold at least `LEAST` of M examples; uncertainty (M,) in [0, 1], right (M,) booleans."""
    index = bin_index(uncertainty)
    for number in range(BINS):
        inside = right[index == number]
        if len(inside) >= LEAST:
            yield Bin(number, inside)


def bin_index(uncertainty: Array) -> Array:
    """Which tenth; 1.0 belongs to the last."""
    return np.asarray(np.minimum((uncertainty * BINS).astype(int), BINS - 1))
