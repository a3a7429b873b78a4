"""Bins of uncertainty and their rank correlation with accuracy, against SciPy and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from replications.fastbert.luha import BINS, LEAST, bin_index, bins, ordering


def test_the_last_bin_holds_1() -> None:
    assert bin_index(np.array([0.0, 0.0999, 0.1, 0.95, 1.0])).tolist() == [0, 0, 1, 9, 9]


def test_a_sparse_bin_is_left_out() -> None:
    u = np.concatenate([np.full(LEAST, 0.05), np.full(LEAST - 1, 0.35), np.full(LEAST, 0.95)])
    found = list(bins(u, np.arange(len(u)) % 2 == 0))
    assert [b.label for b in found] == ["0.0-0.1", "0.9-1.0"]
    assert found[0].middle == pytest.approx(0.05)
    assert found[0].right.mean() == 0.5


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(60, 400))
def test_ordering_is_spearmans_correlation_over_the_bins(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    u = rng.random(count) ** 2
    right = rng.random(count) > u
    known = list(bins(u, right))
    accuracy = [b.right.mean() for b in known]
    constant = len(known) < 2 or len(set(accuracy)) == 1
    expected = 0.0 if constant else spearmanr([b.index for b in known], accuracy).statistic
    assert ordering(u, right) == pytest.approx(expected)


def test_many_resamples_at_once() -> None:
    rng = np.random.default_rng(0)
    u = rng.random((5, 300))
    right = rng.random((5, 300)) > u
    each = [float(ordering(u[i], right[i])) for i in range(5)]
    np.testing.assert_allclose(ordering(u, right), each)
    np.testing.assert_allclose(ordering(u.T, right.T, axis=0), each)
    assert max(each) < -0.5


def test_perfectly_ordered_is_minus_one() -> None:
    u = np.repeat(np.arange(BINS) / BINS + 0.05, 20)
    right = np.concatenate([np.arange(20) >= 2 * b for b in range(BINS)])
    assert ordering(u, right) == pytest.approx(-1.0)
