"""How far the student is from what the machine's memory allows.

It does almost nothing but read rows of its table, so that the bytes it must read, over the memory's bandwidth, bound
its speed. The ceiling is strict: the rate at which consecutive memory is read and summed, which rows at random places
can approach, not pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.records.measurements import Measurement
from common.records.statistics import Interval, bootstrap_statistic
from replications.sparse_distillation.shapes_speed import BATCH, Arm, Workload, student_arm, timed_passes, timed_row
from replications.sparse_distillation.shapes_systems import STUDENT, Drawn, Systems

ROUNDS = 6
FLOAT = 4
"""Bytes of a float32."""

STREAM_NUMBERS = 250_000_000
"""Numbers in a timed read of consecutive memory: 1 GB, many times what any cache holds."""

READ = "sequential read"


def bytes_per_example(systems: Systems, workload: Workload) -> float:
    """What an example needs from memory: its rows of the table, and its share of the dense weights of a batch."""
    rows = workload.texts * workload.ngrams * systems.dimension
    return FLOAT * (rows + dense_weights(systems, workload) / BATCH)


def dense_weights(systems: Systems, workload: Workload) -> int:
    """The student's dense parameters; four vectors instead of one go into the first layer for a pair."""
    extra = 3 * systems.dimension**2 if workload.texts == 2 else 0
    return systems.count(STUDENT).dense + extra


@dataclass(frozen=True)
class Ceiling:
    """A workload's measured rates, by round.

    Attributes:
        bandwidth: (R,) bytes per second of the sequential read.
        seconds: (R,) of the student, for a batch.
        bytes_per_batch: what a batch must read.
    """

    bandwidth: NDArray[np.float64]
    seconds: NDArray[np.float64]
    bytes_per_batch: float

    def bandwidth_interval(self) -> Interval:
        """Bytes per second, median round."""
        return bootstrap_statistic(np.median, self.bandwidth)

    def samples_per_second(self) -> Interval:
        """Of the student, if memory were read at that rate and nothing else took time."""
        return bootstrap_statistic(np.median, BATCH * self.bandwidth / self.bytes_per_batch)

    def share(self) -> Interval:
        """Of that ceiling, what the student reaches."""
        return bootstrap_statistic(np.median, self.bytes_per_batch / self.bandwidth / self.seconds)


def measure_ceiling(drawn: Drawn, workload: Workload) -> Ceiling:
    """Time the student and the sequential read of its table in turn."""
    stream = drawn.student().table.detach().view(-1)[:STREAM_NUMBERS]
    arms = {STUDENT: student_arm(drawn, workload), READ: Arm(Tensor.sum, [stream], 1, stream[:100])}
    timings = timed_passes(arms, STUDENT, ROUNDS)
    seconds = {name: timings.seconds[timings.arms.index(name)] for name in arms}
    bandwidth = FLOAT * stream.numel() / seconds[READ]
    return Ceiling(bandwidth, seconds[STUDENT], BATCH * bytes_per_example(drawn.systems, workload))


def ceiling_rows(drawn: Drawn, workload: Workload) -> list[Measurement]:
    """Bytes, bandwidth, ceiling and the share of it reached, for each of the workload's tasks."""
    ceiling = measure_ceiling(drawn, workload)
    touched = Interval.exact(bytes_per_example(drawn.systems, workload))
    rows = [
        timed_row("roofline", STUDENT, "bytes_per_example", touched, "byte").model_copy(update={"timed": False}),
        timed_row("roofline", READ, "bandwidth", ceiling.bandwidth_interval(), "byte/s"),
        timed_row("roofline", STUDENT, "ceiling_samples_per_second", ceiling.samples_per_second(), "1/s"),
        timed_row("roofline", STUDENT, "share_of_ceiling", ceiling.share(), "fraction"),
    ]
    ngrams = workload.texts * workload.ngrams
    note = f"{ngrams} random n-grams, batch {BATCH}; the ceiling: 1 GB of consecutive floats, read and summed"
    return [row.model_copy(update={"task": task, "note": note}) for task in workload.tasks for row in rows]
