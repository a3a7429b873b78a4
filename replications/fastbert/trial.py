"""What is trained for one task and one seed.

The plain classifier is the baseline of every paper and truncated ones the static baselines. FastBERT trains backbone
and teacher, then students; variants train the students otherwise. Every classifier's logits are then collected once:
any Speed is a simulation on them. All of it is kept in the artifact store and made when first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.artifacts import Make
from common.early_exit.baselines import StaticTrial
from common.early_exit.runtime import collect_logits
from common.training.batches import BucketedBatches, EncodedSplit
from common.training.classifier import classifier_logits
from common.training.finetune import write_report
from common.training.loop import TrainingPlan, fit
from replications.fastbert.distil import Distillation
from replications.fastbert.method import (
    WIDTH,
    Direction,
    FastBERT,
    Teacher,
    adamw_with_classifiers_at,
    fresh_students,
    kl_from_student,
    kl_from_teacher,
    labels_loss,
    loss_with_dropout,
    require_task_with_classes,
    teacher_loss,
)
from replications.fastbert.names import (
    DISTILLED,
    DROPOUT_ON,
    FROM_LABELS,
    PRINTED_DIRECTION,
    UNDISTILLED,
    quarter_layers,
)
from replications.fastbert.settings import ABLATED, SETTINGS, SHALLOW, WITH_DROPOUT, Settings

DIRECTIONS: Mapping[str, Direction] = {DISTILLED: kl_from_teacher, PRINTED_DIRECTION: kl_from_student}

STUDENT_FLOPS_PER_SECOND = 130e9
"""Training students on the features of a frozen backbone."""


@dataclass(frozen=True)
class Answers:
    """What the models answer on dev's M examples, with N classes.

    Attributes:
        labels: (M,) class indices.
        exits: (M, L, N) of FastBERT's classifiers 1..L.
        plain: (M, N) of the plain classifier.
    """

    labels: NDArray[np.generic]
    exits: Tensor
    plain: Tensor


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of a trial's steps on two CPU cores."""

    classifier: float
    truncated: float
    teacher: float
    students: dict[str, float]
    logits: float
    timing: float


@dataclass
class Trial(StaticTrial):
    """The models of one task and seed, trained when first asked for."""

    @cached_property
    def settings(self) -> Settings:
        """The run's scale decides the hyper-parameters, the trial the seed."""
        return SETTINGS[self.run.scale.name].of(self.task_name, self.seed)

    @property
    def encoder_name(self) -> str:
        """The scale's encoder."""
        return self.settings.encoder

    @property
    def classifier_plan(self) -> TrainingPlan:
        """The plain classifier's plan, which is also stage 2's."""
        return self.settings.plan

    @cached_property
    def classes(self) -> int:
        """N.

        Raises:
            UserError: the task is a regression.
        """
        require_task_with_classes(self.task_name, self.task.labels)
        return len(self.task.labels)

    @property
    def is_first(self) -> bool:
        """Whether this is the run's first seed, which does what the others leave out."""
        return self.seed == self.run.seeds[0]

    @property
    def is_ablated(self) -> bool:
        """Whether students are also tried that learned otherwise, or not at all."""
        return self.task_name in ABLATED

    @property
    def variants(self) -> tuple[str, ...]:
        """What is trained beside FastBERT itself: Table 3's ablation and the two readings of stage 3."""
        noisy = self.task_name in WITH_DROPOUT
        chosen = {
            FROM_LABELS: self.is_ablated,
            PRINTED_DIRECTION: self.is_ablated and self.is_first,
            DROPOUT_ON: noisy and self.is_first,
        }
        return tuple(variant for variant, wanted in chosen.items() if wanted)

    @property
    def quarter_layers(self) -> int:
        """A quarter of the depth."""
        return quarter_layers(self.num_layers)

    @property
    def static_depths(self) -> tuple[int, ...]:
        """Depths of the truncated baselines; half the depth always."""
        shallow = {1, self.quarter_layers} if self.task_name in SHALLOW and self.is_first else set()
        return tuple(sorted({self.truncated_layers, *shallow}))

    # -- What it will take ----------------------------------------------------------------------------------------

    @property
    def estimate(self) -> Estimate:
        """From tokens and layer parameters, at rates measured on two cores."""
        scale, static = self.run.scale, self.static_costs
        depths = sum(depth for depth in self.static_depths if depth != self.truncated_layers)
        tokens, evaluated = self.tokens(self.task.train), self.tokens((*self.task.tune, *self.task.dev))
        a_pass = static.logits * tokens / (1.8 * evaluated)
        epochs = self.settings.distil.epochs
        learning = self._students_seconds(tokens)
        seconds = {
            DISTILLED: a_pass + learning,
            PRINTED_DIRECTION: a_pass + learning,
            FROM_LABELS: 1.3 * static.classifier,
            DROPOUT_ON: epochs * a_pass + learning,
        }
        return Estimate(
            classifier=static.classifier,
            truncated=static.truncated + static.classifier * depths / self.num_layers,
            teacher=1.05 * static.classifier,
            students={name: seconds[name] for name in (DISTILLED, *self.variants)},
            logits=(1.0 + 0.5 * (len(self.variants) + self.is_ablated)) * static.logits,
            timing=8 + 18 * scale.timing_examples * scale.timing_rounds * static.sample,
        )

    def _students_seconds(self, tokens: float) -> float:
        plan, hidden = self.settings.distil, self.source.encoder.hidden_size
        steps = plan.epochs * len(self.task.train) / plan.batch_size
        flops = 6 * (hidden * WIDTH + 2 * WIDTH * WIDTH) * plan.epochs * tokens
        return (self.num_layers - 1) * (flops / STUDENT_FLOPS_PER_SECOND + 0.0025 * steps)

    # -- What is trained ------------------------------------------------------------------------------------------

    def teacher_folder(self) -> Path:
        """Stage 2: backbone and teacher, from labels."""
        plan, rate = self.settings.plan, self.settings.classifiers_rate

        def make(folder: Path) -> None:
            model = Teacher.fresh(self.source.encoder, self.classes, plan.seed)
            report = fit(
                model,
                BucketedBatches(self.encoded.train, plan.batch_size, plan.seed),
                teacher_loss,
                plan,
                checkpoint=folder / "checkpoint" / "loop.safetensors",
                progress=self.run.progress,
                make_optimizer=adamw_with_classifiers_at(rate),
            )
            model.cpu().save(folder)
            write_report(folder, report)

        return self._stored("teacher", {**self._plain_recipe, "classifiers_rate": rate}, make)

    def students_folder(self, variant: str) -> Path:
        """The folder that holds a variant's students (and for `FROM_LABELS` a backbone and teacher of its own)."""
        if variant in DIRECTIONS:
            return self._distilled_folder(variant)
        if variant == DROPOUT_ON:
            return self._dropout_folder()
        if variant == FROM_LABELS:
            return self._labels_folder()
        raise KeyError(f"no variant {variant!r}")

    def _distilled_folder(self, variant: str) -> Path:
        """Stage 3 on features computed once."""
        teacher = self.teacher_folder()

        def make(folder: Path) -> None:
            model = Teacher.load(teacher)
            students = fresh_students(model.encoder, self.classes, self.seed)
            distillation = Distillation(DIRECTIONS[variant], self.settings.distil, self.device, self.run.progress)
            distillation.run(model, self.encoded.train, students, folder)

        recipe = {"teacher": teacher.name, "direction": DIRECTIONS[variant].__name__, **self.settings.distil.recipe()}
        return self._stored(f"students/{DIRECTIONS[variant].__name__}", recipe, make)

    def _dropout_folder(self) -> Path:
        """Stage 3 as the official code does it: backbone and teacher frozen, but with their dropout on."""
        teacher, plan = self.teacher_folder(), self.settings.distil

        def make(folder: Path) -> None:
            backbone = Teacher.load(teacher).requires_grad_(False)
            model = FastBERT(backbone, fresh_students(backbone.encoder, self.classes, self.seed))
            report = fit(
                model,
                BucketedBatches(self.encoded.train, plan.batch_size, plan.seed),
                loss_with_dropout,
                plan,
                checkpoint=folder / "checkpoint" / "loop.safetensors",
                progress=self.run.progress,
            )
            model.cpu().save_students(folder)
            write_report(folder, report)

        return self._stored("students/dropout", {"teacher": teacher.name, **plan.recipe()}, make)

    def _labels_folder(self) -> Path:
        """Table 3's "without self-distillation": everything learns from labels, by stage 2's plan."""
        plan, rate = self.settings.plan, self.settings.classifiers_rate

        def make(folder: Path) -> None:
            teacher = Teacher.fresh(self.source.encoder, self.classes, plan.seed)
            model = FastBERT(teacher, fresh_students(teacher.encoder, self.classes, plan.seed))
            report = fit(
                model,
                BucketedBatches(self.encoded.train, plan.batch_size, plan.seed),
                labels_loss,
                plan,
                checkpoint=folder / "checkpoint" / "loop.safetensors",
                progress=self.run.progress,
                make_optimizer=adamw_with_classifiers_at(rate),
            )
            model.cpu().save(folder)
            write_report(folder, report)

        return self._stored("labels", {**self._plain_recipe, "classifiers_rate": rate}, make)

    def model(self, variant: str = DISTILLED) -> FastBERT:
        """FastBERT, on the device, in evaluation mode."""
        students = self.students_folder(variant)
        teacher = students if variant == FROM_LABELS else self.teacher_folder()
        return FastBERT.load(teacher, students).to(self.device)

    def undistilled(self) -> FastBERT:
        """The trained teacher with the students that stage 3 starts from, on the device, in evaluation mode."""
        teacher = Teacher.load(self.teacher_folder())
        students = fresh_students(teacher.encoder, self.classes, self.seed)
        return FastBERT(teacher, students).eval().to(self.device)

    @property
    def _plain_recipe(self) -> dict[str, object]:
        return self.tuner.recipe(self.task, self.settings.plan, self.num_layers)

    def _stored(self, kind: str, recipe: Mapping[str, object], make: Make) -> Path:
        name = f"fastbert/{kind}/{self.source.name}/{self.task_name}/seed{self.seed}"
        return self.run.store.get(name, {**recipe, "kind": f"fastbert-{kind}"}, make, self.run.say)

    # -- What they answer -----------------------------------------------------------------------------------------

    def logits_folder(self) -> Path:
        """Everyone's logits on dev, and FastBERT's on tune, where Speeds are chosen."""
        plain = self.classifier_folder(self.num_layers)
        static = {depth: self.classifier_folder(depth) for depth in self.static_depths}
        students = {variant: self.students_folder(variant) for variant in (DISTILLED, *self.variants)}

        def make(folder: Path) -> None:
            tensors = {f"truncated.{depth}": self._plain_logits(depth) for depth in static}
            tensors["plain"] = self._plain_logits(self.num_layers)
            tensors["tune"] = self._exit_logits(self.model(), self.encoded.tune)
            for variant in students:
                tensors[variant] = self._exit_logits(self.model(variant), self.encoded.dev)
            if self.is_ablated:
                tensors[UNDISTILLED] = self._exit_logits(self.undistilled(), self.encoded.dev)
            save_file(tensors, folder / "logits.safetensors")

        recipe = {
            "plain": plain.name,
            "truncated": {str(depth): path.name for depth, path in static.items()},
            "students": {variant: path.name for variant, path in students.items()},
            "splits": {"tune": len(self.encoded.tune), "dev": len(self.encoded.dev)},
            "layout": 3,
        }
        return self._stored("logits", recipe, make)

    def _plain_logits(self, depth: int) -> Tensor:
        return classifier_logits(self.classifier(depth), self.encoded.dev, self.device)

    def _exit_logits(self, model: FastBERT, split: EncodedSplit) -> Tensor:
        return collect_logits(model, split.by_length(64), len(split), self.device)

    @cached_property
    def _logits(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = load_file(self.logits_folder() / "logits.safetensors")
        return tensors

    def answers(self) -> Answers:
        """FastBERT's and the plain classifier's on dev."""
        return Answers(self.encoded.dev.labels.numpy(), self.exits(DISTILLED), self._logits["plain"])

    def exits(self, variant: str) -> Tensor:
        """(M, L, N) of a variant's classifiers on dev; of `UNDISTILLED` too where a task is ablated."""
        return self._logits[variant]

    def tune_exits(self) -> Tensor:
        """(M', L, N) of FastBERT's classifiers on tune."""
        return self._logits["tune"]

    def truncated_logits(self, depth: int) -> Tensor:
        """(M, N) of a truncated classifier on dev."""
        return self._logits[f"truncated.{depth}"]
