"""Lower uncertainty, higher accuracy: accuracy inside tenths of uncertainty (Figure 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 10
"""A tenth with fewer examples has no accuracy worth showing."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Tenth:
    """Whether the examples whose uncertainty lies in one tenth of [0, 1] were answered right."""

    index: int
    right: Array

    @property
    def label(self) -> str:
        """E.g. `0.3-0.4`."""
        return f"{self.index / 10:.1f}-{(self.index + 1) / 10:.1f}"

    @property
    def middle(self) -> float:
        """For an axis."""
        return (self.index + 0.5) / 10


def tenths(uncertainty: Array, right: Array) -> Iterator[Tenth]:
    """Those that hold at least `LEAST` of M examples; uncertainty (M,) in [0, 1], 1 in the last; right (M,) of bool."""
    index = np.minimum((uncertainty * 10).astype(int), 9)
    for number in range(10):
        inside = right[index == number]
        if len(inside) >= LEAST:
            yield Tenth(number, inside)
