"""How well numbers order two kinds of examples: the area under the ROC curve, for many resamples at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def dense_ranks(values: Array) -> NDArray[np.int64]:
    """(N,) 0 for the lowest value, equal ones alike."""
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def share_in_order(ranks: Array, higher: Array, axis: int = -1, *, ties: float = 0.5) -> Array:
    """Of all pairs of an example of the `higher` kind and one of the other, the share in which the former ranks higher.

    Args:
        ranks: whole numbers from 0, equal where the values are: far cheaper to count than values are to sort.
        higher: booleans of the same shape.
        axis: over examples; the last.
        ties: what a pair of equal rank counts: 0.5 gives the area under the ROC curve.

    Returns:
        0.5 where there is no pair.
    """
    shape = np.shape(ranks)
    rows = np.asarray(ranks, dtype=np.int64).reshape(-1, shape[axis])
    width = int(rows.max()) + 1
    place = (rows + width * np.arange(len(rows))[:, None]).ravel()
    chosen = np.asarray(higher, dtype=bool).ravel()
    up, down = (
        np.bincount(place[kind], minlength=width * len(rows)).reshape(len(rows), width) for kind in (chosen, ~chosen)
    )
    below = down.cumsum(axis=1) - (1 - ties) * down
    pairs = up.sum(axis=1) * down.sum(axis=1)
    return np.where(pairs > 0, (up * below).sum(axis=1) / np.maximum(1, pairs), 0.5).reshape(shape[:-1])
