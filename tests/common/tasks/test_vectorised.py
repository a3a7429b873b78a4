"""The vectorised metrics: on every row what scikit-learn and SciPy say, for any number of classes."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from common.errors import UserError
from common.records.statistics import bootstrap_statistic
from common.tasks.metrics import METRICS, REGRESSION_METRICS, score
from common.tasks.vectorised import VECTORISED, points_along, score_along

ORACLES: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": lambda p, y: sk.accuracy_score(y, p),
    "f1": lambda p, y: sk.f1_score(y, p, labels=[1], average="macro", zero_division=0),
    "macro_f1": lambda p, y: sk.f1_score(y, p, average="macro", zero_division=0),
    "matthews": lambda p, y: sk.matthews_corrcoef(y, p),
    "pearson": lambda p, y: stats.pearsonr(p, y).statistic,
    "spearman": lambda p, y: stats.spearmanr(p, y).statistic,
}


def oracle(metric: str, p: Any, y: Any) -> float:
    """What the library says; where it says that the metric is undefined, 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = ORACLES[metric](p, y)
    return 0.0 if np.isnan(value) else value


def test_every_metric_has_one_vectorised_form_and_an_oracle() -> None:
    assert set(VECTORISED) == set(METRICS) == set(ORACLES)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Any, Any]:
    """Predictions and labels (rows, n) of 2 to 5 classes; a side of a row is constant now and then."""
    classes, rows, n = draw(st.integers(2, 5)), draw(st.integers(1, 4)), draw(st.integers(2, 25))
    row = st.one_of(
        st.lists(st.integers(0, classes - 1), min_size=n, max_size=n),
        st.integers(0, classes - 1).map(lambda c: [c] * n),
        st.integers(0, classes - 1).map(lambda c: [c] * n),
    )
    sides = [np.array(draw(st.lists(row, min_size=rows, max_size=rows))) for _ in range(2)]
    return sides[0], sides[1]


@settings(max_examples=150, deadline=None)
@given(answers(), st.sampled_from(sorted(VECTORISED)))
@example((np.array([[0, 0, 0]]), np.array([[0, 0, 0]])), "matthews")
@example((np.array([[2, 2, 2]]), np.array([[0, 1, 2]])), "matthews")
@example((np.array([[1, 1, 1]]), np.array([[4, 4, 4]])), "macro_f1")
def test_every_row_is_what_the_libraries_say(pair: tuple[Any, Any], metric: str) -> None:
    predictions, labels = pair
    if metric == "f1" and max(predictions.max(), labels.max()) > 1:
        return  # Of two classes alone; own_files refuses it for more.
    expected = [oracle(metric, p, y) for p, y in zip(predictions, labels, strict=True)]
    # Gorodkin's coefficient of a constant side is 0 / 0, and ours is 0, as `score` says.
    assert score_along(metric)(predictions, labels) == pytest.approx(expected, abs=1e-9)
    assert score_along(metric)(predictions.T, labels.T, axis=0) == pytest.approx(expected, abs=1e-9)
    one = score_along(metric)(predictions[0].astype(float), labels[0].astype(float))
    assert float(one) == pytest.approx(score(metric, predictions[0], labels[0]), abs=1e-9)


def test_one_set_of_labels_serves_many_rows_of_predictions() -> None:
    rng = np.random.default_rng(0)
    predictions, labels = rng.integers(0, 3, (5, 20)), rng.integers(0, 3, 20)
    for metric in set(VECTORISED) - {"f1", "pearson", "spearman"}:
        expected = [score(metric, p, labels) for p in predictions]
        assert score_along(metric)(predictions, labels) == pytest.approx(expected)


def test_matthews_of_three_classes_is_not_that_of_class_1() -> None:
    labels = np.tile([0, 1, 2], 10)
    swapped = 2 - labels
    assert float(points_along("matthews")(swapped, labels)) == pytest.approx(0.0)
    some = labels.copy()
    some[[0, 3, 6, 9]], some[[2, 5]] = 2, 0
    assert float(points_along("matthews")(some, labels)) == pytest.approx(70.47, abs=0.005)


@pytest.mark.parametrize("metric", sorted(set(VECTORISED) - {"f1"}))
def test_the_interval_is_of_the_metric_that_is_printed(metric: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    predictions = np.where(rng.random(200) < 0.8, labels, rng.integers(0, 4, 200))
    interval = bootstrap_statistic(points_along(metric), predictions, labels, resamples=500)
    assert interval.value == pytest.approx(100 * score(metric, predictions, labels))
    assert interval.low < interval.value < interval.high
    draws = [rng.integers(0, 200, 200) for _ in range(500)]
    low, high = np.percentile([100 * oracle(metric, predictions[i], labels[i]) for i in draws], [2.5, 97.5])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2.5)


def test_hundreds_of_classes_are_counted_in_one_go() -> None:
    rng = np.random.default_rng(0)
    predictions, labels = rng.integers(0, 300, (50, 400)), rng.integers(0, 300, (50, 400))
    for metric in ("macro_f1", "matthews"):
        expected = [oracle(metric, p, y) for p, y in zip(predictions[:3], labels[:3], strict=True)]
        assert score_along(metric)(predictions, labels)[:3] == pytest.approx(expected)


def test_a_constant_correlates_with_nothing() -> None:
    for metric in REGRESSION_METRICS:
        assert float(score_along(metric)(np.full(9, 2.7), np.arange(9.0))) == 0.0


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UserError, match="unknown metric 'f2'; known: accuracy, f1, macro_f1"):
        score_along("f2")
