"""The metrics as local `evaluate.Metric` objects, on scikit-learn and SciPy: the oracle of `common.tasks.metrics`.

For whoever speaks the `evaluate` interface, and for the test that holds the vectorised forms against these.
`evaluate.load("glue")` downloads a script from the network on every fresh machine; a subclass of `evaluate.Metric`
needs none. In a file of its own because importing `evaluate` takes seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy import stats
from sklearn import metrics as sk

from common.tasks.metrics import REGRESSION_METRICS

LIBRARY: Mapping[str, Callable[[Any, Any], float]] = MappingProxyType(
    {
        "accuracy": sk.accuracy_score,
        "f1": lambda true, predicted: sk.f1_score(true, predicted, pos_label=1, zero_division=0.0),
        "macro_f1": lambda true, predicted: sk.f1_score(true, predicted, average="macro", zero_division=0.0),
        "matthews": sk.matthews_corrcoef,
        "pearson": lambda true, predicted: stats.pearsonr(true, predicted).statistic,
        "spearman": lambda true, predicted: stats.spearmanr(true, predicted).statistic,
    }
)
"""Each metric as `f(true, predicted)`; NaN where the library calls it undefined."""


class GlueMetric(evaluate.Metric):
    """One metric of `LIBRARY`, chosen by `config_name`: `GlueMetric(config_name="f1")`. Undefined values are 0."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in LIBRARY:
            raise ValueError(f"config_name must be one of {', '.join(LIBRARY)}, not '{self.config_name}'")
        kind = "float64" if self.config_name in REGRESSION_METRICS else "int64"
        return evaluate.MetricInfo(
            description=f"{self.config_name} as a fraction",
            citation="",
            inputs_description="predictions and references: one number each per example",
            features=datasets.Features(
                {"predictions": datasets.Value(kind), "references": datasets.Value(kind)},
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:  # noqa: ANN401
        name = str(self.config_name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a constant side, which scores 0 below
            value = float(LIBRARY[name](np.asarray(references), np.asarray(predictions)))
        return {name: 0.0 if np.isnan(value) else value}


def load_metric(metric: str) -> GlueMetric:
    """Return the `evaluate` form of a metric; `compute(predictions=..., references=...)` gives `{metric: value}`.

    Raises:
        ValueError: unknown metric.
    """
    return GlueMetric(config_name=metric, keep_in_memory=True)
