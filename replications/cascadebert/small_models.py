"""The complete small models of a task run: how they are trained at each scale, and which examples are hard for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.baselines import RECIPES, SMOKE_PLAN, Recipe
from common.costs.flops import EncoderShape
from common.encoders.tokenizers import require_same_words
from common.models.classifier import EncoderClassifier, classifier_logits
from common.run.replication import Run
from common.task_run import TaskRun
from common.training.batches import BucketedBatches, EncodedSplit
from common.training.finetune import FineTuner, classification_loss, new_classifier
from common.training.loop import TrainingPlan, fit
from replications.cascadebert.complete import CompleteEncoders, Pretraining
from replications.cascadebert.difficulty import CrossValidation, hard_unless_always_right
from replications.cascadebert.method import calibrated_loss

ONE_COMPLETE_MODEL = frozenset({"reply", "entailment", "mrpc", "rte"})
"""Pairs that take long: where the scale spares, the deeper complete models are left out."""

# -- Hyper-parameters. At the paper's scale they are the official script's where it has them; else ours, see README ---


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        baseline: of the big model and of its first layers.
        complete_plan: of every complete small model's fine-tuning.
        small: depths of the complete small models; the first one's cascade is the paper's.
        shallow: depths at which shallow models are compared: complete, truncated, and DeeBERT's exits.
        pretraining: of the complete encoders, where they are not published.
        labels: how difficulty labels are made.
        published: hub names of complete encoders by depth; none: they are distilled.
        shallow_epochs: of a task's small models, where they are not the plan's.
        margin, weight: epsilon and lambda of the regularisation (the official script's).
    """

    baseline: Recipe
    complete_plan: TrainingPlan
    small: tuple[int, ...]
    shallow: tuple[int, ...]
    pretraining: Pretraining
    labels: CrossValidation
    published: dict[int, str] = field(default_factory=dict)
    shallow_epochs: dict[str, int] = field(default_factory=dict)
    margin: float = 0.5
    weight: float = 0.5

    def plan(self, task: str, seed: int) -> TrainingPlan:
        """Of a complete small model, for one task and seed."""
        epochs = self.shallow_epochs.get(task, self.complete_plan.epochs)
        return replace(self.complete_plan, seed=seed, epochs=epochs)


_PAPER_PLAN = TrainingPlan(learning_rate=2e-5, epochs=5, batch_size=16, seed=0)

SETTINGS = {
    "smoke": Settings(
        baseline=RECIPES["smoke"],
        complete_plan=SMOKE_PLAN,
        small=(1, 2),
        shallow=(1, 2),
        pretraining=Pretraining(
            1500,
            TrainingPlan(learning_rate=1e-3, epochs=1, batch_size=16, seed=0, max_length=64, precision="float32"),
        ),
        labels=CrossValidation(seeds=2, folds=2),
    ),
    "mini": Settings(
        baseline=RECIPES["mini"],
        complete_plan=TrainingPlan(learning_rate=5e-4, epochs=3, batch_size=16, seed=0, warmup=0.1),
        small=(1, 2),
        shallow=(1, 2, 3),
        pretraining=Pretraining(
            60_000, TrainingPlan(learning_rate=5e-4, epochs=1, batch_size=16, seed=0, warmup=0.1, max_length=64)
        ),
        labels=CrossValidation(seeds=1, folds=2),
        shallow_epochs={"sentiment": 2, "mrpc": 2, "rte": 1},
    ),
    "base": Settings(
        baseline=RECIPES["base"],
        complete_plan=TrainingPlan(learning_rate=1e-4, epochs=3, batch_size=32, seed=0, warmup=0.1),
        small=(2,),
        shallow=(2, 4, 6),
        pretraining=Pretraining(
            5_000_000, TrainingPlan(learning_rate=3e-4, epochs=1, batch_size=64, seed=0, warmup=0.05, max_length=64)
        ),
        labels=CrossValidation(seeds=2, folds=2),
    ),
    "paper": Settings(
        baseline=Recipe("google-bert/bert-base-uncased", whole=_PAPER_PLAN, shallow=_PAPER_PLAN),
        complete_plan=_PAPER_PLAN,
        small=(2, 4, 6),
        shallow=(2, 4, 6),
        pretraining=Pretraining(0, TrainingPlan(learning_rate=5e-4, epochs=1, batch_size=16, seed=0)),
        labels=CrossValidation(seeds=5, folds=5),
        published={k: f"google/bert_uncased_L-{k}_H-768_A-12" for k in (2, 4, 6)},
    ),
}


def complete_encoders(run: Run) -> CompleteEncoders:
    """The run's complete small encoders, shared by its tasks and seeds."""
    settings = SETTINGS[run.scale.name]
    big = run.backbone or settings.baseline.backbone
    return CompleteEncoders(run, big, settings.small, settings.published, settings.pretraining)


# -- The small models of a task run -----------------------------------------------------------------------------------


@dataclass
class SmallModels:
    """The complete models of one task and seed, each made when first asked for."""

    task_run: TaskRun
    complete: CompleteEncoders

    @property
    def settings(self) -> Settings:
        """The scale's."""
        return SETTINGS[self.task_run.run.scale.name]

    @property
    def plan(self) -> TrainingPlan:
        """Of fine-tuning."""
        return self.settings.plan(self.task_run.task_name, self.task_run.seed)

    @property
    def depths(self) -> tuple[int, ...]:
        """Those that are made; where the scale spares, further seeds and some tasks have the first alone."""
        run = self.task_run.run
        spared = self.task_run.seed != run.seeds[0] or self.task_run.task_name in ONE_COMPLETE_MODEL
        return self.settings.small[:1] if spared and run.scale.spares else self.settings.small

    @property
    def first(self) -> int:
        """Depth of the paper's small model: a sixth of the big one's, where there are enough layers."""
        return self.settings.small[0]

    @property
    def second(self) -> int | None:
        """Depth of the next larger complete model; None where there is none."""
        return self.depths[1] if len(self.depths) > 1 else None

    def shape(self, depth: int) -> EncoderShape:
        """The sizes of the complete model of `depth` layers."""
        return EncoderShape.from_config(self.complete.source(depth).encoder.config)

    def tuner(self, depth: int) -> FineTuner:
        """Plain fine-tuning of the complete encoder of `depth` layers."""
        run, source = self.task_run, self.complete.source(depth)
        require_same_words(source.tokenizer, run.backbone.tokenizer, ("small model", "big one"))
        return FineTuner(run.run.store, source, run.run.say, run.run.progress, run.pooling)

    def plain_folder(self, depth: int) -> Path:
        """The complete model of `depth` layers, fine-tuned without regularisation."""
        return self.tuner(depth).fine_tune(self.task_run.task, self.task_run.encoded, self.plan, depth)

    def calibrated_folder(self) -> Path:
        """The first small model, fine-tuned with difficulty-aware regularisation."""
        run, margin, weight, labels = self.task_run, self.settings.margin, self.settings.weight, self.labels_folder()
        facts = {
            "plain": self.tuner(self.first).recipe(run.task, self.plan, self.first),
            "labels": labels.name,
            "margin": margin,
            "weight": weight,
        }
        return run.trained(
            "cascadebert-small",
            facts,
            lambda: self._fresh(self.plan.seed),
            lambda: BucketedBatches(run.encoded.train, self.plan.batch_size, self.plan.seed),
            calibrated_loss(self.hard, margin, weight),
            self.plan,
        )

    def logits(self, folder: Path) -> dict[str, Tensor]:
        """(N, C) of a small model by split."""
        run = self.task_run

        def compute() -> dict[str, Tensor]:
            model = EncoderClassifier.load(folder).to(run.device)
            return {name: classifier_logits(model, split, run.device) for name, split in run.splits.items()}

        return run.tensors("cascadebert-small-logits", {"model": folder.name}, compute)

    def _fresh(self, seed: int) -> EncoderClassifier:
        """The first complete encoder with a fresh head."""
        encoder = self.complete.source(self.first).encoder.first_layers(self.first)
        return new_classifier(encoder, self.task_run.task, seed, self.task_run.pooling)

    # -- Difficulty labels --------------------------------------------------------------------------------------------

    @cached_property
    def hard(self) -> Tensor:
        """(N,) booleans over the training examples."""
        labels: Tensor = load_file(self.labels_folder() / "labels.safetensors")["hard"]
        return labels.bool()

    def labels_folder(self) -> Path:
        """Difficulty labels of the training examples; all training seeds share them."""
        run, ways, train = self.task_run, self.settings.labels, self.task_run.encoded.train
        plan = replace(self.plan, seed=0)

        def make(folder: Path) -> None:
            right = [torch.zeros(len(train), dtype=torch.bool) for _ in range(ways.seeds)]
            for done, (seed, fold) in enumerate(ways.parts):
                part = folder / "checkpoint" / f"part-{seed}-{fold}"
                part.mkdir(parents=True, exist_ok=True)
                held = ways.held_out(seed, fold, len(train))
                right[seed][held] = self._right_when_held_out(part, seed, fold)
                run.run.progress(done + 1, len(ways.parts))
            save_file({"hard": hard_unless_always_right(right).to(torch.uint8)}, folder / "labels.safetensors")

        facts = {
            **self.tuner(self.first).recipe(run.task, plan, self.first),
            "kind": "cascadebert-difficulty",
            "pooling": run.pooling,
            "cv_seeds": ways.seeds,
            "folds": ways.folds,
        }
        return run.run.store.get(f"cascadebert-difficulty/{run.task_name}", facts, make, run.run.say)

    def _right_when_held_out(self, part: Path, seed: int, fold: int) -> Tensor:
        """(held,) whether the small model, trained on the other folds, answers right; kept in `part` until the end."""
        answers, run, train = part / "right.safetensors", self.task_run, self.task_run.encoded.train
        if not answers.exists():
            ways, plan = self.settings.labels, replace(self.plan, seed=seed)
            rest = rows_of(train, ways.trained_on(seed, fold, len(train)))
            held = rows_of(train, ways.held_out(seed, fold, len(train)))
            model, batches = self._fresh(seed), BucketedBatches(rest, plan.batch_size, seed)
            checkpoint = part / "loop.safetensors"
            fit(model, batches, classification_loss, plan, checkpoint=checkpoint, progress=lambda done, total: None)
            logits = classifier_logits(model.eval(), held, run.device)
            save_file({"right": (logits.argmax(-1) == held.labels).to(torch.uint8)}, answers)
            checkpoint.unlink(missing_ok=True)
        right: Tensor = load_file(answers)["right"]
        return right.bool()


def rows_of(split: EncodedSplit, rows: list[int]) -> EncodedSplit:
    """The examples at `rows` as a split of their own."""
    types = split.token_type_ids
    return EncodedSplit(
        input_ids=tuple(split.input_ids[row] for row in rows),
        token_type_ids=None if types is None else tuple(types[row] for row in rows),
        labels=split.labels[rows],
        padding_id=split.padding_id,
    )
