"""With which hyper-parameters FastBERT is trained, and how much on which task.

At the paper's scale they are the paper's and its official code's; at the smaller scales ours, see README.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from common.training.loop import TrainingPlan
from common.training.recipes import SMOKE_ENCODER, SMOKE_PLAN

TASKS = {
    "builtin": ("sentiment", "paraphrase"),
    "files": ("sst-2", "trec", "mrpc", "rte", "cola", "qqp-sample", "ag-news", "imdb"),
    "hub": ("sst-2", "trec", "ag-news", "imdb"),
}
"""AG News is the one data set of the paper; the others are near it, or shared with the other exit methods. Of the
generated tasks two, which is what ten minutes allow; the teacher does not learn entailment in one epoch."""

FIRST_SEED_ALONE = frozenset({"ag-news", "imdb", "mrpc", "rte", "cola"})
"""What takes long for its length or its epochs: one seed where the scale spares."""

ABLATED = frozenset({"mood", "sentiment", "sst-2", "trec"})
"""Where learning from labels is tried instead, and with the first seed KL as printed: short texts."""

WITH_DROPOUT = frozenset({"mood", "sentiment"})
"""Where stage 3 is also done with dropout on, with the first seed: it passes the backbone once an epoch."""

SHALLOW = frozenset({"mood", "sentiment", "sst-2", "trec", "qqp-sample"})
"""Where encoders of one layer and of a quarter of the layers are fine-tuned beside, with the first seed."""


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        plan: of the plain classifiers and of stage 2's backbone.
        classifiers_rate: learning rate in stage 2 of the classifiers, which start from nothing.
        distil: stage 3. Without clipping, as the official code, and so that students do not depend on each other.
        max_length: tokens of a text on tasks with long texts, where it is not the plan's.
        epochs: of a task, where they are not the plan's.
    """

    encoder: str
    plan: TrainingPlan
    classifiers_rate: float
    distil: TrainingPlan
    max_length: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)

    def of(self, task: str, seed: int) -> Settings:
        """The same for one task and seed."""
        length = self.max_length.get(task, self.plan.max_length)
        plan = replace(self.plan, seed=seed, max_length=length, epochs=self.epochs.get(task, self.plan.epochs))
        return replace(self, plan=plan, distil=replace(self.distil, seed=seed, max_length=length))


SETTINGS = {
    "smoke": Settings(
        encoder=SMOKE_ENCODER,
        plan=SMOKE_PLAN,
        classifiers_rate=SMOKE_PLAN.learning_rate,
        distil=TrainingPlan(learning_rate=2e-3, epochs=2, batch_size=32, seed=0, warmup=0.1, max_gradient_norm=None),
    ),
    "mini": Settings(
        encoder="minilm",
        plan=TrainingPlan(learning_rate=2e-4, epochs=1, batch_size=16, seed=0, warmup=0.1),
        classifiers_rate=1e-3,
        distil=TrainingPlan(learning_rate=2e-3, epochs=5, batch_size=32, seed=0, warmup=0.1, max_gradient_norm=None),
        max_length={"ag-news": 64, "imdb": 64},
        epochs={"cola": 3},
    ),
    "paper": Settings(
        encoder="google-bert/bert-base-uncased",
        plan=TrainingPlan(
            learning_rate=2e-5,
            epochs=3,
            batch_size=32,
            seed=0,
            adam_epsilon=1e-6,
            warmup=0.1,
            max_gradient_norm=None,
        ),
        classifiers_rate=2e-5,
        distil=TrainingPlan(
            learning_rate=2e-4,
            epochs=5,
            batch_size=32,
            seed=0,
            adam_epsilon=1e-6,
            warmup=0.1,
            max_gradient_norm=None,
        ),
    ),
}
SETTINGS["base"] = replace(
    SETTINGS["mini"],
    plan=replace(SETTINGS["mini"].plan, epochs=10, batch_size=64),
    distil=replace(SETTINGS["mini"].distil, batch_size=128),
    max_length={"ag-news": 64, "imdb": 128},
    epochs={"sst-2": 3, "qqp-sample": 5, "ag-news": 3, "imdb": 3},
)
