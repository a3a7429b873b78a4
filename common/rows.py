"""Short-hand for the many measurements of one task and seed."""

from __future__ import annotations

from dataclasses import dataclass

from common.records import Measurement
from common.statistics import Interval


@dataclass(frozen=True)
class Rows:
    """Makes measurements that share a task, a seed and a backbone; `n` is how many examples stand behind each."""

    task: str
    seed: int
    backbone: str
    n: int

    def __call__(
        self, experiment: str, system: str, metric: str, value: float | Interval, unit: str, **more: object
    ) -> Measurement:
        """One measurement; an `Interval` fills value, interval and n."""
        if isinstance(value, Interval):
            more = {"ci_low": value.low, "ci_high": value.high, "n": value.n, **more}
            value = value.value
        return Measurement(
            experiment=experiment,
            system=system,
            task=self.task,
            metric=metric,
            value=value,
            unit=unit,
            seed=self.seed,
            backbone=self.backbone,
            **{"n": self.n, **more},  # type: ignore[arg-type]
        )
