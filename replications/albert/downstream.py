"""Pre-trained models fine-tuned on tasks: one stage, everything trainable, dropout before the classifier alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.devices import available_device
from common.models.classifier import classifier_logits, predictions, task_loss
from common.tasks.task import Task
from common.training.batches import Batch, BucketedBatches
from common.training.finetune import EncodedTask, encode_task, write_report
from common.training.loop import TrainingPlan, fit
from replications.albert.method import Classifier
from replications.albert.pretraining import Laboratory, Model


@dataclass(frozen=True)
class Downstream:
    """One task and seed: every pre-trained model of that seed, fine-tuned.

    Attributes:
        laboratory: where the models come from.
        name: of the task.
        seed: of pre-training and fine-tuning.
    """

    laboratory: Laboratory
    name: str
    seed: int

    @property
    def task(self) -> Task:
        """The data."""
        return self.laboratory.run.task(self.name)

    @property
    def plan(self) -> TrainingPlan:
        """Of fine-tuning."""
        return self.laboratory.settings.plan(self.name, self.seed)

    @cached_property
    def encoded(self) -> EncodedTask:
        """Train, tune and dev in the vocabulary of the corpus."""
        return encode_task(self.laboratory.tokenizer, self.task, self.plan.max_length)

    @property
    def labels(self) -> NDArray[np.generic]:
        """(N,) of dev."""
        labels: NDArray[np.generic] = self.encoded.dev.labels.numpy()
        return labels

    def answers(self, model: Model) -> NDArray[np.generic]:
        """(N,) on dev."""
        found = predictions(self._logits(model), regression=self.task.is_regression)
        return np.asarray(found.numpy())

    def _logits(self, model: Model) -> Tensor:
        """(N, C) on dev, kept; the fine-tuned weights are not."""
        lab, run = self.laboratory, self.laboratory.run
        folder = lab.folder(model, self.seed)
        facts: Mapping[str, object] = {
            "kind": "albert-finetuned",
            "model": folder.name,
            "task": self.task.fingerprint,
            "dev": len(self.encoded.dev),
            "threads": torch.get_num_threads(),
            "dropout": lab.settings.tuning_dropout,
            "plan": self.plan.recipe(),
        }

        def make(into: Path) -> None:
            outputs = max(1, len(self.task.labels))
            classifier = Classifier.fresh(lab.pretrained(model, self.seed).encoder, outputs, self.seed)
            batches = BucketedBatches(self.encoded.train, self.plan.batch_size, self.seed)
            checkpoint = into / "checkpoint" / "loop.safetensors"
            report = fit(classifier, batches, _loss, self.plan, checkpoint=checkpoint, progress=run.progress)
            logits = classifier_logits(classifier.eval(), self.encoded.dev, available_device())
            save_file({"logits": logits.contiguous()}, into / "logits.safetensors")
            write_report(into, report)

        name = f"albert-finetuned/{model.label}/{self.name}/seed{self.seed}"
        logits: Tensor = load_file(run.store.get(name, facts, make, run.say) / "logits.safetensors")["logits"]
        return logits


def _loss(model: Classifier, batch: Batch) -> Tensor:
    return task_loss(model(batch), batch.labels)
