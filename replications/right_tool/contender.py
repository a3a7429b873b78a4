"""RightTool on a task run: how it is trained and calibrated at each scale, and what it can be run at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from common.baselines import RECIPES, Recipe
from common.costs.flops import EncoderShape, linear_flops, pooler_flops
from common.early_exit.contender import ExitContender
from common.early_exit.multi_exit import adamw_with_rate
from common.early_exit.operating_points import confidence_thresholds
from common.errors import UserError
from common.methods import Method
from common.run.replication import Step
from common.task_run import TaskRun
from common.training.loop import TrainingPlan
from replications.right_tool import method
from replications.right_tool.method import LEARNED, RELEASED, ConfidenceAtLeast, calibrate, classifier_layers
from replications.right_tool.names import NEVER, NOT_CALIBRATED, RELEASED_MIX, RIGHT_TOOL, threshold_name


@dataclass(frozen=True)
class Settings:
    """RightTool is trained by the baseline's plan, its pooler, classifiers and mixes at a rate of their own."""

    recipe: Recipe
    added_rate: float


PAPER_PLAN = TrainingPlan(learning_rate=2e-5, epochs=2, batch_size=72, seed=0, max_length=512)

SETTINGS = {
    "smoke": Settings(RECIPES["smoke"], added_rate=2e-3),
    "mini": Settings(RECIPES["mini"], added_rate=2e-3),
    "base": Settings(RECIPES["base"], added_rate=3e-4),
    "paper": Settings(Recipe("google-bert/bert-large-uncased", whole=PAPER_PLAN, shallow=PAPER_PLAN), added_rate=2e-5),
}
"""At the paper's scale the hyper-parameters are the official scripts'; of three rates the lowest. Else ours."""

ADDED = ("pooler.", "classifiers.")
"""Names of the parameters that are not the encoder's begin so."""


class RightTool(ExitContender):
    """Classifiers trained together with the encoder, each with a temperature fitted on tune."""

    name, mix = RIGHT_TOOL, LEARNED
    least_layers = 1

    def __init__(self, task_run: TaskRun) -> None:
        if task_run.task.is_regression:
            raise UserError(
                f"RightTool leaves by confidence, which needs classes; {task_run.task_name} is a regression. "
                "Drop it from TASKS"
            )
        super().__init__(task_run)
        self.settings_of_scale = SETTINGS[task_run.run.scale.name]

    def training_steps(self) -> Sequence[Step]:
        """One stage, then the temperatures."""
        run = self.task_run
        trained = 1.1 * run.training_seconds(run.plan, run.num_layers)
        return [
            Step.making(f"{run.label}: {self.name}, all classifiers", trained, self.trained_folder),
            Step.making(f"{run.label}: {self.name}, temperatures", run.scored_seconds, self.folder),
        ]

    def trained_folder(self) -> Path:
        """The model, all temperatures 1."""
        run, rate, depths = (
            self.task_run,
            self.settings_of_scale.added_rate,
            classifier_layers(self.task_run.num_layers),
        )
        return run.trained(
            f"right-tool-{self.mix}",
            {"backbone": run.facts, "mix": self.mix, "added rate": rate, "depths": depths},
            lambda: method.RightTool.fresh(
                run.backbone.encoder, run.outputs, run.seed, pooling=run.pooling, mix=self.mix, depths=depths
            ),
            lambda: run.batches,
            method.joint_loss,
            run.plan,
            make_optimizer=adamw_with_rate(rate, of=ADDED),
        )

    @property
    def not_calibrated(self) -> ExitContender:
        """The same model before its temperatures were fitted."""
        return NotCalibrated(self)

    def folder(self) -> Path:
        """The temperatures (J,), fitted on tune."""
        run = self.task_run

        def make(folder: Path) -> None:
            model = method.RightTool.load(self.trained_folder())
            calibrate(model, self.not_calibrated.exits("tune"), run.splits["tune"].labels)
            save_file({"temperatures": model.temperatures}, folder / "temperatures.safetensors")

        facts = {"model": self.trained_folder().name, "tune": len(run.splits["tune"])}
        return run.stored(f"right-tool-{self.mix}-temperatures", facts, make)

    def model(self) -> method.RightTool:
        """The trained model with its temperatures."""
        model = method.RightTool.load(self.trained_folder())
        model.temperatures.copy_(load_file(self.folder() / "temperatures.safetensors")["temperatures"])
        return model

    def rule(self, at: float) -> ConfidenceAtLeast:
        """Leave at the threshold t."""
        return ConfidenceAtLeast(at)

    @property
    def grid(self) -> Sequence[float]:
        """Over confidence's range, and above it."""
        return [*confidence_thresholds(self.task_run.outputs), NEVER]

    def setting_name(self, at: float) -> str:
        """The threshold."""
        return threshold_name(at)

    def head_flops(self, tokens: int) -> NDArray[np.int64]:
        """(n,) by layer: a pooler at each, a mix and a linear map where a classifier stands."""
        return added_flops(self.task_run.shape, self.task_run.outputs)


class ReleasedMix(RightTool):
    """The mixes stay as they were drawn, as in the official code."""

    name, mix = RELEASED_MIX, RELEASED


class NotCalibrated(RightTool):
    """A trained model at temperatures of 1."""

    def __init__(self, calibrated: RightTool) -> None:
        super().__init__(calibrated.task_run)
        self.mix, self.name = calibrated.mix, NOT_CALIBRATED.replace(RIGHT_TOOL, calibrated.name)

    def training_steps(self) -> Sequence[Step]:
        """Those of the calibrated."""
        return []

    def folder(self) -> Path:
        """The trained model."""
        return self.trained_folder()

    def model(self) -> method.RightTool:
        """As trained."""
        return method.RightTool.load(self.folder())


def added_flops(shape: EncoderShape, outputs: int) -> NDArray[np.int64]:
    """(n,) FLOPs of what is computed beside the encoder at each layer."""
    flops = np.full(shape.layers, pooler_flops(shape), dtype=np.int64)
    for depth in classifier_layers(shape.layers):
        flops[depth - 1] += 2 * depth * shape.hidden + linear_flops(shape.hidden, outputs)
    return flops


METHODS = (Method(RIGHT_TOOL, RightTool),)
