"""Task distillation: the students of one task run, each made when first asked for.

The teacher is the backbone, fine-tuned by the baseline's plan with the paper's head. It teaches in two steps, one after
the other: the layers on the augmented texts, then its answers; of a regression the answers to the original texts alone.
The students of the ablations take the first step side by side, in one pass of the teacher a batch, and have the weights
that each would have alone but for the draws of dropout.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from torch import Tensor

from common.costs.estimates import FORWARD_FLOPS_PER_SECOND, forward_seconds, training_seconds
from common.costs.flops import EncoderShape, linear_flops
from common.costs.parameters import layer_parameters
from common.models.classifier import classifier_logits
from common.records.measurements import write_text
from common.run.replication import Step
from common.task_run import TaskRun
from common.tasks.task import Example, Task
from common.training.batches import Batch, BucketedBatches, EncodedSplit, encode
from common.training.finetune import classification_loss
from common.training.pretraining.checks import require_label_order
from replications.tinybert.augmentation import Augmenter, GloVe
from replications.tinybert.general import General, slug, table_seconds
from replications.tinybert.method import (
    Student,
    Students,
    Texts,
    TinyClassifier,
    adamw_by_tensor,
    check_pair,
    imitation_loss,
    prediction_loss,
)
from replications.tinybert.names import NARROW, TEACHER, TINYBERT, WITHOUT_PRED
from replications.tinybert.settings import Settings
from replications.tinybert.students import DIRECT, GENERAL, VARIANTS, Variant

AUGMENTED = "augmented.jsonl"


def batch_texts(batch: Batch) -> Texts:
    """What an encoder takes."""
    return batch.input_ids, batch.attention_mask, batch.token_type_ids


def answers_loss(model: TinyClassifier, batch: Batch) -> Tensor:
    """The second step's: the batch's labels are the teacher's logits (B, C)."""
    return prediction_loss(model(batch), batch.labels)


def side_by_side(name: str) -> tuple[str, ...]:
    """The systems with which the narrow student `name` takes the first step: alone, or with those on the same texts."""
    if name in (TINYBERT, WITHOUT_PRED):
        return (TINYBERT,)
    augmented = VARIANTS[name].augmented
    taught = [n for n, v in VARIANTS.items() if v.distilled and v.augmented == augmented]
    return tuple(n for n in taught if n not in (TINYBERT, WITHOUT_PRED))


@dataclass(frozen=True, eq=False)
class Distillation:
    """The teacher and the students of a task run.

    Attributes:
        task_run: data, backbone, seed.
        general: where the students come from.
    """

    task_run: TaskRun
    general: General

    @property
    def settings(self) -> Settings:
        """Of the scale."""
        return self.general.settings

    @property
    def task(self) -> Task:
        """The data."""
        return self.task_run.task

    # -- The teacher --------------------------------------------------------------------------------------------------

    def teacher_folder(self) -> Path:
        """The backbone with the paper's head, by the baseline's plan."""
        run = self.task_run
        return run.trained(
            "tinybert-teacher",
            {"backbone": run.facts},
            lambda: TinyClassifier.fresh(run.backbone.encoder, run.outputs, run.seed, run.pooling),
            lambda: run.batches,
            classification_loss,
            run.plan,
        )

    def teacher(self) -> TinyClassifier:
        """The same, on the device, in evaluation mode."""
        model: TinyClassifier = TinyClassifier.load(self.teacher_folder()).to(self.task_run.device)
        return model

    @cached_property
    def teacher_logits(self) -> Mapping[str, Tensor]:
        """(N, C) by split.

        Raises:
            UserError: the teacher's classes seem to come in another order than the task's.
        """
        found = self.logits_of(self.teacher_folder(), TEACHER)
        if not self.task.is_regression:
            require_label_order(found["tune"], self.task_run.splits["tune"].labels, self.task.labels)
        return found

    # -- Texts --------------------------------------------------------------------------------------------------------

    @cached_property
    def augmented(self) -> list[Example]:
        """The training examples, each followed by its variants (Algorithm 1)."""
        run, rule, language = self.task_run, self.settings.augmentation, self.general.language_teacher
        glove = self._glove

        def make(folder: Path) -> None:
            model = language.model().to(run.device)
            if glove is None:
                run.run.say(
                    "no word vectors (a folder glove... in DATA_DIR): words of several pieces are not exchanged"
                )

            def at_places(ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
                return model.logits_at(model.encoder(ids, mask), places.flatten().nonzero()[:, 0])

            tokenizer = run.backbone.tokenizer
            augmenter = Augmenter(tokenizer, at_places, rule, glove, run.device, run.run.progress)
            rows = [[e.text_a, e.text_b, e.label] for e in augmenter.augmented(self.task.train, run.seed)]
            write_text(folder / AUGMENTED, "".join(json.dumps(row) + "\n" for row in rows))

        facts = {
            "task": self.task.fingerprint,
            "language model": language.fingerprint,
            "rule": repr(rule),
            "glove": None if glove is None else glove.fingerprint,
            "seed": run.seed,
        }
        folder = run.stored("tinybert-augmented", facts, make)
        lines = (folder / AUGMENTED).read_text(encoding="utf-8").splitlines()
        return [Example(*json.loads(line)) for line in lines]

    @cached_property
    def _glove(self) -> GloVe | None:
        """Word vectors in the data folder, if there are any."""
        data_dir = self.task_run.run.data_dir
        return None if data_dir is None else GloVe.find(data_dir)

    @cached_property
    def shown(self) -> EncodedSplit:
        """The augmented examples as token ids."""
        return self._encoded(self.augmented)

    def _encoded(self, examples: Sequence[Example]) -> EncodedSplit:
        run = self.task_run
        tokenizer, length = run.backbone.tokenizer, run.plan.max_length
        return encode(tokenizer, examples, regression=self.task.is_regression, max_length=length)

    def _texts(self, variant: Variant) -> EncodedSplit:
        return self.shown if variant.augmented else self.task_run.encoded.train

    def _text_facts(self, variant: Variant) -> dict[str, object]:
        """What identifies them."""
        if not variant.augmented:
            return {"task": self.task.fingerprint}
        content = Task("augmented", (), "", "", tuple(self.augmented), ()).fingerprint
        return {"task": self.task.fingerprint, "augmented": content}

    # -- The first step: the layers -----------------------------------------------------------------------------------

    def first_step(self, name: str, setting: str = NARROW) -> Path:
        """The folder of the `Student` that has learned from the fine-tuned teacher's layers."""
        names = side_by_side(name)
        return self._imitated(names, setting) / slug(TINYBERT if name == WITHOUT_PRED else name)

    def _imitated(self, names: Sequence[str], setting: str) -> Path:
        run, variants = self.task_run, {slug(name): VARIANTS[name] for name in names}
        starts = {slug(name): self._start(name, setting) for name in names}
        plan, texts = self.settings.intermediate_of(run.task_name, run.seed), variants[slug(names[0])]
        objectives = {key: variant.objective for key, variant in variants.items()}

        @cache
        def teach() -> Callable[[Students, Batch], Tensor]:
            _ = self.teacher_logits  # A teacher with its classes in another order is refused here.
            return imitation_loss(self.teacher().encoder, objectives, batch_texts)

        def fresh() -> Students:
            students, teacher = Students({key: load() for key, (_, load) in starts.items()}), run.backbone.encoder
            for key, objective in objectives.items():
                student = students[key]
                assert isinstance(student, Student)
                check_pair(student.encoder, teacher, objective)
            return students

        facts = {
            "teacher": self.teacher_folder().name,
            "starts": {key: origin for key, (origin, _) in starts.items()},
            "objectives": {key: repr(objective) for key, objective in objectives.items()},
            **self._text_facts(texts),
        }
        return run.trained(
            f"tinybert-layers-{setting}",
            facts,
            fresh,
            lambda: BucketedBatches(self._texts(texts), plan.batch_size, run.seed),
            lambda students, batch: teach()(students, batch),
            plan,
            make_optimizer=adamw_by_tensor,
        )

    def _start(self, name: str, setting: str) -> tuple[str, Callable[[], Student]]:
        """What identifies a student before the task, and how it is had."""
        variant, general = VARIANTS[name], self.general
        if variant.start == GENERAL:
            folder = general.folder(setting) if name == TINYBERT else general.start(name, variant.objective)
            return f"{folder.parent.name}/{folder.name}", lambda: Student.load(folder)
        if variant.start == DIRECT:
            return general.direct_folder().name, general.direct
        return "nothing", lambda: general.fresh(self.settings.narrow)

    # -- The second step: the answers ---------------------------------------------------------------------------------

    def folder(self, name: str = TINYBERT, setting: str = NARROW) -> Path:
        """The folder of a finished student, a `TinyClassifier`."""
        run, variant, plan = self.task_run, VARIANTS[name], self.settings.prediction_of(self.task_run.seed)
        if variant.distilled:
            first = self.first_step(name, setting)
            origin = f"{first.parent.name}/{first.name}"
            load: Callable[[], Student] = lambda: Student.load(first)  # noqa: E731
        else:
            origin, load = self._start(name, setting)
        by_labels = variant.from_labels or not variant.distilled
        texts = replace(variant, augmented=variant.augmented and self._answers_on_augmented(variant))

        def fresh() -> TinyClassifier:
            return TinyClassifier.fresh(load().encoder, run.outputs, run.seed, run.pooling)

        def batches() -> BucketedBatches:
            split = self._texts(texts)
            if not by_labels:
                split = replace(split, labels=self._taught(texts))
            return BucketedBatches(split, plan.batch_size, run.seed)

        facts = {"start": origin, "labels": by_labels, **self._text_facts(texts)}
        if not by_labels:
            facts["teacher"] = self.teacher_folder().name
        loss = classification_loss if by_labels else answers_loss
        kind = f"tinybert-{setting}"
        return run.trained(kind, facts, fresh, batches, loss, plan, make_optimizer=adamw_by_tensor)

    def _answers_on_augmented(self, variant: Variant) -> bool:
        """Not where a student learns from labels in the second step, nor of a regression that is distilled."""
        return not (variant.distilled and (variant.from_labels or self.task.is_regression))

    def _taught(self, texts: Variant) -> Tensor:
        """(N, C) the teacher's answers."""
        run = self.task_run

        def compute() -> dict[str, Tensor]:
            return {"logits": classifier_logits(self.teacher(), self._texts(texts), run.device)}

        facts = {"teacher": self.teacher_folder().name, **self._text_facts(texts)}
        return run.tensors("tinybert-taught", facts, compute)["logits"]

    # -- Answers ------------------------------------------------------------------------------------------------------

    def model(self, name: str = TINYBERT, setting: str = NARROW) -> TinyClassifier:
        """A finished student, on the device, in evaluation mode."""
        model: TinyClassifier = TinyClassifier.load(self.folder(name, setting)).to(self.task_run.device)
        return model

    def logits(self, name: str = TINYBERT, setting: str = NARROW) -> Mapping[str, Tensor]:
        """(N, C) of a student, by split."""
        return self.logits_of(self.folder(name, setting), f"{name} {setting}")

    def logits_of(self, folder: Path, name: str) -> Mapping[str, Tensor]:
        """(N, C) of the classifier in `folder`, by split."""
        run = self.task_run

        def compute() -> dict[str, Tensor]:
            model: TinyClassifier = TinyClassifier.load(folder).to(run.device)
            return {split: classifier_logits(model, data, run.device) for split, data in run.splits.items()}

        return run.tensors(f"tinybert-logits/{slug(name)}", {"model": folder.name}, compute)

    # -- What it will take --------------------------------------------------------------------------------------------

    def steps(self, settings: Sequence[str], compared: Sequence[str]) -> list[Step]:
        """Make the teacher, the augmented texts, the students of these settings and those of these systems."""
        run, label = self.task_run, self.task_run.label
        steps = [
            Step.making(f"{label}: the teacher", run.training_seconds(run.plan, run.num_layers), self._teaches),
            Step.making(f"{label}: augmented texts", self._augmenting_seconds, lambda: self.augmented),
        ]
        for setting in settings:
            seconds = self._student_seconds(setting)
            made = lambda setting=setting: self.logits(TINYBERT, setting)  # noqa: E731
            steps.append(Step.making(f"{label}: {TINYBERT} {setting}", seconds, made))
        others = [name for name in compared if name != TINYBERT]
        if others:
            seconds = self._others_seconds(others)
            who = others[0] if len(others) == 1 else f"{len(others)} other students"
            steps.append(Step.making(f"{label}: {who}", seconds, lambda: self._made(others)))
        return steps

    def _teaches(self) -> object:
        return self.teacher_logits

    def _made(self, names: Sequence[str]) -> object:
        return [self.logits(name) for name in names]

    @property
    def _tokens(self) -> float:
        """Of the augmented texts, about: each text of an example has its variants."""
        texts = 2 if self.task.is_pair else 1
        return self.task_run.tokens(self.task.train) * (1 + texts * self.settings.augmentation.copies)

    @property
    def _augmenting_seconds(self) -> float:
        """The language model's passes, and its head at about one word in two."""
        run, rule = self.task_run, self.settings.augmentation
        tokens = run.tokens(self.task.train)
        words, passes = tokens / 2, rule.passes or tokens / len(self.task.train) / 2
        head = words * linear_flops(run.shape.hidden, run.shape.vocabulary)
        return 2 + passes * run.pass_seconds(self.task.train) + head / FORWARD_FLOPS_PER_SECOND

    def _first_seconds(self, setting: str, names: Sequence[str]) -> float:
        """The first step of students that take it side by side."""
        run, plan = self.task_run, self.settings.intermediate_of(self.task_run.task_name, self.task_run.seed)
        tokens, batches = self._work_of(VARIANTS[names[0]].augmented, plan.batch_size)
        teacher = forward_seconds(run.num_layers * layer_parameters(run.shape), tokens)
        return plan.epochs * (teacher + len(names) * self._pass_seconds(setting, tokens, batches))

    def _second_seconds(self, setting: str, name: str) -> float:
        """The second step, or learning from labels."""
        plan = self.settings.prediction
        tokens, batches = self._work_of(VARIANTS[name].augmented, plan.batch_size)
        return 1 + plan.epochs * self._pass_seconds(setting, tokens, batches)

    def _work_of(self, augmented: bool, batch_size: int) -> tuple[float, float]:
        """Tokens and batches of an epoch."""
        once = self.task_run.tokens(self.task.train)
        tokens = self._tokens if augmented else once
        return tokens, tokens / once * len(self.task.train) / batch_size

    def _pass_seconds(self, setting: str, tokens: float, batches: float) -> float:
        """A student's training over so much."""
        shape = EncoderShape.from_config(
            self.settings.students[setting].shape(self.general.source.encoder.config).config()
        )
        layers = training_seconds(shape.layers * layer_parameters(shape), tokens)
        return layers + batches * table_seconds(shape)

    def _student_seconds(self, setting: str) -> float:
        """Both steps of TinyBERT, and the teacher's answers for it."""
        run = self.task_run
        answers = forward_seconds(run.num_layers * layer_parameters(run.shape), self._tokens)
        return 2 + self._first_seconds(setting, [TINYBERT]) + answers + self._second_seconds(setting, TINYBERT)

    def _others_seconds(self, names: Sequence[str]) -> float:
        """All further students, who start from the narrow TinyBERT's first step or share one."""
        groups = {side_by_side(name) for name in names if VARIANTS[name].distilled} - {(TINYBERT,)}
        first = sum(self._first_seconds(NARROW, group) for group in groups)
        return 2 + first + sum(self._second_seconds(NARROW, name) for name in names)
