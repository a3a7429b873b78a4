"""What one task teaches, whatever the student and its seed: the teacher, its answers, the corpus, the vocabulary.

The teacher is fine-tuned once (stage 1) and labels C u D_train once; students of every seed and shape learn from the
same stored logits, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.devices import available_device
from common.encoders.sources import PretrainedEncoder
from common.errors import UserError
from common.replication import Run
from common.tasks.plain_text import without_markup
from common.tasks.task import Example, Task
from common.timing.estimates import forward_seconds, token_estimate, training_seconds
from common.timing.flops import EncoderShape
from common.timing.parameters import layer_parameters
from common.training.batches import EncodedSplit, encode
from common.training.classifier import EncoderClassifier, classifier_logits
from common.training.finetune import EncodedTask, FineTuner, encode_task
from common.training.loop import TrainingPlan
from replications.sparse_distillation.corpus import unlabelled
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.settings import Settings, settings_of

ACCURACY_TASKS = frozenset({"imdb", "sst-2", "trec", "ag-news", "qqp", "qqp-sample"})
"""The tasks of Table 2 that are at hand: the paper scores them all by accuracy, where GLUE scores QQP by F1."""


@dataclass(frozen=True)
class TeacherLogits:
    """(N, C) of the fine-tuned teacher on the texts it was shown, in their order."""

    train: Tensor
    corpus: Tensor
    dev: Tensor


@dataclass
class Lesson:
    """One task, as it is taught to every student."""

    run: Run
    task_name: str

    @property
    def settings(self) -> Settings:
        """By scale and source."""
        return settings_of(self.run.scale.name, self.run.data)

    @cached_property
    def device(self) -> torch.device:
        """A GPU if there is one."""
        return available_device()

    @property
    def source(self) -> PretrainedEncoder:
        """The teacher before fine-tuning."""
        return self.run.encoder(self.settings.teacher)

    @cached_property
    def task(self) -> Task:
        """The labelled data; long texts are cut alike for every system.

        Raises:
            UserError: it is a regression; the student is a classifier.
        """
        task = self.run.task(self.task_name)
        if task.is_regression:
            raise UserError(f"the n-gram student is a classifier; {task.name} is a regression. Drop it from TASKS")
        train, dev = (cut(split, self.settings.max_words) for split in (task.train, task.dev))
        return replace(task, train=train, dev=dev)

    @property
    def metric(self) -> str:
        """What answers are scored by: the paper's accuracy on its own tasks, elsewhere the task's metric."""
        return "accuracy" if self.task.name in ACCURACY_TASKS else self.task.metric

    @cached_property
    def corpus(self) -> tuple[Example, ...]:
        """C: unlabelled text."""
        settings = self.settings
        return cut(unlabelled(self.run, self.task_name, settings.corpus_words, settings.max_words), settings.max_words)

    @cached_property
    def corpus_fingerprint(self) -> str:
        """Equal texts, equal fingerprint."""
        return Task("corpus", (), "", "", self.corpus, ()).fingerprint

    # -- Stage 1: the teacher -----------------------------------------------------------------------------------------

    @cached_property
    def teacher_plan(self) -> TrainingPlan:
        """As many epochs as the budget of tokens allows, at most the plan's own number and at least one."""
        plan = self.settings.teacher_plan
        tokens = min(plan.max_length, token_estimate(self.task.train) / len(self.task.train)) * len(self.task.train)
        return replace(plan, epochs=max(1, round(min(plan.epochs, self.settings.teacher_tokens / tokens))))

    @cached_property
    def encoded(self) -> EncodedTask:
        """The labelled data as token ids."""
        return encode_task(self.source.tokenizer, self.task, self.teacher_plan.max_length)

    @cached_property
    def encoded_corpus(self) -> EncodedSplit:
        """The corpus as token ids."""
        return encode(self.source.tokenizer, self.corpus, regression=False, max_length=self.teacher_plan.max_length)

    @property
    def tuner(self) -> FineTuner:
        """Stage 1."""
        return FineTuner(self.run.store, self.source, self.run.say, self.run.progress)

    @property
    def small_layers(self) -> int:
        """Depth of the small Transformer that is fine-tuned without a teacher: half, as DistilBERT's."""
        return max(1, self.source.encoder.num_layers // 2)

    def classifier_folder(self, layers: int) -> Path:
        """The first `layers` layers, fine-tuned: with all of them the teacher."""
        return self.tuner.fine_tune(self.task, self.encoded, self.teacher_plan, layers)

    def classifier(self, layers: int) -> EncoderClassifier:
        """The fine-tuned classifier, on the device."""
        model: EncoderClassifier = EncoderClassifier.load(self.classifier_folder(layers)).to(self.device)
        return model

    def teacher(self) -> EncoderClassifier:
        """The fine-tuned teacher."""
        return self.classifier(self.source.encoder.num_layers)

    @cached_property
    def teacher_logits(self) -> TeacherLogits:
        """Stage 2's targets, computed once and stored."""
        splits = {"train": self.encoded.train, "corpus": self.encoded_corpus, "dev": self.encoded.dev}

        def make(into: Path) -> None:
            model, total, done = self.teacher(), sum(map(len, splits.values())), 0
            logits = {}
            for name, split in splits.items():
                advance = partial(self._advance, done, total)
                logits[name] = classifier_logits(model, split, self.device, advance)
                done += len(split)
            save_file(logits, into / "logits.safetensors")

        recipe = {"kind": "teacher-logits", **self.teacher_recipe}
        name = f"sparse-distillation/teacher-logits/{self.task_name}"
        return read_logits(
            self.run.store.get(name, recipe, make, self.run.say) / "logits.safetensors",
            {name: len(split) for name, split in splits.items()},
        )

    def _advance(self, before: int, total: int, done: int) -> None:
        self.run.progress(before + done, total)

    @property
    def teacher_recipe(self) -> dict[str, object]:
        """All that the teacher's answers depend on, as JSON."""
        classifier = self.tuner.recipe(self.task, self.teacher_plan, self.source.encoder.num_layers)
        return {"teacher": classifier, "corpus": self.corpus_fingerprint}

    def answers_of(self, layers: int) -> Tensor:
        """(N, C) of the fine-tuned first `layers` layers on dev."""
        return classifier_logits(self.classifier(layers), self.encoded.dev, self.device)

    # -- The n-gram vocabulary (Section 3.2): the |V| most frequent over D_train and C ---------------------------------

    @cached_property
    def vocabulary(self) -> Callable[[int], Vocabulary]:
        """V by its size; two stay in memory, the usual one and one of an experiment."""
        return lru_cache(maxsize=2)(self._vocabulary)

    def _vocabulary(self, size: int) -> Vocabulary:
        examples = (*self.task.train, *self.corpus)

        def texts() -> list[str]:
            return [text for e in examples for text in (e.text_a, e.text_b) if text is not None]

        def make(folder: Path) -> None:
            build_vocabulary(texts, size, scratch=folder / "checkpoint").save(folder)

        recipe = {
            "kind": "ngram-vocabulary",
            "size": size,
            "task": self.task.fingerprint,
            "corpus": self.corpus_fingerprint,
        }
        name = f"sparse-distillation/vocabulary/{self.task_name}/{size}"
        return Vocabulary.load(self.run.store.get(name, recipe, make, self.run.say))

    # -- What it will cost --------------------------------------------------------------------------------------------

    @property
    def teacher_seconds(self) -> float:
        """Stage 1, on two CPU cores."""
        tokens = min(self.teacher_plan.max_length, token_estimate(self.task.train) / len(self.task.train))
        return 3 + training_seconds(self._layers, self.teacher_plan.epochs * tokens * len(self.task.train))

    @property
    def labelling_seconds(self) -> float:
        """The teacher on corpus, train and dev, on two CPU cores."""
        tokens = min(self.teacher_plan.max_length, token_estimate(self.task.train) / len(self.task.train))
        examples = len(self.task.train) + len(self.task.dev)
        return 5 + forward_seconds(self._layers, 1.3 * self.settings.corpus_words + tokens * examples)

    @property
    def student_seconds(self) -> float:
        """One DAN's stage 2, on two CPU cores: what its n-grams cost."""
        words = token_estimate(self.task.train) + 1.5 * self.settings.corpus_words
        return 1 + 4e-6 * words * self.settings.distil.epochs

    @property
    def _layers(self) -> int:
        shape = EncoderShape.from_config(self.source.encoder.config)
        return shape.layers * layer_parameters(shape)


def read_logits(path: Path, expected: dict[str, int]) -> TeacherLogits:
    """Read the teacher's stored logits.

    Raises:
        UserError: they are not for as many texts as there are.
    """
    tensors = load_file(path)
    for name, count in expected.items():
        found = len(tensors[name]) if name in tensors else 0
        if found != count:
            raise UserError(
                f"{path}: expected the teacher's logits for {count} {name} texts, found {found}. "
                "They belong to other data: remove the file, and they are computed again"
            )
    return TeacherLogits(**{name: tensors[name] for name in expected})


def cut(examples: Sequence[Example], words: int) -> tuple[Example, ...]:
    """The first `words` words of each text, line-break markup removed; texts that need neither stay as they are."""

    def first(text: str) -> str:
        pieces = (plain := without_markup(text)).split()
        return " ".join(pieces[:words]) if len(pieces) > words else plain

    return tuple(
        replace(e, text_a=first(e.text_a), text_b=None if e.text_b is None else first(e.text_b)) for e in examples
    )
