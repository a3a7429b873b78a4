"""What is trained for one task and one seed, and with which hyper-parameters.

Stage 1 is plain fine-tuning and gives DeeBERT's backbone, which is also the baseline; a truncated encoder fine-tuned
alike is the static baseline; stage 2 trains the off-ramps. Then every exit's logits are collected once: any
threshold is a simulation on them. All of it is kept in the artifact store and made when first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from common.early_exit.baselines import StaticTrial
from common.early_exit.runtime import collect_logits
from common.errors import UserError
from common.tasks.task import Task
from common.timing.estimates import forward_seconds
from common.timing.parameters import layer_parameters
from common.training.classifier import classifier_logits
from common.training.finetune import write_report
from common.training.frozen import FrozenBatches, frozen_states
from common.training.loop import TrainingPlan, fit
from common.training.recipes import SMOKE_ENCODER, SMOKE_PLAN
from replications.deebert.method import DeeBERT, OffRamps, off_ramp_loss

# -- Hyper-parameters. At the paper's scale they are the paper's (official scripts); else ours, see README ------------


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale."""

    encoder: str
    stage1: TrainingPlan
    stage2: TrainingPlan


SETTINGS = {
    "smoke": Settings(
        encoder=SMOKE_ENCODER,
        stage1=SMOKE_PLAN,
        stage2=TrainingPlan(learning_rate=3e-3, epochs=4, batch_size=32, seed=0),
    ),
    "mini": Settings(
        encoder="minilm",
        stage1=TrainingPlan(learning_rate=2e-4, epochs=1, batch_size=16, seed=0, warmup=0.1),
        stage2=TrainingPlan(learning_rate=3e-3, epochs=30, batch_size=32, seed=0),
    ),
    "paper": Settings(
        encoder="google-bert/bert-base-uncased",
        stage1=TrainingPlan(learning_rate=2e-5, epochs=3, batch_size=8, seed=0),
        stage2=TrainingPlan(learning_rate=2e-5, epochs=3, batch_size=8, seed=0),
    ),
}
SETTINGS["full"] = replace(
    SETTINGS["mini"],
    stage1=replace(SETTINGS["mini"].stage1, epochs=5, batch_size=64),
    stage2=replace(SETTINGS["mini"].stage2, epochs=10),
)


# -- One task, one seed -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Logits:
    """What the models of a trial answer, N examples and C classes.

    Attributes:
        tune, dev: (N, n, C) of DeeBERT's exits 1..n on the two splits.
        stage1: (N, C) of the classifier on dev as stage 1 left it.
        truncated: (N, C) of the truncated classifier on dev.
    """

    tune: Tensor
    dev: Tensor
    stage1: Tensor
    truncated: Tensor


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of a trial's steps on two CPU cores."""

    stage1: float
    truncated: float
    stage2: float
    logits: float
    timing: float


@dataclass
class Trial(StaticTrial):
    """The models of one task and seed, trained when first asked for."""

    @cached_property
    def settings(self) -> Settings:
        """The run's scale decides the hyper-parameters, the trial the seed."""
        base = SETTINGS[self.run.scale.name]
        return replace(base, stage1=replace(base.stage1, seed=self.seed), stage2=replace(base.stage2, seed=self.seed))

    @property
    def encoder_name(self) -> str:
        """The scale's encoder."""
        return self.settings.encoder

    @property
    def classifier_plan(self) -> TrainingPlan:
        """Stage 1: with all layers it gives DeeBERT's backbone and the baseline."""
        return self.settings.stage1

    @property
    def task(self) -> Task:
        """The data.

        Raises:
            UserError: it is a regression; entropy, and so DeeBERT's rule, is defined for classes alone.
        """
        task = self.run.task(self.task_name)
        if task.is_regression:
            raise UserError(
                f"DeeBERT leaves by entropy, which needs classes; {task.name} is a regression. Drop it from TASKS"
            )
        return task

    @property
    def estimate(self) -> Estimate:
        """From tokens and layer parameters, at rates measured on two cores; the texts are not tokenised for it."""
        scale, train, static = self.run.scale, self.task.train, self.static_costs
        layers = self.shape.layers * layer_parameters(self.shape)
        features = forward_seconds(layers, self.tokens(train))
        return Estimate(
            stage1=static.classifier,
            truncated=static.truncated,
            stage2=2 + features + 0.004 * self.settings.stage2.epochs * len(train) / 32,
            logits=static.logits,
            timing=2 + 10 * scale.timing_examples * scale.timing_rounds * static.sample,
        )

    def off_ramps_folder(self) -> Path:
        """Stage 2."""
        plan = self.settings.stage2
        backbone = self.tuner.recipe(self.task, self.settings.stage1, self.num_layers)

        def make(folder: Path) -> None:
            states = frozen_states(self.classifier(self.num_layers), self.encoded.train, self.device)
            off_ramps = OffRamps.fresh(self.source.encoder, len(self.task.labels), plan.seed)
            batches = FrozenBatches(states, plan.batch_size, plan.seed)
            checkpoint = folder / "checkpoint" / "loop.safetensors"
            report = fit(off_ramps, batches, off_ramp_loss, plan, checkpoint=checkpoint, progress=self.run.progress)
            off_ramps.cpu().save(folder / "off_ramps.safetensors")
            write_report(folder, report)

        name = f"deebert/off-ramps/{self.source.name}/{self.task_name}/seed{self.seed}"
        return self.run.store.get(
            name, {"kind": "off-ramps", "backbone": backbone, **plan.recipe()}, make, self.run.say
        )

    def model(self) -> DeeBERT:
        """DeeBERT, on the device, in evaluation mode."""
        off_ramps = OffRamps.load(self.off_ramps_folder() / "off_ramps.safetensors")
        return DeeBERT(self.classifier(self.num_layers), off_ramps).to(self.device).eval()

    def logits(self) -> Logits:
        """Every exit's logits on the tune and dev splits, and the two static models' on dev."""
        off_ramps, truncated = self.off_ramps_folder(), self.classifier_folder(self.truncated_layers)

        def make(folder: Path) -> None:
            model, tune, dev = self.model(), self.encoded.tune, self.encoded.dev
            tensors = {
                "tune": collect_logits(model, tune.by_length(64), len(tune), self.device),
                "dev": collect_logits(model, dev.by_length(64), len(dev), self.device),
                "stage1": classifier_logits(self.classifier(self.num_layers), dev, self.device),
                "truncated": classifier_logits(self.classifier(self.truncated_layers), dev, self.device),
            }
            save_file(tensors, folder / "logits.safetensors")

        name = f"deebert/logits/{self.source.name}/{self.task_name}/seed{self.seed}"
        recipe = {"kind": "logits", "off_ramps": off_ramps.name, "truncated": truncated.name}
        tensors = load_file(self.run.store.get(name, recipe, make, self.run.say) / "logits.safetensors")
        return Logits(**tensors)
