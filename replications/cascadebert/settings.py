"""On which tasks CascadeBERT is run, and with which hyper-parameters.

At the paper's scale they are the official script's where it has them; else ours, see README.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.training.loop import TrainingPlan
from common.training.recipes import SMOKE_ENCODER, SMOKE_PLAN
from replications.cascadebert.complete import Pretraining
from replications.cascadebert.difficulty import CrossValidation

TASKS = {
    "builtin": ("sentiment", "entailment"),
    "files": ("sst-2", "mrpc", "rte", "cola", "qqp-sample"),
    "hub": ("mnli", "mrpc", "qnli", "qqp", "rte", "sst-2"),
}
"""The paper's tasks where they can be had; of the generated ones two, which is what ten minutes allow."""

FIRST_SEED_ALONE = frozenset({"mrpc", "rte", "cola"})
"""What takes long for its length or its epochs: one seed where the scale spares."""

ONE_COMPLETE_MODEL = frozenset({"reply", "entailment", "mrpc", "rte"})
"""Pairs that take long: where the scale spares, the deeper complete models are left out."""


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        encoder: the big one.
        plan: of the big model's fine-tuning, and of PABEE's encoder.
        complete_plan: of every complete small model's.
        truncated_plan: of the big encoder's first layers'.
        small: depths of the complete small models; the first one's cascade is the paper's.
        shallow: depths at which shallow models are compared: complete, truncated, and DeeBERT's exits.
        truncated: at which of them, beside those of the main table, the big encoder's first layers are fine-tuned.
        published: hub names of complete encoders by depth; none: they are distilled.
        pretraining: how.
        labels: how difficulty labels are made.
        off_ramps: the plan of DeeBERT's second stage.
        exits_rate: learning rate of PABEE's exits.
        pooling: what of a layer every classifier and exit reads.
        epochs: of a task's big model, where they are not the plan's.
        shallow_epochs: of a task's shallow models, where they are not their plans'.
        margin, weight: epsilon and lambda of the regularisation (the official script's).
    """

    encoder: str
    plan: TrainingPlan
    complete_plan: TrainingPlan
    truncated_plan: TrainingPlan
    small: tuple[int, ...]
    shallow: tuple[int, ...]
    truncated: tuple[int, ...]
    pretraining: Pretraining
    labels: CrossValidation
    off_ramps: TrainingPlan
    exits_rate: float
    pooling: str = FIRST_TOKEN
    published: dict[int, str] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    shallow_epochs: dict[str, int] = field(default_factory=dict)
    margin: float = 0.5
    weight: float = 0.5

    def of(self, task: str, seed: int) -> Settings:
        """The same for one task and seed."""
        complete, truncated = (
            replace(plan, seed=seed, epochs=self.shallow_epochs.get(task, plan.epochs))
            for plan in (self.complete_plan, self.truncated_plan)
        )
        return replace(
            self,
            plan=replace(self.plan, seed=seed, epochs=self.epochs.get(task, self.plan.epochs)),
            complete_plan=complete,
            truncated_plan=truncated,
            off_ramps=replace(self.off_ramps, seed=seed),
        )


SETTINGS = {
    "smoke": Settings(
        encoder=SMOKE_ENCODER,
        plan=SMOKE_PLAN,
        complete_plan=SMOKE_PLAN,
        truncated_plan=SMOKE_PLAN,
        small=(1, 2),
        shallow=(1, 2),
        truncated=(1, 2),
        pretraining=Pretraining(1500, TrainingPlan(learning_rate=1e-3, epochs=1, batch_size=16, seed=0, max_length=64)),
        labels=CrossValidation(seeds=2, folds=2),
        off_ramps=TrainingPlan(learning_rate=3e-3, epochs=4, batch_size=32, seed=0),
        exits_rate=SMOKE_PLAN.learning_rate,
    ),
    "mini": Settings(
        encoder="minilm",
        plan=TrainingPlan(learning_rate=2e-4, epochs=1, batch_size=16, seed=0, warmup=0.1),
        complete_plan=TrainingPlan(learning_rate=5e-4, epochs=3, batch_size=16, seed=0, warmup=0.1),
        truncated_plan=TrainingPlan(learning_rate=3e-4, epochs=3, batch_size=16, seed=0, warmup=0.1),
        small=(1, 2),
        shallow=(1, 2, 3),
        truncated=(2, 3),
        pretraining=Pretraining(
            60_000, TrainingPlan(learning_rate=5e-4, epochs=1, batch_size=16, seed=0, warmup=0.1, max_length=64)
        ),
        labels=CrossValidation(seeds=1, folds=2),
        off_ramps=TrainingPlan(learning_rate=3e-3, epochs=30, batch_size=32, seed=0),
        exits_rate=2e-3,
        pooling=MEAN,
        epochs={"cola": 3},
        shallow_epochs={"sentiment": 2, "mrpc": 2, "rte": 1},
    ),
    "paper": Settings(
        encoder="google-bert/bert-base-uncased",
        plan=TrainingPlan(learning_rate=2e-5, epochs=5, batch_size=16, seed=0),
        complete_plan=TrainingPlan(learning_rate=2e-5, epochs=5, batch_size=16, seed=0),
        truncated_plan=TrainingPlan(learning_rate=2e-5, epochs=5, batch_size=16, seed=0),
        small=(2, 4, 6),
        shallow=(2, 4, 6),
        truncated=(2, 4, 6),
        published={k: f"google/bert_uncased_L-{k}_H-768_A-12" for k in (2, 4, 6)},
        pretraining=Pretraining(0, TrainingPlan(learning_rate=5e-4, epochs=1, batch_size=16, seed=0)),
        labels=CrossValidation(seeds=5, folds=5),
        off_ramps=TrainingPlan(learning_rate=2e-5, epochs=3, batch_size=8, seed=0),
        exits_rate=2e-5,
    ),
}
SETTINGS["base"] = replace(
    SETTINGS["mini"],
    plan=replace(SETTINGS["mini"].plan, epochs=10, batch_size=64),
    complete_plan=replace(SETTINGS["mini"].complete_plan, epochs=10, batch_size=64),
    truncated_plan=replace(SETTINGS["mini"].truncated_plan, epochs=10, batch_size=64),
    pretraining=Pretraining(
        4_000_000, replace(SETTINGS["mini"].pretraining.plan, epochs=5, batch_size=64, warmup=0.05)
    ),
    labels=CrossValidation(seeds=2, folds=2),
    off_ramps=replace(SETTINGS["mini"].off_ramps, epochs=10),
    epochs={"sst-2": 3, "qqp-sample": 5},
    shallow_epochs={"sst-2": 3, "qqp-sample": 5},
)
