"""An effect with what is uncertain about it: the dev examples, and the training seeds.

The unit of every comparison is a cell, one task and setting. Its effect is the mean over seeds of a statistic (points
lost against the baseline, say). Two variances add:

- of the examples: the seeds' mean, recomputed on resampled examples. All seeds are scored on the same examples and
  systems are compared on the same ones, so a resample draws them for all at once;
- of the training seeds: the variance of the seeds' values over k seeds, less what the first part holds of it already
  (examples that some seeds get right and others wrong move both).

An interval is the effect ± t times the root of their sum, with degrees of freedom by Satterthwaite (1946): few seeds
give a t with few. With one seed the interval is over the examples alone, and `seeds` says so. Tasks are independent of
each other: each draws with a seed of its own.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.records.statistics import BATCH_ELEMENTS, LEVEL, Statistic, draws

Array = NDArray[Any]

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Component:
    """A part of an effect's variance.

    Attributes:
        variance: what it adds.
        estimate: the estimated variance that it comes from, whose own error Satterthwaite's formula needs.
        freedom: the degrees of freedom of that estimate.
    """

    variance: float
    estimate: float
    freedom: float

    def scaled(self, square: float) -> Component:
        """The part in a unit whose squares are `square` times as large."""
        return Component(self.variance * square, self.estimate * square, self.freedom)


@dataclass(frozen=True)
class Effect:
    """A number with its uncertainty.

    Attributes:
        value: the estimate.
        components: independent parts of its variance; none for a number that is known exactly.
        n: how many examples, or timed pairs, stand behind it.
        seeds: how many training seeds; 0 where no training is involved.
    """

    value: float
    components: tuple[Component, ...]
    n: int
    seeds: int

    def __post_init__(self) -> None:
        """Refuse what no verdict may rest on.

        Raises:
            ValueError: the value or a variance is not finite, or a variance is negative.
        """
        numbers = [self.value, *(c.variance for c in self.components)]
        if not all(map(math.isfinite, numbers)) or any(c.variance < 0 for c in self.components):
            raise ValueError(f"an effect must be finite, not {self.value} with variances {self.components}")

    @staticmethod
    def exact(value: float, n: int = 1) -> Effect:
        """A number that was counted, not sampled (parameters, FLOPs)."""
        return Effect(value, (), n, 0)

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(sum(c.variance for c in self.components))

    @cached_property
    def freedom(self) -> float:
        """Degrees of freedom of the summed variance (Satterthwaite); infinite where nothing varies."""
        total = sum(c.variance for c in self.components)
        spread = sum(c.estimate**2 / c.freedom for c in self.components)
        return total**2 / spread if spread > 0 else math.inf

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, low and high."""
        # SciPy's t distribution is these two functions; all of `scipy.stats` takes seconds to load.
        from scipy.special import stdtrit

        reach = float(stdtrit(self.freedom, (1 + LEVEL) / 2)) * self.error if self.error > 0 else 0.0
        return self.value - reach, self.value + reach

    def p_above(self, target: float) -> float:
        """One-sided p of "the effect is not above `target`": small where it surely is."""
        from scipy.special import stdtr

        if self.error == 0:
            return 0.0 if self.value > target else 1.0
        return float(stdtr(self.freedom, -(self.value - target) / self.error))

    def p_below(self, target: float) -> float:
        """One-sided p of "the effect is not below `target`"."""
        return (-self).p_above(-target)

    def __neg__(self) -> Effect:
        return self.scaled(-1.0)

    def scaled(self, factor: float) -> Effect:
        """The effect in another unit: times a number that is known exactly."""
        parts = tuple(c.scaled(factor**2) for c in self.components)
        return Effect(self.value * factor, parts, self.n, self.seeds)

    def shifted(self, by: float) -> Effect:
        """The effect above a number that is known exactly."""
        return Effect(self.value + by, self.components, self.n, self.seeds)


def effect_of(
    task: str, by_seed: Sequence[Sequence[Array]], statistic: Statistic, strata: Array | None = None
) -> Effect:
    """The mean over seeds of `statistic`, with both variances.

    Args:
        task: names the stream of draws; equal for all effects of one task, different for different tasks.
        by_seed: for each seed the arrays that `statistic` takes, each (n,) over the same examples.
        statistic: see `Statistic`.
        strata: (n,) groups within which examples are redrawn, where how many belong to each was imposed.

    Raises:
        ValueError: no seed, fewer than two examples, or arrays of unequal length.
    """
    seeds = [[np.asarray(array) for array in arrays] for arrays in by_seed]
    n = _common_length(seeds)
    values = np.array([float(statistic(*arrays, axis=-1)) for arrays in seeds])
    replicates = _replicates(task, seeds, statistic, n, strata)
    count = len(seeds)
    of_mean = float(replicates.mean(axis=0).var(ddof=1))
    examples = Component(of_mean, of_mean, n - 1)
    if count == 1:
        return Effect(float(values[0]), (examples,), n, 1)
    own = max(0.0, (float(replicates.var(axis=1, ddof=1).mean()) - of_mean) / (count - 1))
    between = float(values.var(ddof=1)) / count
    training = Component(max(0.0, between - own), between, count - 1)
    return Effect(float(values.mean()), (examples, training), n, count)


def mean_effect(effects: Sequence[Effect]) -> Effect:
    """The mean of independent effects (cells of different tasks)."""
    count = len(effects)
    if not count:
        raise ValueError("the mean of no effects")
    parts = tuple(c.scaled(1 / count**2) for e in effects for c in e.components)
    value = float(np.mean([e.value for e in effects]))
    return Effect(value, parts, sum(e.n for e in effects), min(e.seeds for e in effects))


def ratio_of_means(
    tasks: Sequence[str], by_task: Sequence[Sequence[Sequence[Array]]], first: Statistic, second: Statistic
) -> Effect:
    """Mean over tasks of `first` over mean over tasks of `second`, by the delta method.

    The ratio r = A/B varies as (A - rB)/B does near its value, and A - rB is a mean of independent tasks' differences.

    Args:
        tasks: their names.
        by_task: for each task what `effect_of` takes.
        first: statistic above the line.
        second: statistic below it, of the same arrays.
    """
    means = [
        np.mean([np.mean([s(*arrays, axis=-1) for arrays in seeds]) for seeds in by_task]) for s in (first, second)
    ]
    ratio = float(means[0] / means[1])

    def residual(*arrays: Array, axis: int = -1) -> Array:
        return np.asarray(first(*arrays, axis=axis) - ratio * second(*arrays, axis=axis))

    parts = [effect_of(task, seeds, residual) for task, seeds in zip(tasks, by_task, strict=True)]
    return mean_effect(parts).scaled(1 / float(means[1])).shifted(ratio)


def holm(p_values: Sequence[float], alpha: float = (1 - LEVEL) / 2) -> list[bool]:
    """Which hypotheses Holm's (1979) step-down procedure rejects at the family-wise level `alpha`, one-sided."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = [False] * len(p_values)
    for rank, index in enumerate(order):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def _replicates(task: str, seeds: list[list[Array]], statistic: Statistic, n: int, strata: Array | None) -> Array:
    """(seeds, RESAMPLES) values of `statistic` on resampled examples, the same ones for every seed."""
    found = [
        np.stack([np.asarray(statistic(*(np.take(a, drawn) for a in arrays), axis=-1)) for arrays in seeds])
        for drawn in _drawn(task, n, strata)
    ]
    return np.concatenate(found, axis=1).astype(float)


def _drawn(task: str, n: int, strata: Array | None) -> Iterable[Array]:
    """RESAMPLES draws of n examples, some at a time: (count, n) positions, the same ones for equal arguments."""
    if strata is None and RESAMPLES * n <= BATCH_ELEMENTS:
        return (_kept_draws(task, n, RESAMPLES),)
    return _fresh_draws(task, n, RESAMPLES, strata)


@lru_cache(maxsize=4)
def _kept_draws(task: str, n: int, resamples: int) -> Array:
    """Remembered, because a paper's claims ask for the draws of a task dozens of times."""
    return np.concatenate(list(_fresh_draws(task, n, resamples, None)))


def _fresh_draws(task: str, n: int, resamples: int, strata: Array | None) -> Iterator[Array]:
    rng = np.random.default_rng(zlib.crc32(task.encode()))
    batch = max(1, BATCH_ELEMENTS // n)
    for start in range(0, resamples, batch):
        yield draws(n, min(batch, resamples - start), rng, strata)


def _common_length(seeds: list[list[Array]]) -> int:
    shapes = {array.shape for arrays in seeds for array in arrays}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise ValueError("an effect needs one-dimensional arrays of one length, from one seed at least")
    if shape[0] < 2:
        raise ValueError("an effect needs at least two examples (see Effect.exact for a count)")
    return int(shape[0])
