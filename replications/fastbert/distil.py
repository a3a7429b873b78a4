"""Stage 3 with every feature computed once.

Backbone and teacher are frozen and the loss is an unweighted sum over independent students, so it separates: student i
can learn for all its epochs from the h_i of all texts before h_{i+1} is computed. One layer's states are in memory at
a time, and the backbone passes over the texts once instead of once an epoch. Dropout of the backbone has to be off for
that; the official code leaves it on (`method.loss_with_dropout`, the other way to do stage 3). Labels are not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from common.encoders.layered import LayeredEncoder
from common.training.batches import EncodedSplit, length_buckets
from common.training.classifier import classifier_logits
from common.training.loop import Progress, TrainingPlan, fit
from replications.fastbert.method import Direction, ExitClassifier, Teacher, student_file

BATCH_SIZE = 64
"""Texts that the backbone takes at a time."""


@dataclass(frozen=True)
class FeatureBatch:
    """What a student sees: states (B, T, H), a key mask (B, 1, 1, T) or None without padding, ln p_t (B, N)."""

    hidden: Tensor
    mask: Tensor | None
    teacher_log_p: Tensor

    @property
    def tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.hidden.shape[0] * self.hidden.shape[1]

    def to(self, device: torch.device) -> FeatureBatch:
        """The same batch on `device`."""
        mask = None if self.mask is None else self.mask.to(device)
        return FeatureBatch(self.hidden.to(device), mask, self.teacher_log_p.to(device))


class TokenStates:
    """h_i of all texts of a split, without padding; `advance` turns them into h_{i+1} where they stand.

    Attributes:
        lengths: tokens of each text.
        states: (sum of lengths, H), text after text.
    """

    def __init__(self, encoder: LayeredEncoder, split: EncodedSplit, device: torch.device) -> None:
        """The embeddings, h_0."""
        self.encoder, self.device = encoder, device
        self.lengths = split.lengths
        self.starts = torch.tensor([0, *self.lengths]).cumsum(0).tolist()
        self.states = torch.empty(self.starts[-1], encoder.hidden_size)
        with torch.inference_mode():
            for batch in split.by_length(BATCH_SIZE):
                b = batch.to(device)
                hidden, _ = encoder.embed(b.input_ids, b.attention_mask, b.token_type_ids)
                self._put(batch.rows.tolist(), hidden)

    def advance(self, layer: int) -> None:
        """From h_{i-1} to h_i, i = `layer` from 1."""
        order = sorted(range(len(self.lengths)), key=lambda row: self.lengths[row])
        with torch.inference_mode():
            for start in range(0, len(order), BATCH_SIZE):
                rows = order[start : start + BATCH_SIZE]
                hidden, present = (x.to(self.device) for x in self.padded(rows))
                mask = self.encoder.prepare_mask(hidden, present.long())
                self._put(rows, self.encoder.layer(layer, hidden, mask))

    def padded(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States (B, T, H), padded with zeros, and which positions are tokens (B, T)."""
        hidden = pad_sequence([self.states[self.starts[r] : self.starts[r + 1]] for r in rows], batch_first=True)
        lengths = torch.tensor([self.lengths[r] for r in rows])
        return hidden, torch.arange(hidden.shape[1]) < lengths[:, None]

    def _put(self, rows: Sequence[int], hidden: Tensor) -> None:
        for row, states in zip(rows, hidden.cpu(), strict=True):
            self.states[self.starts[row] : self.starts[row + 1]] = states[: self.lengths[row]]


@dataclass(frozen=True)
class FeatureBatches:
    """An `EpochSource` of one layer's states, with the batches that `BucketedBatches` would draw of the texts."""

    states: TokenStates
    teacher_log_p: Tensor
    batch_size: int
    seed: int

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.states.lengths) // self.batch_size)

    def epoch(self, number: int) -> Iterator[FeatureBatch]:
        """The batches of epoch `number`."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        for rows in length_buckets(self.states.lengths, self.batch_size, generator):
            hidden, present = self.states.padded(rows)
            mask = None if present.all() else present[:, None, None, :]
            yield FeatureBatch(hidden, mask, self.teacher_log_p[rows])


@dataclass(frozen=True)
class Distillation:
    """How students learn: from which direction of KL, by which plan, on which device."""

    direction: Direction
    plan: TrainingPlan
    device: torch.device
    progress: Progress

    def run(self, teacher: Teacher, split: EncodedSplit, students: Sequence[ExitClassifier], folder: Path) -> None:
        """Train the students of layers 1..L-1, in place, and save each to `folder` as soon as it is done.

        A student that `folder` already holds is not trained again.
        """
        teacher = teacher.to(self.device).eval()
        teacher_log_p = F.log_softmax(classifier_logits(teacher, split, self.device), dim=-1)
        states = TokenStates(teacher.encoder, split, self.device)
        batches = FeatureBatches(states, teacher_log_p, self.plan.batch_size, self.plan.seed)
        for layer, student in enumerate(students, 1):
            states.advance(layer)
            if not student_file(folder, layer).exists():
                self._train(student, batches, layer, len(students), folder)

    def _train(self, student: ExitClassifier, batches: FeatureBatches, layer: int, count: int, folder: Path) -> None:
        fit(
            student,
            batches,
            lambda module, batch: self.direction(module(batch.hidden, batch.mask), batch.teacher_log_p),
            self.plan,
            checkpoint=folder / "checkpoint" / f"student-{layer}.safetensors",
            progress=lambda done, total: self.progress((layer - 1) * total + done, count * total),
        )
        student.cpu().save(student_file(folder, layer))
