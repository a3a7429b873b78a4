"""What is trained for one task and one seed, and with which hyper-parameters.

The plain classifier is the baseline and a truncated one the static baseline; PABEE trains encoder and exits together,
by the same plan. Then every exit's logits are collected once: any patience and any threshold is a simulation on them.
All of it is kept in the artifact store and made when first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.early_exit.baselines import StaticTrial
from common.early_exit.runtime import collect_logits
from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.training.batches import BucketedBatches, EncodedSplit, encode
from common.training.classifier import classifier_logits, predictions
from common.training.finetune import write_report
from common.training.loop import TrainingPlan, fit
from common.training.recipes import SMOKE_ENCODER, SMOKE_PLAN
from replications.pabee.method import PABEE, adamw_with_exits_at, joint_loss
from replications.pabee.names import half_patience

# -- Hyper-parameters. At the paper's scale they are the official scripts'; else ours, see README ---------------------


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        plan: of the plain classifiers, and of PABEE's encoder.
        exits_rate: learning rate of PABEE's pooler and classifiers.
        pooling: what of a layer exits and plain classifiers read.
        epochs: of a task, where they are not the plan's.
        tolerance: within which two values of a regression agree (the official code's example).
    """

    encoder: str
    plan: TrainingPlan
    exits_rate: float
    pooling: str = FIRST_TOKEN
    epochs: dict[str, int] = field(default_factory=dict)
    tolerance: float = 0.1

    def of(self, task: str, seed: int) -> Settings:
        """The same for one task and seed."""
        return replace(self, plan=replace(self.plan, seed=seed, epochs=self.epochs.get(task, self.plan.epochs)))


SETTINGS = {
    "smoke": Settings(
        encoder=SMOKE_ENCODER,
        plan=SMOKE_PLAN,
        exits_rate=SMOKE_PLAN.learning_rate,
    ),
    "mini": Settings(
        encoder="minilm",
        plan=TrainingPlan(learning_rate=2e-4, epochs=1, batch_size=16, seed=0, warmup=0.1),
        exits_rate=2e-3,
        pooling=MEAN,
        epochs={"cola": 3},
    ),
    "paper": Settings(
        encoder="albert/albert-base-v2",
        plan=TrainingPlan(learning_rate=2e-5, epochs=5, batch_size=32, seed=0),
        exits_rate=2e-5,
    ),
}
SETTINGS["base"] = replace(
    SETTINGS["mini"],
    plan=replace(SETTINGS["mini"].plan, epochs=10, batch_size=64),
    epochs={"sst-2": 3, "qqp-sample": 5},
)


# -- One task, one seed -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What the models answer on one split of N examples, with C outputs.

    Attributes:
        labels: (N,) class indices, or values.
        exits: (N, n, C) of PABEE's exits 1..n.
        plain: (N, C) of the plain classifier.
    """

    labels: NDArray[np.generic]
    exits: Tensor
    plain: Tensor


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of a trial's steps on two CPU cores."""

    classifier: float
    truncated: float
    joint: float
    logits: float
    timing: float


@dataclass
class Trial(StaticTrial):
    """The models of one task and seed, trained when first asked for."""

    @cached_property
    def settings(self) -> Settings:
        """The run's scale decides the hyper-parameters, the trial the seed."""
        return SETTINGS[self.run.scale.name].of(self.task_name, self.seed)

    @property
    def encoder_name(self) -> str:
        """The scale's encoder."""
        return self.settings.encoder

    @property
    def pooling(self) -> str:
        """That of the scale, for the baselines as for PABEE."""
        return self.settings.pooling

    @property
    def classifier_plan(self) -> TrainingPlan:
        """The plain classifier's plan, which is also PABEE's."""
        return self.settings.plan

    @property
    def outputs(self) -> int:
        """C: classes, or 1 for a regression."""
        return max(1, len(self.task.labels))

    @property
    def half_patience(self) -> int:
        """The paper's main patience is half the depth: 6 of 12."""
        return half_patience(self.num_layers)

    @cached_property
    def splits(self) -> dict[str, EncodedSplit]:
        """Tune, dev, and a labelled test split where there is one, as token ids."""
        splits = {"tune": self.encoded.tune, "dev": self.encoded.dev}
        test = self.task.test[: self.run.scale.dev_examples]
        if test:
            length, regression = self.settings.plan.max_length, self.task.is_regression
            splits["test"] = encode(self.source.tokenizer, test, regression=regression, max_length=length)
        return splits

    @property
    def estimate(self) -> Estimate:
        """From tokens and layer parameters, at rates measured on two cores."""
        scale, static = self.run.scale, self.static_costs
        arms = 4 + self.num_layers + (0 if self.task.is_regression else 2)
        return Estimate(
            classifier=static.classifier,
            truncated=static.truncated,
            joint=1.05 * static.classifier,
            logits=(1.9 if self.task.test else 1.3) * static.logits,
            timing=5 + arms * scale.timing_examples * scale.timing_rounds * static.sample,
        )

    def joint_folder(self) -> Path:
        """PABEE: encoder and exits trained together."""
        plan, exits_rate = self.settings.plan, self.settings.exits_rate

        def make(folder: Path) -> None:
            model = PABEE.fresh(self.source.encoder, self.outputs, plan.seed, self.pooling)
            batches = BucketedBatches(self.encoded.train, plan.batch_size, plan.seed)
            report = fit(
                model,
                batches,
                joint_loss,
                plan,
                checkpoint=folder / "checkpoint" / "loop.safetensors",
                progress=self.run.progress,
                make_optimizer=adamw_with_exits_at(exits_rate),
            )
            model.cpu().save(folder)
            write_report(folder, report)

        name = f"pabee/joint/{self.source.name}/{self.task_name}/seed{self.seed}"
        plain = self.tuner.recipe(self.task, plan, self.num_layers)
        recipe = {**plain, "kind": "pabee", "pooling": self.pooling, "exits_rate": exits_rate}
        return self.run.store.get(name, recipe, make, self.run.say)

    def model(self) -> PABEE:
        """PABEE, on the device, in evaluation mode."""
        return PABEE.load(self.joint_folder()).to(self.device)

    def logits_folder(self) -> Path:
        """Every exit's and the plain classifier's logits on each split, the truncated classifier's on dev."""
        joint, plain = self.joint_folder(), self.classifier_folder(self.num_layers)
        truncated = self.classifier_folder(self.truncated_layers)

        def make(folder: Path) -> None:
            model, classifier = self.model(), self.classifier(self.num_layers)
            tensors = {
                "truncated": classifier_logits(self.classifier(self.truncated_layers), self.encoded.dev, self.device)
            }
            for name, split in self.splits.items():
                tensors[f"{name}.exits"] = collect_logits(model, split.by_length(64), len(split), self.device)
                tensors[f"{name}.plain"] = classifier_logits(classifier, split, self.device)
            save_file(tensors, folder / "logits.safetensors")

        name = f"pabee/logits/{self.source.name}/{self.task_name}/seed{self.seed}"
        recipe = {
            "kind": "pabee-logits",
            "joint": joint.name,
            "plain": plain.name,
            "truncated": truncated.name,
            "splits": {name: len(split) for name, split in self.splits.items()},
        }
        return self.run.store.get(name, recipe, make, self.run.say)

    @cached_property
    def _logits(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = load_file(self.logits_folder() / "logits.safetensors")
        return tensors

    def answers(self, split: str) -> Answers:
        """Everyone's answers on `tune`, `dev` or `test`."""
        labels = self.splits[split].labels.numpy()
        return Answers(labels, self._logits[f"{split}.exits"], self._logits[f"{split}.plain"])

    @property
    def truncated_logits(self) -> Tensor:
        """(N, C) of the truncated classifier on dev."""
        return self._logits["truncated"]

    def predict(self, logits: Tensor) -> NDArray[np.generic]:
        """(N,) classes, or values, from (N, C) logits."""
        return predictions(logits, regression=self.task.is_regression).numpy()
