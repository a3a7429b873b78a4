"""DeFormer (Cao et al., ACL 2020): lower layers see one text each, upper layers both (section 3).

Notation: n layers L_1..L_n, a question (first text) A and a passage (second text) B, separation depth k.

    A_k = L_{1:k}(A_0),  B_k = L_{1:k}(B_0)      the same weights for both; no attention across
    [A_n; B_n] = L_{k+1:n}([A_k; B_k])           joint, as ever

k = 0 is the full model. There are no new parameters. B_k does not depend on the question: it is computed beforehand
and kept (`cache.py`), and while a question waits only A goes through the lower layers (`online.py`).

Each segment is embedded by itself (`common.training.segments`). At scale `paper` positions begin anew in the second, as
in the official code; below it they run on behind the first one's slot (deviation 16), which is as long for every
question: B_k does not depend on it either way. Masks are of each segment below k, and of both together above it.
MPNet's relative positions are those within a segment below k, and those of both segments in a row above it.

    L_ts  = (CE_begin + CE_end) / 2, or CE of classes
    L_kd  = T^2 KL(softmax(v/T) || softmax(u/T)), T = 2, mean over the batch; begin and end averaged
    L_lrs = 1/(n-k) sum_{i=k+1..n} MSE(u_i, v_i)          mean over batch, tokens (padding too) and dimensions
    L     = gamma L_ts + alpha L_kd + beta L_lrs          section 3.2; u: DeFormer, v: the teacher, k = 0

This is what the official code computes and what the published weights belong to. The paper prints KL(u || v), and a sum
of norms for L_lrs. In classifiers the pooled vector is one more term of L_lrs. Without the auxiliary losses a reader's
loss is the sum CE_begin + CE_end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import FIRST_TOKEN, POOLINGS
from common.errors import UserError
from common.models.classifier import PooledClassifier, head_dropout, load_with_metadata, task_loss
from common.models.span_reader import SpanHead, span_loss
from common.training.segments import Segment, TwoSegmentBatch

TEMPERATURE = 2.0

Direction = Literal["code", "paper"]
"""Of the KL divergence: KL(teacher || DeFormer), as in the code; KL(DeFormer || teacher), as printed."""


def check_k(k: int, layers: int) -> None:
    """Refuse a separation depth that leaves nothing apart or nothing joint.

    Raises:
        UserError: k is not one of 1..n-1.
    """
    if not 1 <= k <= layers - 1:
        raise UserError(f"k is how many of the {layers} layers are apart: expected 1 to {layers - 1}, got {k}")


# -- The model --------------------------------------------------------------------------------------------------------


class Joint(NamedTuple):
    """What the upper layers make of both segments.

    Attributes:
        logits: (B, L, 2) of spans, or (B, C) of classes.
        states: u_{k+1}, ..., u_n, each (B, L, H).
        pooled: (B, H) what a classifier reads; None in a reader.
    """

    logits: Tensor
    states: list[Tensor]
    pooled: Tensor | None


class DeFormer(nn.Module):
    """An encoder whose layers 1..k see each segment alone; k = 0 is the full model in the same layout.

    Attributes:
        head: of spans (`SpanHead`) or of classes (`PooledClassifier`).
        pooling: what of the last layer a classifier reads: its first token is the first segment's [CLS].
    """

    def __init__(
        self, encoder: LayeredEncoder, k: int, head: SpanHead | PooledClassifier, pooling: str = FIRST_TOKEN
    ) -> None:
        super().__init__()
        if k != 0:
            check_k(k, encoder.num_layers)
        self.encoder, self.k, self.head, self.pooling = encoder, k, head, pooling

    @staticmethod
    def reader(encoder: LayeredEncoder, k: int, seed: int) -> DeFormer:
        """An untrained span head on `encoder`, which is not copied."""
        torch.manual_seed(seed)
        return DeFormer(encoder, k, SpanHead(encoder.hidden_size, encoder.config.initializer_range))

    @staticmethod
    def classifier(encoder: LayeredEncoder, k: int, outputs: int, seed: int, pooling: str = FIRST_TOKEN) -> DeFormer:
        """An untrained classifier with the pretrained pooler on `encoder`, which is not copied."""
        torch.manual_seed(seed)
        head = PooledClassifier(encoder.hidden_size, outputs, head_dropout(encoder.config))
        head.initialise(encoder.pooler_dense, encoder.config.initializer_range)
        return DeFormer(encoder, k, head, pooling)

    def embed(self, segment: Segment) -> tuple[Tensor, Tensor | None]:
        """A_0 or B_0 (B, L, H), positions counted from where the segment's begin, and its mask for the layers 1..k."""
        places = self.encoder.positions(segment.input_ids, segment.first_position)
        return self.encoder.embed(segment.input_ids, segment.attention_mask, segment.token_type_ids, places)

    def lower(self, segment: Segment) -> Tensor:
        """(B, L, H) after the layers 1..k, which see this segment alone."""
        h, mask = self.embed(segment)
        for i in range(1, self.k + 1):
            h = self.encoder.layer(i, h, mask)
        return h

    def upper(self, first: Tensor, second: Tensor, attention_mask: Tensor) -> Joint:
        """Layers k+1..n and the head, from A_k (B, L_a, H), B_k (B, L_b, H) and the padding mask (B, L) of both."""
        h = torch.cat([first, second], dim=1)
        mask = self.encoder.prepare_mask(h, attention_mask)
        states = []
        for i in range(self.k + 1, self.encoder.num_layers + 1):
            h = self.encoder.layer(i, h, mask)
            states.append(h)
        if isinstance(self.head, SpanHead):
            return Joint(self.head(h), states, None)
        pooled = torch.tanh(self.head.pooler(POOLINGS[self.pooling](h, mask)))
        return Joint(self.head.classifier(self.head.dropout(pooled)), states, pooled)

    def joint(self, batch: TwoSegmentBatch) -> Joint:
        """Both segments from their tokens, nothing cached."""
        return self.upper(self.lower(batch.first), self.lower(batch.second), batch.attention_mask)

    def forward(self, batch: TwoSegmentBatch) -> Tensor:
        """The logits: (B, L, 2) of spans, or (B, C) of classes."""
        return self.joint(batch).logits

    def save(self, folder: Path) -> None:
        """Write encoder, head and k to `folder` (safetensors and JSON)."""
        self.encoder.save(folder / "encoder")
        about = {"k": json.dumps(self.k), "pooling": self.pooling}
        state = {name: tensor.contiguous() for name, tensor in self.head.state_dict().items()}
        save_file(state, folder / "head.safetensors", metadata=about)

    @staticmethod
    def load(folder: Path) -> DeFormer:
        """Read what `save` wrote, in evaluation mode."""
        encoder = LayeredEncoder.load(folder / "encoder")
        state, about = load_with_metadata(folder / "head.safetensors")
        head: SpanHead | PooledClassifier
        if "weight" in state:
            head = SpanHead(encoder.hidden_size)
        else:
            head = PooledClassifier(encoder.hidden_size, len(state["classifier.bias"]))
        head.load_state_dict(state)
        return DeFormer(encoder, json.loads(about["k"]), head, about["pooling"]).eval()


# -- Training ---------------------------------------------------------------------------------------------------------


def plain_loss(model: DeFormer, batch: TwoSegmentBatch) -> Tensor:
    """Without the auxiliary losses: CE_begin + CE_end, or CE of classes."""
    return target_loss(model(batch), batch.labels)


def target_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """CE_begin + CE_end over all positions, or CE of classes."""
    return span_loss(logits, labels) if labels.dim() == 2 else task_loss(logits.float(), labels)


@dataclass(frozen=True)
class LossWeights:
    """alpha of KD, beta of LRS, gamma of the task; 0 leaves a loss out."""

    alpha: float
    beta: float
    gamma: float


def distillation_loss(student: Tensor, teacher: Tensor, direction: Direction = "code") -> Tensor:
    """L_kd of logits (B, C), or (B, L, 2): softmax over C or L, begin and end averaged."""
    u, v = (logits.float().transpose(1, -1) / TEMPERATURE for logits in (student, teacher))
    if student.dim() == 2:
        u, v = u.unsqueeze(1), v.unsqueeze(1)  # (B, 1, C) beside (B, 2, L)
    log_u, log_v = F.log_softmax(u, dim=-1), F.log_softmax(v, dim=-1)
    if direction == "paper":
        log_u, log_v = log_v, log_u
    divergence = (log_v.exp() * (log_v - log_u)).sum(-1)
    return TEMPERATURE**2 * divergence.mean()


def similarity_loss(student: Joint, teacher: Joint) -> Tensor:
    """L_lrs: mean over the student's joint layers (and the pooled vector) of per-element mean squared distances."""
    upper = teacher.states[len(teacher.states) - len(student.states) :]
    terms = [F.mse_loss(u.float(), v.float()) for u, v in zip(student.states, upper, strict=True)]
    if student.pooled is not None and teacher.pooled is not None:
        terms.append(F.mse_loss(student.pooled.float(), teacher.pooled.float()))
    return torch.stack(terms).mean()


def taught_loss(
    teacher: DeFormer, weights: LossWeights, direction: Direction = "code"
) -> Callable[[DeFormer, TwoSegmentBatch], Tensor]:
    """L: task loss, KD and LRS; the teacher (k = 0, same layout, evaluation mode) does not learn."""
    teacher.requires_grad_(False).eval()

    def loss(model: DeFormer, batch: TwoSegmentBatch) -> Tensor:
        with torch.no_grad():
            taught = teacher.to(batch.labels.device).joint(batch)
        mine = model.joint(batch)
        task = target_loss(mine.logits, batch.labels) / (2 if batch.labels.dim() == 2 else 1)
        total = weights.gamma * task + weights.alpha * distillation_loss(mine.logits, taught.logits, direction)
        return total + weights.beta * similarity_loss(mine, taught) if weights.beta else total

    return loss
