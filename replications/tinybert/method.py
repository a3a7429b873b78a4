"""TinyBERT (Jiao et al., Findings of EMNLP 2020): a small student imitates its teacher's layers, not its answers alone.

Notation: a teacher of N layers, d wide, and a student of M layers, d' wide, both with h heads; a text of l tokens; C
classes. E, H_m and z are the embeddings, the output of layer m and the logits, A_i = Q_i K_i^T / sqrt(d_k) the scores
of head i before the softmax (l x l, each model with its own d_k).

    g(m)                                      the teacher's layer that student layer m learns from; g(0) = 0
    L_embd = MSE(E_S W + b, E_T)
    L_hidn = MSE(H_S W + b, H_T)
    L_attn = 1/h sum_i MSE(A_i_S, A_i_T)
    L_pred = -softmax(z_T / t) . log softmax(z_S / t), t = 1
    L = L_embd + sum_{m=1..M} (L_hidn + L_attn), all weights 1

General distillation: L on plain text, from the pre-trained teacher. Task distillation: L on the task's augmented
texts, from the fine-tuned teacher; then L_pred alone. W (d' x d, with bias) is one map for the embeddings and all
layers, as in the official code. A text's MSE is over its own tokens: padding counts nowhere.

Teacher and student have the official code's head: z = V relu(tanh(U h + a)) + c for h the first token's state (or the
mean of all, where an encoder was tuned to be read so), without dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import FIRST_TOKEN
from common.encoders.shapes import Shape, random_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier, PooledClassifier, load_with_metadata
from common.training.loop import TrainingPlan
from common.training.pretraining.checks import require_same_heads
from common.training.pretraining.observed import Observed, observe
from replications.tinybert.names import BOTTOM, TOP, UNIFORM

BatchT = TypeVar("BatchT")

DEVIATION = 0.02
"""Of every weight that is drawn."""

# -- Layer mapping (Table 4) -----------------------------------------------------------------------------


def mapped_layers(mapping: str, student: int, teacher: int) -> list[int]:
    """[g(0), g(1), ..., g(M)] for M = `student` and N = `teacher` layers; g(0) = 0.

    Uniform: g(m) = m N / M. Top: m + N - M. Bottom: m.

    Raises:
        UserError: a layer's counterpart lies outside the teacher, or M does not divide N.
    """
    if mapping not in _COUNTERPARTS:
        raise UserError(f"unknown layer mapping {mapping!r}: expected one of {', '.join(_COUNTERPARTS)}")
    if not 1 <= student <= teacher:
        raise UserError(
            f"a student of {student} layers cannot learn layer by layer from a teacher of {teacher}: expected 1 to "
            f"{teacher} layers"
        )
    if mapping == UNIFORM and teacher % student:
        divisors = [m for m in range(1, teacher + 1) if teacher % m == 0]
        raise UserError(
            f"the uniform mapping g(m) = m {teacher}/{student} points between the teacher's layers: expected a student "
            f"of {', '.join(map(str, divisors))} layers"
        )
    return [0, *(_COUNTERPARTS[mapping](m, student, teacher) for m in range(1, student + 1))]


_COUNTERPARTS: Mapping[str, Callable[[int, int, int], int]] = {
    UNIFORM: lambda m, student, teacher: m * teacher // student,
    TOP: lambda m, student, teacher: m + teacher - student,
    BOTTOM: lambda m, student, teacher: m,
}


# -- Losses on what two encoders show ---------------------------------------------------------------------------------


def states_loss(student: Tensor, teacher: Tensor, present: Tensor | None) -> Tensor:
    """L_hidn and L_embd: MSE of projected states (B, L, d), over a text's tokens, then over texts."""
    return _mean_over_texts((student.float() - teacher.float()).square().mean(-1), present)


def attention_loss(student: Tensor, teacher: Tensor, present: Tensor | None) -> Tensor:
    """L_attn: MSE of scores (B, h, L, L) over heads and pairs of a text's tokens, then over texts."""
    pairs = None if present is None else present[:, :, None] & present[:, None, :]
    return _mean_over_texts((student.float() - teacher.float()).square().mean(1), pairs)


def _mean_over_texts(squares: Tensor, counted: Tensor | None) -> Tensor:
    """The mean over texts of each text's mean of `squares` (B, ...) where `counted`."""
    if counted is None:
        return squares.mean()
    of_text = squares.masked_fill(~counted, 0.0).flatten(1).sum(1) / counted.flatten(1).sum(1)
    return of_text.mean()


def prediction_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """L_pred of logits (B, C), summed over classes, the mean over texts; of a regression (C = 1) the squared error."""
    if teacher.shape[-1] == 1:
        return F.mse_loss(student, teacher)
    wanted = torch.softmax(teacher / temperature, dim=-1)
    return F.cross_entropy(student / temperature, wanted)


@dataclass(frozen=True)
class Objective:
    """What is imitated, and of which layers: L and its ablations."""

    embedding: bool = True
    attention: bool = True
    hidden: bool = True
    mapping: str = UNIFORM

    def loss(
        self, student: Observed, teacher: Observed, project: Callable[[Tensor], Tensor], present: Tensor | None
    ) -> Tensor:
        """L, the sum over the student's layers.

        Args:
            student: what it shows of some texts.
            teacher: what it shows of the same ones.
            project: the shared map from the student's width to the teacher's.
            present: (B, L) True for a token, False for padding; None where nothing is padded.
        """
        terms = []
        if self.embedding:
            terms.append(states_loss(project(student.hidden[0]), teacher.hidden[0], present))
        layers = mapped_layers(self.mapping, len(student.scores), len(teacher.scores))
        for m, n in list(enumerate(layers))[1:]:
            if self.hidden:
                terms.append(states_loss(project(student.hidden[m]), teacher.hidden[n], present))
            if self.attention:
                terms.append(attention_loss(student.scores[m - 1], teacher.scores[n - 1], present))
        return torch.stack(terms).sum()


# -- The student ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudentSize:
    """M, d' and the width of the feed-forward block; heads and vocabulary are the teacher's."""

    layers: int
    hidden: int
    intermediate: int

    def shape(self, teacher: Any) -> Shape:  # noqa: ANN401
        """A BERT encoder of this size for a teacher with this transformers configuration.

        Raises:
            UserError: the teacher's heads do not divide d'.
        """
        heads = int(teacher.num_attention_heads)
        if self.hidden % heads:
            raise UserError(
                f"a student {self.hidden} wide cannot have the teacher's {heads} attention heads, whose scores it "
                f"learns head by head: expected a width that {heads} divides"
            )
        return Shape(
            model_type="bert",
            layers=self.layers,
            hidden=self.hidden,
            heads=heads,
            intermediate=self.intermediate,
            vocab=int(teacher.vocab_size),
            pad_token_id=int(teacher.pad_token_id),
            has_pooler=False,
        )


class Student(nn.Module):
    """An encoder that learns from a teacher's layers, with the map W to the teacher's width."""

    def __init__(self, encoder: LayeredEncoder, projection: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    @staticmethod
    def fresh(shape: Shape, width: int, seed: int) -> Student:
        """Everything drawn from N(0, 0.02), biases 0; W leads to a teacher `width` wide, also if that is d'."""
        student = Student(random_encoder(shape, seed), nn.Linear(shape.hidden, width))
        draw(student.projection, torch.Generator().manual_seed(seed))
        return student

    def save(self, folder: Path) -> None:
        """Write encoder and map to `folder`."""
        self.encoder.save(folder / "encoder")
        state = {k: v.contiguous() for k, v in self.projection.state_dict().items()}
        save_file(state, folder / "projection.safetensors")

    @staticmethod
    def load(folder: Path) -> Student:
        """Read what `save` wrote, in evaluation mode."""
        encoder = LayeredEncoder.load(folder / "encoder")
        state, _ = load_with_metadata(folder / "projection.safetensors")
        width, hidden = state["weight"].shape
        projection = nn.Linear(hidden, width)
        projection.load_state_dict(state)
        return Student(encoder, projection).eval()


def draw(linear: nn.Linear, generator: torch.Generator) -> nn.Linear:
    """`linear`, its weights drawn from N(0, 0.02), its bias 0."""
    with torch.no_grad():
        linear.weight.normal_(0.0, DEVIATION, generator=generator)
        linear.bias.zero_()
    return linear


def check_pair(student: LayeredEncoder, teacher: LayeredEncoder, objective: Objective) -> None:
    """Make sure that a student can learn from a teacher.

    Raises:
        UserError: they have other vocabularies or other numbers of heads, or the map points outside.
    """
    ours, theirs = len(student.word_embeddings), len(teacher.word_embeddings)
    if ours != theirs:
        raise UserError(
            f"the student has a vocabulary of {ours} and the teacher one of {theirs}: both must read the same tokens. "
            "Distil a student from this teacher"
        )
    if objective.attention:
        require_same_heads(student, teacher)
    mapped_layers(objective.mapping, student.num_layers, teacher.num_layers)


# -- Students that learn side by side ---------------------------------------------------------------------------------


class Students(nn.ModuleDict):
    """Students by name, of one teacher; each is saved in a folder of its own."""

    def save(self, folder: Path) -> None:
        """Write every student to the folder of its name."""
        for name, student in self.items():
            assert isinstance(student, Student)
            student.save(folder / name)


Texts = tuple[Tensor, Tensor | None, Tensor | None]
"""Ids, attention mask and token types, each (B, L)."""


def imitation_loss(
    teacher: LayeredEncoder, objectives: Mapping[str, Objective], texts_of: Callable[[BatchT], Texts]
) -> Callable[[Students, BatchT], Tensor]:
    """The sum of all students' L on a batch, from one pass of their teacher, which is in evaluation mode.

    Args:
        teacher: the encoder, on the device; it is frozen and its dropout put off.
        objectives: of each student by its name.
        texts_of: reads a batch.
    """
    teacher.eval()

    def loss(students: Students, batch: BatchT) -> Tensor:
        texts = texts_of(batch)
        with torch.no_grad():
            wanted = observe(teacher, *texts)
        return torch.stack([shown_loss(students[name], wanted, o, texts) for name, o in objectives.items()]).sum()

    return loss


def shown_loss(student: nn.Module, wanted: Observed, objective: Objective, texts: Texts) -> Tensor:
    """L of one student on texts of which the teacher showed `wanted`."""
    assert isinstance(student, Student)
    mask = texts[1]
    present = None if mask is None or bool(mask.all()) else mask.bool()
    return objective.loss(observe(student.encoder, *texts), wanted, student.projection, present)


# -- The classifier: teacher and student alike ------------------------------------------------------------------------


class ReluHead(PooledClassifier):
    """z = V relu(tanh(U h + a)) + c, without dropout."""

    def forward(self, state: Tensor) -> Tensor:
        """(B, H) states to (B, C) logits."""
        logits: Tensor = self.classifier(torch.relu(torch.tanh(self.pooler(state))))
        return logits


class TinyClassifier(EncoderClassifier):
    """An encoder under a `ReluHead`: the fine-tuned teacher, and the student as it is used."""

    @staticmethod
    def fresh(encoder: LayeredEncoder, outputs: int, seed: int, pooling: str = FIRST_TOKEN) -> TinyClassifier:
        """An untrained head on a copy of `encoder`; the pooler starts as the pretrained one, if there is one."""
        generator = torch.Generator().manual_seed(seed)
        head = ReluHead(encoder.hidden_size, outputs)
        draw(head.pooler, generator)
        draw(head.classifier, generator)
        if encoder.pooler_dense is not None:
            head.pooler.load_state_dict(encoder.pooler_dense.state_dict())
        return TinyClassifier(encoder.first_layers(encoder.num_layers), head, pooling)

    def save(self, folder: Path) -> None:
        """Write encoder and head to `folder`; under another name than a usual head's, which has no ReLU."""
        self.encoder.save(folder / "encoder")
        state = {k: v.contiguous() for k, v in self.head.state_dict().items()}
        save_file(state, folder / RELU_HEAD, metadata={"pooling": self.pooling})

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> TinyClassifier:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how its encoder is to be opened.

        Raises:
            UserError: the classifier in `folder` has the usual head, whose logits a ReLU would change.
        """
        if not (folder / RELU_HEAD).exists():
            raise UserError(
                f"{folder} holds no classifier with TinyBERT's head (linear on ReLU of the pooled state): expected "
                f"{RELU_HEAD}. Another head's weights would give other logits; fine-tune the teacher with this head"
            )
        encoder = open_encoder(folder / "encoder")
        state, about = load_with_metadata(folder / RELU_HEAD)
        outputs, hidden = state["classifier.weight"].shape
        head = ReluHead(hidden, outputs)
        head.load_state_dict(state)
        return TinyClassifier(encoder, head, about["pooling"]).eval()


RELU_HEAD = "relu_head.safetensors"


# -- The optimiser ----------------------------------------------------------------------------------------------------


def adamw_by_tensor(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW as the official code steers it: each gradient is clipped by its own norm; biases and norms do not decay.

    Students that share no parameter therefore learn side by side exactly as each would alone, in one pass of their
    teacher.

    Raises:
        ValueError: the plan clips by the norm of all gradients together, which would couple them.
    """
    if plan.max_gradient_norm is not None:
        raise ValueError("gradients are clipped tensor by tensor: the plan's max_gradient_norm must be None")
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    kept = [p for name, p in trained if name.endswith("bias") or "LayerNorm" in name]
    decayed = [p for name, p in trained if not (name.endswith("bias") or "LayerNorm" in name)]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, eps=plan.adam_epsilon, fused=True)

    def clip(*_: object) -> None:
        gradients = [p.grad for _, p in trained if p.grad is not None]
        norms = torch.stack([gradient.norm() for gradient in gradients])
        for gradient, norm in zip(gradients, norms.tolist(), strict=True):
            if norm > MAX_NORM:
                gradient.mul_(MAX_NORM / norm)

    optimizer.register_step_pre_hook(clip)
    return optimizer


MAX_NORM = 1.0
"""Of each gradient tensor."""
