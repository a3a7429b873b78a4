"""FastBERT (Liu et al., ACL 2020): every layer has a classifier that learned from the last one; leave when it is sure.

Notation: L layers, h_i (B, T, H) the output of layer i, N classes. The paper counts layers from 0, this code from 1.

    classifier   a = tanh(W_1 h_i)            H -> 128, every token
                 b = SelfAttention_128(a)     2 heads, no residual, no LayerNorm
                 p = softmax(W_3 tanh(W_2 b[first token]))
    stage 2      backbone and teacher (the classifier of layer L) learn from labels; students are not run
    stage 3      backbone and teacher frozen: students i = 1..L-1 learn  sum_i KL(p_t || p_si)   (code)
                                                                     or  sum_i KL(p_si || p_t)   (equations 5 and 6)
    use          leave at the first layer with U <= Speed,  U = sum_c p(c) ln p(c) / ln(1/N)     (equation 7)

Dimensions are the paper's; two heads, tanh, pooling, no residuals and the direction of KL are the official code's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.early_exit.rules import ExitState, entropy, require_classes
from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import tokens_present
from common.errors import UserError
from common.models.classifier import task_loss
from common.training.batches import Batch

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder
    from common.training.token_states import TokenBatch

WIDTH = 128
HEADS = 2

CLASSIFIER = "exit-classifier.safetensors"

# -- The classifier of a layer ----------------------------------------------------------------------------------------


class ExitClassifier(nn.Module):
    """One classifier: 180,992 + 129 N parameters at H = 768.

    Only the first token's row of the self-attention is used, so only its query and its output are computed: the
    answer is the same as with all rows.
    """

    def __init__(self, hidden_size: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.narrow = nn.Linear(hidden_size, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.dense = nn.Linear(WIDTH, WIDTH)
        self.classify = nn.Linear(WIDTH, classes)
        self.dropout = dropout

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N) logits.

        Args:
            hidden: (B, T, H).
            mask: that of the encoder, or (B, 1, 1, T), True for a token; None without padding.
        """
        a = torch.tanh(self.narrow(hidden))
        q, k, v = (_split_heads(x) for x in (self.query(a[:, :1]), self.key(a), self.value(a)))
        row = None if mask is None else tokens_present(mask)[:, None, None]
        dropout = self.dropout if self.training else 0.0
        b = F.scaled_dot_product_attention(q, k, v, attn_mask=row, dropout_p=dropout)
        c = self.attended(b.transpose(1, 2).flatten(2)[:, 0])
        logits: Tensor = self.classify(torch.tanh(self.dense(c)))
        return logits

    def save(self, folder: Path) -> None:
        """Write the weights to `folder`."""
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / CLASSIFIER)

    @staticmethod
    def load(folder: Path) -> ExitClassifier:
        """Read what `save` wrote, in evaluation mode."""
        state = load_file(folder / CLASSIFIER)
        classifier = ExitClassifier(state["narrow.weight"].shape[1], state["classify.weight"].shape[0])
        classifier.load_state_dict(state)
        return classifier.eval()


def _split_heads(x: Tensor) -> Tensor:
    """(B, heads, T, 64) from (B, T, 128)."""
    batch, tokens, _ = x.shape
    return x.view(batch, tokens, HEADS, WIDTH // HEADS).transpose(1, 2)


# -- The models -------------------------------------------------------------------------------------------------------


class Teacher(nn.Module):
    """Backbone and the last layer's classifier: what stage 2 trains, and the paper's baseline "BERT"."""

    def __init__(self, encoder: LayeredEncoder, classifier: ExitClassifier) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    @staticmethod
    def fresh(encoder: LayeredEncoder, classes: int, seed: int) -> Teacher:
        """An untrained classifier (PyTorch's own initialisation) on a copy of a pretrained encoder."""
        torch.manual_seed(seed)
        classifier = ExitClassifier(encoder.hidden_size, classes)
        return Teacher(encoder.first_layers(encoder.num_layers), classifier)

    def forward(self, batch: Batch) -> Tensor:
        """(B, N) logits."""
        states, mask = self.states(batch)
        logits: Tensor = self.classifier(states[-1], mask)
        return logits

    def states(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        """h_1, ..., h_L (B, T, H), and the attention mask."""
        hidden, mask = self.encoder.embed(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        states = []
        for index in range(1, self.encoder.num_layers + 1):
            hidden = self.encoder.layer(index, hidden, mask)
            states.append(hidden)
        return states, mask

    def save(self, folder: Path) -> None:
        """Write backbone and classifier to `folder`."""
        self.encoder.save(folder / "encoder")
        self.classifier.save(folder)

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> Teacher:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how its encoder is to be opened."""
        return Teacher(open_encoder(folder / "encoder"), ExitClassifier.load(folder)).eval()


class Students(nn.ModuleList):
    """The classifiers of layers 1..L-1; nothing is shared."""

    @staticmethod
    def fresh(encoder: LayeredEncoder, classes: int, seed: int) -> Students:
        """Untrained."""
        torch.manual_seed(seed)
        return Students(ExitClassifier(encoder.hidden_size, classes) for _ in range(encoder.num_layers - 1))

    def __iter__(self) -> Iterator[ExitClassifier]:
        """Student 1 first."""
        return cast("Iterator[ExitClassifier]", super().__iter__())

    def save(self, folder: Path) -> None:
        """Write each to a folder of its own in `folder`."""
        for index, student in enumerate(self, 1):
            (folder / f"student-{index}").mkdir(exist_ok=True)
            student.save(folder / f"student-{index}")

    @staticmethod
    def load(folder: Path, count: int) -> Students:
        """Read what `save` wrote."""
        return Students(ExitClassifier.load(folder / f"student-{index}") for index in range(1, count + 1))


class EveryLayerClassified(ExitsOnEncoder):
    """A backbone with students on layers 1..L-1 and the teacher on layer L."""

    def __init__(self, teacher: Teacher, students: Students) -> None:
        """Join them.

        Raises:
            ValueError: there is not one student for every layer but the last.
        """
        super().__init__(teacher.encoder)
        if len(students) != teacher.encoder.num_layers - 1:
            raise ValueError(f"{teacher.encoder.num_layers} layers want one student less, found {len(students)}")
        self.classifiers = nn.ModuleList([*students, teacher.classifier])

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N) logits of student i, or of the teacher at layer L."""
        logits: Tensor = self.classifiers[index - 1](hidden, mask)
        return logits

    def save(self, folder: Path) -> None:
        """Write everything to `folder`."""
        *students, teacher = self.classifiers
        Teacher(self.encoder, teacher).save(folder)  # type: ignore[arg-type]
        Students(students).save(folder)

    @staticmethod
    def load(teacher: Path, students: Path, open_encoder: OpenEncoder = layered) -> EveryLayerClassified:
        """Join a saved teacher and the students saved in another folder (or the same), in evaluation mode."""
        model = Teacher.load(teacher, open_encoder)
        return EveryLayerClassified(model, Students.load(students, model.encoder.num_layers - 1)).eval()


# -- Training ---------------------------------------------------------------------------------------------------------

Direction = Callable[[Tensor, Tensor], Tensor]
"""A distance of student logits (B, N) from the teacher's ln p_t (B, N), mean over the batch."""


def kl_from_teacher(student: Tensor, teacher_log_p: Tensor) -> Tensor:
    """KL(p_t || p_s) = sum_c p_t(c) (ln p_t(c) - ln p_s(c)): the official code's direction, and the default here."""
    return F.kl_div(F.log_softmax(student, dim=-1), teacher_log_p, log_target=True, reduction="batchmean")


def kl_from_student(student: Tensor, teacher_log_p: Tensor) -> Tensor:
    """KL(p_s || p_t) = sum_c p_s(c) (ln p_s(c) - ln p_t(c)): as equation 5 prints it."""
    return F.kl_div(teacher_log_p, F.log_softmax(student, dim=-1), log_target=True, reduction="batchmean")


def teacher_loss(model: Teacher, batch: Batch) -> Tensor:
    """Stage 2: -ln p_t(y)."""
    return task_loss(model(batch), batch.labels)


def distilling(direction: Direction) -> Callable[[ExitClassifier, TokenBatch], Tensor]:
    """Stage 3, one student: its states were computed once, and ln p_t is its target; labels are not used."""
    return lambda student, batch: direction(student(batch.hidden, batch.mask), batch.targets)


def distilling_with_dropout(teacher: Teacher) -> Callable[[Students, Batch], Tensor]:
    """Stage 3 as the official code does it: frozen backbone and teacher are run in training mode for every batch.

    Their dropout is on, so that features and soft labels are noisy; one pass makes h_i and p_t.
    """
    teacher.train().requires_grad_(False)

    def loss(students: Students, batch: Batch) -> Tensor:
        with torch.no_grad():
            states, mask = teacher.states(batch)
            teacher_log_p = F.log_softmax(teacher.classifier(states[-1], mask), dim=-1)
        learning = zip(students, states[:-1], strict=True)
        return torch.stack([kl_from_teacher(student(h, mask), teacher_log_p) for student, h in learning]).sum()

    return loss


def labels_loss(model: EveryLayerClassified, batch: Batch) -> Tensor:
    """The ablation "without self-distillation": backbone, students and teacher all learn from labels, unweighted."""
    return torch.stack([task_loss(logits, batch.labels) for logits in model(batch).unbind(1)]).sum()


# -- Use: Speed -------------------------------------------------------------------------------------------------------


def uncertainty(logits: Tensor) -> Tensor:
    """U (equation 7): entropy of softmax(logits) over ln N, in [0, 1], over the last dimension."""
    classes = logits.shape[-1]
    # Rounding can bring a uniform answer a hair above 1, which Speed = 1 would then not let go.
    return (entropy(logits) / math.log(classes)).clamp(0.0, 1.0)


@dataclass(frozen=True)
class UncertaintyAtMost:
    """Leave when U <= `speed` (`run_fastbert.py`; the authors' pip package has U < Speed).

    0 keeps everyone whose uncertainty is above 0, 1 lets everyone go at layer 1.
    """

    speed: float

    def __post_init__(self) -> None:
        if not 0 <= self.speed <= 1:
            raise UserError(f"Speed is a threshold on an uncertainty between 0 and 1; got {self.speed}")

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`."""
        require_classes(state, "leaving by Speed")
        return uncertainty(state.latest) <= self.speed
