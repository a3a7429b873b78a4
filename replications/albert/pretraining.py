"""Pre-training from scratch at a fixed budget, on what the suite shares, and what is scored on text held back.

Every model of a run sees the same rows in the same order, masked alike, for the same number of steps; models that are
asked something else of two segments (Table 5) see the same chunks of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from common.devices import available_device
from common.run.replication import Run
from common.tasks.corpora import Corpus, find_corpus
from common.training.loop import MakeOptimizer, TrainingPlan, fused_adamw
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.encoded import EncodedText, encoded_text
from common.training.pretraining.pretrainer import Pretrainer, Work, encoder_work, head_work
from common.training.pretraining.rows import Ordering, SegmentPairs, held_out
from common.training.pretraining.words import Words
from replications.albert.lamb import lamb
from replications.albert.masking import NgramMasking
from replications.albert.method import Pretraining, Shape, pretraining_loss
from replications.albert.names import ADAMW, LAMB, NO_TASK, NSP, PAIR_HITS, SOP, WORD_HITS, Objective, Optimiser
from replications.albert.settings import Settings, settings_of
from replications.albert.vocabulary import trained_tokenizer

ORDERINGS: Mapping[Objective, Ordering] = {NO_TASK: "none", NSP: "next sentence", SOP: "order"}

OPTIMISERS: Mapping[Optimiser, MakeOptimizer] = {LAMB: lamb, ADAMW: fused_adamw}

HITS = "hits.safetensors"
SCORED_SHARE, SCORED_ROWS = 0.1, 512
"""Of the rows this share is held back to be scored, at most so many."""


@dataclass(frozen=True)
class Model:
    """What is pre-trained: a shape, what it is asked, and how; by the scale's own optimiser where none is named."""

    shape: Shape
    objective: Objective = SOP
    optimiser: Optimiser | None = None

    @property
    def label(self) -> str:
        """How a plan names it."""
        s = self.shape
        shared = "" if (s.attention_sets, s.feed_forward_sets) == (1, 1) else _blocks(s)
        dropout = f", dropout {s.dropout:g}" if s.dropout else ""
        optimiser = f", {self.optimiser}" if self.optimiser else ""
        return f"L={s.layers} H={s.hidden} E={s.embedding}{shared}{dropout}, {self.objective}{optimiser}"


def _blocks(shape: Shape) -> str:
    return f", {shape.attention_sets} attention and {shape.feed_forward_sets} feed-forward blocks"


@dataclass(frozen=True)
class Steps:
    """One epoch of exactly so many batches: passes over the source for as long as it takes."""

    source: MaskedBatches
    steps: int

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> Iterator[MaskedBatch]:
        """The batches of epoch `number`."""
        return self.epoch_from(number, 0)

    def epoch_from(self, number: int, first: int) -> Iterator[MaskedBatch]:
        """The same from batch `first` on."""
        place = number * self.steps + first
        while place < (number + 1) * self.steps:
            turn, at = divmod(place, len(self.source))
            for batch in self.source.epoch_from(turn, at):
                yield batch
                place += 1
                if place == (number + 1) * self.steps:
                    return


@dataclass(frozen=True)
class Laboratory:
    """The text, the vocabulary and the pre-trained models of a run."""

    run: Run

    @cached_property
    def settings(self) -> Settings:
        """Of the run's scale and source of data."""
        return settings_of(self.run.scale.name, self.run.data)

    @cached_property
    def corpus(self) -> Corpus:
        """What is pre-trained on."""
        run = self.run
        return find_corpus(run.data, run.data_dir, self.settings.words, smoke=run.data == "builtin")

    @cached_property
    def tokenizer(self) -> Any:  # noqa: ANN401
        """With a vocabulary of the corpus."""
        run, generated = self.run, self.run.data == "builtin"
        return trained_tokenizer(run.store, self.corpus, self.settings.vocabulary, run.say, of_words=generated)

    @cached_property
    def words(self) -> Words:
        """The vocabulary."""
        return Words.of(self.tokenizer)

    @cached_property
    def text(self) -> EncodedText:
        """The corpus as token ids."""
        return encoded_text(self.run.store, self.corpus, self.tokenizer, self.run.say)

    def prepare(self) -> None:
        """Make vocabulary and encoded text."""
        _ = self.text

    # -- Batches ------------------------------------------------------------------------------------------------------

    def _rows(self, objective: Objective) -> SegmentPairs:
        """Pairs of segments; which sentences make a chunk is the same for every objective."""
        return replace(self._chunked, ordering=ORDERINGS[objective])

    @cached_property
    def _chunked(self) -> SegmentPairs:
        return SegmentPairs(self.text, self.words, self.settings.pretraining.max_length)

    @property
    def masking(self) -> NgramMasking:
        """Of every model."""
        return NgramMasking(self.words.continues, most=self.settings.most)

    def batches(self, objective: Objective, seed: int) -> Steps:
        """What is trained on."""
        rows, _ = held_out(self._rows(objective), SCORED_SHARE, SCORED_ROWS)
        size = self.settings.pretraining.batch_size
        return Steps(MaskedBatches(rows, self.words, self.masking, size, seed), self.settings.steps)

    def held_back(self, objective: Objective) -> MaskedBatches:
        """What is scored on: the same for every model and seed."""
        _, rows = held_out(self._rows(objective), SCORED_SHARE, SCORED_ROWS)
        return MaskedBatches(rows, self.words, self.masking, 32, seed=0)

    # -- Models -------------------------------------------------------------------------------------------------------

    def plan(self, model: Model, seed: int) -> TrainingPlan:
        """Of pre-training; an optimiser that is not the scale's own has a rate of its own."""
        s = self.settings
        other = model.optimiser not in (None, s.optimiser)
        return replace(s.pretraining, seed=seed, learning_rate=s.other_rate if other else s.pretraining.learning_rate)

    def sized(self, model: Model) -> Shape:
        """The model's shape with the rows that the vocabulary has."""
        return replace(model.shape, vocabulary=self.words.size)

    def folder(self, model: Model, seed: int) -> Path:
        """The pre-trained model and its hits, made if it is not there; a training that was interrupted goes on."""
        shape, plan = self.sized(model), self.plan(model, seed)
        optimiser = model.optimiser or self.settings.optimiser
        facts = {
            "text": self.text.fingerprint,
            "shape": shape.recipe(),
            "objective": model.objective,
            "optimiser": optimiser,
            "deviation": self.settings.deviation,
            "steps": self.settings.steps,
            "most": self.settings.most or 0,
            "longest": self.masking.longest,
            "share": self.masking.share,
        }

        def finish(module: Pretraining, folder: Path) -> None:
            save_file(self.hits(module), folder / HITS)

        return Pretrainer.of(self.run).trained(
            "albert",
            facts,
            lambda: Pretraining.fresh(shape, seed, self.settings.deviation),
            lambda: self.batches(model.objective, seed),
            pretraining_loss,
            plan,
            Work(self.flops_per_token(model), shape.costs),
            make_optimizer=OPTIMISERS[optimiser],
            finish=finish,
        )

    def flops_per_token(self, model: Model) -> float:
        """Of pre-training, forwards and backwards."""
        shape = model.shape.costs
        return encoder_work(shape, self.settings.pretraining.max_length, trained=True) + head_work(
            shape, self.masking_share, trained=True
        )

    @property
    def masking_share(self) -> float:
        """About what share of the tokens the head is computed on."""
        length = self.settings.pretraining.max_length
        return min(0.15, (self.settings.most or length) / length)

    # -- What is scored on text held back -----------------------------------------------------------------------------

    def hits(self, module: Pretraining) -> dict[str, NDArray[np.bool_]]:
        """Whether each masked word was guessed, and each pair judged rightly, by both questions, asked or not.

        The head for pairs answers a question that it was not trained on as it answers its own: 1 is what is wrong.
        """
        words, _ = self._right(module, self.held_back(NO_TASK))
        found = {WORD_HITS: words}
        for objective, name in PAIR_HITS.items():
            found[name] = self._right(module, self.held_back(objective))[1]
        return found

    @torch.inference_mode()
    def _right(self, module: Pretraining, batches: MaskedBatches) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        device = available_device()
        words, pairs = [], []
        for cpu_batch in batches.epoch(0):
            batch = cpu_batch.to(device)
            guesses, verdicts = module(batch)
            words.append((guesses.argmax(-1) == batch.targets).cpu().numpy())
            if batch.order is not None:
                pairs.append((verdicts.argmax(-1) == batch.order).cpu().numpy())
        return np.concatenate(words), np.concatenate(pairs) if pairs else np.zeros(0, dtype=np.bool_)

    def kept_hits(self, model: Model, seed: int) -> dict[str, NDArray[np.bool_]]:
        """The same, as they were kept."""
        return {name: array.astype(np.bool_) for name, array in load_file(self.folder(model, seed) / HITS).items()}

    def pretrained(self, model: Model, seed: int) -> Pretraining:
        """In evaluation mode, on the CPU, with the dropout of fine-tuning."""
        return Pretraining.load(self.folder(model, seed), dropout=self.settings.tuning_dropout)
