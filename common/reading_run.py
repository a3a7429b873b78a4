"""A task run of questions on passages: data as windows, the plain reader that everyone is compared with, answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from common.baselines import RECIPES, Recipe
from common.costs.estimates import PIECES_PER_WORD, forward_seconds, training_seconds
from common.costs.parameters import layer_parameters
from common.models.span_reader import Answers, SpanReader, read, reader_loss
from common.run.replication import Run, Step
from common.task_run import AnyTaskRun
from common.tasks.spans import Question, SpanTask
from common.tasks.spans.scoring import constant_answers, exact_of, f1_of
from common.training.batches import BucketedBatches
from common.training.segments import SegmentLayout, TwoSegmentBatch
from common.training.windows import Windows, encode_questions

LAYOUTS: Mapping[str, SegmentLayout] = {
    "squad": SegmentLayout(max_seq=320, max_first=25),
    "reading": SegmentLayout(max_seq=80, max_first=16),
    "lookup": SegmentLayout(max_seq=16, max_first=3),
}
"""By task; one's own are laid out as SQuAD."""


@dataclass(frozen=True)
class Marks:
    """What N answers to a split are worth: (N,) F1 and exact match, 0..1 each."""

    f1: NDArray[np.float64]
    exact: NDArray[np.float64]


@dataclass
class ReadingRun(AnyTaskRun):
    """The data, the backbone and the plain reader of one reading task and seed."""

    @staticmethod
    def of(run: Run, task: str, seed: int, recipe: Recipe | None = None) -> ReadingRun:
        """A reading run by the common recipe of the run's scale, or by a paper's own."""
        return ReadingRun(run, task, seed, recipe or RECIPES[run.scale.name])

    # -- Data ---------------------------------------------------------------------------------------------------------

    @property
    def task(self) -> SpanTask:
        """The data."""
        return self.run.span_task(self.task_name)

    @property
    def layout(self) -> SegmentLayout:
        """How many tokens question and passage may have."""
        return LAYOUTS.get(self.task_name, LAYOUTS["squad"]).at_scale(self.run.scale.name)

    def questions(self, split: str) -> tuple[Question, ...]:
        """Of `train`, `tune` or `dev`."""
        found: tuple[Question, ...] = getattr(self.task, split)
        return found

    @cached_property
    def train_windows(self) -> Windows:
        """Train, windows without their answer left out."""
        return self._encoded("train", training=True)

    @cached_property
    def windows(self) -> dict[str, Windows]:
        """What is scored, `tune` and `dev`: every window."""
        return {split: self._encoded(split, training=False) for split in ("tune", "dev")}

    def _encoded(self, split: str, *, training: bool) -> Windows:
        windows = encode_questions(
            self.backbone.tokenizer,
            self.questions(split),
            self.layout,
            training=training,
            may_cut=not self.task.is_own,
        )
        if windows.cut:
            longest = self.layout.max_first
            self.run.say(f"{self.task_name}: {windows.cut} questions of {split} were cut to {longest} word pieces")
        return windows

    # -- The plain reader ---------------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, object]:
        """What every model of this reading run depends on beside its plan, for an artifact's key."""
        layout = asdict(self.layout)
        # The plain reader's positions run on in any layout; whoever embeds two segments names where the second begins.
        del layout["runs_on"]
        return {
            "encoder": self.backbone.fingerprint,
            "task": self.task.fingerprint,
            "layout": layout,
            "threads": torch.get_num_threads(),
        }

    @property
    def batches(self) -> BucketedBatches[TwoSegmentBatch]:
        """The training windows in the baseline's batches."""
        return BucketedBatches(self.train_windows.split, self.plan.batch_size, self.seed)

    def reader_folder(self, layers: int | None = None) -> Path:
        """The fine-tuned first `layers` layers as a `SpanReader`; all of them are the baseline."""
        layers = layers or self.num_layers
        whole = layers == self.num_layers
        plan = self.plan if whole else self.recipe.shallow_plan(self.task_name, self.seed)
        return self.trained(
            f"reader-{layers}L",
            {**self.facts, "layers": layers},
            lambda: SpanReader.fresh(self.backbone.encoder.first_layers(layers), self.seed),
            lambda: self.batches,
            reader_loss,
            plan,
        )

    def reader(self, layers: int | None = None) -> SpanReader:
        """The same, on the device, in evaluation mode."""
        model: SpanReader = SpanReader.load(self.reader_folder(layers)).to(self.device)
        return model

    def reader_answers(self, layers: int | None = None) -> dict[str, Answers]:
        """What the plain reader answers, by split."""
        folder = self.reader_folder(layers)
        return self.answers(f"answers-{layers or self.num_layers}L", folder, lambda: self.reader(layers))

    def answers(self, kind: str, folder: Path, model: Callable[[], nn.Module]) -> dict[str, Answers]:
        """What a model answers on `tune` and `dev`, read once and kept.

        Args:
            kind: what it is; a part of the artifact's name.
            folder: where the model is kept: its name is all that the answers depend on.
            model: loads it, on the device; it returns (B, L, 2) logits of a batch.
        """

        def compute() -> dict[str, torch.Tensor]:
            loaded = model()
            tensors: dict[str, torch.Tensor] = {}
            for split, windows in self.windows.items():
                total = len(windows)
                found = read(loaded, windows, self.device, lambda done, total=total: self.run.progress(done, total))  # type: ignore[misc]
                tensors |= {f"{split}/{name}": tensor for name, tensor in found.tensors().items()}
            return tensors

        sizes = {split: len(self.questions(split)) for split in ("tune", "dev")}
        kept = self.kept_tensors(kind, {"model": folder.name, "splits": sizes}, compute)
        return {
            split: Answers(*(kept[f"{split}/{name}"] for name in ("begin", "end", "sureness")))
            for split in ("tune", "dev")
        }

    # -- Scores -------------------------------------------------------------------------------------------------------

    def marks(self, answers: Mapping[str, Answers], split: str = "dev") -> Marks:
        """What answers are worth."""
        return self.marks_of(answers[split].texts(self.windows[split]), split)

    def constant_marks(self, split: str = "dev") -> Marks:
        """What the whole passage is worth as an answer: the constant that shares a word with every answer."""
        return self.marks_of(constant_answers(self.questions(split)), split)

    def marks_of(self, texts: Sequence[str], split: str) -> Marks:
        """What these texts are worth as answers to a split's questions."""
        questions = self.questions(split)
        return Marks(f1_of(texts, questions), exact_of(texts, questions))

    # -- What it will take --------------------------------------------------------------------------------------------

    def tokens(self, questions: Sequence[Question]) -> float:
        """About how many tokens these have with their passages; from the words of at most 500 of them."""
        if not questions:
            return 0.0
        sample = questions[:: max(1, len(questions) // 500)]
        words = [PIECES_PER_WORD * len(question.passage.split()) for question in sample]
        return len(questions) * (self.layout.first_slot + sum(words) / len(sample))

    def training_seconds(self, layers: int | None = None) -> float:
        """Expected seconds on two CPU cores to fine-tune the first `layers` layers by the baseline's plan."""
        count, plan = layers or self.num_layers, self.plan
        train = self.questions("train")
        epoch = training_seconds(count * layer_parameters(self.shape), self.tokens(train))
        return 2 + plan.epochs * (epoch + 0.05 * len(train) / plan.batch_size)

    @property
    def scored_seconds(self) -> float:
        """Expected seconds to answer all that is scored."""
        tokens = self.tokens((*self.task.tune, *self.task.dev))
        return 1 + forward_seconds(self.num_layers * layer_parameters(self.shape), tokens)

    def reader_steps(self, depths: Sequence[int] = ()) -> list[Step]:
        """Train the baseline and these rungs of the static ladder, and let them answer."""
        seconds = self.training_seconds() + self.scored_seconds
        steps = [Step.making(f"{self.label}: the baseline", seconds, self.reader_answers)]
        for depth in depths:
            cost = self.training_seconds(layers=depth) + self.scored_seconds * depth / self.num_layers
            name = f"{self.label}: static ladder, {depth} of {self.num_layers} layers"
            steps.append(Step.making(name, cost, lambda depth=depth: self.reader_answers(depth)))  # type: ignore[misc]
        return steps
