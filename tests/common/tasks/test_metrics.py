"""Metrics against scikit-learn, scipy and hand-made tables."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from common.errors import UserError
from common.tasks.metrics import METRICS, score

classes = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40)
values = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=40)


def test_by_hand() -> None:
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
    predicted = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    true = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    assert score("accuracy", predicted, true) == pytest.approx(0.7)
    assert score("f1", predicted, true) == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert score("macro_f1", predicted, true) == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert score("matthews", predicted, true) == pytest.approx((3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6))


@settings(max_examples=30, deadline=None)
@given(classes)
def test_classification_agrees_with_sklearn(pairs: list[tuple[int, int]]) -> None:
    predicted, true = zip(*pairs, strict=True)
    assert score("accuracy", predicted, true) == pytest.approx(sk.accuracy_score(true, predicted))
    assert score("f1", predicted, true) == pytest.approx(sk.f1_score(true, predicted, zero_division=0))
    assert score("macro_f1", predicted, true) == pytest.approx(
        sk.f1_score(true, predicted, average="macro", zero_division=0)
    )
    if len(set(predicted)) > 1 and len(set(true)) > 1:
        assert score("matthews", predicted, true) == pytest.approx(sk.matthews_corrcoef(true, predicted))


@settings(max_examples=50, deadline=None)
@given(values)
def test_correlations_agree_with_the_definition(pairs: list[tuple[int, int]]) -> None:
    predicted, true = (np.array(column, float) for column in zip(*pairs, strict=True))
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        assert score("pearson", predicted, true) == score("spearman", predicted, true) == 0.0
        return
    assert score("pearson", predicted, true) == pytest.approx(np.corrcoef(predicted, true)[0, 1], abs=1e-9)
    ranks = stats.rankdata(predicted), stats.rankdata(true)
    assert score("spearman", predicted, true) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)


def test_spearman_sees_order_alone_and_pearson_does_not() -> None:
    x = np.arange(1.0, 9.0)
    assert score("spearman", np.exp(x), x) == pytest.approx(1.0)
    assert score("pearson", np.exp(x), x) < 0.9
    assert score("spearman", -x, x) == pytest.approx(-1.0)


@pytest.mark.parametrize("metric", ["f1", "matthews", "pearson", "spearman"])
def test_undefined_is_zero_without_a_warning(metric: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(metric, [0, 0, 0], [0, 1, 0]) == 0.0
        assert score(metric, [0, 0, 0], [0, 0, 0]) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_refuses_what_cannot_be_scored(metric: str) -> None:
    for predicted, true in (([], []), ([1], [1, 0]), ([1.0, math.nan], [1, 0]), ([[1], [0]], [[1], [0]])):
        with pytest.raises(ValueError):
            score(metric, predicted, true)


def test_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown metric 'f2'; known: accuracy, f1"):
        score("f2", [1], [1])
