"""TinyBERT's students as contenders: what a user takes home instead of leaving early."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from common.costs.flops import EncoderShape, classifier_flops
from common.early_exit.clock import Arm
from common.early_exit.runtime import Outcome
from common.methods import EncoderContender, Method, Setting
from common.run.replication import Step
from common.task_run import TaskRun
from replications.tinybert.distillation import Distillation
from replications.tinybert.general import General
from replications.tinybert.names import TINYBERT


class TinyBERT(EncoderContender):
    """The narrow and the wide student, distilled twice.

    Where there is no plain text beside the task's own, general distillation is on the task's training texts; the names
    of its steps say so.
    """

    name = TINYBERT

    @cached_property
    def distillation(self) -> Distillation:
        """How they are made."""
        run, train = self.task_run, self.task_run.task.train
        texts = [text for e in train for text in (e.text_a, e.text_b) if text is not None]
        return Distillation(run, General(run.run, run.backbone, texts))

    def training_steps(self) -> Sequence[Step]:
        """General students, the teacher, the task's students."""
        settings = [setting.name for setting in self.settings]
        return [*self.distillation.general.steps(settings), *self.distillation.steps(settings, ())]

    @property
    def settings(self) -> Sequence[Setting]:
        """The sizes of the scale, each with its number of layers."""
        return [Setting(name, size.layers) for name, size in self.distillation.settings.students.items()]

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After no layer of the backbone."""
        logits = self.distillation.logits(TINYBERT, setting.name)[split]
        return Outcome(logits, torch.zeros(len(logits), dtype=torch.long))

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """Of the student's layers and its head."""
        return student_flops(self.task_run, self.distillation, split, setting.name)

    def arm(self, setting: Setting) -> Arm:
        """The student."""
        return self.distillation.model(TINYBERT, setting.name).to(self.task_run.timing_device)


def student_flops(run: TaskRun, distillation: Distillation, split: str, setting: str) -> NDArray[np.float64]:
    """(N,) FLOPs of a student on the texts of a split, unpadded."""
    size = distillation.settings.students[setting]
    shape = EncoderShape.from_config(size.shape(run.backbone.encoder.config).config())
    lengths = run.splits[split].lengths
    by_length = {tokens: classifier_flops(shape, tokens, run.outputs) for tokens in set(lengths)}
    return np.array([by_length[tokens] for tokens in lengths], dtype=float)


METHODS = (Method(TINYBERT, TinyBERT, regression=True),)
