"""The same metrics as local `evaluate.Metric` objects, for code that speaks the `evaluate` interface.

`evaluate.load("glue")` downloads a script from the network on every fresh machine; a subclass of
`evaluate.Metric` needs none. In a file of its own because importing `evaluate` takes seconds.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from common.tasks.metrics import METRICS, REGRESSION_METRICS, score


class GlueMetric(evaluate.Metric):
    """One metric of `common.tasks.metrics`, chosen by `config_name`: `GlueMetric(config_name="f1")`."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in METRICS:
            raise ValueError(f"config_name must be one of {', '.join(METRICS)}, not '{self.config_name}'")
        kind = "float32" if self.config_name in REGRESSION_METRICS else "int64"
        return evaluate.MetricInfo(
            description=f"{self.config_name} as a fraction",
            citation="",
            inputs_description="predictions and references: one number each per example",
            features=datasets.Features(
                {"predictions": datasets.Value(kind), "references": datasets.Value(kind)},
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:  # noqa: ANN401
        return {str(self.config_name): score(str(self.config_name), predictions, references)}


def load_metric(metric: str) -> GlueMetric:
    """Return the `evaluate` form of a metric; `compute(predictions=..., references=...)` gives `{metric: value}`.

    Raises:
        ValueError: unknown metric.
    """
    return GlueMetric(config_name=metric)
