"""What the tables, figures and claims are made of, for one task and one seed: operating points, simulated and timed.

A point is a system at a setting: PABEE at a patience, or BranchyNet or Shallow-Deep at a threshold, all three on the
same multi-exit model. Thresholds are chosen on the tune split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import Clocked
from common.early_exit.cost import flops_saving, pooled_head_flops
from common.early_exit.operating_points import (
    OperatingPoint,
    confidence_thresholds,
    entropy_thresholds,
    nearest_saving,
    sweep,
)
from common.early_exit.rules import ConfidenceAbove, EntropyBelow, ExitRule
from common.early_exit.runtime import Outcome, simulate
from common.early_exit.scoring import points_along
from common.timing.paired import PairedThroughput
from replications.pabee.method import leaves_after, leaves_within
from replications.pabee.names import (
    AT_EQUAL_SPEED,
    BRANCHYNET,
    PABEE,
    PRINTED_SPEEDUPS,
    SHALLOW_DEEP,
    patience_setting,
    saving_of,
    speed_setting,
)
from replications.pabee.timing import clock, clock_batched
from replications.pabee.trial import Answers, Trial

CURVE = (1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4)
"""Speed-ups in layers at which the confidence exits' curves are drawn: about those of the paper's figure."""

TOLERANCES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
"""For a regression: the code's default, its example 0.1, and what lies around."""

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Point:
    """A system at a setting; `at` is the patience or the threshold."""

    system: str
    setting: str
    at: float
    rule: ExitRule

    @property
    def arm(self) -> str:
        """Its name on the clock."""
        return f"{self.system} {self.setting}"


@dataclass
class Findings:
    """Simulations and timings of one trial, each made when first asked for."""

    trial: Trial

    # -- Answers ------------------------------------------------------------------------------------------------------

    @cached_property
    def dev(self) -> Answers:
        """On the reported split."""
        return self.trial.answers("dev")

    @cached_property
    def tune(self) -> Answers:
        """On the part of train held back for choosing."""
        return self.trial.answers("tune")

    @cached_property
    def test(self) -> Answers | None:
        """On the labelled test split, if there is one."""
        return self.trial.answers("test") if "test" in self.trial.splits else None

    @property
    def labels(self) -> Array:
        """(N,) of dev."""
        return self.dev.labels

    @cached_property
    def full(self) -> Array:
        """(N,) the plain classifier's predictions on dev."""
        return self.trial.predict(self.dev.plain)

    @cached_property
    def truncated(self) -> Array:
        """(N,) the truncated classifier's predictions on dev."""
        return self.trial.predict(self.trial.truncated_logits)

    @cached_property
    def constant(self) -> Array:
        """(N,) the constant answer that scores best on dev; for a correlation every constant scores 0."""
        answers = [np.full_like(self.labels, label) for label in range(max(1, len(self.trial.task.labels)))]
        return max(answers, key=self.points)

    def points(self, predictions: Array) -> float:
        """Score on dev in points (0..100)."""
        return float(points_along(self.trial.task.metric)(predictions, self.labels))

    def exit_predictions(self, layer: int) -> Array:
        """(N,) predictions on dev of exit `layer` = 1..n."""
        return self.trial.predict(self.dev.exits[:, layer - 1])

    def outcome(self, rule: ExitRule) -> Outcome:
        """How dev leaves, simulated."""
        return simulate(self.dev.exits, rule)

    def predictions(self, rule: ExitRule) -> Array:
        """(N,) predictions on dev of the multi-exit model under `rule`."""
        return self.trial.predict(self.outcome(rule).logits)

    # -- Operating points ---------------------------------------------------------------------------------------------

    @property
    def patiences(self) -> Sequence[int]:
        """Every patience that means anything: 1..n-1."""
        return range(1, self.trial.num_layers)

    def patience(self, patience: int) -> Point:
        """PABEE at a patience."""
        return Point(PABEE, patience_setting(patience), patience, self.rule(patience))

    def rule(self, patience: int) -> ExitRule:
        """The patience rule that fits the task."""
        n = self.trial.num_layers
        if self.trial.task.is_regression:
            return leaves_within(self.trial.settings.tolerance, patience, n)
        return leaves_after(patience, n)

    @cached_property
    def main(self) -> Point:
        """PABEE at half the depth, the paper's main patience."""
        return self.patience(self.trial.half_patience)

    @cached_property
    def tuned(self) -> Point:
        """PABEE at the patience that scores best on tune; of equals the fastest."""
        return self._best_patience(self.tune, "tuned")

    @cached_property
    def dev_tuned(self) -> Point:
        """The same on dev: the official script prints every patience's dev score and leaves the choice to its user."""
        return self._best_patience(self.dev, "tuned (dev-tuned)")

    def _best_patience(self, answers: Answers, setting: str) -> Point:
        score = points_along(self.trial.task.metric)

        def scored(patience: int) -> float:
            outcome = simulate(answers.exits, self.rule(patience))
            return float(score(self.trial.predict(outcome.logits), answers.labels))

        best = max(self.patiences, key=scored)
        return Point(PABEE, setting, best, self.rule(best))

    @cached_property
    def table_points(self) -> list[Point]:
        """Table 1's rows: PABEE; for classes also the confidence exits at their printed and at PABEE's speed."""
        return [self.main, self.tuned, self.dev_tuned, *self.confidence_points]

    @cached_property
    def confidence_points(self) -> list[Point]:
        """The confidence exits of Table 1; none for a regression, which they cannot do."""
        if self.trial.task.is_regression:
            return []
        points = []
        for system, speedup in PRINTED_SPEEDUPS.items():
            points.append(self.confidence(system, saving_of(speedup), speed_setting(speedup)))
            points.append(self.matched(system, self.main, AT_EQUAL_SPEED))
        return points

    def matched(self, system: str, point: Point, setting: str) -> Point:
        """The confidence exit that saves as many layers on tune as `point` does there."""
        saving = simulate(self.tune.exits, point.rule).layer_saving(self.trial.num_layers)
        return self.confidence(system, saving, setting)

    def confidence(self, system: str, saving: float, setting: str) -> Point:
        """The confidence exit whose share of layers saved on tune is nearest to `saving`."""
        threshold = nearest_saving(self._confidence_sweeps[system], saving).threshold
        return Point(system, setting, threshold, CONFIDENCE_RULES[system](threshold))

    @cached_property
    def _confidence_sweeps(self) -> dict[str, list[OperatingPoint]]:
        classes = len(self.trial.task.labels)
        grids = {BRANCHYNET: entropy_thresholds(classes), SHALLOW_DEEP: confidence_thresholds(classes)}
        return {s: sweep(self.tune.exits, grid, CONFIDENCE_RULES[s], lambda _: 0.0) for s, grid in grids.items()}

    # -- Costs --------------------------------------------------------------------------------------------------------

    def layer_speedup(self, point: Point) -> float:
        """Depth over mean exit layer, on dev."""
        return self.trial.num_layers / self.outcome(point.rule).exit_layer.double().mean().item()

    def flops_speedup(self, point: Point) -> float:
        """FLOPs of the plain classifier over those spent on dev, exits included, texts unpadded."""
        head = pooled_head_flops(self.trial.shape, self.trial.outputs)
        exits = self.outcome(point.rule).exit_layer.tolist()
        return 1 / (1 - flops_saving(self.trial.shape, head, self.trial.encoded.dev.lengths, exits))

    def clock_arm(self, point: Point) -> str:
        """The arm that runs a point: a tuned patience is one of the sweep's."""
        return self.patience(int(point.at)).arm if point.system == PABEE else point.arm

    def is_timed(self, point: Point) -> bool:
        """Whether a point runs on the clock: at PABEE's speed another rule takes about PABEE's time."""
        return point.setting != AT_EQUAL_SPEED

    @cached_property
    def clocked(self) -> Clocked:
        """Batch-1 timings; measured once in a run, whoever asks first."""
        path = self.trial.run.scratch / f"{self.trial.task_name}-{self.trial.seed}.npz"
        if not path.exists():
            points = [*map(self.patience, self.patiences), *filter(self.is_timed, self.confidence_points)]
            clock(self.trial, {point.arm: point.rule for point in points}, self.main.rule).save(path)
        return Clocked.load(path)

    @cached_property
    def batched(self) -> PairedThroughput:
        """Throughput in batches at the main patience."""
        return clock_batched(self.trial, self.main.rule)

    def tolerance_point(self, tolerance: float) -> Point:
        """PABEE on a regression at the main patience and another tolerance."""
        rule = leaves_within(tolerance, self.trial.half_patience, self.trial.num_layers)
        return Point(PABEE, f"tau={tolerance:g}", tolerance, rule)


CONFIDENCE_RULES: dict[str, Callable[[float], ExitRule]] = {
    BRANCHYNET: EntropyBelow,
    SHALLOW_DEEP: ConfidenceAbove,
}


@dataclass(frozen=True)
class Overthinking:
    """Where the exits are right and wrong, on N examples with classes.

    Attributes:
        right: (N, n) whether exit i alone would be right.
    """

    right: NDArray[np.bool_]

    @staticmethod
    def of(exits: Tensor, labels: Array) -> Overthinking:
        """From every exit's (N, n, C) logits."""
        return Overthinking(exits.argmax(-1).numpy() == labels[:, None])

    @property
    def earlier_right(self) -> NDArray[np.bool_]:
        """(N,) the last exit is wrong and an earlier one is right."""
        return np.asarray(~self.right[:, -1] & self.right[:, :-1].any(axis=1))

    @property
    def later_right(self) -> NDArray[np.bool_]:
        """(N,) the last exit is right and not all earlier ones are: what thinking on is good for."""
        return np.asarray(self.right[:, -1] & ~self.right[:, :-1].all(axis=1))

    @property
    def ever_right(self) -> NDArray[np.bool_]:
        """(N,) the oracle's bound on accuracy: it leaves at the earliest correct exit."""
        return np.asarray(self.right.any(axis=1))

    @property
    def earliest_right(self) -> NDArray[np.int64]:
        """(N,) the earliest correct exit, 1..n; n where none is correct."""
        n = self.right.shape[1]
        return np.asarray(np.where(self.ever_right, self.right.argmax(axis=1) + 1, n), dtype=np.int64)
