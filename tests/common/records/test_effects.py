"""Effects: two variances, their coverage by simulation, and what may not happen to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.records.effects import Effect, effect_of, holm, mean_effect, ratio_of_means

EXAMPLES = 300
TRIALS = 400


def mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    return values.mean(axis=axis)


def gap(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
    return first.mean(axis=axis) - second.mean(axis=axis)


def drawn(
    rng: np.random.Generator, seeds: int, of_seed: float, of_example: float, own: float
) -> list[list[np.ndarray]]:
    """Differences of two systems, with a part of the seed's, one of the example's and one of both; the truth is 0."""
    values = (
        of_seed * rng.normal(size=(seeds, 1))
        + of_example * rng.normal(size=(1, EXAMPLES))
        + own * rng.normal(size=(seeds, EXAMPLES))
    )
    return [[row] for row in values]


def coverage(seeds: int, of_seed: float, of_example: float, own: float) -> float:
    """Share of 95 % intervals that hold the truth."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(TRIALS):
        low, high = effect_of("t", drawn(rng, seeds, of_seed, of_example, own), mean).interval
        held += low <= 0 <= high
    return held / TRIALS


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("of_seed", "of_example", "own"), [(1, 0, 0.01), (0, 1, 0.1), (0.05, 1, 1), (0.03, 0.5, 1), (0.1, 1, 0.5)]
)
def test_intervals_cover_what_they_promise(
    monkeypatch: pytest.MonkeyPatch, seeds: int, of_seed: float, of_example: float, own: float
) -> None:
    # A variance from 400 resamples is good to 7 %; the simulation itself to 1.1 points (one standard error).
    monkeypatch.setattr("common.records.effects.RESAMPLES", 400)
    error = 2 * math.sqrt(0.95 * 0.05 / TRIALS)
    assert 0.93 - error <= coverage(seeds, of_seed, of_example, own) <= 0.97 + error


def test_three_seeds_alone_get_students_interval() -> None:
    values = [0.0, 1.0, 2.0]
    effect = effect_of("t", [[np.full(50, v)] for v in values], mean)
    reach = 4.302653 * 1.0 / math.sqrt(3)  # t with 2 degrees of freedom
    assert effect.interval == pytest.approx((1 - reach, 1 + reach), rel=1e-5)
    assert effect.freedom == pytest.approx(2)


def test_one_seed_is_over_the_examples_alone() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    effect = effect_of("t", [[values]], mean)
    assert effect.seeds == 1
    assert effect.error == pytest.approx(values.std() / math.sqrt(1000), rel=0.1)


def test_tasks_draw_independently_and_systems_of_a_task_together() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=400), rng.normal(size=400)
    same = effect_of("a", [[first, first]], gap)
    assert same.error == 0, "what both systems share cancels"
    once, again = effect_of("a", [[first]], mean), effect_of("a", [[first]], mean)
    assert once.components == again.components
    assert effect_of("b", [[first]], mean).components != once.components
    both = mean_effect([effect_of("a", [[first]], mean), effect_of("b", [[second]], mean)])
    assert both.error == pytest.approx(math.hypot(first.std(), second.std()) / 2 / 20, rel=0.1)


def test_opposite_and_equal_seed_effects_of_two_tasks_are_equally_uncertain() -> None:
    """Two tasks' seeds are no pairs: whether they move alike must not matter."""
    shifts = [-1.0, 0.0, 1.0]
    first = effect_of("a", [[np.full(30, s)] for s in shifts], mean)
    alike = effect_of("b", [[np.full(30, s)] for s in shifts], mean)
    opposite = effect_of("b", [[np.full(30, -s)] for s in shifts], mean)
    assert mean_effect([first, alike]).error == pytest.approx(mean_effect([first, opposite]).error)
    assert mean_effect([first, alike]).error == pytest.approx(math.sqrt(2 / 3) / 2)


def test_imposed_groups_are_not_redrawn() -> None:
    """Exits that were imposed, a third each: the number of texts in each group is no chance."""
    layer = np.repeat([1, 2, 3], 20)
    seconds = layer.astype(float)
    free = effect_of("t", [[seconds]], mean)
    imposed = effect_of("t", [[seconds]], mean, strata=layer)
    assert free.error > 0.05
    assert imposed.error == 0


def test_a_ratio_of_means_agrees_with_the_ratio_of_one_task() -> None:
    rng = np.random.default_rng(2)
    hits = [(rng.random(800) < 0.8).astype(float), (rng.random(800) < 0.9).astype(float)]
    effect = ratio_of_means(
        ["a"], [[hits]], lambda a, b, axis=-1: a.mean(axis=axis), lambda a, b, axis=-1: b.mean(axis=axis)
    )
    direct = effect_of("a", [hits], lambda a, b, axis=-1: a.mean(axis=axis) / b.mean(axis=axis))
    assert effect.value == pytest.approx(direct.value)
    assert effect.error == pytest.approx(direct.error, rel=0.05)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03], alpha=0.05) == [True, False, False]
    assert holm([0.01, 0.02, 0.03], alpha=0.05) == [True, True, True]
    assert holm([0.02, 0.02, 0.02], alpha=0.05) == [False, False, False]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_at_least_what_bonferroni_does_and_no_more_than_no_correction(ps: list[float]) -> None:
    rejected = holm(ps, alpha=0.05)
    for p, is_rejected in zip(ps, rejected, strict=True):
        assert is_rejected or p > 0.05 / len(ps)
        assert not is_rejected or p <= 0.05


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_the_interval_and_the_test_agree(value: float, target: float) -> None:
    effect = effect_of("t", [[np.array([value - 1, value, value + 1, value + 0.5])]], mean)
    low, high = effect.interval
    assert (low > target) == (effect.p_above(target) < 0.025)
    assert (high < target) == (effect.p_below(target) < 0.025)


@pytest.mark.parametrize(
    "arrays", [[], [[np.zeros(1)]], [[np.zeros(3), np.zeros(4)]], [[np.zeros(3)], [np.zeros(4)]], [[np.zeros((2, 2))]]]
)
def test_what_is_no_sample_is_refused(arrays: list[list[np.ndarray]]) -> None:
    with pytest.raises(ValueError, match="an effect needs"):
        effect_of("t", arrays, mean)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Effect.exact(math.nan)
