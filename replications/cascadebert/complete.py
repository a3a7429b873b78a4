"""Complete small encoders: shallow ones that were pretrained for themselves, which the paper's cascade starts with.

The paper takes Google's miniature BERTs, and so does the paper scale. For MiniLM there are none, so small ones are made
by task-agnostic distillation: a k-layer student starts as MiniLM's embeddings and first k layers, reads plain text and
learns to give every token the state that MiniLM's last layer gives it. The embedding tables stay as they are. What it
differs in from "the first k layers of MiniLM" is thus the pretraining alone, which is what the paper's argument is on.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.costs.estimates import PIECES_PER_WORD, forward_seconds, training_seconds
from common.costs.flops import EncoderShape
from common.costs.parameters import layer_parameters
from common.devices import available_device
from common.encoders.layered import LayeredEncoder
from common.encoders.sources import PretrainedEncoder
from common.errors import UserError
from common.run.replication import Run
from common.tasks import known_tasks
from common.tasks.builtin import builtin_task
from common.tasks.catalogue import SMOKE_TASKS
from common.tasks.plain_text import paragraphs, sentences
from common.tasks.task import Example
from common.training.batches import Batch, BucketedBatches, EncodedSplit, encode
from common.training.finetune import write_report
from common.training.loop import TrainingPlan, fit

WIKIPEDIA = "wiki_en_2021"
SENTENCE_WORDS = range(4, 41)
"""Lengths of the sentences that are kept from running text."""

CORPUS_SEED = 1
"""Generated text is drawn apart from the tasks, whose seed is 0, and knows the training vocabulary alone."""


# -- Plain text -------------------------------------------------------------------------------------------------------


def plain_texts(run: Run, words: int) -> tuple[str, ...]:
    """Random sentences of about `words` words in all, the same for every task and seed of a data source.

    Raises:
        UserError: the source has no plain text, or its file is missing.
    """
    known: dict[str, Callable[[Run, int], Iterator[str]]] = {"builtin": _generated, "files": _wikipedia}
    if run.data not in known:
        raise UserError(
            f"small encoders of SCALE={run.scale.name} are pretrained on plain text, and DATA={run.data} has none. "
            "Use DATA=builtin or DATA=files; at SCALE=paper they are downloaded ready-made"
        )
    pool = sorted(set(known[run.data](run, words)))
    random.Random(CORPUS_SEED).shuffle(pool)
    chosen, left = [], words
    for text in pool:
        if left <= 0:
            break
        chosen.append(text)
        left -= len(text.split())
    return tuple(chosen)


def check_plain_texts(run: Run) -> None:
    """Raise, before anything is trained, what `plain_texts` would raise.

    Raises:
        UserError: as `plain_texts`.
    """
    plain_texts(run, words=1)


def _generated(run: Run, words: int) -> Iterator[str]:
    """Texts of every generated task of the scale; a text has at least four words, so that many texts are enough."""
    is_smoke = run.scale.name == "smoke"
    names = [name for name in known_tasks("builtin") if (name in SMOKE_TASKS) == is_smoke]
    for name in names:
        size = 120 * max(1, words // (480 * len(names)))
        for e in builtin_task(name, CORPUS_SEED, train_size=size, dev_size=120, test_size=120).train:
            yield from (text for text in (e.text_a, e.text_b) if text is not None)


def _wikipedia(run: Run, words: int) -> Iterator[str]:
    """Sentences from the head of the file, ten times as many as are wanted, so that articles mix."""
    left = 10 * words
    _check_wikipedia(run.data_dir or Path())
    for paragraph in paragraphs(WIKIPEDIA, run.data_dir or Path()):
        for sentence in sentences(paragraph):
            count = len(sentence.split())
            if count in SENTENCE_WORDS:
                yield sentence
                left -= count
        if left <= 0:
            return


def _check_wikipedia(data_dir: Path) -> None:
    try:
        next(paragraphs(WIKIPEDIA, data_dir), None)
    except UserError as error:
        raise UserError(
            "CascadeBERT's cascade begins with small encoders that were pretrained for themselves; there are none to "
            "be had for this backbone, so they are made from plain text, whatever the task. Put some English text, a "
            f"paragraph a line, into train.txt in the folder {WIKIPEDIA} of {data_dir} ({error})"
        ) from error


def encode_texts(tokenizer: Any, texts: Sequence[str], max_length: int) -> EncodedSplit:  # noqa: ANN401
    """Two thirds of the texts as pairs, the others alone: both kinds of input are met. Labels mean nothing."""
    third = len(texts) // 3
    pairs = [Example(a, b, 0) for a, b in zip(texts[:third], texts[third : 2 * third], strict=True)]
    singles = [Example(text, None, 0) for text in texts[2 * third :]]
    parts = [encode(tokenizer, part, regression=False, max_length=max_length) for part in (pairs, singles) if part]
    segments = [part.token_type_ids for part in parts]
    return EncodedSplit(
        input_ids=tuple(ids for part in parts for ids in part.input_ids),
        token_type_ids=None if None in segments else tuple(ids for part in segments for ids in part or ()),
        labels=torch.cat([part.labels for part in parts]),
        padding_id=parts[0].padding_id,
    )


def with_kept_embeddings(source: PretrainedEncoder) -> PretrainedEncoder:
    """The encoder with embedding tables that no training moves; the given one is left alone.

    A shallow encoder is mostly tables: a step that moves them costs several times one that does not.
    """
    encoder = source.encoder.first_layers(source.encoder.num_layers)
    encoder.embeddings.requires_grad_(False)
    return replace(source, encoder=encoder, fingerprint=f"{source.fingerprint}:embeddings kept")


# -- Distillation -----------------------------------------------------------------------------------------------------


class Students(nn.ModuleList):
    """Encoders of growing depth that learn from one teacher in one pass over the text; they share no parameter."""

    @staticmethod
    def of(teacher: LayeredEncoder, depths: Sequence[int]) -> Students:
        """Each a copy of the teacher's embeddings, which stay as they are, and of its first layers."""
        students = Students(teacher.first_layers(depth) for depth in depths)
        for student in students:
            assert isinstance(student, LayeredEncoder)
            student.embeddings.requires_grad_(False)
        return students


def imitation_loss(teacher: LayeredEncoder) -> Callable[[Students, Batch], Tensor]:
    """Sum over the students of the mean squared difference from the teacher's last states h_n, over all tokens."""

    def loss(students: Students, batch: Batch) -> Tensor:
        texts = (batch.input_ids, batch.attention_mask, batch.token_type_ids)
        with torch.no_grad():
            target = teacher(*texts)
        token = batch.attention_mask.bool()
        return torch.stack([F.mse_loss(student(*texts)[token], target[token]) for student in students]).sum()

    return loss


@dataclass(frozen=True)
class Pretraining:
    """How small encoders are made.

    Attributes:
        words: of plain text.
        plan: of the distillation.
    """

    words: int
    plan: TrainingPlan


@dataclass
class CompleteEncoders:
    """The complete small encoders of a run: from the hub where they are published, else distilled and kept.

    Attributes:
        big: the encoder that they stand before.
        depths: k of each.
        published: names of ready-made ones by depth; empty where they have to be made.
        pretraining: how.
    """

    run: Run
    big: str
    depths: tuple[int, ...]
    published: dict[int, str]
    pretraining: Pretraining
    _sources: dict[int, PretrainedEncoder] = field(default_factory=dict)

    @property
    def teacher(self) -> PretrainedEncoder:
        """The big encoder, as pretrained."""
        return self.run.encoder(self.big)

    @property
    def estimate(self) -> float:
        """Expected seconds of the distillation on two CPU cores."""
        if self.published:
            return 0.0
        shape = EncoderShape.from_config(self.teacher.encoder.config)
        tokens = 1.2 * PIECES_PER_WORD * self.pretraining.words
        layer = layer_parameters(shape)
        return 5 + forward_seconds(shape.layers * layer, tokens) + training_seconds(sum(self.depths) * layer, tokens)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What they read."""
        return plain_texts(self.run, self.pretraining.words)

    def source(self, depth: int) -> PretrainedEncoder:
        """The complete encoder of `depth` layers with its tokenizer, ready to be fine-tuned; read once.

        Raises:
            UserError: it cannot be reached, or there is no text to make it from.
        """
        if depth not in self._sources:
            self._sources[depth] = self._published(depth) if self.published else self._distilled(depth)
        return self._sources[depth]

    def _published(self, depth: int) -> PretrainedEncoder:
        return self.run.encoder(self.published[depth])

    def _distilled(self, depth: int) -> PretrainedEncoder:
        folder = self.folder()
        made = replace(
            self.teacher,
            encoder=LayeredEncoder.load(folder / f"{depth}L"),
            name=f"complete-{self.teacher.name}",
            fingerprint=f"artifact:{folder.name}:{depth}L",
        )
        return with_kept_embeddings(made)

    def folder(self) -> Path:
        """All of them, distilled."""
        plan, teacher = self.pretraining.plan, self.teacher

        def make(folder: Path) -> None:
            split = encode_texts(teacher.tokenizer, self.texts, plan.max_length)
            students = Students.of(teacher.encoder, self.depths)
            device = available_device()
            report = fit(
                students,
                BucketedBatches(split, plan.batch_size, plan.seed),
                imitation_loss(teacher.encoder.to(device).eval()),
                plan,
                checkpoint=folder / "checkpoint" / "loop.safetensors",
                progress=self.run.progress,
            )
            teacher.encoder.cpu()
            for depth, student in zip(self.depths, students.cpu(), strict=True):
                assert isinstance(student, LayeredEncoder)
                student.save(folder / f"{depth}L")
            write_report(folder, report)

        recipe = {
            "kind": "complete-encoders",
            "teacher": teacher.fingerprint,
            "depths": list(self.depths),
            "text": hashlib.sha256("\n".join(self.texts).encode()).hexdigest(),
            "threads": torch.get_num_threads(),
            **plan.recipe(),
        }
        return self.run.store.get(f"complete/{teacher.name}/{self.run.data}", recipe, make, self.run.say)
