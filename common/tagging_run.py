"""A tagging run: one tagging task, one seed, one backbone, and the baseline and the static ladder that everyone shares.

The counterpart of `common.task_run` for tasks whose words are labelled one by one. What does not depend on what is
labelled (backbone, device, artifacts, the one way to train and keep) is that of a task run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.baselines import SMOKE_ENCODER, SMOKE_PLAN, Recipe
from common.costs.estimates import PIECES_PER_WORD, SPECIAL_TOKENS, forward_seconds, training_seconds
from common.costs.flops import embedding_flops, layer_flops, linear_flops
from common.costs.parameters import layer_parameters
from common.models.tagger import EncoderTagger, tagging_loss, word_logits
from common.run.replication import Run, Step
from common.task_run import AnyTaskRun
from common.tasks.catalogue import WORDS, find_facts
from common.tasks.tag_metrics import Counts, tag_counts, tag_parts
from common.tasks.tagging import Sentence, TaggingTask
from common.tasks.tagging_files import holds_tagging
from common.training.batches import BucketedBatches
from common.training.loop import TrainingPlan
from common.training.word_pieces import TaggedBatch, TaggedSplit, encode_tagged, positions_of

TAGGING_RECIPES: Mapping[str, Recipe] = {
    "smoke": Recipe(SMOKE_ENCODER, whole=SMOKE_PLAN, shallow=SMOKE_PLAN),
    "mini": Recipe(
        "minilm",
        whole=TrainingPlan(learning_rate=3e-4, epochs=3, batch_size=16, seed=0, warmup=0.1),
        shallow=TrainingPlan(learning_rate=4e-4, epochs=3, batch_size=16, seed=0, warmup=0.1),
        ladder=(1 / 6, 1 / 3, 1 / 2),
    ),
    "base": Recipe(
        "mpnet",
        whole=TrainingPlan(learning_rate=5e-5, epochs=4, batch_size=32, seed=0, warmup=0.1),
        shallow=TrainingPlan(learning_rate=8e-5, epochs=4, batch_size=32, seed=0, warmup=0.1),
        epochs={"ud-english-ewt": 3},
    ),
    "paper": Recipe(
        "google-bert/bert-base-cased",
        whole=TrainingPlan(learning_rate=2e-5, epochs=5, batch_size=32, seed=0, warmup=0.1),
        shallow=TrainingPlan(learning_rate=5e-5, epochs=5, batch_size=32, seed=0, warmup=0.1),
    ),
}
"""By scale: how a tagger is fine-tuned plainly. Rare tags want more steps than the classes of texts."""


def labels_words(run: Run, task: str) -> bool:
    """Whether a task of a run is one of tagged words."""
    if run.data == "files" and run.data_dir is not None and run.data_dir.is_dir():
        return holds_tagging(task, run.data_dir)
    facts = find_facts(task)
    return facts is not None and facts.kind == WORDS


@dataclass
class TaggingRun(AnyTaskRun):
    """The data, the backbone, the baseline and the static ladder of one tagging task and seed."""

    @staticmethod
    def of(run: Run, task: str, seed: int, recipe: Recipe | None = None) -> TaggingRun:
        """A tagging run by the common recipe of the run's scale, or by a paper's own."""
        return TaggingRun(run, task, seed, recipe or TAGGING_RECIPES[run.scale.name])

    # -- Data ---------------------------------------------------------------------------------------------------------

    @property
    def task(self) -> TaggingTask:
        """The data."""
        return self.run.tagging(self.task_name)

    @property
    def tags(self) -> int:
        """C."""
        return len(self.task.tags)

    @cached_property
    def splits(self) -> dict[str, TaggedSplit]:
        """`train`, `tune` and `dev` as word pieces; no sentence is cut."""
        source, positions = self.backbone, positions_of(self.backbone.encoder.config)
        parts = {"train": self.task.train, "tune": self.task.tune, "dev": self.task.dev}
        return {name: encode_tagged(source.tokenizer, sentences, positions) for name, sentences in parts.items()}

    def labels(self, split: str) -> NDArray[np.int64]:
        """(words,) the tags of a split."""
        return np.array([tag for tags in self.splits[split].labels for tag in tags], dtype=np.int64)

    def difficulty(self, split: str) -> NDArray[np.int64]:
        """(words,) how far one must look from a word to know its tag, from 1; 0 where it is not known."""
        sentences: Sequence[Sentence] = getattr(self.task, split)
        return np.array([level for s in sentences for level in s.difficulty or [0] * len(s.words)], dtype=np.int64)

    def counts(self, split: str, answers: NDArray[np.int64], *, strict: bool = False) -> Counts:
        """What `answers` (words,) got right of each sentence, by the task's metric."""
        task, words = self.task, self.splits[split].words
        return tag_counts(task.metric, answers, self.labels(split), words, tag_parts(task.tags), strict=strict)

    # -- The baseline and the static ladder ---------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, object]:
        """What every model of this run depends on, for an artifact's key."""
        return {
            "encoder": self.backbone.fingerprint,
            "task": self.task.fingerprint,
            "threads": torch.get_num_threads(),
        }

    @property
    def batches(self) -> BucketedBatches[TaggedBatch]:
        """The training sentences in the baseline's batches."""
        return BucketedBatches(self.splits["train"], self.plan.batch_size, self.seed)

    def tagger_folder(self, layers: int | None = None) -> Path:
        """The fine-tuned first `layers` layers, a rung of the static ladder; all of them are the baseline."""
        depth = layers or self.num_layers
        whole = depth == self.num_layers
        plan = self.plan if whole else self.recipe.shallow_plan(self.task_name, self.seed)
        return self.trained(
            f"tagger-{depth}L",
            {**self.facts, "layers": depth},
            lambda: EncoderTagger.fresh(self.backbone.encoder.first_layers(depth), self.tags, self.seed),
            lambda: BucketedBatches(self.splits["train"], plan.batch_size, plan.seed),
            tagging_loss,
            plan,
        )

    def tagger(self, layers: int | None = None) -> EncoderTagger:
        """The same, on the device, in evaluation mode."""
        model: EncoderTagger = EncoderTagger.load(self.tagger_folder(layers)).to(self.device)
        return model

    def static_logits(self, layers: int | None = None) -> dict[str, Tensor]:
        """(words, C) of the baseline, or of a rung of the ladder, for `tune` and `dev`."""
        folder = self.tagger_folder(layers)

        def compute() -> dict[str, Tensor]:
            model = self.tagger(layers)
            return {name: word_logits(model, self.splits[name], self.device) for name in ("tune", "dev")}

        return self.tensors(f"tagger-logits-{layers or self.num_layers}L", {"model": folder.name}, compute)

    def static_flops(self, split: str, layers: int | None = None) -> NDArray[np.float64]:
        """(sentences,) FLOPs of the baseline, or of a rung of the ladder, unpadded."""
        depth, shape, encoded = layers or self.num_layers, self.shape, self.splits[split]
        by_length = {n: embedding_flops(shape, n) + depth * layer_flops(shape, n) for n in set(encoded.lengths)}
        heads = [linear_flops(shape.hidden, self.tags, rows=words) for words in encoded.words]
        return np.array([by_length[n] + head for n, head in zip(encoded.lengths, heads, strict=True)], dtype=float)

    def tensors(
        self, kind: str, facts: Mapping[str, object], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Named tensors, e.g. logits by split, computed if they are not there."""
        sizes = {name: len(self.splits[name]) for name in ("tune", "dev")}
        return self.kept_tensors(kind, {**facts, "task": self.task.fingerprint, "splits": sizes}, compute)

    # -- What it will take --------------------------------------------------------------------------------------------

    def pieces(self, sentences: Sequence[Sentence]) -> float:
        """About how many word pieces `sentences` will be."""
        return sum(SPECIAL_TOKENS + PIECES_PER_WORD * len(s.words) for s in sentences)

    def training_seconds(self, plan: TrainingPlan, layers: int) -> float:
        """Expected seconds on two CPU cores to fine-tune the first `layers` layers."""
        train = self.task.train
        epoch = training_seconds(layers * layer_parameters(self.shape), self.pieces(train))
        return 2 + plan.epochs * (epoch + 0.06 * len(train) / plan.batch_size)

    def pass_seconds(self, split: str, layers: float | None = None) -> float:
        """Expected seconds of a forward pass over a split."""
        depth = self.num_layers if layers is None else layers
        return 0.2 + forward_seconds(
            round(depth * layer_parameters(self.shape)), self.pieces(getattr(self.task, split))
        )

    def static_steps(self, depths: Sequence[int]) -> list[Step]:
        """Train the baseline and these rungs of the ladder."""
        scored = self.pass_seconds("tune") + self.pass_seconds("dev")
        seconds = self.training_seconds(self.plan, self.num_layers) + scored
        steps = [Step.making(f"{self.label}: the baseline", seconds, self.static_logits)]
        for depth in depths:
            plan = self.recipe.shallow_plan(self.task_name, self.seed)
            name = f"{self.label}: static ladder, {depth} of {self.num_layers} layers"
            seconds = self.training_seconds(plan, depth) + scored * depth / self.num_layers
            steps.append(Step.making(name, seconds, lambda depth=depth: self.static_logits(depth)))  # type: ignore[misc]
        return steps
