"""Intervals against closed forms, brute force and coverage; verdicts against the rule written out."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from common.records.statistics import (
    Interval,
    bootstrap_mean,
    bootstrap_replicates,
    bootstrap_statistic,
    percentile_interval,
)


def mean_difference(a: Any, b: Any, axis: int = -1) -> Any:
    return np.mean(a, axis=axis) - np.mean(b, axis=axis)


def test_mean_interval_matches_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=2_000)
    interval = bootstrap_mean(values)
    half = norm.ppf(0.975) * values.std() / math.sqrt(values.size)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert interval.n == 2_000


def test_mean_interval_matches_every_resample_of_four_observations() -> None:
    values = [0.0, 1.0, 3.0, 10.0]
    every = [np.mean(draw) for draw in itertools.product(values, repeat=4)]
    low, high = np.percentile(every, [2.5, 97.5])
    interval = bootstrap_mean(values, resamples=20_000)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=0.3), pytest.approx(high, abs=0.3))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(300):
        interval = bootstrap_mean(rng.random(60) < 0.3, resamples=500, seed=trial)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.90 <= covered / 300 <= 0.985


def test_pairing_cancels_what_both_share() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 10, size=400)
    ours, theirs = shared + 1 + rng.normal(0, 0.1, 400), shared + rng.normal(0, 0.1, 400)
    paired = bootstrap_statistic(mean_difference, ours, theirs, resamples=2_000)
    unpaired = bootstrap_statistic(mean_difference, ours, theirs, paired=False, resamples=2_000)
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 20
    assert paired.low < 1 < paired.high


def test_unpaired_samples_may_differ_in_size() -> None:
    interval = bootstrap_statistic(mean_difference, [1.0, 2.0, 3.0], [0.0, 1.0], paired=False, resamples=200)
    assert interval.value == pytest.approx(1.5)
    assert interval.n == 2


@given(value=st.floats(-1e6, 1e6), n=st.integers(2, 30))
def test_observations_without_variation_give_a_zero_width_interval(value: float, n: int) -> None:
    interval = bootstrap_mean([value] * n, resamples=50)
    assert interval.low == interval.high == interval.value == pytest.approx(value)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_mean(values, seed=7) == bootstrap_mean(values, seed=7)
    assert bootstrap_mean(values, seed=7) != bootstrap_mean(values, seed=8)


@given(shift=st.floats(-100, 100), scale=st.floats(0.1, 10))
def test_a_mean_interval_moves_and_stretches_with_the_observations(shift: float, scale: float) -> None:
    values = np.random.default_rng(0).random(20)
    plain = bootstrap_mean(values, resamples=100)
    moved = bootstrap_mean(values * scale + shift, resamples=100)
    assert moved.low == pytest.approx(plain.low * scale + shift, abs=1e-9)
    assert moved.high == pytest.approx(plain.high * scale + shift, abs=1e-9)


def test_replicates_of_independent_quantities_combine() -> None:
    rng = np.random.default_rng(4)
    tasks = [rng.normal(mean, 1, 500) for mean in (0.0, 0.0, 5.0)]
    replicates = [bootstrap_replicates(np.mean, task, seed=i, resamples=2_000) for i, task in enumerate(tasks)]
    best = percentile_interval(max(t.mean() for t in tasks), np.max(replicates, axis=0), 500)
    alone = bootstrap_mean(tasks[2], resamples=2_000, seed=2)
    assert (best.low, best.high) == (alone.low, alone.high)


@pytest.mark.parametrize("arrays", [[], [[1.0]], [[1.0, 2.0], [1.0, 2.0, 3.0]], [[[1.0, 2.0]]]])
def test_observations_that_cannot_be_resampled_are_refused(arrays: list[Any]) -> None:
    with pytest.raises(ValueError):
        bootstrap_statistic(mean_difference, *arrays)


@pytest.mark.parametrize("numbers", [(1.0, 2.0, 0.0), (math.nan, 0.0, 1.0), (0.0, -math.inf, 1.0)])
def test_an_interval_is_finite_and_in_order(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError):
        Interval(*numbers, n=3)
