"""What the tables, figures and claims are made of, for one task and one seed: operating points, simulated and timed.

A system answers at one of several exits (the models of a cascade, the layers of an encoder), each with its price in
layers and FLOPs; a point is a system with a rule. A setting is chosen on the tune split, at a speed-up in layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import BASELINE, Arm, Clocked
from common.early_exit.cost import exit_flops, pooled_head_flops
from common.early_exit.operating_points import entropy_thresholds
from common.early_exit.rules import EntropyBelow, ExitRule, entropy
from common.early_exit.runtime import MultiExitModel, Outcome, early_exit_arm, simulate
from common.early_exit.scoring import points_along
from common.timing.flops import classifier_flops
from common.timing.paired import PairedThroughput
from replications.cascadebert.difficulty import log_odds
from replications.cascadebert.method import confidence, executed_layers, settles_above
from replications.cascadebert.names import (
    CASCADE,
    COMPLETE,
    COMPLETE_DAR,
    DEEBERT,
    PABEE,
    TARGETS,
    TRUNCATED,
    WITHOUT_DAR,
    label,
)
from replications.cascadebert.rivals import Agreeing
from replications.cascadebert.timing import cost_arms
from replications.cascadebert.trial import Answers, Trial

CURVE = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Speed-ups at which curves are drawn."""

AS_FAST = 0.78
"""A system that does not reach this share of a speed-up has no row there: the main table's slowest cell has 0.79."""

PRINTED_THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
"""Of the authors' released MRPC run."""

Array = NDArray[np.generic]


@dataclass(frozen=True)
class System:
    """Something that answers at one of m exits.

    Attributes:
        tune, dev: (N, m, C) logits of every exit.
        layers: what an answer at each exit costs in layers, all that was run before included.
        flops: the same in FLOPs for a text of so many tokens, (m,).
        rules: the settings that can be chosen from on (N, m, C) logits, as numbers, with their rules.
    """

    name: str
    tune: Tensor
    dev: Tensor
    layers: tuple[int, ...]
    flops: Callable[[int], NDArray[np.int64]]
    rules: Callable[[Tensor], Mapping[float, ExitRule]]

    def executed(self, outcome: Outcome) -> NDArray[np.int64]:
        """(N,) layers."""
        return np.asarray(np.take(self.layers, outcome.exit_layer.numpy() - 1), dtype=np.int64)


@dataclass(frozen=True)
class Point:
    """A system under a rule; `at` is the threshold or the patience."""

    system: System
    setting: str
    at: float
    rule: ExitRule

    @property
    def arm(self) -> str:
        """Its name on the clock."""
        return f"{self.system.name} {self.setting}"

    @cached_property
    def outcome(self) -> Outcome:
        """How dev leaves, simulated."""
        return simulate(self.system.dev, self.rule)

    @property
    def predictions(self) -> Array:
        """(N,) on dev."""
        return np.asarray(self.outcome.logits.argmax(-1).numpy())

    @property
    def executed(self) -> NDArray[np.int64]:
        """(N,) layers on dev."""
        return self.system.executed(self.outcome)


def between(values: Tensor, count: int = 200) -> list[float]:
    """At most `count` thresholds in the middle between neighbours among `values`, evenly by rank.

    A fixed grid misses the speed that is asked for where a model is about equally sure of everything.
    """
    distinct = values.double().flatten().unique()
    middles = (distinct[1:] + distinct[:-1]) / 2
    if len(middles) == 0:
        return []
    chosen = np.linspace(0, len(middles) - 1, count).round().astype(int)
    return [float(middles[i]) for i in np.unique(chosen)]


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

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) of dev."""
        return self.dev.labels

    @property
    def levels(self) -> NDArray[np.int64] | None:
        """(N,) true difficulty on dev, where it is known."""
        levels = [e.difficulty for e in self.trial.task.dev]
        return None if None in levels else np.array(levels)

    @cached_property
    def full(self) -> Array:
        """(N,) the big model's predictions on dev: the baseline."""
        return np.asarray(self.dev.big.argmax(-1).numpy())

    @cached_property
    def constant(self) -> Array:
        """(N,) the constant answer that scores best on dev."""
        answers = [np.full_like(self.labels, answer) for answer in range(len(self.trial.task.labels))]
        return max(answers, key=self.points)

    def points(self, predictions: Array) -> float:
        """Score on dev in points (0..100)."""
        return float(points_along(self.trial.task.metric)(predictions, self.labels))

    def truncated(self, depth: int) -> Array:
        """(N,) predictions on dev of the big encoder's fine-tuned first `depth` layers."""
        return np.asarray(self.dev.truncated[depth].argmax(-1).numpy())

    # -- Systems ------------------------------------------------------------------------------------------------------

    @cached_property
    def cascade(self) -> System:
        """The paper's: the calibrated small model, then the big one."""
        return self._cascade(CASCADE, self.trial.first, lambda answers: answers.calibrated)

    @cached_property
    def without_dar(self) -> System:
        """The same without difficulty-aware regularisation."""
        return self._cascade(WITHOUT_DAR, self.trial.first, lambda answers: answers.complete[self.trial.first])

    @cached_property
    def second(self) -> System | None:
        """A larger complete model first, without regularisation; None where there is none."""
        depth = self.trial.second
        if depth is None:
            return None
        return self._cascade(f"{WITHOUT_DAR}, {depth}L first", depth, lambda answers: answers.complete[depth])

    @cached_property
    def deebert(self) -> System:
        """Exits on the frozen big model, left by entropy."""
        grid = entropy_thresholds(len(self.trial.task.labels))

        def rules(exits: Tensor) -> Mapping[float, ExitRule]:
            return {s: EntropyBelow(s) for s in (*grid, *between(entropy(exits[:, :-1])))}

        return self._exits(DEEBERT, self.tune.deebert, self.dev.deebert, rules)

    @cached_property
    def pabee(self) -> System:
        """Exits trained with the encoder, left when they agree."""
        rules = {float(t): Agreeing(t) for t in range(1, self.trial.num_layers)}
        return self._exits(PABEE, self.tune.pabee, self.dev.pabee, lambda _: rules)

    @property
    def systems(self) -> tuple[System, ...]:
        """All of them, in the order of the table."""
        further = () if self.second is None else (self.second,)
        return (self.deebert, self.pabee, self.cascade, self.without_dar, *further)

    def _cascade(self, name: str, depth: int, small: Callable[[Answers], Tensor]) -> System:
        shape, big, classes = self.trial.small_shape(depth), self.trial.shape, len(self.trial.task.labels)

        def flops(tokens: int) -> NDArray[np.int64]:
            each = [classifier_flops(s, tokens, classes) for s in (shape, big)]
            return np.cumsum(np.array(each, dtype=np.int64))

        tune, dev = (torch.stack([small(answers), answers.big], dim=1) for answers in (self.tune, self.dev))

        def rules(models: Tensor) -> Mapping[float, ExitRule]:
            return {tau: settles_above(tau) for tau in (0.0, 1.0, *between(confidence(models[:, 0])))}

        price = executed_layers(torch.tensor([1, 2]), (shape.layers, big.layers))
        return System(name, tune, dev, tuple(price.tolist()), flops, rules)

    def _exits(
        self, name: str, tune: Tensor, dev: Tensor, rules: Callable[[Tensor], Mapping[float, ExitRule]]
    ) -> System:
        shape = self.trial.shape
        head = pooled_head_flops(shape, len(self.trial.task.labels))
        layers = tuple(range(1, shape.layers + 1))
        return System(name, tune, dev, layers, lambda tokens: exit_flops(shape, tokens, head), rules)

    # -- Operating points ---------------------------------------------------------------------------------------------

    def closest(self, system: System, speedup: float, setting: str, *, split: str = "tune") -> Point:
        """The setting whose mean executed layers on `split` are nearest to what `speedup` allows."""
        executed = self._executed(system, split)
        at = min(executed, key=lambda at: abs(executed[at] - self.trial.num_layers / speedup))
        return Point(system, setting, at, self._rules(system, split)[at])

    def nearest(self, system: System, speedup: float, setting: str, *, split: str = "tune") -> Point | None:
        """The same; None if the system is too slow for that speed-up."""
        point = self.closest(system, speedup, setting, split=split)
        reached = self.trial.num_layers / self._executed(system, split)[point.at]
        return point if reached >= AS_FAST * speedup else None

    def _rules(self, system: System, split: str) -> Mapping[float, ExitRule]:
        return system.rules(system.tune if split == "tune" else system.dev)

    def _executed(self, system: System, split: str) -> dict[float, float]:
        """Mean layers on `split` at every setting."""
        key = (system.name, split)
        if key not in self._swept:
            logits, rules = system.tune if split == "tune" else system.dev, self._rules(system, split)
            self._swept[key] = {at: float(system.executed(simulate(logits, r)).mean()) for at, r in rules.items()}
        return self._swept[key]

    @cached_property
    def _swept(self) -> dict[tuple[str, str], dict[float, float]]:
        return {}

    def at_speed(self, system: System, speedup: float) -> Point | None:
        """A cell of the main table."""
        return self.nearest(system, speedup, label(speedup))

    @cached_property
    def table_points(self) -> list[Point]:
        """The main table's rows that have a rule, chosen on tune."""
        points = [self.at_speed(system, speedup) for speedup in TARGETS for system in self.systems]
        return [p for p in points if p is not None]

    @cached_property
    def dev_tuned(self) -> list[Point]:
        """The same for the three methods with exits, chosen on dev: nearer to the speed, on the reported examples."""
        named = [(system, speedup) for speedup in TARGETS for system in (self.deebert, self.pabee, self.cascade)]
        points = [self.nearest(s, speedup, f"{label(speedup)} (dev-tuned)", split="dev") for s, speedup in named]
        return [p for p in points if p is not None]

    @cached_property
    def curve(self) -> list[Point]:
        """Of the trade-off: thresholds of the cascades and of DeeBERT, every patience of PABEE."""
        points: list[Point] = []
        for system in (self.cascade, self.without_dar, self.deebert):
            reached = [self.nearest(system, speedup, label(speedup)) for speedup in CURVE]
            points += {p.at: p for p in reached if p is not None}.values()
        rules = self.pabee.rules(self.pabee.tune)
        return [*points, *(Point(self.pabee, f"t={at:g}", at, rule) for at, rule in rules.items())]

    def threshold(self, tau: float) -> Point:
        """The paper's cascade at a printed threshold."""
        return Point(self.cascade, f"tau={tau:g}", tau, settles_above(tau))

    # -- Shallow models -----------------------------------------------------------------------------------------------

    def shallow(self, depth: int) -> dict[str, Tensor]:
        """(N, C) logits on dev of everything that is `depth` layers deep, by family."""
        families = {DEEBERT: self.dev.deebert[:, depth - 1]}
        if depth in self.dev.truncated:
            families[TRUNCATED] = self.dev.truncated[depth]
        if depth in self.dev.complete:
            families[COMPLETE] = self.dev.complete[depth]
        if depth == self.trial.first:
            families[COMPLETE_DAR] = self.dev.calibrated
        return families

    def knows(self, logits: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(N,) confidence in a form that ranks, and (N,) hard: whether this very model is wrong on dev."""
        return log_odds(logits), np.asarray(logits.argmax(-1).numpy() != self.labels)

    @cached_property
    def emitted(self) -> Outcome:
        """How DeeBERT leaves dev at the fastest speed of the main table."""
        return self.closest(self.deebert, TARGETS[-1], "").outcome

    # -- Costs --------------------------------------------------------------------------------------------------------

    def layer_speedup(self, point: Point) -> float:
        """Depth over mean executed layers, on dev."""
        return float(self.trial.num_layers / point.executed.mean())

    def flops_speedup(self, point: Point) -> float:
        """FLOPs of the baseline over those spent on dev, texts unpadded."""
        lengths, exits = self.trial.encoded.dev.lengths, (point.outcome.exit_layer - 1).tolist()
        spent = sum(int(point.system.flops(tokens)[i]) for tokens, i in zip(lengths, exits, strict=True))
        shape, classes = self.trial.shape, len(self.trial.task.labels)
        return sum(classifier_flops(shape, tokens, classes) for tokens in lengths) / spent

    @cached_property
    def timed(self) -> list[Point]:
        """What runs on the clock: the main table's rows, but for the cascade that differs in its training alone."""
        return [p for p in self.table_points if p.system.name != WITHOUT_DAR]

    def truncated_arm(self, depth: int) -> str:
        """The arm of the first `depth` layers."""
        return f"{TRUNCATED} {depth}"

    @property
    def main(self) -> Point:
        """CascadeBERT at the table's first speed, where the costs are split and batches are run."""
        return self.closest(self.cascade, TARGETS[0], label(TARGETS[0]))

    @cached_property
    def clocked(self) -> Clocked:
        """Batch-1 timings; measured once in a run, whoever asks first."""
        path = self.trial.run.scratch / f"{self.trial.task_name}-{self.trial.seed}.npz"
        if not path.exists():
            self.trial.clock.one_by_one(self._arms()).save(path)
        return Clocked.load(path)

    def _arms(self) -> dict[str, Arm]:
        trial, cascade = self.trial, self.trial.cascade()
        models: dict[str, MultiExitModel] = {CASCADE: cascade, DEEBERT: trial.deebert(), PABEE: trial.pabee()}
        if self.second is not None:
            models[self.second.name] = trial.second_cascade()
        arms: dict[str, Arm] = {BASELINE: trial.classifier(trial.num_layers)}
        for depth in sorted({trial.layers_at(speedup) for speedup in TARGETS}):
            arms[self.truncated_arm(depth)] = trial.truncated(depth)
        arms |= {p.arm: early_exit_arm(models[p.system.name], p.rule) for p in self.timed}
        return arms | cost_arms(cascade, self.main.rule)

    def batched(self) -> PairedThroughput:
        """Throughput in batches of 32 at the table's first speed, and with both models for everyone."""
        trial, cascade, main = self.trial, self.trial.cascade(), self.main
        arms = cost_arms(cascade, main.rule)
        early = early_exit_arm(cascade, main.rule)
        return trial.clock.in_batches({BASELINE: trial.classifier(trial.num_layers), CASCADE: early, **arms})
