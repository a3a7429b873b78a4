"""What the tables, figures and claims are made of, for one task and one seed: operating points, simulated and timed.

A point is FastBERT at a Speed: one that the paper reports, or one that was chosen on the tune split to reach a given
speed-up in layers, at which the exit methods of the project meet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import Clocked
from common.early_exit.operating_points import OperatingPoint, entropy_thresholds, nearest_saving, sweep
from common.early_exit.runtime import Outcome, simulate
from common.early_exit.scoring import points_along
from common.timing.paired import PairedThroughput
from replications.fastbert.flops import (
    PrintedCount,
    head_flops,
    leaving_flops,
    plain_flops,
    teacher_flops,
)
from replications.fastbert.method import UncertaintyAtMost, uncertainty
from replications.fastbert.names import (
    DISTILLED,
    FASTBERT,
    as_deep_as,
    as_fast_as,
    figure_4_layers,
    speed_setting,
)
from replications.fastbert.timing import clock, clock_batched
from replications.fastbert.trial import Answers, Trial

TABLE_2 = (0.1, 0.5, 0.8)
"""Speeds of Table 2."""

TABLE_3 = (0.2, 0.7)
"""Speeds of the ablation."""

FIGURE_5 = (0.3, 0.5, 0.8)
"""Speeds of the histograms of exit layers; with 0, those of the uncertainty figure."""

FIGURE_3 = (0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Speeds along the curves, dense below 0.1 as the paper's."""

EQUAL_SPEEDUPS = (1.5, 2.0, 3.0)
"""Speed-ups in layers at which the exit methods are compared."""

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Point:
    """FastBERT at a Speed; `setting` says how it was chosen."""

    setting: str
    speed: float

    @property
    def rule(self) -> UncertaintyAtMost:
        """Who leaves."""
        return UncertaintyAtMost(self.speed)

    @property
    def arm(self) -> str:
        """Its name on the clock."""
        return f"{FASTBERT} {self.setting}"


def at_speed(speed: float) -> Point:
    """A Speed as it is."""
    return Point(speed_setting(speed), speed)


@dataclass
class Findings:
    """Simulations and timings of one trial, each made when first asked for."""

    trial: Trial

    # -- Answers ------------------------------------------------------------------------------------------------------

    @cached_property
    def dev(self) -> Answers:
        """On the reported split."""
        return self.trial.answers()

    @cached_property
    def tune_exits(self) -> Tensor:
        """(M', L, N) of FastBERT's classifiers on the part of train held back for choosing."""
        return self.trial.tune_exits()

    @property
    def labels(self) -> Array:
        """(M,) of dev."""
        return self.dev.labels

    @cached_property
    def full(self) -> Array:
        """(M,) the plain classifier's predictions on dev."""
        return predictions(self.dev.plain)

    @cached_property
    def teacher(self) -> Array:
        """(M,) the teacher's, of all layers: what the paper's tables call BERT."""
        return predictions(self.dev.exits[:, -1])

    def truncated(self, depth: int) -> Array:
        """(M,) those of the classifier on the first `depth` layers."""
        return predictions(self.trial.truncated_logits(depth))

    @cached_property
    def constant(self) -> Array:
        """(M,) the constant answer that scores best on dev."""
        return max((np.full_like(self.labels, label) for label in range(self.trial.classes)), key=self.points)

    def points(self, answers: Array) -> float:
        """Score on dev in points (0..100)."""
        return float(points_along(self.trial.task.metric)(answers, self.labels))

    def exits(self, variant: str) -> Tensor:
        """(M, L, N) of a variant's classifiers on dev."""
        return self.trial.exits(variant)

    def outcome(self, point: Point, variant: str = DISTILLED) -> Outcome:
        """How dev leaves, simulated."""
        return simulate(self.exits(variant), point.rule)

    def predictions(self, point: Point, variant: str = DISTILLED) -> Array:
        """(M,) predictions on dev."""
        return predictions(self.outcome(point, variant).logits)

    def fixed(self, layer: int) -> Array:
        """(M,) predictions on dev if everyone leaves at `layer`: Table 3's "without adaptive inference"."""
        return predictions(self.dev.exits[:, layer - 1])

    # -- Operating points ---------------------------------------------------------------------------------------------

    @cached_property
    def table_points(self) -> list[Point]:
        """Table 2's Speeds, then equal speed-ups in layers, tuned and dev-tuned."""
        tuned = [reaching(speedup, self.tune_sweep, f"{speedup:g}x") for speedup in EQUAL_SPEEDUPS]
        on_dev = [reaching(speedup, self.dev_sweep, f"{speedup:g}x (dev-tuned)") for speedup in EQUAL_SPEEDUPS]
        return [*map(at_speed, TABLE_2), *tuned, *on_dev]

    @property
    def equal_points(self) -> list[Point]:
        """Speeds chosen on tune that match the static systems: truncated encoders in FLOPs, a fixed layer in layers.

        A truncated encoder has no classifiers on the way, so FastBERT may execute fewer layers than it.
        """
        trial = self.trial
        price_of_classifiers = PrintedCount.of(trial.shape).speedup(trial.num_layers)
        points = [
            reaching(trial.num_layers / depth / price_of_classifiers, self.tune_sweep, as_fast_as(depth))
            for depth in trial.static_depths
        ]
        quarter = trial.quarter_layers
        return [*points, reaching(trial.num_layers / quarter, self.tune_sweep, as_deep_as(quarter))]

    @cached_property
    def tune_sweep(self) -> list[OperatingPoint]:
        """What every Speed saves on tune."""
        return self._sweep(self.tune_exits)

    @cached_property
    def dev_sweep(self) -> list[OperatingPoint]:
        """What every Speed saves on dev; a choice made there flatters."""
        return self._sweep(self.dev.exits)

    def _sweep(self, exits: Tensor) -> list[OperatingPoint]:
        return sweep(exits, speeds(self.trial.classes), UncertaintyAtMost, lambda _: 0.0)

    @property
    def timed_points(self) -> list[Point]:
        """Those that run on the clock: all but the dev-tuned."""
        return [p for p in self.table_points if "dev-tuned" not in p.setting]

    # -- Costs --------------------------------------------------------------------------------------------------------

    def layer_speedup(self, point: Point, variant: str = DISTILLED) -> float:
        """Depth over mean exit layer, on dev."""
        return self.trial.num_layers / self.mean_layer(point, variant)

    def mean_layer(self, point: Point, variant: str = DISTILLED) -> float:
        """Mean exit layer on dev, from 1."""
        return float(self.outcome(point, variant).exit_layer.double().mean())

    def printed_speedup(self, point: Point, variant: str = DISTILLED) -> float:
        """The paper's Speedup, by its own FLOPs count."""
        return PrintedCount.of(self.trial.shape).speedup(self.mean_layer(point, variant))

    def flops(self, point: Point) -> NDArray[np.float64]:
        """(M,) FLOPs spent on each dev text, every classifier on the way included, texts unpadded."""
        layers = self.outcome(point).exit_layer.tolist()
        shape, classes = self.trial.shape, self.trial.classes
        lengths = self.trial.encoded.dev.lengths
        return np.array([leaving_flops(shape, classes, t, k) for t, k in zip(lengths, layers, strict=True)], float)

    @property
    def plain_flops(self) -> NDArray[np.float64]:
        """(M,) those of the plain classifier."""
        shape, classes = self.trial.shape, self.trial.classes
        return np.array([plain_flops(shape, classes, t) for t in self.trial.encoded.dev.lengths], float)

    def flops_speedup(self, point: Point) -> float:
        """FLOPs of the plain classifier over those spent on dev."""
        return float(self.plain_flops.sum() / self.flops(point).sum())

    @property
    def teacher_flops_speedup(self) -> float:
        """The same of the teacher alone, at full depth."""
        shape, classes = self.trial.shape, self.trial.classes
        spent = sum(teacher_flops(shape, classes, t) for t in self.trial.encoded.dev.lengths)
        return float(self.plain_flops.sum() / spent)

    @property
    def exits_flops_share(self) -> float:
        """Share of the students in the FLOPs of a full-depth run on dev."""
        shape, classes, lengths = self.trial.shape, self.trial.classes, self.trial.encoded.dev.lengths
        students = sum((shape.layers - 1) * head_flops(shape.hidden, classes, t) for t in lengths)
        return students / sum(leaving_flops(shape, classes, t, shape.layers) for t in lengths)

    @cached_property
    def clocked(self) -> Clocked:
        """Batch-1 timings; measured once in a run, whoever asks first."""
        path = self.trial.run.scratch / f"{self.trial.task_name}-{self.trial.seed}.npz"
        if not path.exists():
            rules = {point.arm: point.rule for point in self.timed_points}
            clock(self.trial, rules, at_speed(0.5).rule).save(path)
        return Clocked.load(path)

    def batched(self) -> PairedThroughput:
        """Throughput in batches at Table 2's Speeds."""
        return clock_batched(self.trial, {p.arm: p.rule for p in map(at_speed, TABLE_2)})

    # -- Uncertainty --------------------------------------------------------------------------------------------------

    @cached_property
    def uncertainties(self) -> Tensor:
        """(M, L) U of every classifier on dev."""
        return uncertainty(self.dev.exits)

    @property
    def figure_4(self) -> dict[str, int]:
        """The layers (from 1) of Figure 4's three classifiers."""
        return figure_4_layers(self.trial.num_layers)


def reaching(speedup: float, swept: Sequence[OperatingPoint], setting: str) -> Point:
    """The Speed that saves as many layers as `speedup` times fewer would, as nearly as can be."""
    return Point(setting, nearest_saving(swept, 1 - 1 / speedup).threshold)


def predictions(logits: Tensor) -> Array:
    """(M,) classes from (M, N) logits."""
    return np.asarray(logits.argmax(-1).numpy())


def speeds(classes: int) -> Sequence[float]:
    """Speeds that cover 0 to 1, crowded towards both ends."""
    return sorted({min(1.0, nats / math.log(classes)) for nats in entropy_thresholds(classes)})
