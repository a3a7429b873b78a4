"""The `evaluate` wrappers: equal to scikit-learn and scipy, and no network is touched."""

import socket

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from common.tasks.evaluate_metrics import load_metric
from common.tasks.metrics import METRICS


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a metric opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_every_metric_equals_the_library() -> None:
    rng = np.random.default_rng(0)
    predicted, true = rng.integers(0, 2, (2, 50))
    expected = {
        "accuracy": sk.accuracy_score(true, predicted),
        "f1": sk.f1_score(true, predicted),
        "macro_f1": sk.f1_score(true, predicted, average="macro"),
        "matthews": sk.matthews_corrcoef(true, predicted),
        "pearson": stats.pearsonr(predicted, true).statistic,
        "spearman": stats.spearmanr(predicted, true).statistic,
    }
    assert set(expected) == set(METRICS)
    for name, value in expected.items():
        assert load_metric(name).compute(predictions=predicted, references=true) == {name: pytest.approx(value)}


def test_adds_up_batches() -> None:
    metric = load_metric("accuracy")
    metric.add_batch(predictions=[1, 0], references=[1, 1])
    metric.add_batch(predictions=[1, 1], references=[1, 1])
    assert metric.compute() == {"accuracy": 0.75}


def test_regression_keeps_fractions() -> None:
    result = load_metric("pearson").compute(predictions=[0.1, 0.2, 0.4], references=[1.0, 2.0, 4.0])
    assert result == {"pearson": pytest.approx(1.0)}


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match="'bleu'"):
        load_metric("bleu")
