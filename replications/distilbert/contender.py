"""DistilBERT on a task run: a student that was distilled before, fine-tuned on the task's labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.costs.flops import classifier_flops
from common.early_exit.clock import Arm
from common.early_exit.runtime import Outcome
from common.methods import ONLY, EncoderContender, Method, Setting
from common.models.classifier import classifier_logits, task_loss
from common.run.replication import Step
from common.task_run import TaskRun
from common.training.batches import Batch, BucketedBatches
from replications.distilbert.method import StudentClassifier
from replications.distilbert.names import DISTILBERT
from replications.distilbert.students import MAIN, SETTINGS, Students, Variant


class DistilBERT(EncoderContender):
    """One student; it has one setting."""

    def __init__(self, task_run: TaskRun, students: Students, variant: Variant = MAIN) -> None:
        super().__init__(task_run)
        self.students, self.variant, self.name = students, variant, variant.name

    @staticmethod
    def of(task_run: TaskRun) -> DistilBERT:
        """The paper's, on its own."""
        return DistilBERT(task_run, Students.beside(task_run))

    def training_steps(self) -> Sequence[Step]:
        """The teacher and the student, shared by the run, then fine-tuning."""
        return [*self.students.steps([self.variant]), self.fine_tuning_step]

    @property
    def fine_tuning_step(self) -> Step:
        """Fine-tune, and answer what is scored."""
        run, depth = self.task_run, len(self.students.layers)
        plan = SETTINGS[run.run.scale.name].plan(run.task_name, run.seed)
        seconds = run.training_seconds(plan, depth) + run.scored_seconds * depth / run.num_layers
        return Step.making(f"{run.label}: {self.name}, fine-tuned", seconds, lambda: self._logits)

    def folder(self) -> Path:
        """The fine-tuned classifier."""
        run, source = self.task_run, self.students.source(self.variant)
        plan = SETTINGS[run.run.scale.name].plan(run.task_name, run.seed)
        return run.trained(
            f"distilbert, {self.variant.kind}, fine-tuned",
            {**run.tuner.recipe(run.task, plan, source.encoder.num_layers), "student": source.fingerprint},
            lambda: StudentClassifier.fresh(source.encoder, run.outputs, run.seed, run.pooling),
            lambda: BucketedBatches(run.encoded.train, plan.batch_size, plan.seed),
            fine_tuning_loss,
            plan,
        )

    @cached_property
    def _logits(self) -> dict[str, Tensor]:
        run, folder = self.task_run, self.folder()

        def compute() -> dict[str, Tensor]:
            model = StudentClassifier.load(folder).to(run.device)
            return {name: classifier_logits(model, split, run.device) for name, split in run.splits.items()}

        return run.tensors(f"distilbert, {self.variant.kind}, logits", {"model": folder.name}, compute)

    def logits(self, split: str) -> Tensor:
        """(N, C)."""
        return self._logits[split]

    @property
    def settings(self) -> Sequence[Setting]:
        """One."""
        return [ONLY]

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After all of its layers, which are as large as the backbone's."""
        logits = self.logits(split)
        return Outcome(logits, torch.full((len(logits),), len(self.students.layers)))

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """(N,) of its layers and head."""
        run, depth = self.task_run, len(self.students.layers)
        lengths = run.splits[split].lengths
        by_length = {t: classifier_flops(run.shape, t, run.outputs, layers=depth) for t in set(lengths)}
        return np.array([by_length[t] for t in lengths], dtype=float)

    def arm(self, setting: Setting) -> Arm:
        """The classifier."""
        return StudentClassifier.load(self.folder()).to(self.task_run.timing_device)


def fine_tuning_loss(model: StudentClassifier, batch: Batch) -> Tensor:
    """The task's loss; no teacher takes part."""
    return task_loss(model(batch), batch.labels)


METHODS = (Method(DISTILBERT, DistilBERT.of, regression=True),)
