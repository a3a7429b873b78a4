"""PABEE on a task run: how it is trained at each scale, what it can be run at, and the two rules it is compared with.

BranchyNet (entropy) and Shallow-Deep (confidence) leave the same trained model by another rule, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from common.baselines import RECIPES, SMOKE_PLAN, Recipe
from common.early_exit.contender import ExitContender
from common.early_exit.operating_points import confidence_thresholds, entropy_thresholds
from common.early_exit.rules import ConfidenceAbove, EntropyBelow, ExitRule
from common.methods import Method
from common.run.replication import Step
from common.task_run import TaskRun
from common.training.loop import TrainingPlan
from replications.pabee.method import PABEE, adamw_with_exits_at, joint_loss, leaves_after, leaves_within
from replications.pabee.names import BRANCHYNET, SHALLOW_DEEP, half_patience, patience_setting
from replications.pabee.names import PABEE as NAME


@dataclass(frozen=True)
class Settings:
    """How PABEE is trained at one scale.

    Attributes:
        baseline: of the plain classifiers; PABEE's encoder is trained by the same plan.
        exits_rate: learning rate of PABEE's pooler and classifiers.
        tolerance: within which two values of a regression agree (the official code's example).
    """

    baseline: Recipe
    exits_rate: float
    tolerance: float = 0.1


_PAPER_PLAN = TrainingPlan(learning_rate=2e-5, epochs=5, batch_size=32, seed=0)

SETTINGS = {
    "smoke": Settings(RECIPES["smoke"], exits_rate=SMOKE_PLAN.learning_rate),
    "mini": Settings(RECIPES["mini"], exits_rate=2e-3),
    "base": Settings(RECIPES["base"], exits_rate=3e-4),
    "paper": Settings(
        Recipe("albert/albert-base-v2", whole=_PAPER_PLAN, shallow=_PAPER_PLAN), exits_rate=_PAPER_PLAN.learning_rate
    ),
}
"""At the paper's scale the hyper-parameters are the official scripts'; else ours, see README."""


class PatientExits(ExitContender):
    """Encoder and exits trained together, left by patience."""

    name = NAME
    least_layers = 1

    def __init__(self, task_run: TaskRun) -> None:
        super().__init__(task_run)
        self.settings_of_scale = SETTINGS[task_run.run.scale.name]

    def training_steps(self) -> Sequence[Step]:
        """One stage."""
        run = self.task_run
        seconds = 1.05 * run.training_seconds(run.plan, run.num_layers)
        return [Step.making(f"{run.label}: PABEE, encoder and exits together", seconds, self.folder)]

    def folder(self) -> Path:
        """The trained model."""
        run, rate = self.task_run, self.settings_of_scale.exits_rate
        return run.trained(
            "pabee",
            {"baseline": run.facts, "pooling": run.pooling, "exits_rate": rate},
            lambda: PABEE.fresh(run.backbone.encoder, run.outputs, run.seed, run.pooling),
            lambda: run.batches,
            joint_loss,
            run.plan,
            make_optimizer=adamw_with_exits_at(rate),
        )

    def model(self) -> PABEE:
        """Read from its folder."""
        return PABEE.load(self.folder())

    def rule(self, at: float) -> ExitRule:
        """The patience rule that fits the task."""
        layers, tolerance = self.task_run.num_layers, self.settings_of_scale.tolerance
        if self.task_run.task.is_regression:
            return leaves_within(tolerance, int(at), layers)
        return leaves_after(int(at), layers)

    @property
    def grid(self) -> Sequence[float]:
        """Every patience that means anything: 1..n-1."""
        return range(1, self.task_run.num_layers)

    def setting_name(self, at: float) -> str:
        """As in the paper."""
        return patience_setting(int(at))

    @property
    def half(self) -> int:
        """The paper's main patience is half the depth: 6 of 12."""
        return half_patience(self.task_run.num_layers)


class OtherRule(ExitContender):
    """The same trained model, left by another rule."""

    def __init__(self, patient: PatientExits) -> None:
        super().__init__(patient.task_run)
        self.patient = patient

    def training_steps(self) -> Sequence[Step]:
        """Nothing beside PABEE's."""
        return self.patient.training_steps()

    def folder(self) -> Path:
        """PABEE's."""
        return self.patient.folder()

    def model(self) -> PABEE:
        """PABEE's."""
        return self.patient.model()

    def exits(self, split: str) -> Tensor:
        """PABEE's."""
        return self.patient.exits(split)


class Tolerant(OtherRule):
    """A regression at the main patience, run at other tolerances."""

    name = NAME

    def rule(self, at: float) -> ExitRule:
        """Within the tolerance `at`."""
        return leaves_within(at, self.patient.half, self.task_run.num_layers)

    @property
    def grid(self) -> Sequence[float]:
        """The code's default, which never leaves, its example 0.1, and what lies around."""
        return (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)

    def setting_name(self, at: float) -> str:
        """The tolerance."""
        return f"tau={at:g}"


class BranchyNet(OtherRule):
    """Leave when the entropy is low."""

    name = BRANCHYNET

    def rule(self, at: float) -> ExitRule:
        """Below a threshold in nats."""
        return EntropyBelow(at)

    @property
    def grid(self) -> Sequence[float]:
        """Over entropy's range."""
        return entropy_thresholds(self.task_run.outputs)


class ShallowDeep(OtherRule):
    """Leave when the largest probability is high."""

    name = SHALLOW_DEEP

    def rule(self, at: float) -> ExitRule:
        """Above a threshold."""
        return ConfidenceAbove(at)

    @property
    def grid(self) -> Sequence[float]:
        """Over the largest probability's range."""
        return confidence_thresholds(self.task_run.outputs)


METHODS = (Method(NAME, PatientExits, regression=True),)
