"""Numbers with what is uncertain about them, pooled over the training seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from common.errors import UserError
from common.records.measurements import Measurement

Band = Literal["", "examples", "seeds", "both"]
"""What `low` and `high` are: the 95 % interval over the examples of one seed, a standard deviation to either side over
seeds, or the 95 % interval over examples and seeds."""

DIGITS = 5
"""Significant digits that the page holds: more than it shows, and few bytes."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as the page shows it.

    Attributes:
        value: the mean over seeds.
        seeds: how many stand behind it; 0 where none is involved.
        low, high: its band, where it has one.
        band: what they are.
    """

    value: float
    seeds: int = 0
    low: float | None = None
    high: float | None = None
    band: Band = ""

    def plain(self) -> list[object]:
        """The fields in order, for JSON; trailing ones that are not set are left out."""
        if not self.band or self.low is None or self.high is None:
            return [_rounded(self.value), self.seeds]
        return [_rounded(self.value), self.seeds, _rounded(self.low), _rounded(self.high), self.band]


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric that tells a quantity: as it is, or as a share that is saved (then a half is twice as fast)."""

    metric: str
    is_saving: bool = False

    def of(self, value: float) -> float:
        """The quantity.

        Raises:
            UserError: everything is said to be saved.
        """
        if not self.is_saving:
            return value
        if value >= 1:
            raise UserError(f"{self.metric} is {value:g}: expected a share below 1")
        return 1 / (1 - value)


def pooled(measurements: Iterable[Measurement], reading: Reading) -> Number:
    """One number of all seeds' measurements.

    Raises:
        UserError: everything is said to be saved.
    """
    found = list(measurements)
    values = [reading.of(m.value) for m in found]
    seeds = len({m.seed for m in found} - {None})
    mean = statistics.fmean(values)
    if len(values) == 1:
        low, high = found[0].ci_low, found[0].ci_high
        if low is None or high is None or low == high:
            return Number(mean, seeds)
        return Number(mean, seeds, reading.of(low), reading.of(high), "examples")
    sd = statistics.stdev(values)
    return Number(mean, seeds, mean - sd, mean + sd, "seeds") if sd > 0 else Number(mean, seeds)


def _rounded(value: float) -> float:
    # A sum such as -0.0 would be shown with its sign.
    return float(f"{value:.{DIGITS}g}") + 0.0
