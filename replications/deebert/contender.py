"""DeeBERT on a task run: how it is trained at each scale, and what it can be run at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.baselines import RECIPES, Recipe
from common.early_exit.contender import ExitContender
from common.early_exit.multi_exit import Heads, MultiExit
from common.early_exit.operating_points import entropy_thresholds
from common.early_exit.rules import EntropyBelow
from common.methods import Method
from common.run.replication import Step
from common.task_run import TaskRun
from common.training.frozen import FrozenBatches, frozen_states
from common.training.loop import TrainingPlan
from replications.deebert.method import fresh_off_ramps, leaves_below, off_ramp_loss, with_off_ramps
from replications.deebert.names import DEEBERT


@dataclass(frozen=True)
class Settings:
    """Stage 1, which is the baseline, and stage 2, which trains the off-ramps."""

    stage1: Recipe
    stage2: TrainingPlan


SETTINGS = {
    "smoke": Settings(RECIPES["smoke"], TrainingPlan(learning_rate=3e-3, epochs=4, batch_size=32, seed=0)),
    "mini": Settings(RECIPES["mini"], TrainingPlan(learning_rate=3e-3, epochs=30, batch_size=32, seed=0)),
    "base": Settings(RECIPES["base"], TrainingPlan(learning_rate=1e-3, epochs=10, batch_size=32, seed=0)),
    "paper": Settings(
        Recipe(
            "google-bert/bert-base-uncased",
            whole=TrainingPlan(learning_rate=2e-5, epochs=3, batch_size=8, seed=0),
            shallow=TrainingPlan(learning_rate=2e-5, epochs=3, batch_size=8, seed=0),
        ),
        TrainingPlan(learning_rate=2e-5, epochs=3, batch_size=8, seed=0),
    ),
}
"""At the paper's scale the hyper-parameters are the paper's (official scripts); else ours, see README."""


class DeeBERT(ExitContender):
    """Off-ramps on the frozen baseline."""

    name = DEEBERT
    least_layers = 1

    def __init__(self, task_run: TaskRun) -> None:
        super().__init__(task_run)
        self.stage2 = replace(SETTINGS[task_run.run.scale.name].stage2, seed=task_run.seed)

    def training_steps(self) -> Sequence[Step]:
        """Stage 2."""
        run, train = self.task_run, self.task_run.task.train
        seconds = 2 + run.pass_seconds(train) + 0.004 * self.stage2.epochs * len(train) / self.stage2.batch_size
        return [Step.making(f"{run.label}: stage 2, the off-ramps", seconds, self.folder)]

    def folder(self) -> Path:
        """The trained off-ramps."""
        run, plan = self.task_run, self.stage2

        def batches() -> FrozenBatches:
            states = frozen_states(run.classifier(), run.encoded.train, run.device)
            return FrozenBatches(states, plan.batch_size, plan.seed)

        return run.trained(
            "deebert-off-ramps",
            {"backbone": run.facts},
            lambda: fresh_off_ramps(run.backbone.encoder, run.outputs, plan.seed, run.pooling),
            batches,
            off_ramp_loss,
            plan,
        )

    def model(self) -> MultiExit:
        """The baseline with its off-ramps."""
        return with_off_ramps(self.task_run.classifier(), Heads.load(self.folder())).eval()

    def rule(self, at: float) -> EntropyBelow:
        """Leave below the threshold S."""
        return leaves_below(at)

    @property
    def grid(self) -> Sequence[float]:
        """Thresholds over entropy's range."""
        return entropy_thresholds(self.task_run.outputs)

    def setting_name(self, at: float) -> str:
        """As in the paper."""
        return f"S={at:.3g}"


METHODS = (Method(DEEBERT, DeeBERT),)
