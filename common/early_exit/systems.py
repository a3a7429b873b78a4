"""A method with a rule at a setting, and what a split's answers are worth against the baseline's on the same texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import BASELINE, TRUNCATED, Arm, Clocked
from common.early_exit.contender import ExitContender, RuleContender
from common.early_exit.cost_split import full_depth_arms
from common.early_exit.operating_points import Mixture
from common.early_exit.rules import ExitRule
from common.early_exit.runtime import Outcome, early_exit_arm
from common.early_exit.scoring import delta_interval, points_along, score_interval
from common.methods import Setting
from common.models.classifier import predictions
from common.records.statistics import Interval, bootstrap_statistic
from common.task_run import TaskRun
from common.timing.paired import PairedThroughput

Array = NDArray[np.generic]


@dataclass(frozen=True)
class System:
    """A contender at a setting.

    Attributes:
        contender: the method.
        setting: what the setting is called.
        at: the rule's number; of a mixture the slower one.
        mixture: at equal speed, two settings mixed; None otherwise.
    """

    contender: RuleContender
    setting: str
    at: float
    mixture: Mixture | None = None

    @staticmethod
    def at_saving(contender: ExitContender, setting: str, saving: float, split: str = "tune") -> System:
        """The contender where it saves this share of layers on `split`, mixed of the settings around it."""
        mixture = contender.at_saving(saving, split)
        return System(contender, setting, mixture.slower, mixture)

    @property
    def name(self) -> str:
        """Of the method."""
        return self.contender.name

    @property
    def arm(self) -> str:
        """Its name on the clock."""
        return f"{self.name} {self.setting}"

    @property
    def rule(self) -> ExitRule:
        """Who leaves."""
        return self.contender.rule(self.at)

    @property
    def is_timed(self) -> bool:
        """A mixture is not: it takes what its parts take."""
        return self.mixture is None

    @property
    def num_layers(self) -> int:
        """N."""
        return self.contender.task_run.num_layers

    def outcome(self, split: str = "dev") -> Outcome:
        """How a split leaves, simulated."""
        outcome = self.contender.outcome(split, Setting(self.setting, self.at))
        if self.mixture is None:
            return outcome
        return self.mixture.of(outcome, self.contender.outcome(split, Setting(self.setting, self.mixture.faster)))

    def answers(self, split: str = "dev") -> Array:
        """(N,) classes, or values."""
        return answers_of(self.outcome(split).logits, self.contender.task_run)

    def exit_layers(self, split: str = "dev") -> NDArray[np.int64]:
        """(N,) layers executed: 1..n, or more where what was run before is of no use to what runs next."""
        return np.asarray(self.outcome(split).exit_layer.numpy())

    @property
    def layer_saving(self) -> Interval:
        """Share of layers not executed on dev."""
        return _of_layers(lambda mean: 1 - mean / self.num_layers, self.exit_layers())

    @property
    def layer_speedup(self) -> Interval:
        """Depth over mean exit layer on dev."""
        return _of_layers(lambda mean: self.num_layers / mean, self.exit_layers())

    @property
    def flops_speedup(self) -> float:
        """FLOPs of the baseline over those spent on dev, exits included, texts unpadded."""
        run = self.contender.task_run
        spent = self.contender.flops_of_layers("dev", self.exit_layers())
        return float(run.baseline_flops("dev").sum() / spent.sum())


def _of_layers(statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], layers: NDArray[np.int64]) -> Interval:
    return bootstrap_statistic(lambda e, axis=-1: statistic(e.mean(axis=axis)), layers, resamples=2000)


def answers_of(logits: Tensor, run: TaskRun) -> Array:
    """(N,) classes, or values, from (N, C) logits."""
    return np.asarray(predictions(logits, regression=run.task.is_regression).numpy())


@dataclass
class Scored:
    """The labels of a split and the static systems' answers: what every other answer is laid beside."""

    task_run: TaskRun
    split: str = "dev"

    @property
    def labels(self) -> Array:
        """(N,) classes, or values."""
        return np.asarray(self.task_run.splits[self.split].labels.numpy())

    @cached_property
    def baseline(self) -> Array:
        """(N,) the baseline's answers."""
        return self.static(self.task_run.num_layers)

    def static(self, layers: int) -> Array:
        """(N,) those of a rung of the static ladder."""
        return answers_of(self.task_run.static_logits(layers)[self.split], self.task_run)

    @cached_property
    def constant(self) -> Array:
        """(N,) the constant answer that scores best; for a correlation every constant scores 0."""
        return max((np.full_like(self.labels, label) for label in range(self.task_run.outputs)), key=self.points)

    @property
    def difficulty(self) -> NDArray[np.int64]:
        """(N,) the level of each text, from 1; 0 where it is not known."""
        task = self.task_run.task
        examples = task.test if self.split == "test" else getattr(task, self.split)
        return np.array([e.difficulty or 0 for e in examples[: len(self.labels)]])

    def points(self, answers: Array) -> float:
        """Score in points (0..100)."""
        return float(points_along(self.task_run.task.metric)(answers, self.labels))

    def score(self, answers: Array) -> Interval:
        """Score in points, with an interval over texts."""
        return score_interval(self.task_run.task.metric, answers, self.labels)

    def gain(self, answers: Array) -> Interval:
        """Points gained over the baseline on the same texts (negative: lost)."""
        return delta_interval(self.task_run.task.metric, answers, self.baseline, self.labels)


@dataclass
class OnTheClock:
    """What is timed of a task run: batch-1 latencies of every arm, measured once in a run, whoever asks first.

    Attributes:
        task_run: whose dev texts are timed, beside its baseline and half of the static ladder.
        systems: timed at batch 1, each under its own arm.
        asked: the system whose full-depth run is split into backbone, exits and rule; None: nobody's.
        beside: what else is timed, by the arm's name; made when the clock starts.
    """

    task_run: TaskRun
    systems: Sequence[System]
    asked: System | None = None
    beside: Mapping[str, Callable[[], Arm]] = field(default_factory=dict)

    @cached_property
    def one_by_one(self) -> Clocked:
        """All arms interleaved, one text at a time."""
        path = self.task_run.run.scratch / f"{self.task_run.task_name}-{self.task_run.seed}.npz"
        if not path.exists():
            self.task_run.clock.one_by_one(self._arms()).save(path)
        return Clocked.load(path)

    def _arms(self) -> dict[str, Arm]:
        run = self.task_run
        arms: dict[str, Arm] = {
            BASELINE: run.classifier().to(run.timing_device),
            TRUNCATED: run.classifier(run.half).to(run.timing_device),
        }
        models = {s.contender: s.contender.model().to(run.timing_device) for s in self.systems}
        arms |= {s.arm: early_exit_arm(models[s.contender], s.rule) for s in self.systems}
        if self.asked is not None:
            arms |= full_depth_arms(models[self.asked.contender], self.asked.rule)
        return arms | {name: make() for name, make in self.beside.items()}

    def arm_of(self, system: System) -> str | None:
        """The arm that runs a system's model by its rule, whatever its setting is called; None: it is not timed."""
        same = (s.arm for s in self.systems if s.contender is system.contender and s.at == system.at)
        return next(same, None) if system.is_timed else None

    def in_batches(self, systems: Sequence[System], beside: Mapping[str, Arm] | None = None) -> PairedThroughput:
        """Whole passes in batches of 32, the baseline against each system with compaction; `beside`: further arms."""
        run = self.task_run
        arms: dict[str, Arm] = {BASELINE: run.classifier().to(run.timing_device), **(beside or {})}
        for system in systems:
            arms[system.arm] = system.contender.arm(Setting(system.setting, system.at))
        return run.clock.in_batches(arms)
