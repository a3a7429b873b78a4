"""The metrics by hand, along an axis, and with intervals; `test_evaluate_metrics` holds them against the libraries."""

import math
import warnings

import numpy as np
import pytest

from common.errors import UserError
from common.records.statistics import bootstrap_statistic
from common.tasks.evaluate_metrics import LIBRARY
from common.tasks.metrics import METRICS, REGRESSION_METRICS, points_along, score, score_along


def test_by_hand() -> None:
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
    predicted = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    true = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    assert score("accuracy", predicted, true) == pytest.approx(0.7)
    assert score("f1", predicted, true) == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert score("macro_f1", predicted, true) == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert score("matthews", predicted, true) == pytest.approx((3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6))


def test_matthews_of_three_classes_is_not_that_of_class_1() -> None:
    labels = np.tile([0, 1, 2], 10)
    swapped = 2 - labels
    assert float(points_along("matthews")(swapped, labels)) == pytest.approx(0.0)
    some = labels.copy()
    some[[0, 3, 6, 9]], some[[2, 5]] = 2, 0
    assert float(points_along("matthews")(some, labels)) == pytest.approx(70.47, abs=0.005)


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


@pytest.mark.parametrize("metric", REGRESSION_METRICS)
def test_a_constant_correlates_with_nothing(metric: str) -> None:
    # Nine times 2.7 have a mean that is not quite 2.7.
    assert score(metric, np.full(9, 2.7), np.arange(9.0)) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_refuses_what_cannot_be_scored(metric: str) -> None:
    for predicted, true in (([], []), ([1], [1, 0]), ([1.0, math.nan], [1, 0]), ([[1], [0]], [[1], [0]])):
        with pytest.raises(ValueError):
            score(metric, predicted, true)


def test_unknown_metric_lists_the_known_ones() -> None:
    for refused in (lambda: score("f2", [1], [1]), lambda: score_along("f2"), lambda: points_along("f2")):
        with pytest.raises(UserError, match="unknown metric 'f2'; known: accuracy, f1, macro_f1"):
            refused()


def test_one_set_of_labels_serves_many_rows_of_predictions() -> None:
    rng = np.random.default_rng(0)
    predictions, labels = rng.integers(0, 3, (5, 20)), rng.integers(0, 3, 20)
    for metric in set(METRICS) - {"f1", *REGRESSION_METRICS}:
        expected = [score(metric, p, labels) for p in predictions]
        assert score_along(metric)(predictions, labels) == pytest.approx(expected)


def test_hundreds_of_classes_are_counted_in_one_go() -> None:
    rng = np.random.default_rng(0)
    predictions, labels = rng.integers(0, 300, (50, 400)), rng.integers(0, 300, (50, 400))
    for metric in ("macro_f1", "matthews"):
        expected = [LIBRARY[metric](y, p) for p, y in zip(predictions[:3], labels[:3], strict=True)]
        assert score_along(metric)(predictions, labels)[:3] == pytest.approx(expected)


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"f1"}))
def test_the_interval_is_of_the_metric_that_is_printed(metric: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    predictions = np.where(rng.random(200) < 0.8, labels, rng.integers(0, 4, 200))
    interval = bootstrap_statistic(points_along(metric), predictions, labels, resamples=500)
    assert interval.value == pytest.approx(100 * score(metric, predictions, labels))
    assert interval.low < interval.value < interval.high
    draws = [rng.integers(0, 200, 200) for _ in range(500)]
    low, high = np.percentile([100 * LIBRARY[metric](labels[i], predictions[i]) for i in draws], [2.5, 97.5])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2.5)
