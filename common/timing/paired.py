"""Latency and throughput as ratios against a baseline, with an A/A control.

Milliseconds belong to one machine on one day; what travels is how much time an arm takes relative to the baseline
measured beside it. All arms run interleaved (`common.timing.interleave`), each ratio compares the same inputs, and
its bootstrap interval resamples inputs (latency) or rounds (throughput), the arms of a pair together.

How far may such a ratio stray by chance? Each run measures that on itself: the baseline takes part a second time,
under the name `CONTROL`. Its true ratio is 1, so its interval is the noise of this run, and an arm whose interval
reaches into it is *not distinguishable* from the baseline, whatever its own interval says.

What one run cannot show is how much a ratio changes from process to process (placement in memory, neighbours):
repeat the run for that.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.records.statistics import Interval, bootstrap_statistic, range_of
from common.timing.interleave import Schedule, Stopwatch, device_synchroniser, nothing, time_interleaved

CONTROL = "A/A control"
"""Name of the arm that is the baseline a second time."""

ENOUGH_ROUNDS = 6
"""Below it the interval of a median cannot reach 95 %: what is shown of fewer rounds is their range."""

Arm = TypeVar("Arm")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per call over all timed calls, hiccups included: what a caller would wait."""

    mean: float
    p50: float
    p90: float
    p99: float
    n: int


@dataclass(frozen=True)
class _Comparison(ABC):
    """What latency and throughput have in common: arms with seconds, and ratios of them.

    Attributes:
        baseline: the arm that all others are compared with.
        arms: names; the last one is `CONTROL`.
        seconds: one row per arm.
    """

    baseline: str
    arms: tuple[str, ...]
    seconds: NDArray[np.float64]

    @abstractmethod
    def ratio(self, arm: str) -> Interval:
        """Time that the arm takes relative to the baseline: below 1 is faster."""

    def saving(self, arm: str) -> Interval:
        """Fraction of the baseline's time that the arm saves: 1 - `ratio`."""
        ratio = self.ratio(arm)
        return replace(ratio, value=1 - ratio.value, low=1 - ratio.high, high=1 - ratio.low)

    def speedup(self, arm: str) -> Interval:
        """How many times as fast as the baseline the arm is: 1 / `ratio`."""
        ratio = self.ratio(arm)
        return replace(ratio, value=1 / ratio.value, low=1 / ratio.high, high=1 / ratio.low)

    def distinguishable(self, arm: str) -> bool:
        """Whether the arm's `ratio` lies outside the noise that the A/A control shows (`outside_noise`)."""
        return outside_noise(self.ratio(arm), self.ratio(CONTROL))

    def _of(self, arm: str) -> NDArray[np.float64]:
        if arm not in self.arms:
            raise KeyError(f"no arm {arm!r}; there are {', '.join(self.arms)}")
        row: NDArray[np.float64] = self.seconds[self.arms.index(arm)]
        return row


@dataclass(frozen=True)
class PairedTimings(_Comparison):
    """Seconds of every arm on every sample in every round: `seconds` has shape [arms, rounds, samples].

    A sample's time is the lower median of its rounds (with two rounds the smaller one): interruptions only ever
    add time, so a hiccup in one round does not count, and the rule is the same for every arm.

    Attributes:
        imposed: by arm, where it was imposed at which layer each sample leaves, those layers, shape [samples]. How many
            samples leave where is then no chance, and an interval redraws them within their layer.
    """

    imposed: Mapping[str, ArrayLike] = field(default_factory=dict)

    def sample_seconds(self, arm: str) -> NDArray[np.float64]:
        """One time per sample, shape [samples].

        Raises:
            KeyError: there is no such arm.
        """
        times: NDArray[np.float64] = np.quantile(self._of(arm), 0.5, axis=0, method="lower")
        return times

    def latency(self, arm: str) -> Latency:
        """Mean and percentiles of a call, in milliseconds."""
        calls = 1000 * self._of(arm).ravel()
        p50, p90, p99 = np.percentile(calls, (50, 90, 99)).tolist()
        return Latency(float(calls.mean()), p50, p90, p99, calls.size)

    def ratio(self, arm: str) -> Interval:
        """Time of a pass over all samples, relative to the baseline's: below 1 is faster. n counts samples."""
        return self._compare(_ratio_of_totals, arm)

    def _compare(self, statistic: Callable[..., NDArray[np.float64]], arm: str) -> Interval:
        pair = self.sample_seconds(arm), self.sample_seconds(self.baseline)
        return bootstrap_statistic(statistic, *pair, strata=self.imposed.get(arm))


@dataclass(frozen=True)
class PairedThroughput(_Comparison):
    """Seconds of every arm in every round, a round being one pass over all batches: shape [arms, rounds].

    Attributes:
        examples: examples in a pass, the same for all arms.
    """

    examples: int

    def throughput(self, arm: str) -> Interval:
        """Examples per second in the median round. n counts rounds; of few rounds it is their range."""
        return _over_rounds(self.examples / self._of(arm))

    def ratio(self, arm: str) -> Interval:
        """Median over rounds of the arm's time relative to the baseline's in the same round.

        n counts rounds; of few rounds it is their range.
        """
        return _over_rounds(self._of(arm) / self._of(self.baseline))


def paired_latency(
    arms: Mapping[str, Callable[[int], object]],
    *,
    baseline: str,
    samples: int,
    rounds: int = 2,
    warmup: int = 10,
    seed: int = 0,
    synchronise: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[[], object] = nothing,
) -> PairedTimings:
    """Time arms call by call against a baseline, interleaved and in random order.

    Args:
        arms: by name; each is called with the index of a sample, under `torch.inference_mode`, and must do all
            the work that is to be timed on the calling thread or on the device that `synchronise` waits for.
        baseline: the arm to compare with; it also runs as `CONTROL`.
        samples: number of real inputs, at least 2. Early exit is data dependent: pass many different ones.
        rounds: passes over all samples. Two vote out a rare hiccup; where other work shares the cores, take more
            (the control's interval shows whether it was enough).
        warmup: untimed calls of each arm beforehand.
        seed: of the order.
        synchronise: waits for queued work; by default for the accelerator, if there is one.
        clock: seconds, monotonic.
        advance: called `rounds * samples` times outside the timed parts, for a progress display.

    Raises:
        ValueError: the baseline is not among the arms, an arm is called `CONTROL`, or a count is too small.
    """
    if samples < 2:
        raise ValueError(f"an interval needs at least 2 samples, found {samples}")
    with_control = _add_control(arms, baseline)
    seconds = time_interleaved(
        tuple(with_control.values()),
        Schedule(items=samples, rounds=rounds, warmup=warmup, seed=seed),
        Stopwatch(synchronise or device_synchroniser(), clock),
        advance,
    )
    return PairedTimings(baseline, tuple(with_control), seconds)


def paired_throughput(
    arms: Mapping[str, Callable[[], int]],
    *,
    baseline: str,
    rounds: int = 8,
    warmup: int = 1,
    seed: int = 0,
    synchronise: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[[], object] = nothing,
) -> PairedThroughput:
    """Time arms pass by pass against a baseline, interleaved and in random order.

    Args:
        arms: by name; each call processes the same list of batches once and returns the number of examples.
        baseline: the arm to compare with; it also runs as `CONTROL`.
        rounds: timed passes of each arm, at least 2; an even number balances a drift of the machine, and fewer
            than `ENOUGH_ROUNDS` give a range.
        warmup: untimed passes of each arm beforehand.
        seed: of the order.
        synchronise: waits for queued work; by default for the accelerator, if there is one.
        clock: seconds, monotonic.
        advance: called `rounds` times outside the timed parts, for a progress display.

    Raises:
        ValueError: as for `paired_latency`, or the arms do not all process the same number of examples.
    """
    if rounds < 2:
        raise ValueError(f"an interval needs at least 2 rounds, found {rounds}")
    with_control = _add_control(arms, baseline)
    counts: dict[str, int] = {}
    seconds = time_interleaved(
        [_counting(name, arm, counts) for name, arm in with_control.items()],
        Schedule(items=1, rounds=rounds, warmup=warmup, seed=seed),
        Stopwatch(synchronise or device_synchroniser(), clock),
        advance,
    )
    if len(set(counts.values())) != 1 or not counts[baseline]:
        raise ValueError(f"every arm must process the same examples, at least one; found {counts}")
    return PairedThroughput(baseline, tuple(with_control), seconds[:, :, 0], counts[baseline])


def outside_noise(ratio: Interval, control: Interval) -> bool:
    """Whether `ratio` lies wholly beyond the furthest that the control's interval strays from 1, either way.

    The noise is taken as symmetric: a control that came out 2 % slow could have come out 2 % fast.
    """
    stray = max(control.high, 1 / control.low)
    return ratio.high < 1 / stray or ratio.low > stray


def pass_over(answer: Callable[[Sequence[Item]], object], batches: Sequence[Sequence[Item]]) -> Callable[[], int]:
    """`answer` as an arm of `paired_throughput`: a call answers every batch and returns how many items they hold."""

    def run() -> int:
        for batch in batches:
            answer(batch)
        return sum(map(len, batches))

    return run


def _add_control(arms: Mapping[str, Arm], baseline: str) -> dict[str, Arm]:
    if baseline not in arms:
        raise ValueError(f"the baseline {baseline!r} is not among the arms {', '.join(arms)}")
    if CONTROL in arms:
        raise ValueError(f"{CONTROL!r} is the name of the added control, not of an arm")
    return {**arms, CONTROL: arms[baseline]}


def _counting(name: str, arm: Callable[[], int], counts: dict[str, int]) -> Callable[[int], None]:
    def run(_: int) -> None:
        counts[name] = arm()

    return run


def _over_rounds(values: NDArray[np.float64]) -> Interval:
    if values.size < ENOUGH_ROUNDS:
        return range_of(np.median, values)
    return bootstrap_statistic(np.median, values)


def _ratio_of_totals(times: ArrayLike, baseline: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    return np.asarray(np.sum(times, axis=axis) / np.sum(baseline, axis=axis))
