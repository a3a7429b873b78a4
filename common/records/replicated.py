"""The old form of a claim's number, until every paper decides from stored predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.records.measurements import Measurement
from common.records.statistics import Interval, replicates_over_seeds_and_examples

if TYPE_CHECKING:
    from common.replication import Run

Array = NDArray[Any]
RESAMPLES = 4000


@dataclass(frozen=True)
class Decision:
    """A claim's statistic, and what a reader must know of how it was got."""

    interval: Interval
    note: str
    timed: bool

    def measurement(self, claim: str, unit: str, run: Run) -> Measurement:
        """As a record."""
        return Measurement(
            experiment="claims",
            system=claim,
            metric="statistic",
            value=self.interval.value,
            unit=unit,
            n=self.interval.n,
            ci_low=self.interval.low,
            ci_high=self.interval.high,
            timed=self.timed,
            note=f"{self.note}; {len(run.seeds)} seed{'s' * (len(run.seeds) > 1)}",
        )


@dataclass(frozen=True)
class Replicated:
    """A quantity of one task: its value, and the same on every bootstrap replicate (R,)."""

    value: float
    replicates: Array

    @staticmethod
    def of(arrays: Sequence[Sequence[Array]], statistic: Callable[..., Array]) -> Replicated:
        """Mean over seeds of `statistic`; `arrays` holds each seed's arrays over the same examples."""
        value = float(np.mean([statistic(*seed, axis=-1) for seed in arrays]))
        return Replicated(value, replicates_over_seeds_and_examples(arrays, statistic, resamples=RESAMPLES))
