"""Bins of uncertainty, by hand."""

import numpy as np
import pytest

from replications.fastbert.luha import LEAST, bin_index, bins


def test_the_last_bin_holds_1() -> None:
    assert bin_index(np.array([0.0, 0.0999, 0.1, 0.95, 1.0])).tolist() == [0, 0, 1, 9, 9]


def test_a_sparse_bin_is_left_out() -> None:
    u = np.concatenate([np.full(LEAST, 0.05), np.full(LEAST - 1, 0.35), np.full(LEAST, 0.95)])
    found = list(bins(u, np.arange(len(u)) % 2 == 0))
    assert [b.label for b in found] == ["0.0-0.1", "0.9-1.0"]
    assert found[0].middle == pytest.approx(0.05)
    assert found[0].right.mean() == 0.5
