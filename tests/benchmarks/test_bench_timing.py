"""What the timing layer itself costs: it must stay small beside the calls that it times."""

from __future__ import annotations

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from common.timing.interleave import Schedule, Stopwatch, time_interleaved
from common.timing.paired import CONTROL, PairedTimings


def test_bench_thousand_timed_empty_calls(benchmark: BenchmarkFixture) -> None:
    schedule = Schedule(items=500, rounds=1, warmup=0, seed=0)
    arms = [lambda item: item, lambda item: item]
    seconds = benchmark.pedantic(time_interleaved, args=(arms, schedule, Stopwatch()), rounds=10)
    assert seconds.shape == (2, 1, 500)


def test_bench_ratio_of_thousand_samples(benchmark: BenchmarkFixture) -> None:
    seconds = np.random.default_rng(0).gamma(50.0, size=(3, 2, 1000))
    timings = PairedTimings("baseline", ("baseline", "arm", CONTROL), seconds)
    ratio = benchmark.pedantic(timings.ratio, args=("arm",), rounds=3, warmup_rounds=1)
    assert ratio.low < 1.0 < ratio.high
