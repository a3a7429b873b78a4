"""Bootstrap intervals of single measurements, over the examples or timed pairs behind them.

Observations that belong together (two systems on the same example, two arms of a timed pair) are resampled together,
so that what they share cancels. What decides a claim, over several seeds and tasks, is in `common.records.effects`.

Statistics take their arrays first and a keyword `axis`, as NumPy's own functions do; thousands of resamples
are then evaluated at once. SciPy and NumPy are imported where they are used: reading records needs neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Statistic = Callable[..., Any]
"""`statistic(*arrays, axis=-1)`: reduces the given axis of each array, like `numpy.mean`."""

LEVEL = 0.95
"""Confidence level of every interval in the project."""

BATCH_ELEMENTS = 2_000_000
"""Resampled elements held in memory at once (16 MB of float64 an array)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: the point estimate, from the observations as they are.
        low, high: the interval's ends.
        n: how many observations stand behind it.
        is_range: the ends are the smallest and the largest observation, too few for an interval.
    """

    value: float
    low: float
    high: float
    n: int
    is_range: bool = False

    def __post_init__(self) -> None:
        """Refuse what no verdict may rest on.

        Raises:
            ValueError: a number is not finite, or the ends are in the wrong order.
        """
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise ValueError(f"an interval must be finite, not {self.value} [{self.low}, {self.high}]")
        if self.low > self.high:
            raise ValueError(f"the low end {self.low} lies above the high end {self.high}")

    @classmethod
    def exact(cls, value: float, n: int = 1) -> Interval:
        """Return the zero-width interval of a number that was counted, not sampled (parameters, FLOPs)."""
        return cls(value, value, value, n)

    def over(self, known: float) -> Interval:
        """Return it as a multiple of a positive number that is known exactly (a layer ratio)."""
        return replace(self, value=self.value / known, low=self.low / known, high=self.high / known)


def percentile_interval(value: float, replicates: ArrayLike, n: int) -> Interval:
    """Return the interval between the 2.5 % and 97.5 % quantiles of bootstrap replicates.

    Replicates of independent quantities may be combined element by element before.
    """
    import numpy as np

    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(np.asarray(replicates, dtype=float), [tail, 100 - tail])
    return Interval(float(value), float(low), float(high), n)


def bootstrap_replicates(
    statistic: Statistic,
    *arrays: ArrayLike,
    paired: bool = True,
    resamples: int = 10_000,
    seed: int | np.random.SeedSequence = 0,
) -> NDArray[np.float64]:
    """Return `resamples` values of `statistic`, each on observations drawn with replacement.

    Args:
        statistic: see `Statistic`.
        arrays: one-dimensional; of equal length n where `paired`.
        paired: draw the same positions from every array (the same examples, the same timed pairs); otherwise
            each array is a sample of its own.
        resamples: number of replicates.
        seed: of the draws.

    Raises:
        ValueError: no array, an array with fewer than two observations, or paired arrays of unequal length.
    """
    import numpy as np
    from scipy.stats import bootstrap

    columns = [np.asarray(array) for array in arrays]
    _check_observations(columns, same_length=paired)
    longest = max(column.size for column in columns)
    result = bootstrap(
        columns,
        statistic,
        n_resamples=resamples,
        batch=max(1, BATCH_ELEMENTS // longest),
        paired=paired and len(columns) > 1,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return np.asarray(result.bootstrap_distribution, dtype=float)


def bootstrap_statistic(
    statistic: Statistic,
    *arrays: ArrayLike,
    paired: bool = True,
    strata: ArrayLike | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return `statistic(*arrays)` with its percentile bootstrap interval.

    Arguments and errors as for `bootstrap_replicates`. Where no observation varies, the interval has zero
    width. `strata` (n,) names the group of each observation where how many belong to each was imposed: observations are
    then redrawn within their groups (paired arrays alone).
    """
    import numpy as np

    columns = [np.asarray(array) for array in arrays]
    _check_observations(columns, same_length=paired)
    value = float(statistic(*columns, axis=-1))
    n = min(column.size for column in columns)
    if all(_is_constant(column) for column in columns):
        return Interval.exact(value, n)
    if strata is None:
        replicates = bootstrap_replicates(statistic, *columns, paired=paired, resamples=resamples, seed=seed)
    else:
        drawn = draws(n, resamples, np.random.default_rng(seed), np.asarray(strata))
        replicates = np.asarray(statistic(*(column[drawn] for column in columns), axis=-1))
    return percentile_interval(value, replicates, n)


def draws(n: int, count: int, rng: np.random.Generator, strata: NDArray[Any] | None = None) -> NDArray[np.intp]:
    """Return (count, n) positions drawn with replacement, within each of the `strata` (n,) where there are any."""
    import numpy as np

    groups = [np.arange(n)] if strata is None else [np.flatnonzero(strata == s) for s in np.unique(strata)]
    return np.concatenate([group[rng.integers(len(group), size=(count, len(group)))] for group in groups], axis=1)


def range_of(statistic: Statistic, values: NDArray[Any]) -> Interval:
    """Return `statistic` of a few observations with the smallest and the largest: a range, no interval."""
    return Interval(float(statistic(values, axis=-1)), float(values.min()), float(values.max()), values.size, True)


def bootstrap_mean(values: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Return the mean of `values` (at least two) with its percentile bootstrap interval."""
    import numpy as np

    return bootstrap_statistic(np.mean, values, resamples=resamples, seed=seed)


def _check_observations(columns: Sequence[NDArray[Any]], *, same_length: bool) -> None:
    if not columns:
        raise ValueError("no observations were given")
    shapes = [column.shape for column in columns]
    if any(len(shape) != 1 for shape in shapes):
        raise ValueError(f"observations must be one-dimensional, not of shapes {shapes}")
    if min(column.size for column in columns) < 2:
        raise ValueError("an interval needs at least two observations (see Interval.exact for a count)")
    if same_length and len(set(shapes)) > 1:
        raise ValueError(f"paired observations must be equally many, not {[s[0] for s in shapes]}")


def _is_constant(column: NDArray[Any]) -> bool:
    return bool((column == column[0]).all())
