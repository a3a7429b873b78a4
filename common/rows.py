"""Short-hand for the many measurements of one task and seed, or of random weights at full size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.records.measurements import Measurement
from common.records.statistics import Interval


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
        facts = {"task": self.task, "seed": self.seed, "backbone": self.backbone, "n": self.n}
        return _measurement(experiment, system, metric, value, unit, facts, more)


@dataclass(frozen=True)
class ShapeRows:
    """Makes measurements of one system with random weights, which belong to no task and no seed."""

    system: str

    def __call__(
        self, experiment: str, backbone: str, metric: str, value: float | Interval, unit: str, **more: object
    ) -> Measurement:
        """One measurement; an `Interval` fills value, interval and n; `system` among `more` is another one."""
        system = str(more.pop("system", self.system))
        return _measurement(experiment, system, metric, value, unit, {"backbone": backbone}, more)


def _measurement(
    experiment: str,
    system: str,
    metric: str,
    value: float | Interval,
    unit: str,
    facts: Mapping[str, object],
    more: Mapping[str, object],
) -> Measurement:
    if isinstance(value, Interval):
        facts = {**facts, "ci_low": value.low, "ci_high": value.high, "n": value.n}
        if value.is_range:
            more = {**more, "note": "; ".join(filter(None, (str(more.get("note", "")), f"range of {value.n} rounds")))}
        value = value.value
    return Measurement(
        experiment=experiment,
        system=system,
        metric=metric,
        value=value,
        unit=unit,
        **{**facts, **more},  # type: ignore[arg-type]
    )
