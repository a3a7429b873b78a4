"""Bort's small counterpart on a task: fine-tuned by Agora, plainly at an equal budget, and once with each theta."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.costs.estimates import training_seconds
from common.errors import UserError
from common.models.classifier import EncoderClassifier, classifier_logits, predictions
from common.run.replication import Step
from common.task_run import TaskRun
from common.tasks.task import Example
from common.training.batches import BucketedBatches, EncodedSplit, encode
from common.training.decay import adamw_sparing_norms
from common.training.finetune import classification_loss
from common.training.loop import TrainingPlan
from replications.bort.agora import Outcome, Theta, agora, vary
from replications.bort.distillation import BortClassifier
from replications.bort.names import AGORA, DISTILLED, ONCE, PLAIN
from replications.bort.student import SPARED, Pretraining

STEP_SECONDS = 0.1
"""Of one training step beside its layers' arithmetic, for estimates alone: most is AdamW's, over the word table."""


@dataclass(frozen=True)
class Picked:
    """What one way of fine-tuning ends with.

    Attributes:
        name: of the way.
        folder: the chosen model.
        accuracy: on E, by which it was chosen.
        trainings, examples_seen: what was spent in all.
        generated: examples that were generated in all.
    """

    name: str
    folder: Path
    accuracy: float
    trainings: int
    examples_seen: int
    generated: int = 0


class FineTuning:
    """One task, one seed, one pre-trained student."""

    def __init__(self, task_run: TaskRun, arm: str = DISTILLED) -> None:
        if task_run.task.is_regression:
            raise UserError(
                f"Agora is stated for classification; {task_run.task_name} is a regression. Drop it from TASKS"
            )
        self.task_run, self.arm = task_run, arm
        self.pretraining = Pretraining.beside(task_run)
        self.settings = self.pretraining.settings

    # -- One training --------------------------------------------------------------------------------------------------

    def plan(self, theta: Theta, epochs: int | None = None) -> TrainingPlan:
        """Theta's, by default for the scale's epochs; seeds of thetas and of the run do not meet."""
        return replace(
            self.settings.fine_tuning,
            learning_rate=theta.learning_rate,
            weight_decay=theta.weight_decay,
            warmup=theta.warmup,
            batch_size=theta.batch_size,
            seed=1000 * self.task_run.seed + theta.seed,
            epochs=epochs or self.settings.fine_tuning.epochs,
            max_length=self.task_run.plan.max_length,
        )

    def trained(self, added: Sequence[Example], plan: TrainingPlan) -> Path:
        """A fresh copy of the pre-trained student, fine-tuned on the task's examples and what was added to them."""
        run, student = self.task_run, self.pretraining.folder(self.arm, self.task_run.seed)

        def fresh() -> BortClassifier:
            encoder = self.pretraining.model(self.arm, run.seed).encoder.cpu()
            spread = self.settings.head_spread
            return BortClassifier.fresh(encoder, run.outputs, plan.seed, pooling=run.pooling, spread=spread)

        def batches() -> BucketedBatches:
            return BucketedBatches(self.encoded([*run.task.train, *added]), plan.batch_size, plan.seed)

        facts = {
            "student": student.name,
            "task": run.task.fingerprint,
            "added": _content(added),
            "pooling": run.pooling,
            "spread": self.settings.head_spread,
            "not decayed": SPARED,
        }
        kind = f"bort-fine-tuned/{plan.seed % 1000}-{plan.epochs}-{len(added)}"
        return run.trained(kind, facts, fresh, batches, classification_loss, plan, make_optimizer=adamw_sparing_norms)

    def encoded(self, examples: Sequence[Example]) -> EncodedSplit:
        """As token ids."""
        run = self.task_run
        return encode(run.backbone.tokenizer, examples, regression=False, max_length=run.plan.max_length)

    # -- What the loop asks (`agora.Learner`) --------------------------------------------------------------------------

    def train(self, added: Sequence[Example], theta: Theta) -> Path:
        """One copy."""
        return self.trained(added, self.plan(theta))

    def answers(self, model: Path, examples: Sequence[Example]) -> NDArray[Any]:
        """(N,) classes."""
        return self.classes(self.logits(model, self.encoded(examples)))

    def logits(self, folder: Path, split: EncodedSplit) -> Tensor:
        """(N, C)."""
        model = EncoderClassifier.load(folder).to(self.task_run.device)
        return classifier_logits(model, split, self.task_run.device)

    def acceptable(self, examples: Sequence[Example]) -> NDArray[Any]:
        """(N,) the classes that the baseline gives."""
        run = self.task_run
        return self.classes(classifier_logits(run.classifier(), self.encoded(examples), run.device))

    @staticmethod
    def classes(logits: Tensor) -> NDArray[Any]:
        """(N,) of (N, C) logits."""
        return predictions(logits, regression=False).numpy()

    @property
    def acceptable_accuracy(self) -> float:
        """Of the baseline on E."""
        dev = self.task_run.task.tune
        return float((self.acceptable(dev) == np.array([e.label for e in dev])).mean())

    # -- Three ways ----------------------------------------------------------------------------------------------------

    @cached_property
    def outcome(self) -> Outcome[Path]:
        """Agora's rounds."""
        run, rounds = self.task_run, itertools.count()
        words = sorted({word for e in run.task.train for word in f"{e.text_a} {e.text_b or ''}".split()})

        def tau(examples: Sequence[Example]) -> list[Example]:
            return vary(examples, words, seed=1000 * run.seed + next(rounds))

        return agora(self, self.settings.thetas, run.task.tune, tau, self.acceptable)

    def agora(self) -> Picked:
        """The best model seen in all rounds."""
        best, size, epochs = self.outcome.best, len(self.task_run.task.train), self.settings.fine_tuning.epochs
        seen = sum(epochs * len(r.thetas) * (size + r.added) for r in self.outcome.rounds)
        generated = max(r.added for r in self.outcome.rounds)
        return Picked(AGORA, best.model, best.accuracies[best.best], self.outcome.trainings, seen, generated)

    def once(self) -> Picked:
        """Train once with each theta and pick: what Agora's first round does."""
        return self.each_theta(ONCE, self.settings.fine_tuning.epochs)

    def plain(self) -> Picked:
        """Each theta once, for as many epochs as bring the examples seen to Agora's; then pick."""
        a_pass = len(self.settings.thetas) * len(self.task_run.task.train)
        return self.each_theta(PLAIN, max(1, round(self.agora().examples_seen / a_pass)))

    def each_theta(self, name: str, epochs: int) -> Picked:
        """Each theta once on the task's own examples; the best on E."""
        thetas, dev = self.settings.thetas, self.task_run.task.tune
        folders = [self.trained((), self.plan(theta, epochs)) for theta in thetas]
        truth = np.array([e.label for e in dev])
        accuracies = [float((self.answers(folder, dev) == truth).mean()) for folder in folders]
        best = int(np.argmax(accuracies))
        seen = epochs * len(thetas) * len(self.task_run.task.train)
        return Picked(name, folders[best], accuracies[best], len(thetas), seen)

    @cached_property
    def picked(self) -> list[Picked]:
        """All three."""
        return [self.agora(), self.plain(), self.once()]

    def steps(self) -> Iterator[Step]:
        """Agora, then plain fine-tuning."""
        run, count = self.task_run, len(self.settings.thetas)
        one = self.training_seconds
        yield Step.making(
            f"{run.label}: Agora, {count} sets of hyper-parameters", count * one * 2, lambda: self.outcome
        )
        yield Step.making(f"{run.label}: plain fine-tuning at an equal budget", count * one * 2, self.plain)

    @property
    def training_seconds(self) -> float:
        """Expected seconds of one copy on two CPU cores, trained on the task's own examples."""
        train, epochs = self.task_run.task.train, self.settings.fine_tuning.epochs
        epoch = training_seconds(self.pretraining.architecture.parameters, self.task_run.tokens(train))
        batches = float(np.mean([len(train) / theta.batch_size for theta in self.settings.thetas]))
        return 1 + epochs * (epoch + STEP_SECONDS * batches)


def _content(examples: Sequence[Example]) -> str:
    """A hash of added examples, empty without any."""
    if not examples:
        return ""
    return hashlib.sha256(repr([(e.text_a, e.text_b, e.label) for e in examples]).encode()).hexdigest()
