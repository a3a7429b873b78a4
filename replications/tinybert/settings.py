"""What is trained how, at each scale: students, general distillation, both steps on a task, augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from common.baselines import RECIPES, Recipe
from common.training.loop import TrainingPlan
from replications.tinybert.augmentation import Rule
from replications.tinybert.method import StudentSize
from replications.tinybert.names import NARROW, WIDE


@dataclass(frozen=True)
class Settings:
    """One scale.

    Attributes:
        recipe: of the baseline; the teacher follows its plan.
        narrow: the student of the ablations, and of the paper's main point.
        wide: the other student; None: there is none.
        words: of plain text for general distillation; None: all that there is.
        general: of general distillation, and of masked language modelling for its rival.
        intermediate: of task distillation's first step; its epochs are for tasks that `epochs` does not name.
        epochs: of the first step, by task.
        prediction: of the second step, and of students that learn from labels.
        augmentation: how texts are changed.
    """

    recipe: Recipe
    narrow: StudentSize
    wide: StudentSize | None
    words: int | None
    general: TrainingPlan
    intermediate: TrainingPlan
    prediction: TrainingPlan
    augmentation: Rule
    epochs: Mapping[str, int] = field(default_factory=dict)

    @property
    def students(self) -> dict[str, StudentSize]:
        """By setting."""
        return {NARROW: self.narrow, **({WIDE: self.wide} if self.wide else {})}

    def intermediate_of(self, task: str, seed: int) -> TrainingPlan:
        """The first step's plan on a task."""
        return replace(self.intermediate, seed=seed, epochs=self.epochs.get(task, self.intermediate.epochs))

    def prediction_of(self, seed: int) -> TrainingPlan:
        """The second step's plan."""
        return replace(self.prediction, seed=seed)


def _plan(rate: float, epochs: int, batch_size: int, length: int = 128, precision: str = "auto") -> TrainingPlan:
    """Gradients are clipped tensor by tensor (`adamw_by_tensor`), not by the norm of all."""
    return TrainingPlan(
        rate,
        epochs,
        batch_size,
        seed=0,
        weight_decay=0.01,
        adam_epsilon=1e-6,
        warmup=0.1,
        max_gradient_norm=None,
        max_length=length,
        precision=precision,  # type: ignore[arg-type]
    )


SETTINGS: Mapping[str, Settings] = {
    "smoke": Settings(
        RECIPES["smoke"],
        narrow=StudentSize(2, 32, 128),
        wide=None,
        words=4_000,
        general=_plan(2e-3, 2, 32, length=32, precision="float32"),
        intermediate=_plan(3e-3, 2, 64, precision="float32"),
        prediction=_plan(3e-3, 3, 64, precision="float32"),
        augmentation=Rule(copies=1, passes=1),
    ),
    "mini": Settings(
        RECIPES["mini"],
        narrow=StudentSize(2, 156, 600),
        wide=StudentSize(3, 384, 1536),
        words=60_000,
        general=_plan(1e-3, 1, 32, length=32),
        intermediate=_plan(1e-3, 1, 16),
        prediction=_plan(5e-4, 2, 16),
        augmentation=Rule(copies=1, passes=3),
    ),
    "base": Settings(
        RECIPES["base"],
        narrow=StudentSize(4, 312, 1200),
        wide=None,
        words=None,
        general=_plan(5e-4, 1, 64, length=128),
        intermediate=_plan(2e-4, 5, 32),
        prediction=_plan(1e-4, 3, 32),
        augmentation=Rule(copies=3, passes=6),
        epochs={"cola": 10},
    ),
    "paper": Settings(
        RECIPES["paper"],
        narrow=StudentSize(4, 312, 1200),
        wide=StudentSize(6, 768, 3072),
        words=None,
        general=_plan(5e-5, 3, 256),
        intermediate=_plan(5e-5, 20, 32),
        prediction=_plan(3e-5, 3, 32),
        augmentation=Rule(copies=20),
        epochs={"mnli": 10, "qqp": 10, "qnli": 10, "cola": 50},
    ),
}
"""At the paper's scale the hyper-parameters are the paper's, and those that it does not state the official code's."""
