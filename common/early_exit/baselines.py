"""What every exit method is compared with, for one task and one seed: the plain classifier and a truncated one.

Both are fine-tuned by one plan and kept in the artifact store, so that papers with equal plans share them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from common.devices import available_device
from common.early_exit.clock import Clock
from common.encoders.pooling import FIRST_TOKEN
from common.encoders.sources import PretrainedEncoder
from common.replication import Run
from common.tasks.task import Example, Task
from common.timing.estimates import forward_seconds, token_estimate, training_seconds
from common.timing.flops import EncoderShape
from common.timing.parameters import layer_parameters
from common.training.classifier import EncoderClassifier
from common.training.finetune import EncodedTask, FineTuner, encode_task
from common.training.loop import TrainingPlan


@dataclass(frozen=True)
class StaticCosts:
    """Expected seconds of the static models' steps on two CPU cores.

    Attributes:
        classifier, truncated: training.
        logits: every exit's logits on tune and dev.
        sample: one text through all layers.
    """

    classifier: float
    truncated: float
    logits: float
    sample: float


@dataclass
class StaticTrial(ABC):
    """The data, the encoder and the static models of one task and seed, each made when first asked for."""

    run: Run
    task_name: str
    seed: int

    @property
    @abstractmethod
    def encoder_name(self) -> str:
        """Which pretrained encoder."""

    @property
    @abstractmethod
    def classifier_plan(self) -> TrainingPlan:
        """How the plain and the truncated classifier are fine-tuned, with the trial's seed."""

    @property
    def pooling(self) -> str:
        """What of a layer the classifiers read, one of `POOLINGS`."""
        return FIRST_TOKEN

    @cached_property
    def device(self) -> torch.device:
        """A GPU if there is one."""
        return available_device()

    @property
    def source(self) -> PretrainedEncoder:
        """The pretrained encoder."""
        return self.run.encoder(self.encoder_name)

    @property
    def task(self) -> Task:
        """The data."""
        return self.run.task(self.task_name)

    @cached_property
    def encoded(self) -> EncodedTask:
        """The data as token ids."""
        return encode_task(self.source.tokenizer, self.task, self.classifier_plan.max_length)

    @property
    def num_layers(self) -> int:
        """The encoder's depth n."""
        return self.source.encoder.num_layers

    @property
    def truncated_layers(self) -> int:
        """The static baseline keeps the first half of the layers."""
        return max(1, self.num_layers // 2)

    @property
    def shape(self) -> EncoderShape:
        """The encoder's sizes."""
        return EncoderShape.from_config(self.source.encoder.config)

    @property
    def tuner(self) -> FineTuner:
        """Plain fine-tuning."""
        return FineTuner(self.run.store, self.source, self.run.say, self.run.progress, self.pooling)

    def classifier_folder(self, layers: int) -> Path:
        """The classifier fine-tuned on the first `layers` layers; with all of them it is the baseline."""
        return self.tuner.fine_tune(self.task, self.encoded, self.classifier_plan, layers)

    def classifier(self, layers: int) -> EncoderClassifier:
        """The fine-tuned classifier, on the device."""
        model: EncoderClassifier = EncoderClassifier.load(self.classifier_folder(layers)).to(self.device)
        return model

    @property
    def clock(self) -> Clock:
        """Times arms on dev."""
        return Clock(self.encoded.dev, self.run.scale, self.device, self.run.progress)

    def tokens(self, examples: Sequence[Example]) -> float:
        """About how many tokens `examples` will have after texts are cut to the plan's length."""
        return token_estimate(examples, self.classifier_plan.max_length)

    @property
    def static_costs(self) -> StaticCosts:
        """From tokens and layer parameters, at rates measured on two cores; the texts are not tokenised for it."""
        shape, plan, task = self.shape, self.classifier_plan, self.task
        layers = shape.layers * layer_parameters(shape)
        train, evaluated = self.tokens(task.train), self.tokens((*task.tune, *task.dev))
        epoch = training_seconds(layers, train) + 0.05 * len(task.train) / plan.batch_size
        return StaticCosts(
            classifier=2 + plan.epochs * epoch,
            truncated=2 + plan.epochs * epoch / 2,
            logits=2 + forward_seconds(layers, 1.8 * evaluated),
            sample=0.004 + forward_seconds(layers, train / len(task.train)),
        )


class OfTrial(Protocol):
    """What was found with one task and seed."""

    @property
    def trial(self) -> StaticTrial:
        """Which."""


Found = TypeVar("Found", bound=OfTrial)


def seeds_with_all_tasks(findings: Iterable[Found]) -> dict[int, list[Found]]:
    """Findings by seed, for an average over tasks: only seeds that did all of them, and none if there is one task."""
    by_seed: dict[int, list[Found]] = defaultdict(list)
    for found in findings:
        by_seed[found.trial.seed].append(found)
    most = max(map(len, by_seed.values()), default=0)
    return {seed: found for seed, found in by_seed.items() if len(found) == most >= 2}
