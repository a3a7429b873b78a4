"""The share of pairs in order, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.records.ordering import dense_ranks, share_in_order


def test_ranks_are_equal_where_values_are() -> None:
    assert dense_ranks(np.array([0.5, -1.0, 0.5, 2.0])).tolist() == [1, 0, 1, 2]


def test_many_rows_agree_with_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    ranks = rng.integers(0, 7, size=(4, 90))
    higher = rng.random((4, 90)) < ranks / 10
    oracle = [roc_auc_score(higher[i], ranks[i]) for i in range(4)]
    np.testing.assert_allclose(share_in_order(ranks, higher), oracle)
    np.testing.assert_allclose(share_in_order(ranks.astype(np.int8), higher), oracle)
    assert share_in_order(ranks[0], higher[0]) == pytest.approx(oracle[0])


@pytest.mark.parametrize(("ties", "share"), [(0.5, 0.875), (0.0, 0.75), (1.0, 1.0)])
def test_ties_count_as_is_asked(ties: float, share: float) -> None:
    ranks, higher = np.array([0, 1, 1, 2]), np.array([False, False, True, True])
    assert share_in_order(ranks, higher, ties=ties) == share


def test_without_a_pair_nothing_is_said() -> None:
    assert share_in_order(np.array([0, 1]), np.array([True, True])) == 0.5
