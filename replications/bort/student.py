"""Bort's small counterpart on a run: its teacher, the text, and its pre-training, each made once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from common.costs.estimates import TRAINING_FLOPS_PER_SECOND
from common.costs.flops import EncoderShape
from common.devices import available_device
from common.encoders.sources import PretrainedEncoder
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.tasks.corpora import FOLDERS, Corpus, find_corpus, texts_as_corpus
from common.tasks.plain_text import find_text
from common.training.decay import adamw_sparing_norms
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.encoded import encoded_text
from common.training.pretraining.language_model import MaskedLanguageModel, language_loss
from common.training.pretraining.masking import Uniform
from common.training.pretraining.pretrainer import Pretrainer, Work, encoder_work, head_work
from common.training.pretraining.teacher import TEACHERS, LanguageTeacher, Reading, language_teacher
from common.training.pretraining.words import Words
from replications.bort.distillation import distillation_loss, fresh_model, released_cross_entropy, teacher_cross_entropy
from replications.bort.method import BORT, Architecture
from replications.bort.names import DISTILLED, RELEASED_LOSS, SELF_SUPERVISED
from replications.bort.settings import SETTINGS, Settings

Loss = Callable[[MaskedLanguageModel, MaskedBatch], Tensor]

ARMS: Mapping[str, str] = {
    DISTILLED: "bort-distilled",
    SELF_SUPERVISED: "bort-self-supervised",
    RELEASED_LOSS: "bort-loss-as-released",
}
"""What is pre-trained, and the kind of its artifact."""

SPARED = "biases and norms"
"""What has no weight decay, in pre-training (official code) and in fine-tuning alike; a part of an artifact's key."""

WORDS_TO_TOKENS = 1.35
"""Tokens of a word, for estimates alone."""


@dataclass(frozen=True)
class MaskedAnswers:
    """What a model makes of held-out rows (S,): masked tokens right, how many there were, and the loss in nats."""

    right: NDArray[np.int64]
    masks: NDArray[np.int64]
    loss: NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        """Share of masked tokens right."""
        return float(self.right.sum() / self.masks.sum())

    @property
    def mean_loss(self) -> float:
        """In nats a masked token."""
        return float(self.loss.sum() / self.masks.sum())


@dataclass(frozen=True)
class Pretraining:
    """What a run's pre-training has in common, whatever the seed.

    Attributes:
        run: the run.
        settings: of its scale.
        backbone: the teacher's encoder, by name.
        corpus: what is read; None: the source's plain text.
    """

    run: Run
    settings: Settings
    backbone: str
    corpus: Corpus | None = None

    @staticmethod
    def of(run: Run) -> Pretraining:
        """By the settings of the run's scale, on the source's plain text.

        Raises:
            UserError: the source has none.
        """
        settings = SETTINGS[run.scale.name]
        pretraining = Pretraining(run, settings, run.backbone or settings.recipe.backbone)
        pretraining.text()
        return pretraining

    @staticmethod
    def beside(task_run: TaskRun) -> Pretraining:
        """For a task run's backbone; where its files hold no plain text, it reads the task's training texts."""
        run, settings = task_run.run, SETTINGS[task_run.run.scale.name]
        data_dir, corpus = run.data_dir or Path(), None
        if run.data == "files" and not any(find_text(folder, data_dir) for folder in FOLDERS):
            texts = [text for e in task_run.task.train for text in (e.text_a, e.text_b) if text is not None]
            corpus = texts_as_corpus(f"train of {task_run.task_name}", texts)
        return Pretraining(run, settings, task_run.backbone.name, corpus)

    # -- Text and teacher ----------------------------------------------------------------------------------------------

    @cached_property
    def source(self) -> PretrainedEncoder:
        """The teacher's encoder."""
        return self.run.encoder(self.backbone)

    def text(self) -> Corpus:
        """What is read."""
        run, words = self.run, self.settings.words
        return self.corpus or find_corpus(run.data, run.data_dir, words, smoke=run.scale.name == "smoke")

    @cached_property
    def reading(self) -> Reading:
        """The same in rows."""
        text = encoded_text(self.run.store, self.text(), self.source.tokenizer, self.run.say)
        return Reading(text, Words.of(self.source.tokenizer), self.settings.length)

    @cached_property
    def teacher(self) -> LanguageTeacher:
        """The encoder as a masked-language model, the same for every paper."""
        return language_teacher(self.run, self.backbone, self.corpus)

    @cached_property
    def teacher_model(self) -> MaskedLanguageModel:
        """The same as a model, on the device."""
        model: MaskedLanguageModel = self.teacher.model().to(available_device())
        return model

    @property
    def architecture(self) -> Architecture:
        """Bort's, shrunk to the scale."""
        return BORT.shrunk(self.settings.shrink)

    def fresh(self, architecture: Architecture, seed: int, *, from_counts: bool = False) -> MaskedLanguageModel:
        """An untrained model with the teacher's vocabulary."""
        rows, words = len(self.source.encoder.word_embeddings), self.reading.words
        counts = torch.from_numpy(self.reading.text.counts) if from_counts else None
        return fresh_model(architecture, rows, words.padding, seed, counts)

    # -- Two ways to pre-train -----------------------------------------------------------------------------------------

    def arms(self, seed: int) -> tuple[str, ...]:
        """What is pre-trained with a seed: the loss as released for the first alone where the scale spares."""
        spared = self.run.scale.spares and seed != self.run.seeds[0]
        return tuple(arm for arm in ARMS if not (spared and arm == RELEASED_LOSS))

    def folder(self, arm: str, seed: int) -> Path:
        """The pre-trained model, and its training.json."""
        plan = replace(self.settings.pretraining, seed=seed)
        facts: dict[str, object] = {"architecture": self.architecture.name, "not decayed": SPARED, **self.reading.facts}
        if arm != SELF_SUPERVISED:
            facts["teacher"] = self.teacher.fingerprint
        return Pretrainer.of(self.run).trained(
            ARMS[arm],
            facts,
            lambda: self.fresh(self.architecture, seed, from_counts=self.settings.from_counts),
            lambda: self.batches(seed),
            self._loss(arm),
            plan,
            Work(self.flops_per_token(arm), self._shapes[0]),
            make_optimizer=adamw_sparing_norms,
        )

    def batches(self, seed: int) -> MaskedBatches:
        """Masked anew in every epoch; the same for both arms."""
        return self.reading.batches(Uniform(), self.settings.pretraining.batch_size, seed)

    def _loss(self, arm: str) -> Loss:
        losses: Mapping[str, Callable[[], Loss]] = {
            DISTILLED: lambda: distillation_loss(self.teacher_model, teacher_cross_entropy),
            SELF_SUPERVISED: lambda: language_loss,
            RELEASED_LOSS: lambda: distillation_loss(self.teacher_model, released_cross_entropy),
        }
        return losses[arm]()

    def model(self, arm: str, seed: int) -> MaskedLanguageModel:
        """The pre-trained model, on the device."""
        model: MaskedLanguageModel = MaskedLanguageModel.load(self.folder(arm, seed)).to(available_device())
        return model

    def step_seconds(self, arm: str, seed: int) -> float:
        """How long a step took, batch making included."""
        report = json.loads((self.folder(arm, seed) / "training.json").read_text(encoding="utf-8"))
        return self.settings.pretraining.batch_size * self.settings.length / float(report["tokens_per_second"])

    def answers(self, model: Callable[[MaskedBatch], Tensor]) -> MaskedAnswers:
        """What a model makes of the rows held back, masked alike for every model."""
        return masked_answers(model, self.reading.held_back())

    # -- What it will take ---------------------------------------------------------------------------------------------

    @property
    def _shapes(self) -> tuple[EncoderShape, EncoderShape]:
        """Student's and teacher's."""
        small = EncoderShape.from_config(self.architecture.shape().config())
        whole = EncoderShape.from_config(self.source.encoder.config)
        return replace(small, vocabulary=len(self.source.encoder.word_embeddings)), whole

    def flops_per_token(self, arm: str) -> float:
        """Of a step: the student forth and back, the teacher forth where there is one; heads at masked tokens alone."""
        (small, whole), share, length = self._shapes, Uniform().share, self.settings.length
        student = encoder_work(small, length, trained=True) + head_work(small, share, trained=True)
        if arm == SELF_SUPERVISED:
            return student
        return student + encoder_work(whole, length, trained=False) + head_work(whole, share, trained=False)

    def seconds(self, arm: str) -> float:
        """Expected on two CPU cores."""
        tokens = _tokens(self.settings.words) * self.settings.pretraining.epochs
        return 2 + tokens * self.flops_per_token(arm) / TRAINING_FLOPS_PER_SECOND

    @property
    def teacher_seconds(self) -> float:
        """Expected to make the teacher guess masked tokens, by the recipe of all papers."""
        recipe, (_, whole) = TEACHERS[self.run.scale.name], self._shapes
        length, tokens = recipe.plan.max_length, _tokens(recipe.words) * recipe.plan.epochs
        work = encoder_work(whole, length, trained=True) + head_work(whole, Uniform().share, trained=True)
        return 2 + tokens * work / TRAINING_FLOPS_PER_SECOND

    def steps(self, seed: int, arms: Sequence[str]) -> list[Step]:
        """The teacher's head, then each of these arms."""
        reads = "" if self.corpus is None else f" on the {self.corpus.name}: there is no plain text"
        name = f"the teacher of masked tokens{reads}"
        steps = [Step.making(name, self.teacher_seconds, lambda: self.teacher.fingerprint)]
        for arm in arms:
            making = partial(self.folder, arm, seed)
            steps.append(Step.making(f"seed {seed}: pre-training, {arm}", self.seconds(arm), making))
        return steps


def _tokens(words: int | None) -> float:
    """About how many tokens so many words of plain text have; None: about an English Wikipedia."""
    return WORDS_TO_TOKENS * (words or 3_000_000_000)


@torch.inference_mode()
def masked_answers(model: Callable[[MaskedBatch], Tensor], source: MaskedBatches) -> MaskedAnswers:
    """By row of a source's first epoch, in its order."""
    right, masks, loss = [], [], []
    for batch in source.epoch(0):
        moved = batch.to(available_device())
        logits = model(moved).float()
        row = torch.div(batch.places, batch.input_ids.shape[1], rounding_mode="floor")
        nats = F.cross_entropy(logits, moved.targets, reduction="none").cpu()
        hit = (logits.argmax(-1) == moved.targets).cpu()
        zeros = torch.zeros(len(batch.input_ids), dtype=torch.double)
        right.append(zeros.index_add(0, row, hit.double()))
        masks.append(zeros.index_add(0, row, torch.ones_like(row, dtype=torch.double)))
        loss.append(zeros.index_add(0, row, nats.double()))
    counts = [torch.cat(parts).long().numpy() for parts in (right, masks)]
    return MaskedAnswers(counts[0], counts[1], torch.cat(loss).numpy())
