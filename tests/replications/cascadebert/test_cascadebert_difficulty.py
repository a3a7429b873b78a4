"""DIS against brute force and AUROC, ranks that do not saturate, and difficulty labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from common.records.ordering import dense_ranks
from replications.cascadebert.claims import inversion_scores
from replications.cascadebert.difficulty import (
    CrossValidation,
    hard_unless_always_right,
    inversion_score,
    log_odds,
)

few_values = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=40)


def brute_force(confidences: list[float], levels: list[int]) -> float:
    pairs = [
        (c, d)
        for c, a in zip(confidences, levels, strict=True)
        for d, b in zip(confidences, levels, strict=True)
        if a < b
    ]
    return 100 * sum(easy > hard for easy, hard in pairs) / len(pairs)


@settings(deadline=None)
@given(few_values)
def test_the_score_is_that_of_counting_pairs(examples: list[tuple[int, int]]) -> None:
    """Of several levels, with many ties."""
    confidences, levels = [float(c) for c, _ in examples], [d for _, d in examples]
    if len(set(levels)) == 1:
        with pytest.raises(ValueError, match="both easy and hard"):
            inversion_score(np.array(confidences), np.array(levels))
        return
    assert inversion_score(np.array(confidences), np.array(levels)) == pytest.approx(brute_force(confidences, levels))


@settings(deadline=None)
@given(few_values)
def test_the_vectorised_score_is_the_same(examples: list[tuple[int, int]]) -> None:
    confidences, hard = np.array([float(c) for c, _ in examples]), np.array([d > 1 for _, d in examples])
    ranks = dense_ranks(confidences)
    if hard.all() or not hard.any():
        assert inversion_scores(ranks, hard) == 50
        return
    found = inversion_scores(np.stack([ranks, ranks[::-1]]), np.stack([hard, hard[::-1]]))
    assert found == pytest.approx([inversion_score(confidences, hard)] * 2)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 60))
def test_without_ties_it_is_the_area_under_the_curve(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    confidences, hard = rng.random(count), np.arange(count) % 3 == 0
    easy = confidences[~hard]
    auroc = mannwhitneyu(easy, confidences[hard]).statistic / (easy.size * hard.sum())
    assert inversion_score(confidences, hard) == pytest.approx(100 * auroc)
    assert inversion_score(-confidences, hard) == pytest.approx(100 - 100 * auroc)


def test_higher_is_better_and_ties_do_not_count() -> None:
    hard = np.array([False, False, True, True])
    assert inversion_score(np.array([0.9, 0.8, 0.2, 0.1]), hard) == 100.0
    assert inversion_score(np.array([0.1, 0.2, 0.8, 0.9]), hard) == 0.0
    assert inversion_score(np.full(4, 0.5), hard) == 0.0


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_a_temperature_changes_no_two_class_ranking(seed: int, temperature: float) -> None:
    logits = torch.randn(50, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    hard = np.arange(50) % 2 == 0
    assert inversion_score(log_odds(logits), hard) == inversion_score(log_odds(logits / temperature), hard)


def test_the_log_odds_are_those_of_the_largest_probability() -> None:
    logits = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = torch.softmax(logits, -1).amax(-1)
    np.testing.assert_allclose(log_odds(logits), torch.log(p / (1 - p)).numpy())
    two = torch.tensor([[3.0, 1.0], [0.5, 2.5]])
    np.testing.assert_allclose(log_odds(two), [2.0, 2.0])


def test_ranks_survive_where_the_softmax_saturates() -> None:
    """Float32's largest probability is exactly 1 for all of these: its ties would make DIS 0 instead of 100."""
    logits = torch.tensor([[40.0, 0.0], [30.0, 0.0], [25.0, 0.0], [20.0, 0.0]])
    hard = np.array([False, False, True, True])
    saturated = torch.softmax(logits, -1).amax(-1).numpy()
    assert inversion_score(saturated, hard) == 0.0
    assert inversion_score(log_odds(logits), hard) == 100.0


def test_a_margin_of_100_still_ranks_in_many_classes() -> None:
    logits = torch.tensor([[100.0, 0.0, 0.0], [99.0, 0.0, 0.0]])
    odds = log_odds(logits)
    assert odds[0] > odds[1]


# -- Labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "folds", "count"), [(3, 2, 11), (5, 5, 23), (1, 3, 9)])
def test_every_example_is_held_out_once_a_seed_by_a_model_that_did_not_see_it(
    seeds: int, folds: int, count: int
) -> None:
    ways = CrossValidation(seeds, folds)
    assert len(ways.parts) == seeds * folds
    for seed in range(seeds):
        held = [ways.held_out(seed, fold, count) for fold in range(folds)]
        assert sorted(row for part in held for row in part) == list(range(count))
        for fold in range(folds):
            seen = ways.trained_on(seed, fold, count)
            assert not set(seen) & set(held[fold])
            assert len(seen) + len(held[fold]) == count
    if seeds > 1:
        assert ways.held_out(0, 0, count) != ways.held_out(1, 0, count)


def test_easy_is_what_was_always_right() -> None:
    right = [torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])]
    assert hard_unless_always_right(right).tolist() == [False, True, True, True]
