"""Bort before any task: the model, and the two ways to pre-train it.

    L = 0.1 L_mlm + 0.5 L_ce
    L_mlm: cross-entropy of the masked tokens, their mean
    L_ce = T^2 KL(softmax(z_t / T) || softmax(z_s / T)) at the masked tokens, their mean, T = 2

Self-supervised pre-training is L_mlm alone. The official code gives its KL loss probabilities where it takes logits,
and averages over the vocabulary: that loss is here too, as a variant.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import POOLINGS
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.training.batches import Batch
from common.training.pretraining.batches import MaskedBatch
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel
from replications.bort.method import Architecture

MLM_WEIGHT, CE_WEIGHT, TEMPERATURE = 0.1, 0.5, 2.0

Logits = Callable[[MaskedBatch], Tensor]
"""(M, V) at the masked positions of a batch."""


def fresh_model(
    architecture: Architecture, vocabulary: int, padding: int, seed: int, counts: Tensor | None = None
) -> MaskedLanguageModel:
    """An untrained model of an architecture: weights from N(0, 0.02).

    Args:
        architecture: its sizes.
        vocabulary: rows of the word table, the teacher's.
        padding: its id.
        seed: of the draws.
        counts: (V,) how often each word occurs, where the head begins with it.
    """
    encoder = random_encoder(architecture.shape(vocabulary, padding), seed)
    return MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, seed, counts))


# -- Losses --------------------------------------------------------------------------------------------------------


def teacher_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """L_ce of (M, V) logits. The teacher's own entropy, a constant, is taken off: KL and cross-entropy teach alike."""
    _same_words(student, teacher)
    log_p = F.log_softmax(teacher / temperature, dim=-1)
    log_q = F.log_softmax(student / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def released_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """L_ce as the official code computes it: a log-softmax of the student's probabilities, mean over the vocabulary."""
    _same_words(student, teacher)
    p = F.softmax(teacher / temperature, dim=-1)
    twice = F.log_softmax(F.softmax(student / temperature, dim=-1), dim=-1)
    return temperature**2 * F.kl_div(twice, p, reduction="batchmean") / student.shape[-1]


def _same_words(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise UserError(
            f"student and teacher answer differently: {tuple(student.shape)} against {tuple(teacher.shape)} (masked "
            "tokens, words). They need one vocabulary"
        )


CrossEntropy = Callable[[Tensor, Tensor], Tensor]


def distillation_loss(
    teacher: Logits, cross_entropy: CrossEntropy = teacher_cross_entropy
) -> Callable[[MaskedLanguageModel, MaskedBatch], Tensor]:
    """L of one batch, for a teacher that is only asked."""

    def loss(student: MaskedLanguageModel, batch: MaskedBatch) -> Tensor:
        with torch.no_grad():
            answers = teacher(batch).float()
        logits = student(batch)
        return MLM_WEIGHT * F.cross_entropy(logits, batch.targets) + CE_WEIGHT * cross_entropy(logits, answers)

    return loss


# -- The classifier ------------------------------------------------------------------------------------------------


class BortClassifier(EncoderClassifier):
    """Bort with the released head: dropout, dense tanh, dropout, dense on one state of a text.

    The encoder has no pooler; the tanh layer is a new part of the head, drawn at random.
    """

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits."""
        hidden, mask = self.encoder.encode(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        logits: Tensor = self.head(self.head.dropout(POOLINGS[self.pooling](hidden, mask)))
        return logits

    @staticmethod
    def fresh(
        encoder: LayeredEncoder, outputs: int, seed: int, *, pooling: str, spread: float | None
    ) -> BortClassifier:
        """A copy of `encoder` with a new head: weights from U(-spread, spread), or N(0, 0.02) without a spread."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            head = PooledClassifier(encoder.hidden_size, outputs, float(encoder.config.hidden_dropout_prob))
            for linear in (head.pooler, head.classifier):
                if spread is None:
                    nn.init.normal_(linear.weight, std=encoder.config.initializer_range)
                else:
                    nn.init.uniform_(linear.weight, -spread, spread)
                nn.init.zeros_(linear.bias)
        return BortClassifier(encoder.first_layers(encoder.num_layers), head, pooling)
