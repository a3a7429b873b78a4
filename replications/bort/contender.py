"""Bort's small counterpart as a contender: pre-trained by distillation, fine-tuned plainly, one setting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from common.costs.flops import EncoderShape, encoder_flops, linear_flops, pooler_flops
from common.early_exit.clock import Arm
from common.early_exit.runtime import Outcome
from common.methods import ONLY, EncoderContender, Method, Setting
from common.models.classifier import EncoderClassifier
from common.run.replication import Step
from common.task_run import TaskRun
from replications.bort.finetuning import FineTuning, Picked
from replications.bort.names import BORT


class Bort(EncoderContender):
    """The best of Theta on held-back examples, each trained once: what a user would take without Agora's patience."""

    name = BORT

    def __init__(self, task_run: TaskRun) -> None:
        super().__init__(task_run)
        self.tuning = FineTuning(task_run)

    def training_steps(self) -> Sequence[Step]:
        """Pre-training, then each theta."""
        run, tuning = self.task_run, self.tuning
        pretraining = tuning.pretraining.steps(run.seed, (tuning.arm,))
        seconds = len(tuning.settings.thetas) * tuning.training_seconds
        return [*pretraining, Step.making(f"{run.label}: {self.name}, fine-tuned", seconds, lambda: self.picked)]

    @cached_property
    def picked(self) -> Picked:
        """The chosen model."""
        return self.tuning.once()

    @property
    def settings(self) -> Sequence[Setting]:
        """One."""
        return [ONLY]

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After no layer of the backbone."""
        logits = self.tuning.logits(self.picked.folder, self.task_run.splits[split])
        return Outcome(logits, torch.zeros(len(logits), dtype=torch.long))

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """(N,) its own layers and head."""
        shape = EncoderShape.from_config(self.tuning.pretraining.architecture.shape().config())
        head = pooler_flops(shape) + linear_flops(shape.hidden, self.task_run.outputs)
        return np.array([encoder_flops(shape, tokens) + head for tokens in self.task_run.splits[split].lengths], float)

    def arm(self, setting: Setting) -> Arm:
        """The model on the device of timing."""
        return EncoderClassifier.load(self.picked.folder).to(self.task_run.timing_device).eval()


METHODS = (Method(BORT, Bort),)
