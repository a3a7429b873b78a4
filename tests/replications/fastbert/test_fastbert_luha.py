"""Tenths of uncertainty, by hand."""

import numpy as np
import pytest

from replications.fastbert.luha import LEAST, tenths


def test_the_last_tenth_holds_1_and_a_bound_belongs_to_what_it_begins() -> None:
    u = np.repeat([0.0, 0.0999, 0.1, 0.95, 1.0], LEAST)
    found = {tenth.index: len(tenth.right) for tenth in tenths(u, u > 0)}
    assert found == {0: 2 * LEAST, 1: LEAST, 9: 2 * LEAST}


def test_a_sparse_tenth_is_left_out() -> None:
    u = np.concatenate([np.full(LEAST, 0.05), np.full(LEAST - 1, 0.35), np.full(LEAST, 0.95)])
    found = list(tenths(u, np.arange(len(u)) % 2 == 0))
    assert [tenth.label for tenth in found] == ["0.0-0.1", "0.9-1.0"]
    assert found[0].middle == pytest.approx(0.05)
    assert found[0].right.mean() == 0.5
