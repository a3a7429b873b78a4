"""A task run: one task, one seed, one backbone, within a run, and the models and logits that everyone shares.

Everything is made when first asked for and kept in the artifact store under all that it depends on, so that two papers
which ask for the same thing get the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common.baselines import RECIPES, Recipe
from common.costs.estimates import forward_seconds, token_estimate, training_seconds
from common.costs.flops import EncoderShape, embedding_flops, layer_flops
from common.costs.parameters import layer_parameters
from common.devices import available_device
from common.early_exit.clock import Clock
from common.early_exit.cost import pooled_head_flops
from common.encoders.sources import PretrainedEncoder
from common.models.classifier import EncoderClassifier, classifier_logits
from common.run.replication import Run, Step
from common.tasks.task import Example, Task
from common.training.batches import BucketedBatches, EncodedSplit, EpochSource, Movable, encode
from common.training.finetune import EncodedTask, FineTuner, encode_task, write_report
from common.training.loop import MakeOptimizer, TrainingPlan, fit, fused_adamw

BatchT = TypeVar("BatchT", bound=Movable)


class Savable(Protocol):
    """A module that can be written to a folder."""

    def save(self, folder: Path) -> None:
        """Write everything that is needed to load it (safetensors and JSON)."""


ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass
class AnyTaskRun:
    """One task of whatever kind, one seed, one backbone: how models are made and kept.

    Attributes:
        run: the run that it belongs to.
        task_name: the task.
        seed: of every training.
        recipe: how the baseline is made; by default the scale's common one.
    """

    run: Run
    task_name: str
    seed: int
    recipe: Recipe

    @property
    def label(self) -> str:
        """How a plan names it."""
        return f"{self.task_name} seed {self.seed}"

    # -- Backbone and plan --------------------------------------------------------------------------------------------

    @cached_property
    def device(self) -> torch.device:
        """Where models are trained and asked: a GPU if there is one."""
        return available_device()

    @property
    def backbone(self) -> PretrainedEncoder:
        """The pretrained encoder: the recipe's, or the one that the user named."""
        return self.run.encoder(self.run.backbone or self.recipe.backbone)

    @property
    def timing_device(self) -> torch.device:
        """Where models are timed: where they are trained, or the CPU."""
        return self.run.timing_device

    @property
    def plan(self) -> TrainingPlan:
        """The baseline's."""
        return self.recipe.plan(self.task_name, self.seed)

    @property
    def num_layers(self) -> int:
        """The backbone's depth n."""
        return self.backbone.encoder.num_layers

    @property
    def half(self) -> int:
        """Half the depth, where papers put their static rival."""
        return max(1, self.num_layers // 2)

    @property
    def shape(self) -> EncoderShape:
        """The backbone's sizes."""
        return EncoderShape.from_config(self.backbone.encoder.config)

    # -- One way to train and keep ------------------------------------------------------------------------------------

    def trained(
        self,
        kind: str,
        facts: Mapping[str, object],
        fresh: Callable[[], ModuleT],
        batches: Callable[[], EpochSource[BatchT]],
        loss: Callable[[ModuleT, BatchT], Tensor],
        plan: TrainingPlan,
        *,
        make_optimizer: MakeOptimizer = fused_adamw,
    ) -> Path:
        """The folder of a trained model, made if it is not there; a training that was interrupted goes on.

        Args:
            kind: what it is, e.g. `deebert-off-ramps`; a part of its name and of its key.
            facts: all that it depends on beside the plan.
            fresh: the untrained model, which has `save(folder)`.
            batches: called once training begins.
            loss: of one batch.
            plan: how it is trained.
            make_optimizer: by default AdamW over what requires gradients.
        """

        def make(folder: Path) -> None:
            model = fresh()
            checkpoint = folder / "checkpoint" / "loop.safetensors"
            report = fit(
                model,
                batches(),
                loss,
                plan,
                checkpoint=checkpoint,
                progress=self.run.progress,
                make_optimizer=make_optimizer,
            )
            cast(Savable, model.cpu().eval()).save(folder)
            write_report(folder, report)

        return self.stored(kind, {**facts, "plan": plan.recipe()}, make)

    def kept_tensors(
        self, kind: str, facts: Mapping[str, object], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Named tensors, computed if they are not there; `facts` are all that they depend on."""

        def make(folder: Path) -> None:
            save_file({name: t.contiguous() for name, t in compute().items()}, folder / "tensors.safetensors")

        tensors: dict[str, Tensor] = load_file(self.stored(kind, facts, make) / "tensors.safetensors")
        return tensors

    def stored(self, kind: str, facts: Mapping[str, object], make: Callable[[Path], None]) -> Path:
        """The folder of an artifact of this task run; `make` fills it."""
        name = f"{kind}/{self.backbone.name}/{self.task_name}/seed{self.seed}"
        return self.run.store.get(name, {**facts, "kind": kind}, make, self.run.say)


@dataclass
class TaskRun(AnyTaskRun):
    """The data, the backbone, the baseline and the static ladder of one task of labelled texts and one seed."""

    @staticmethod
    def of(run: Run, task: str, seed: int, recipe: Recipe | None = None) -> TaskRun:
        """A task run by the common recipe of the run's scale, or by a paper's own."""
        return TaskRun(run, task, seed, recipe or RECIPES[run.scale.name])

    # -- Data ---------------------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The data."""
        return self.run.task(self.task_name)

    @property
    def pooling(self) -> str:
        """What of a layer classifiers and exits read, one of `POOLINGS`."""
        return self.recipe.pooling

    @property
    def outputs(self) -> int:
        """C: classes, or 1 for a regression."""
        return max(1, len(self.task.labels))

    @cached_property
    def encoded(self) -> EncodedTask:
        """Train, tune and dev as token ids."""
        return encode_task(self.backbone.tokenizer, self.task, self.plan.max_length)

    @cached_property
    def splits(self) -> dict[str, EncodedSplit]:
        """What is scored: `tune`, `dev`, and `test` where there is a labelled one."""
        splits = {"tune": self.encoded.tune, "dev": self.encoded.dev}
        test = self.task.test[: self.run.scale.dev_examples]
        if test:
            splits["test"] = encode(
                self.backbone.tokenizer, test, regression=self.task.is_regression, max_length=self.plan.max_length
            )
        return splits

    # -- The baseline and the static ladder ---------------------------------------------------------------------------

    @property
    def tuner(self) -> FineTuner:
        """Plain fine-tuning of the backbone."""
        return FineTuner(self.run.store, self.backbone, self.run.say, self.run.progress, self.pooling)

    def classifier_folder(self, layers: int | None = None) -> Path:
        """The fine-tuned first `layers` layers, a rung of the static ladder; all of them are the baseline."""
        layers = layers or self.num_layers
        whole = layers == self.num_layers
        plan = self.plan if whole else self.recipe.shallow_plan(self.task_name, self.seed)
        return self.tuner.fine_tune(self.task, self.encoded, plan, layers)

    def classifier(self, layers: int | None = None) -> EncoderClassifier:
        """The same, on the device, in evaluation mode."""
        model: EncoderClassifier = EncoderClassifier.load(self.classifier_folder(layers)).to(self.device)
        return model

    def static_logits(self, layers: int | None = None) -> dict[str, Tensor]:
        """(N, C) of the baseline, or of a rung of the ladder, by split."""
        folder = self.classifier_folder(layers)

        def compute() -> dict[str, Tensor]:
            model = self.classifier(layers)
            return {name: classifier_logits(model, split, self.device) for name, split in self.splits.items()}

        return self.tensors(f"logits-{layers or self.num_layers}L", {"model": folder.name}, compute)

    def baseline_flops(self, split: str) -> NDArray[np.float64]:
        """(N,) FLOPs of the baseline on each text of a split, unpadded."""
        return self.static_flops(split, self.num_layers)

    def static_flops(self, split: str, layers: int) -> NDArray[np.float64]:
        """(N,) those of a rung of the ladder."""
        shape, lengths = self.shape, self.splits[split].lengths
        head = pooled_head_flops(shape, self.outputs)
        by_length = {t: embedding_flops(shape, t) + layers * layer_flops(shape, t) + head for t in set(lengths)}
        return np.array([by_length[t] for t in lengths], dtype=float)

    # -- What is kept -------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, object]:
        """What every model of this task run depends on, for an artifact's key, by the baseline's plan."""
        return self.tuner.recipe(self.task, self.plan, self.num_layers)

    @property
    def batches(self) -> BucketedBatches:
        """The training examples in the baseline's batches."""
        return BucketedBatches(self.encoded.train, self.plan.batch_size, self.seed)

    def tensors(
        self, kind: str, facts: Mapping[str, object], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Named tensors, e.g. logits by split, computed if they are not there."""
        sizes = {name: len(split) for name, split in self.splits.items()}
        return self.kept_tensors(kind, {**facts, "splits": sizes}, compute)

    # -- What it will take --------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """Times arms on dev."""
        return Clock(self.encoded.dev, self.run.scale, self.timing_device, self.run.progress)

    def tokens(self, examples: Sequence[Example]) -> float:
        """About how many tokens `examples` will have after texts are cut to the plan's length."""
        return token_estimate(examples, self.plan.max_length)

    def training_seconds(self, plan: TrainingPlan, layers: int) -> float:
        """Expected seconds on two CPU cores to fine-tune the first `layers` layers; nothing is tokenised for it."""
        per_step = 0.05 if layers == self.num_layers else 0.015 + 0.035 * layers / self.num_layers
        train = self.task.train
        epoch = training_seconds(layers * layer_parameters(self.shape), self.tokens(train))
        return 2 + plan.epochs * (epoch + per_step * len(train) / plan.batch_size)

    def pass_seconds(self, examples: Sequence[Example], layers: int | None = None) -> float:
        """Expected seconds of a forward pass over `examples`."""
        return forward_seconds((layers or self.num_layers) * layer_parameters(self.shape), self.tokens(examples))

    @property
    def scored_seconds(self) -> float:
        """Expected seconds of a forward pass of the whole backbone over all that is scored."""
        return 1 + self.pass_seconds((*self.task.tune, *self.task.dev, *self.task.test[: self.run.scale.dev_examples]))

    def clock_seconds(self, arms: int) -> float:
        """Expected seconds to time so many arms, half of which leave half-way."""
        scale, train = self.run.scale, self.task.train
        sample = 0.004 + self.pass_seconds(train) / len(train)
        return 2 + arms * scale.timing_examples * scale.timing_rounds * sample

    def static_steps(self, depths: Sequence[int]) -> list[Step]:
        """Train the baseline and these rungs of the ladder."""
        seconds = self.training_seconds(self.plan, self.num_layers) + self.scored_seconds
        steps = [Step.making(f"{self.label}: the baseline", seconds, self.static_logits)]
        for depth in depths:
            plan = self.recipe.shallow_plan(self.task_name, self.seed)
            seconds = self.training_seconds(plan, depth) + self.scored_seconds * depth / self.num_layers
            name = f"{self.label}: static ladder, {depth} of {self.num_layers} layers"
            steps.append(Step.making(name, seconds, lambda depth=depth: self.static_logits(depth)))  # type: ignore[misc]
        return steps
