"""Lower uncertainty, higher accuracy: accuracy inside bins of uncertainty, and how well it is ordered (Figure 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10
LEAST = 10
"""A bin with fewer examples has no accuracy worth ordering."""

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


def ordering(uncertainty: Array, right: Array, axis: int = -1) -> Array:
    """Spearman's correlation of bin and accuracy, over the bins with at least `LEAST` examples.

    0 where fewer than two bins have as many, or all have one accuracy: nothing is ordered then.
    """
    u, r = np.moveaxis(np.asarray(uncertainty), axis, -1), np.moveaxis(np.asarray(right), axis, -1)
    index = bin_index(u)
    counts, hits = _counted(index), _counted(index, r)
    known = counts >= LEAST
    accuracy = np.where(known, hits / np.maximum(counts, 1), np.nan)
    return _correlation(_ranks(np.where(known, np.arange(BINS), np.nan)), _ranks(accuracy))


def _counted(index: Array, weights: Array | None = None) -> Array:
    """(..., BINS) how many of the last axis, or what sum of weights, falls into each bin."""
    rows = index.reshape(-1, index.shape[-1])
    flat = (rows + BINS * np.arange(len(rows))[:, None]).ravel()
    weights = None if weights is None else weights.ravel()
    counted = np.bincount(flat, weights=weights, minlength=BINS * len(rows))
    return counted.reshape(*index.shape[:-1], BINS)


def _ranks(values: Array) -> Array:
    """Mean ranks along the last axis among what is not NaN; NaN stays NaN."""
    a, b = values[..., :, None], values[..., None, :]
    ranks = (b < a).sum(-1) + ((b == a).sum(-1) + 1) / 2
    return np.where(np.isnan(values), np.nan, ranks)


def _correlation(x: Array, y: Array) -> Array:
    known = ~np.isnan(x)
    count = np.maximum(known.sum(-1, keepdims=True), 1)
    dx, dy = (np.where(known, v - np.where(known, v, 0).sum(-1, keepdims=True) / count, 0.0) for v in (x, y))
    spread = np.sqrt((dx * dx).sum(-1) * (dy * dy).sum(-1))
    return np.where(spread > 0, (dx * dy).sum(-1) / np.where(spread > 0, spread, 1.0), 0.0)
