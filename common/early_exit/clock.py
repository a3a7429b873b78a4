"""The clock of an exit method on real texts: one by one or in batches, every operating point beside the baseline.

The samples are a random part of dev, the same for every paper, and all arms run interleaved (`common.timing.paired`).
Savings are against the plain fine-tuned classifier: what a user compares with is what he has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from common.records.measurements import Measurement, atomic_write
from common.records.statistics import Interval
from common.rows import Rows
from common.scales import Scale
from common.timing.paired import PairedThroughput, PairedTimings, paired_latency, paired_throughput
from common.timing.threads import pinned_threads
from common.training.batches import Batch
from common.training.loop import Progress

BASELINE = "baseline"
TRUNCATED = "truncated"
BATCH_SIZE = 32

Arm = Callable[[Batch], object]
"""Does all the work that is to be timed on one batch."""


class TimedTexts(Protocol):
    """What the clock asks of a split: texts, or sentences of tagged words."""

    @property
    def input_ids(self) -> Sequence[Sequence[int]]:
        """Of each text."""

    def __len__(self) -> int:
        """How many there are."""

    def batch(self, rows: Sequence[int]) -> Any:  # noqa: ANN401
        """Those at `rows`, padded; what an arm takes."""


@dataclass(frozen=True)
class Clocked:
    """Batch-1 timings of one trial on a random part of dev, kept until the run is complete.

    Attributes:
        rows: positions in dev of the samples that were timed.
        timings: every arm on every sample; the baseline is the plain classifier.
    """

    rows: NDArray[np.int64]
    timings: PairedTimings

    def saving(self, arm: str) -> Interval:
        """Share of wall time that `arm` saves."""
        return self.timings.saving(arm)

    def speedup(self, arm: str) -> Interval:
        """How many times as fast as the baseline `arm` is."""
        return self.timings.speedup(arm)

    def seconds(self, arm: str) -> NDArray[np.float64]:
        """One time per sample."""
        return self.timings.sample_seconds(arm)

    def timed(self, arm: str) -> dict[str, object]:
        """What a record of `arm`'s time must say of itself."""
        clear = self.timings.distinguishable(arm)
        return {"timed": True, "note": "" if clear else "not distinguishable from the baseline (A/A control)"}

    def latency_rows(self, row: Rows, experiment: str, system: str, arm: str, **at: object) -> Iterator[Measurement]:
        """What a caller waits at batch 1."""
        latency = self.timings.latency(arm)
        for quantile in ("p50", "p90", "p99"):
            value = getattr(latency, quantile)
            yield row(experiment, system, f"latency_{quantile}", value, "ms", n=latency.n, timed=True, **at)

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        with atomic_write(path) as temporary:
            np.savez(temporary, rows=self.rows, arms=np.array(self.timings.arms), seconds=self.timings.seconds)

    @staticmethod
    def load(path: Path) -> Clocked:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            timings = PairedTimings(BASELINE, tuple(map(str, file["arms"])), file["seconds"])
            return Clocked(file["rows"], timings)


@dataclass(frozen=True)
class Clock:
    """Times arms on a part of a split.

    Attributes:
        split: the texts; of them `scale.timing_examples` random ones are timed, `scale.timing_rounds` times each.
        device: where the arms compute.
        progress: told how many samples are done.
    """

    split: TimedTexts
    scale: Scale
    device: torch.device
    progress: Progress

    @property
    def rows(self) -> NDArray[np.int64]:
        """Positions of the timed samples."""
        return np.random.default_rng(0).permutation(len(self.split))[: self.scale.timing_examples]

    def one_by_one(self, arms: Mapping[str, Arm]) -> Clocked:
        """Time every arm on every sample alone; `BASELINE` is among the arms."""
        rows, rounds = self.rows, self.scale.timing_rounds
        batches = [self.split.batch([row]).to(self.device) for row in rows.tolist()]
        total = rounds * len(rows)
        done = iter(range(1, 1 + total))
        with pinned_threads():
            timings = paired_latency(
                {name: on_item(arm, batches) for name, arm in arms.items()},
                baseline=BASELINE,
                samples=len(rows),
                rounds=rounds,
                advance=lambda: self.progress(next(done), total),
            )
        return Clocked(rows, timings)

    @torch.inference_mode()
    def in_batches(self, arms: Mapping[str, Arm]) -> PairedThroughput:
        """Time whole passes in batches of 32 texts of like length; `BASELINE` is among the arms."""
        rows = sorted(self.rows.tolist(), key=lambda row: len(self.split.input_ids[row]))
        batches = [self.split.batch(rows[i : i + BATCH_SIZE]).to(self.device) for i in range(0, len(rows), BATCH_SIZE)]
        with pinned_threads():
            return paired_throughput(
                {name: _on_all(arm, batches) for name, arm in arms.items()},
                baseline=BASELINE,
                rounds=2 + 2 * self.scale.timing_rounds,
            )


def on_item(arm: Arm, batches: Sequence[Batch]) -> Callable[[int], object]:
    """`arm` as a function of a batch's number, as `paired_latency` wants it."""
    return lambda item: arm(batches[item])


def _on_all(arm: Arm, batches: Sequence[Batch]) -> Callable[[], int]:
    def run() -> int:
        for batch in batches:
            arm(batch)
        return sum(len(batch.rows) for batch in batches)

    return run
