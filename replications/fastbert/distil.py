"""Stage 3 with every feature computed once.

Backbone and teacher are frozen and the loss is an unweighted sum over independent students, so it separates: student i
can learn for all its epochs from the h_i of all texts, and the backbone passes over the texts once instead of once an
epoch. Dropout of the backbone has to be off for that; the official code leaves it on (`method.loss_with_dropout`, the
other way to do stage 3). Labels are not used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from common.encoders.layered import LayeredEncoder
from common.training.batches import EncodedSplit, length_buckets, rows_by_length
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


@dataclass(frozen=True)
class TokenStates:
    """One layer's states of all texts of a split, without padding.

    Attributes:
        lengths: tokens of each text.
        states: (sum of lengths, H), text after text.
    """

    lengths: Sequence[int]
    states: Tensor

    @cached_property
    def starts(self) -> list[int]:
        """Where each text begins."""
        return [0, *accumulate(self.lengths)]

    def padded(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States (B, T, H), padded with zeros, and which positions are tokens (B, T)."""
        hidden = pad_sequence([self.states[self.starts[r] : self.starts[r + 1]] for r in rows], batch_first=True)
        lengths = torch.tensor([self.lengths[r] for r in rows])
        return hidden, torch.arange(hidden.shape[1]) < lengths[:, None]

    def put(self, rows: Sequence[int], hidden: Tensor) -> None:
        """Keep the states of texts from a padded batch (B, T, H)."""
        for row, states in zip(rows, hidden.cpu(), strict=True):
            self.states[self.starts[row] : self.starts[row + 1]] = states[: self.lengths[row]]


@dataclass(frozen=True)
class BackboneStates:
    """h_1, ..., h_L of all texts of a split, one after the other; whoever goes through them again passes again."""

    encoder: LayeredEncoder
    split: EncodedSplit
    device: torch.device

    def __iter__(self) -> Iterator[TokenStates]:
        """h_i from h_{i-1}, which is then forgotten here."""
        states = self._embedded()
        for layer in range(1, self.encoder.num_layers + 1):
            states = self._advanced(layer, states)
            yield states

    @property
    def bytes(self) -> int:
        """What all layers take."""
        return 4 * self.encoder.num_layers * sum(self.split.lengths) * self.encoder.hidden_size

    @torch.inference_mode()
    def _embedded(self) -> TokenStates:
        states = self._room()
        for batch in self.split.by_length(BATCH_SIZE):
            b = batch.to(self.device)
            hidden, _ = self.encoder.embed(b.input_ids, b.attention_mask, b.token_type_ids)
            states.put(batch.rows.tolist(), hidden)
        return states

    @torch.inference_mode()
    def _advanced(self, layer: int, before: TokenStates) -> TokenStates:
        after = self._room()
        for rows in rows_by_length(before.lengths, BATCH_SIZE):
            hidden, present = (x.to(self.device) for x in before.padded(rows))
            mask = self.encoder.prepare_mask(hidden, present.long())
            after.put(rows, self.encoder.layer(layer, hidden, mask))
        return after

    @torch.inference_mode(False)
    def _room(self) -> TokenStates:
        """To train on, so no inference tensors."""
        lengths = self.split.lengths
        return TokenStates(lengths, torch.empty(sum(lengths), self.encoder.hidden_size))


@torch.inference_mode()
def teacher_answers(classifier: ExitClassifier, last: TokenStates, device: torch.device) -> Tensor:
    """(M, N) ln p_t of all texts from their h_L."""
    found, rows = [], []
    for some in rows_by_length(last.lengths, BATCH_SIZE):
        hidden, present = (x.to(device) for x in last.padded(some))
        found.append(F.log_softmax(classifier(hidden, present[:, None, None, :]), dim=-1).cpu())
        rows.extend(some)
    return torch.cat(found)[torch.tensor(rows).argsort()]


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
    """How students learn.

    Attributes:
        direction: of KL.
        memory: bytes that may hold all layers' states; if they take more, the backbone passes over the texts twice,
            once for the teacher's answers and once for the students, with two layers' states in memory.
    """

    direction: Direction
    plan: TrainingPlan
    device: torch.device
    progress: Progress
    memory: int = 4 * 2**30

    def run(self, teacher: Teacher, split: EncodedSplit, students: Sequence[ExitClassifier], folder: Path) -> None:
        """Train the students of layers 1..L-1, in place, and save each to `folder` as soon as it is done.

        A student that `folder` already holds is not trained again.
        """
        teacher = teacher.to(self.device).eval()
        backbone = BackboneStates(teacher.encoder, split, self.device)
        layers: Iterable[TokenStates] = list(backbone) if backbone.bytes <= self.memory else backbone
        last = deque(layers, maxlen=1).pop()
        teacher_log_p = teacher_answers(teacher.classifier, last, self.device)
        for layer, (student, states) in enumerate(zip(students, layers, strict=False), 1):
            if not student_file(folder, layer).exists():
                batches = FeatureBatches(states, teacher_log_p, self.plan.batch_size, self.plan.seed)
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
