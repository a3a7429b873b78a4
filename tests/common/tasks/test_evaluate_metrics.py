"""Two implementations of each metric, `evaluate`'s on the libraries and the vectorised one: equal on random answers."""

import socket
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.tasks.evaluate_metrics import LIBRARY, load_metric
from common.tasks.metrics import METRICS, REGRESSION_METRICS, score, score_along

Answers = tuple[NDArray[Any], NDArray[Any]]

EVALUATE = {metric: load_metric(metric) for metric in LIBRARY}


@pytest.fixture(autouse=True, scope="module")
def no_network() -> Any:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a metric opened a network connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "create_connection", refuse)
        yield


@st.composite
def answers(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Answers:
    """Predictions and labels (rows, n); a side of a row is constant now and then."""
    rows, n = draw(st.integers(1, 4)), draw(st.integers(2, 25))
    row = st.one_of(st.lists(values, min_size=n, max_size=n), values.map(lambda value: [value] * n))
    sides = [np.array(draw(st.lists(row, min_size=rows, max_size=rows))) for _ in range(2)]
    return sides[0], sides[1]


def classes(most: int) -> st.SearchStrategy[Answers]:
    return st.integers(2, most).flatmap(lambda count: answers(st.integers(0, count - 1)))


def agree(metric: str, predictions: NDArray[Any], labels: NDArray[Any]) -> None:
    """Row by row, along either axis, and alone as numbers with a point."""
    rows = zip(predictions, labels, strict=True)
    expected = [EVALUATE[metric].compute(predictions=p, references=y)[metric] for p, y in rows]
    assert score_along(metric)(predictions, labels) == pytest.approx(expected, abs=1e-9)
    assert score_along(metric)(predictions.T, labels.T, axis=0) == pytest.approx(expected, abs=1e-9)
    assert score(metric, predictions[0].astype(float), labels[0].astype(float)) == pytest.approx(expected[0], abs=1e-9)


def test_both_know_the_same_metrics() -> None:
    assert list(METRICS) == list(LIBRARY)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "matthews"])
@settings(max_examples=40, deadline=None)
@given(pair=classes(6))
@example(pair=(np.array([[0, 0, 0]]), np.array([[0, 0, 0]])))
@example(pair=(np.array([[2, 2, 2]]), np.array([[0, 1, 2]])))
@example(pair=(np.array([[1, 1, 1]]), np.array([[4, 4, 4]])))
def test_metrics_of_any_number_of_classes_agree(metric: str, pair: Answers) -> None:
    agree(metric, *pair)


@settings(max_examples=40, deadline=None)
@given(pair=classes(2))
def test_f1_of_two_classes_agrees(pair: Answers) -> None:
    agree("f1", *pair)  # a data set of more is refused when it is read


@pytest.mark.parametrize("metric", REGRESSION_METRICS)
@settings(max_examples=40, deadline=None)
@given(pair=answers(st.integers(-50, 50).map(lambda value: value / 8)))
def test_correlations_agree(metric: str, pair: Answers) -> None:
    agree(metric, *pair)


def test_adds_up_batches() -> None:
    metric = load_metric("accuracy")
    metric.add_batch(predictions=[1, 0], references=[1, 1])
    metric.add_batch(predictions=[1, 1], references=[1, 1])
    assert metric.compute() == {"accuracy": 0.75}


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match="'bleu'"):
        load_metric("bleu")
