from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.records.statistics import Interval
from common.rows import ShapeRows
from common.timing.paired import (
    CONTROL,
    PairedThroughput,
    PairedTimings,
    outside_noise,
    paired_latency,
    paired_throughput,
)

SAMPLES = 60


class Machine:
    """A clock that arms turn: `work` takes longer the later it is, and now and then a hiccup falls on it."""

    def __init__(self, *, drift: float = 0.0, noise: float = 0.0, hiccups: float = 0.0) -> None:
        self.now = 100.0
        self._start = self.now
        self._drift, self._noise, self._hiccups = drift, noise, hiccups
        self._random = np.random.default_rng(1)

    def clock(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        slowdown = 1 + self._drift * (self.now - self._start)
        jitter = 1 + self._noise * self._random.standard_normal()
        hiccup = 30 * seconds if self._random.random() < self._hiccups else 0.0
        self.now += seconds * slowdown * jitter + hiccup

    def arm(self, factor: float) -> Callable[[int], object]:
        """An arm that needs `factor` milliseconds times 1 to 4, depending on the sample."""
        return lambda sample: self.work(1e-3 * factor * (1 + sample % 4))

    def latency(self, factors: Mapping[str, float], **options: Any) -> PairedTimings:
        arms = {name: self.arm(factor) for name, factor in factors.items()}
        everything = {"samples": SAMPLES, "warmup": 3, **options}
        return paired_latency(arms, baseline="baseline", clock=self.clock, **everything)

    def block_ratio(self, factor: float) -> float:
        """What timing the baseline first and the arm afterwards would find."""
        totals = []
        for arm in (self.arm(1.0), self.arm(factor)):
            start = self.now
            for sample in 2 * list(range(SAMPLES)):
                arm(sample)
            totals.append(self.now - start)
        return totals[1] / totals[0]


def covers(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_known_ratio_is_recovered_and_the_control_covers_one() -> None:
    timings = Machine(noise=0.05).latency({"baseline": 1.0, "half": 0.5})
    assert timings.arms == ("baseline", "half", CONTROL)
    assert timings.seconds.shape == (3, 2, SAMPLES)
    assert covers(timings.ratio("half"), 0.5)
    assert width(timings.ratio("half")) < 0.03
    assert covers(timings.ratio(CONTROL), 1.0)
    assert timings.ratio("half").n == SAMPLES
    assert timings.distinguishable("half")
    assert not timings.distinguishable(CONTROL)


def test_equal_arm_is_not_distinguishable() -> None:
    timings = Machine(noise=0.05).latency({"baseline": 1.0, "same": 1.0})
    assert not timings.distinguishable("same")


def test_drift_biases_blocks_but_not_pairs() -> None:
    drift = 0.3
    assert Machine(drift=drift).block_ratio(1.0) > 1.05
    timings = Machine(drift=drift, noise=0.01).latency({"baseline": 1.0, "half": 0.5, "same": 1.0})
    assert timings.ratio("same").value == pytest.approx(1.0, abs=0.01)
    assert timings.ratio("half").value == pytest.approx(0.5, abs=0.01)
    assert covers(timings.ratio(CONTROL), 1.0)
    slowed = timings.seconds[:, 1, :].sum() / timings.seconds[:, 0, :].sum()
    assert slowed > 1.05, "the machine did slow down while it was measured"


@pytest.mark.parametrize(("rounds", "hiccups"), [(2, 0.02), (3, 0.02)])
def test_hiccups_do_not_count(rounds: int, hiccups: float) -> None:
    timings = Machine(hiccups=hiccups).latency({"baseline": 1.0, "half": 0.5}, rounds=rounds)
    raw = timings.seconds.sum(axis=(1, 2))
    assert abs(raw[1] / raw[0] - 0.5) > 0.01, "the hiccups would have been seen in the raw totals"
    assert timings.ratio("half").value == pytest.approx(0.5, abs=1e-9)
    assert timings.ratio(CONTROL).value == pytest.approx(1.0, abs=1e-9)


def test_the_ratio_is_of_totals_and_weighs_long_samples() -> None:
    seconds = np.array([[[1.0, 1.0, 10.0]], [[0.5, 0.5, 10.0]], [[1.0, 1.0, 10.0]]])
    timings = PairedTimings("baseline", ("baseline", "early exit", CONTROL), seconds)
    assert timings.ratio("early exit").value == pytest.approx(11 / 12)
    assert timings.saving("early exit").value == pytest.approx(1 / 12)
    assert timings.speedup("early exit").value == pytest.approx(12 / 11)


def test_saving_and_speedup_are_the_ratio_in_other_words() -> None:
    timings = Machine(noise=0.1).latency({"baseline": 1.0, "arm": 0.8})
    ratio, saving, speedup = timings.ratio("arm"), timings.saving("arm"), timings.speedup("arm")
    assert (saving.low, saving.high) == (1 - ratio.high, 1 - ratio.low)
    assert (speedup.low, speedup.high) == (1 / ratio.high, 1 / ratio.low)


def test_latency_percentiles_in_milliseconds() -> None:
    seconds = np.arange(1, 101).reshape(1, 2, 50) / 1000
    latency = PairedTimings("baseline", ("baseline",), seconds).latency("baseline")
    assert latency.mean == pytest.approx(50.5)
    assert latency.p50 == pytest.approx(50.5)
    assert latency.p90 == pytest.approx(90.1)
    assert latency.p99 == pytest.approx(99.01)
    assert latency.n == 100


@given(st.floats(0.1, 10.0), st.integers(0, 2**16))
@settings(max_examples=5, deadline=None)
def test_ratio_does_not_depend_on_the_unit_or_the_order(factor: float, seed: int) -> None:
    timings = Machine().latency({"baseline": factor, "arm": 0.7 * factor}, seed=seed, samples=5)
    assert timings.ratio("arm").value == pytest.approx(0.7)


def test_every_arm_sees_every_sample_in_every_round_after_the_warm_up() -> None:
    calls: list[tuple[str, int]] = []
    arms = {name: lambda sample, name=name: calls.append((name, sample)) for name in ("a", "b")}
    progress: list[int] = []
    paired_latency(arms, baseline="a", samples=4, rounds=3, warmup=5, advance=lambda: progress.append(len(calls)))
    warm, timed = calls[:15], calls[15:]
    assert warm.count(("b", 0)) == 2, "five warm-up calls on four samples"
    for sample in range(4):
        assert timed.count(("a", sample)) == 6, "three rounds, as baseline and as control"
        assert timed.count(("b", sample)) == 3
    assert progress == list(range(18, 52, 3)), "once per sample and round, when all three arms have run"
    groups = [timed[i : i + 3] for i in range(0, len(timed), 3)]
    assert all(len({sample for _, sample in group}) == 1 for group in groups), "interleaved sample by sample"
    assert len({tuple(name for name, _ in group) for group in groups[::2]}) > 1, "in changing order"
    for first, second in zip(groups[::2], groups[1::2], strict=True):
        assert [name for name, _ in second] == [name for name, _ in first][::-1], "A B, then B A"


def test_order_depends_on_the_seed_alone() -> None:
    def order(seed: int) -> list[int]:
        calls: list[int] = []
        paired_latency({"a": calls.append}, baseline="a", samples=20, warmup=0, seed=seed)
        return calls

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_arms_run_in_inference_mode_without_the_collector() -> None:
    seen = []
    arm = lambda _: seen.append((torch.is_inference_mode_enabled(), gc.isenabled()))  # noqa: E731
    paired_latency({"a": arm}, baseline="a", samples=2, warmup=1)
    assert set(seen) == {(True, False)}
    assert gc.isenabled()
    assert not torch.is_inference_mode_enabled()


def test_collector_is_back_after_an_arm_failed() -> None:
    with pytest.raises(ZeroDivisionError):
        paired_latency({"a": lambda _: 1 / 0}, baseline="a", samples=2, warmup=0)
    assert gc.isenabled()


def test_queued_work_is_waited_for_inside_the_timed_part() -> None:
    machine, queue = Machine(), [0.0]

    def synchronise() -> None:
        machine.work(queue[0])
        queue[0] = 0.0

    def submit(seconds: float) -> Callable[[int], None]:
        def arm(_: int) -> None:
            queue[0] += seconds

        return arm

    timings = paired_latency(
        {"baseline": submit(1.0), "arm": submit(0.25)},
        baseline="baseline",
        samples=3,
        warmup=1,
        synchronise=synchronise,
        clock=machine.clock,
    )
    assert timings.seconds[0] == pytest.approx(1.0)
    assert timings.ratio("arm").value == pytest.approx(0.25)


def test_throughput_of_known_machines() -> None:
    machine = Machine(noise=0.02, drift=0.01)

    def a_pass(seconds: float) -> Callable[[], int]:
        def arm() -> int:
            machine.work(seconds)
            return 128

        return arm

    arms = {"baseline": a_pass(2.0), "double": a_pass(1.0)}
    result = paired_throughput(arms, baseline="baseline", rounds=8, clock=machine.clock)
    assert result.examples == 128
    assert result.seconds.shape == (3, 8)
    assert result.seconds[0, -1] > 1.3 * result.seconds[0, 0], "the machine did slow down"
    assert result.ratio("double").value == pytest.approx(0.5, abs=0.03)
    assert result.speedup("double").value == 1 / result.ratio("double").value
    assert covers(result.ratio(CONTROL), 1.0)
    assert result.distinguishable("double")
    assert not result.distinguishable(CONTROL)
    assert result.throughput("baseline").value == np.median(128 / result.seconds[0])


def test_one_slow_round_does_not_change_the_throughput_ratio() -> None:
    seconds = np.array([[1.0, 1.0, 9.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5, 7.0], [1.0] * 5])
    result = PairedThroughput("baseline", ("baseline", "arm", CONTROL), seconds, examples=10)
    assert result.ratio("arm").value == 0.5
    assert result.throughput("arm").value == 20.0


def test_arms_that_do_not_process_the_same_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        paired_throughput({"a": lambda: 8, "b": lambda: 9}, baseline="a", rounds=2)
    with pytest.raises(ValueError, match="at least one"):
        paired_throughput({"a": lambda: 0}, baseline="a", rounds=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "x"}, "'x' is not among the arms a"),
        ({"samples": 1}, "at least 2 samples"),
        ({"rounds": 0}, "rounds >= 1"),
        ({"warmup": -1}, "warmup >= 0"),
    ],
)
def test_impossible_requests_are_refused(options: dict[str, Any], message: str) -> None:
    request: dict[str, Any] = {"baseline": "a", "samples": 2, **options}
    with pytest.raises(ValueError, match=message):
        paired_latency({"a": lambda _: None}, **request)


def test_the_name_of_the_control_is_taken() -> None:
    with pytest.raises(ValueError, match="added control"):
        paired_latency({CONTROL: lambda _: None}, baseline=CONTROL, samples=2)


def test_unknown_arm_is_named() -> None:
    timings = Machine().latency({"baseline": 1.0})
    with pytest.raises(KeyError, match="no arm 'oops'; there are baseline, A/A control"):
        timings.ratio("oops")


@pytest.mark.parametrize(
    ("low", "high", "control", "outside"),
    [
        (0.90, 0.94, (0.97, 1.02), True),
        (0.90, 0.975, (0.97, 1.02), False),
        (1.04, 1.06, (0.97, 1.02), True),
        (0.90, 0.97, (1.01, 1.05), False),  # a slow control could as well have been a fast one
        (1.02, 1.04, (0.95, 0.99), False),
    ],
)
def test_noise_is_symmetric(low: float, high: float, control: tuple[float, float], outside: bool) -> None:
    ratio = Interval((low + high) / 2, low, high, 10)
    assert outside_noise(ratio, Interval(sum(control) / 2, *control, 10)) is outside


def test_real_work_of_twice_the_size_is_distinguished() -> None:
    def busy(turns: int) -> Callable[[int], int]:
        return lambda sample: sum(range(turns + sample))

    # CPU seconds of this thread: whatever else the machine does must not decide a test.
    start = time.thread_time()
    timings = paired_latency(
        {"baseline": busy(20_000), "double": busy(40_000)},
        baseline="baseline",
        samples=40,
        rounds=5,
        clock=time.thread_time,
    )
    elapsed = time.thread_time() - start
    assert timings.distinguishable("double")
    assert 1.5 < timings.ratio("double").value < 2.6
    assert 0 < timings.seconds.sum() < elapsed


# -- What is no interval ----------------------------------------------------------------------------------------------


def test_few_rounds_are_a_range_that_says_so() -> None:
    seconds = np.array([[1.0, 1.0, 1.0], [0.5, 0.4, 0.6]])
    ratio = PairedThroughput("full", ("full", "fast"), seconds, 32).ratio("fast")
    assert (ratio.value, ratio.low, ratio.high, ratio.n, ratio.is_range) == (0.5, 0.4, 0.6, 3, True)
    many = PairedThroughput("full", ("full", "fast"), np.tile(seconds, 3), 32).ratio("fast")
    assert not many.is_range
    row = ShapeRows("fast")("runtime", "bert-base", "throughput_ratio", ratio, "ratio", note="batches of 32")
    assert row.note == "batches of 32; range of 3 rounds"


def test_imposed_exits_are_redrawn_within_their_layer() -> None:
    """Every fourth text was made to run whole: that it is a fourth is no chance."""
    layers = np.array([1, 1, 1, 4] * 6)
    seconds = np.stack([np.full((2, 24), 4.0), np.tile(layers.astype(float), (2, 1))])
    free = PairedTimings("full", ("full", "fast"), seconds)
    imposed = PairedTimings("full", ("full", "fast"), seconds, imposed={"fast": layers})
    assert free.ratio("fast").high - free.ratio("fast").low > 0.1
    assert (imposed.ratio("fast").low, imposed.ratio("fast").high) == (imposed.ratio("fast").value,) * 2
