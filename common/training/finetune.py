"""Fine-tuned classifiers as artifacts: the same encoder, data and plan are trained once, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import FIRST_TOKEN
from common.encoders.sources import PretrainedEncoder
from common.models.classifier import EncoderClassifier, PooledClassifier, head_dropout, task_loss
from common.records.measurements import write_json
from common.run.artifacts import ArtifactStore
from common.tasks.task import Task
from common.training.batches import Batch, BucketedBatches, EncodedSplit, encode
from common.training.loop import FitReport, Progress, TrainingPlan, fit


@dataclass(frozen=True)
class EncodedTask:
    """A task's splits after tokenisation."""

    train: EncodedSplit
    tune: EncodedSplit
    dev: EncodedSplit


def encode_task(tokenizer: object, task: Task, max_length: int) -> EncodedTask:
    """Tokenise the train, tune and dev splits of `task`."""
    train, tune, dev = (
        encode(tokenizer, split, regression=task.is_regression, max_length=max_length)
        for split in (task.train, task.tune, task.dev)
    )
    return EncodedTask(train, tune, dev)


def classification_loss(model: EncoderClassifier, batch: Batch) -> torch.Tensor:
    """The task's loss on one batch."""
    return task_loss(model(batch), batch.labels)


def new_classifier(encoder: LayeredEncoder, task: Task, seed: int, pooling: str = FIRST_TOKEN) -> EncoderClassifier:
    """`encoder` with a fresh classification head: pretrained pooler, classifier drawn by the family's own rule.

    BERT and ALBERT draw it from N(0, 0.02); RoBERTa's head in the replicated code keeps PyTorch's default.
    """
    torch.manual_seed(seed)
    outputs = max(1, len(task.labels))
    config = encoder.config
    head = PooledClassifier(encoder.hidden_size, outputs, head_dropout(config))
    deviation = None if config.model_type == "roberta" else config.initializer_range
    return EncoderClassifier(encoder, head.initialise(encoder.pooler_dense, deviation), pooling)


@dataclass(frozen=True)
class FineTuner:
    """Fine-tunes the first `layers` layers of one pretrained encoder, or finds that it has been done.

    Attributes:
        pooling: what of the last layer the classifier reads, one of `POOLINGS`.
    """

    store: ArtifactStore
    source: PretrainedEncoder
    say: Callable[[str], None]
    progress: Progress
    pooling: str = FIRST_TOKEN

    def recipe(self, task: Task, plan: TrainingPlan, layers: int) -> dict[str, object]:
        """All that the result depends on."""
        return {
            "kind": self._kind,
            "encoder": self.source.fingerprint,
            "layers": layers,
            "task": task.fingerprint,
            "threads": torch.get_num_threads(),
            **plan.recipe(),
        }

    def fine_tune(self, task: Task, encoded: EncodedTask, plan: TrainingPlan, layers: int) -> Path:
        """The folder of the fine-tuned `EncoderClassifier` (read it with `EncoderClassifier.load`)."""

        def make(folder: Path) -> None:
            encoder = self.source.encoder.first_layers(layers)
            model = new_classifier(encoder, task, plan.seed, self.pooling)
            batches = BucketedBatches(encoded.train, plan.batch_size, plan.seed)
            checkpoint = folder / "checkpoint" / "loop.safetensors"
            report = fit(model, batches, classification_loss, plan, checkpoint=checkpoint, progress=self.progress)
            model.cpu().save(folder)
            write_report(folder, report)

        name = f"{self._kind}/{self.source.name}-{layers}L/{task.name}/seed{plan.seed}"
        return self.store.get(name, self.recipe(task, plan, layers), make, self.say)

    @property
    def _kind(self) -> str:
        return "classifier" if self.pooling == FIRST_TOKEN else f"classifier-{self.pooling}"


def write_report(folder: Path, report: FitReport) -> None:
    """Keep how the training went beside what it made."""
    write_json(folder / "training.json", asdict(report))
