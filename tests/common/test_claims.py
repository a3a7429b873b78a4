"""What claims are decided with, on arrays whose statistics are known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.claims import RESAMPLES, Decision, Replicated
from common.records.statistics import Interval, percentile_interval


def gain(a: Any, b: Any, axis: int = -1) -> Any:
    return a.mean(axis=axis) - b.mean(axis=axis)


def test_a_replicated_quantity_is_the_mean_over_seeds() -> None:
    seeds = [(np.full(10, 5.0), np.full(10, 2.0)), (np.full(10, 1.0), np.zeros(10))]
    found = Replicated.of(seeds, gain)
    assert found.value == pytest.approx(2.0)  # of 3 and 1
    assert found.replicates.shape == (RESAMPLES,)
    # Examples do not vary, so a replicate is the mean of two seeds drawn: 1, 2 or 3.
    assert set(np.round(found.replicates, 6)) == {1.0, 2.0, 3.0}
    assert found.replicates.mean() == pytest.approx(2.0, abs=0.05)


def test_arrays_of_a_seed_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 100, 200)
    found = Replicated.of([(noise + 1.0, noise)], gain)
    np.testing.assert_allclose(found.replicates, 1.0, atol=1e-9)


def test_two_quantities_on_the_same_examples_share_their_draws() -> None:
    """So that what is combined over variants of one task stays paired."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 50))
    first, second = Replicated.of([(a, b)], gain), Replicated.of([(a + 2, b)], gain)
    np.testing.assert_allclose(second.replicates - first.replicates, 2.0)


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(2).normal(3, 2, 400)
    found = Replicated.of([(values, np.zeros(400))], gain)
    interval = percentile_interval(found.value, found.replicates, 400)
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


@pytest.mark.parametrize(("seeds", "said"), [((0,), "why; 1 seed"), ((0, 1, 2), "why; 3 seeds")])
@pytest.mark.parametrize("timed", [False, True])
def test_a_decision_becomes_a_record(seeds: tuple[int, ...], said: str, timed: bool) -> None:
    decision = Decision(Interval(0.4, 0.3, 0.6, 99), "why", timed)
    run: Any = SimpleNamespace(seeds=seeds)
    m = decision.measurement("some-claim", "fraction", run)
    assert (m.experiment, m.system, m.metric, m.unit) == ("claims", "some-claim", "statistic", "fraction")
    assert (m.value, m.ci_low, m.ci_high, m.n) == (0.4, 0.3, 0.6, 99)
    assert m.note == said
    assert m.timed is timed
    assert m.seed is None
