"""FastBERT on a task run: how backbone, teacher and students are trained at each scale, and what it can be run at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from common.baselines import RECIPES, Recipe
from common.early_exit.contender import ExitContender
from common.early_exit.multi_exit import adamw_with_rate
from common.early_exit.operating_points import entropy_thresholds
from common.methods import Method
from common.run.replication import Step
from common.task_run import ModuleT, TaskRun
from common.training.batches import Batch
from common.training.loop import TrainingPlan
from common.training.token_states import LayerStates, TokenBatches
from replications.fastbert.flops import head_flops
from replications.fastbert.method import (
    WIDTH,
    Direction,
    EveryLayerClassified,
    ExitClassifier,
    Students,
    Teacher,
    UncertaintyAtMost,
    distilling,
    distilling_with_dropout,
    kl_from_student,
    kl_from_teacher,
    labels_loss,
    teacher_loss,
)
from replications.fastbert.names import (
    DROPOUT_ON,
    FASTBERT,
    FROM_LABELS,
    PRINTED_DIRECTION,
    UNDISTILLED,
    speed_setting,
)


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        stage2: of the baseline, whose plan backbone and teacher follow, too.
        classifiers_rate: learning rate in stage 2 of the classifiers, which start from nothing.
        stage3: of the students. Without clipping, as the official code, and so that they do not depend on each other.
    """

    stage2: Recipe
    classifiers_rate: float
    stage3: TrainingPlan


def _stage3(epochs: int, batch_size: int) -> TrainingPlan:
    return TrainingPlan(2e-3, epochs, batch_size, seed=0, warmup=0.1, max_gradient_norm=None)


AS_PUBLISHED = TrainingPlan(2e-5, 3, 32, seed=0, adam_epsilon=1e-6, warmup=0.1, max_gradient_norm=None)

SETTINGS = {
    "smoke": Settings(RECIPES["smoke"], 2e-3, _stage3(epochs=2, batch_size=32)),
    "mini": Settings(RECIPES["mini"], 1e-3, _stage3(epochs=5, batch_size=32)),
    "base": Settings(RECIPES["base"], 1e-3, _stage3(epochs=5, batch_size=128)),
    "paper": Settings(
        Recipe("google-bert/bert-base-uncased", whole=AS_PUBLISHED, shallow=AS_PUBLISHED),
        2e-5,
        replace(AS_PUBLISHED, learning_rate=2e-4, epochs=5),
    ),
}
"""At the paper's scale the hyper-parameters are the paper's and its official code's; else ours, see README."""

DIRECTIONS: Mapping[str, Direction] = {FASTBERT: kl_from_teacher, PRINTED_DIRECTION: kl_from_student}

STUDENT_FLOPS_PER_SECOND = 130e9
"""Training students on states that were computed once."""


class FastBERT(ExitContender):
    """Students on a backbone that was fine-tuned with the teacher; by default they learn as the official code has it.

    Args:
        task_run: what it is trained on.
        name: `FASTBERT`, or a variant: `PRINTED_DIRECTION`, `DROPOUT_ON`, `FROM_LABELS`, `UNDISTILLED`.
    """

    least_layers = 1

    def __init__(self, task_run: TaskRun, name: str = FASTBERT) -> None:
        super().__init__(task_run)
        self.name = name
        settings = SETTINGS[task_run.run.scale.name]
        self.classifiers_rate, self.stage3 = settings.classifiers_rate, replace(settings.stage3, seed=task_run.seed)

    # -- Stage 2 ------------------------------------------------------------------------------------------------------

    def teacher_folder(self) -> Path:
        """Backbone and teacher, from labels."""
        run = self.task_run
        fresh = lambda: Teacher.fresh(run.backbone.encoder, run.outputs, run.seed)  # noqa: E731
        return self._from_labels("fastbert-teacher", fresh, teacher_loss)

    def _from_labels(self, kind: str, fresh: Callable[[], ModuleT], loss: Callable[[ModuleT, Batch], Tensor]) -> Path:
        """The pretrained backbone and classifiers on it, by the baseline's plan but for the classifiers' rate."""
        run, rate = self.task_run, self.classifiers_rate
        facts, optimizer = {"backbone": run.facts, "classifiers_rate": rate}, adamw_with_rate(rate, of="classifier")
        return run.trained(kind, facts, fresh, lambda: run.batches, loss, run.plan, make_optimizer=optimizer)

    def teacher(self) -> Teacher:
        """The same, on the CPU, in evaluation mode."""
        return Teacher.load(self.teacher_folder())

    # -- Stage 3 ------------------------------------------------------------------------------------------------------

    def folder(self) -> Path:
        """The students; of `FROM_LABELS` backbone and teacher, too."""
        if self.name == FROM_LABELS:
            return self._from_labels("fastbert-from-labels", self._whole, labels_loss)
        if self.name == DROPOUT_ON:
            return self._distilled_with_dropout()
        if self.name == UNDISTILLED:
            return self.task_run.stored("fastbert-untaught", self._from_teacher, self.fresh_students().save)
        return self._distilled(DIRECTIONS[self.name])

    def fresh_students(self) -> Students:
        """Where stage 3 starts."""
        run = self.task_run
        return Students.fresh(run.backbone.encoder, run.outputs, run.seed)

    @property
    def _from_teacher(self) -> dict[str, object]:
        return {"teacher": self.teacher_folder().name}

    def _distilled(self, direction: Direction) -> Path:
        """One student after the other, on states of the frozen backbone that are computed once."""
        run, plan = self.task_run, self.stage3
        kind, facts = f"fastbert-students-{direction.__name__}", self._from_teacher

        def make(folder: Path) -> None:
            teacher = self.teacher().to(run.device)
            states = LayerStates(teacher.encoder, run.encoded.train, run.device)
            teacher_log_p = F.log_softmax(states.at(run.num_layers).answers(teacher.classifier, run.device), dim=-1)

            def student(layer: int, fresh: ExitClassifier) -> ExitClassifier:
                trained = run.trained(
                    f"{kind}-{layer}",
                    facts,
                    lambda: fresh,
                    lambda: TokenBatches(states.at(layer), teacher_log_p, plan.batch_size, plan.seed),
                    distilling(direction),
                    plan,
                )
                return ExitClassifier.load(trained)

            Students(student(layer, fresh) for layer, fresh in enumerate(self.fresh_students(), 1)).save(folder)

        return run.stored(kind, {**facts, "plan": plan.recipe()}, make)

    def _distilled_with_dropout(self) -> Path:
        """All students together, the backbone passing over the texts in each epoch."""
        run, plan = self.task_run, self.stage3
        return run.trained(
            "fastbert-students-with-dropout",
            self._from_teacher,
            self.fresh_students,
            lambda: replace(run.batches, batch_size=plan.batch_size),
            distilling_with_dropout(self.teacher().to(run.device)),
            plan,
        )

    def _whole(self) -> EveryLayerClassified:
        """Untrained, for Table 3's "without self-distillation", where everything learns from labels."""
        run = self.task_run
        teacher = Teacher.fresh(run.backbone.encoder, run.outputs, run.seed)
        return EveryLayerClassified(teacher, self.fresh_students())

    def model(self) -> EveryLayerClassified:
        """Backbone, students and teacher."""
        students = self.folder()
        return EveryLayerClassified.load(students if self.name == FROM_LABELS else self.teacher_folder(), students)

    # -- What it will take --------------------------------------------------------------------------------------------

    def training_steps(self) -> Sequence[Step]:
        """Stage 2, then stage 3."""
        label, (teacher, students) = self.task_run.label, self._seconds
        last = Step.making(f"{label}: students: {self.name}", students, self.folder)
        first = Step.making(f"{label}: FastBERT's backbone and teacher", teacher, self.teacher_folder)
        return [last] if self.name == FROM_LABELS else [first, last]

    @property
    def _seconds(self) -> tuple[float, float]:
        """Of stage 2, and of what the students take."""
        run, plan, train = self.task_run, self.stage3, self.task_run.task.train
        fine_tuning, a_pass = run.training_seconds(run.plan, run.num_layers), run.pass_seconds(train)
        maps = run.backbone.encoder.hidden_size * WIDTH + 2 * WIDTH * WIDTH
        flops = 6 * maps * plan.epochs * run.tokens(train)
        steps = plan.epochs * len(train) / plan.batch_size
        learning = (run.num_layers - 1) * (flops / STUDENT_FLOPS_PER_SECOND + 0.0025 * steps)
        students = {FROM_LABELS: 1.3 * fine_tuning, DROPOUT_ON: plan.epochs * a_pass + learning, UNDISTILLED: 0.1}
        return 1.05 * fine_tuning, students.get(self.name, a_pass + learning)

    # -- Use ----------------------------------------------------------------------------------------------------------

    def rule(self, at: float) -> UncertaintyAtMost:
        """Leave at this Speed."""
        return UncertaintyAtMost(at)

    @property
    def grid(self) -> Sequence[float]:
        """Speeds over 0 to 1, crowded towards both ends."""
        top = math.log(self.task_run.outputs)
        return sorted({min(1.0, nats / top) for nats in entropy_thresholds(self.task_run.outputs)})

    def setting_name(self, at: float) -> str:
        """As in the paper."""
        return speed_setting(at)

    def head_flops(self, tokens: int) -> int:
        """FLOPs of one classifier, which reads every token."""
        return head_flops(self.task_run.shape.hidden, self.task_run.outputs, tokens)


METHODS = (Method(FASTBERT, FastBERT),)
"""The variants are for this paper's tables."""
