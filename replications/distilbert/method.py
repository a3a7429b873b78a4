"""DistilBERT (Sanh et al., NeurIPS EMC^2 2019): distil the language model once, then fine-tune what is half.

Notation: V words, B rows of L tokens, N of them no padding; teacher logits t_n and student logits s_n (V,) at position
n, h_n (H,) the last hidden states, T the temperature, p^T(z) = softmax(z / T).

    L_ce  = T^2 / N sum_n KL(p^T(t_n) || p^T(s_n))      all N positions, masked or not; T = 1 at inference
    L_mlm = cross-entropy of the student at the masked positions, their mean
    L_cos = 1 / N sum_n (1 - cos(h^S_n, h^T_n))         last layers alone
    L     = 5 L_ce + 2 L_mlm + 1 L_cos,  T = 2          the authors' code; the paper prints neither

Both read the same masked input; the teacher in evaluation mode, without gradient. The student is every second layer of
the teacher, first and last included, with the teacher's word and position tables; it has no segments and no pooler.
Which tokens are masked goes by how rare they are: with probability proportional to count^-0.7, so many of a whole
batch. The loss weights, T, the choice of layers, the masking and the fixed positions are read in the authors' code.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel

from common.encoders.checkpoints import attention_kernel
from common.encoders.layered import LayeredEncoder
from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import FIRST_TOKEN, POOLINGS
from common.errors import UserError
from common.models.classifier import load_with_metadata
from common.models.span_reader import span_loss
from common.training.batches import Batch
from common.training.pretraining.batches import MaskedBatch
from common.training.pretraining.checks import require_layers
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel
from common.training.segments import TwoSegmentBatch

# -- The student (section 3) ------------------------------------------------------------------------------------------


def chosen_layers(teacher: int, student: int) -> tuple[int, ...]:
    """Which of the teacher's layers 1..n the student's m begin as: evenly spread, first and last included.

    12 to 6 gives 1, 3, 5, 8, 10, 12, the indices 0, 2, 4, 7, 9, 11 of the authors' script; 6 to 3 gives 1, 3, 6.

    Raises:
        UserError: there are not so many.
    """
    if not 1 <= student <= teacher:
        raise UserError(
            f"a student of {student} layers cannot be chosen from a teacher of {teacher}: expected 1 to that"
        )
    if student == 1:
        return (1,)
    return tuple(1 + round(i * (teacher - 1) / (student - 1)) for i in range(student))


def student_of(
    teacher: MaskedLanguageModel, layers: tuple[int, ...], seed: int, *, copy_transform: bool = False
) -> MaskedLanguageModel:
    """A student that begins as its teacher (section 3): tables, embedding norm, these layers, and the output bias.

    The teacher's segment table is dropped, not folded into the positions, and so is its pooler. The map and the norm of
    the head start from a fresh draw unless `copy_transform` (an option of the authors' script).

    Raises:
        UserError: a layer that the teacher does not have.
    """
    require_layers(layers, teacher.encoder)
    encoder = _without_segments_and_pooler(teacher.encoder.with_layers(layers)).requires_grad_(True)
    head = copy.deepcopy(teacher.head) if copy_transform else LanguageHead.fresh(encoder, seed)
    head.load_state_dict({**head.state_dict(), "bias": teacher.head.bias})
    return _with_fixed_positions(MaskedLanguageModel(encoder, head.requires_grad_(True)))


def random_student(like: MaskedLanguageModel, seed: int) -> MaskedLanguageModel:
    """The ablation: the same architecture, drawn at random, positions sinusoidal as in the authors' configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        config = copy.deepcopy(like.encoder.config)
        kernel = attention_kernel(config.model_type)
        model = AutoModel.from_config(config, attn_implementation=kernel, add_pooling_layer=False)
    encoder = LayeredEncoder(model, pooler_is_pretrained=False)
    _without_segments_and_pooler(encoder)
    table = encoder.model.embeddings.position_embeddings.weight
    with torch.no_grad():
        table.copy_(sinusoids(*table.shape))
    return _with_fixed_positions(MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, seed)))


def sinusoids(positions: int, width: int) -> Tensor:
    """(positions, width): sin and cos by turns of position / 10000^(2 i / width) (Vaswani et al. 2017)."""
    rate = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width].float()


def _without_segments_and_pooler(encoder: LayeredEncoder) -> LayeredEncoder:
    """One segment of zeros, which adds nothing, where the architecture has segments; no pooler."""
    model, config = encoder.model, encoder.config
    if getattr(config, "type_vocab_size", 0):
        config.type_vocab_size = 1
        table = nn.Embedding(1, config.hidden_size)
        nn.init.zeros_(table.weight)
        model.embeddings.token_type_embeddings = table
    model.pooler = None
    encoder.pooler_is_pretrained = False
    return encoder


def _with_fixed_positions(model: MaskedLanguageModel) -> MaskedLanguageModel:
    """Positions keep their values in pre-training, and the segment of zeros stays zero.

    The authors' configuration makes the position table sinusoidal, hence not trainable; what is loaded into it are the
    teacher's values.
    """
    embeddings = model.encoder.model.embeddings
    embeddings.position_embeddings.requires_grad_(False)
    if hasattr(embeddings, "token_type_embeddings"):
        embeddings.token_type_embeddings.requires_grad_(False)
    return model


# -- The losses (section 2) -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """Of the three losses; 0 leaves one out."""

    ce: float = 5.0
    mlm: float = 2.0
    cos: float = 1.0


TEMPERATURE = 2.0


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """L_ce of logits (N, V): T^2 times the mean over positions of KL(teacher || student), both at temperature T."""
    log_p = F.log_softmax(teacher.float() / temperature, dim=-1)
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """L_cos of states (N, H): the mean of 1 - cos."""
    return (1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).mean()


@dataclass(frozen=True)
class TripleLoss:
    """L of a batch: called with the student, as the training loop wants it.

    Attributes:
        teacher: in evaluation mode, on the device.
        weights: of the three.
        temperature: T.
        share: of the positions on which L_ce is computed; below 1 a random part, whose mean has the same expectation.
    """

    teacher: MaskedLanguageModel
    weights: Weights = Weights()
    temperature: float = TEMPERATURE
    share: float = 1.0

    def __call__(self, student: MaskedLanguageModel, batch: MaskedBatch) -> Tensor:
        """The weighted sum."""
        return torch.stack([weight * value for weight, value in self.parts(student, batch)]).sum()

    def parts(self, student: MaskedLanguageModel, batch: MaskedBatch) -> list[tuple[float, Tensor]]:
        """Weight and value of each loss that is not left out: L_ce, L_mlm, L_cos."""
        weights, places = self.weights, batch.present.flatten().nonzero()[:, 0]
        ours = student.states(batch)
        with torch.no_grad():
            theirs = self.teacher.states(batch)
        found: list[tuple[float, Tensor]] = []
        if weights.ce:
            some = self._some(places)
            with torch.no_grad():
                target = self.teacher.logits_at(theirs, some)
            found.append((weights.ce, soft_target_loss(student.logits_at(ours, some), target, self.temperature)))
        if weights.mlm:
            logits = student.logits_at(ours, batch.places).float()
            found.append((weights.mlm, F.cross_entropy(logits, batch.targets)))
        if weights.cos:
            found.append((weights.cos, cosine_loss(ours.flatten(0, 1)[places], theirs.flatten(0, 1)[places])))
        return found

    def _some(self, places: Tensor) -> Tensor:
        if self.share >= 1:
            return places
        count = math.ceil(self.share * len(places))
        return places[torch.randperm(len(places))[:count].sort().values.to(places.device)]


@dataclass(frozen=True)
class SecondDistillation:
    """(D), the authors' SQuAD script: where answers are spans the student learns from a fine-tuned teacher, too.

        L = 1/2 (L_begin + L_end) / 2 + 1/2 (CE_begin + CE_end) / 2,  L_x = T^2 KL(p^T(t_x) || p^T(s_x))

    p is over the positions of a text, padding left out; KL's mean is over texts.

    Attributes:
        teacher: gives (B, L, 2) logits; in evaluation mode.
        soft, gold: weights of the teacher and of the labels.
        temperature: T.
    """

    teacher: nn.Module
    soft: float = 0.5
    gold: float = 0.5
    temperature: float = TEMPERATURE

    def __call__(self, student: nn.Module, batch: TwoSegmentBatch) -> Tensor:
        """The weighted sum."""
        absent = ~batch.attention_mask.bool()
        ours = student(batch).float()
        with torch.no_grad():
            theirs = self.teacher(batch).float()
        ours_there, theirs = (x.masked_fill(absent[..., None], NOWHERE) for x in (ours, theirs))
        soft = [soft_target_loss(ours_there[..., i], theirs[..., i], self.temperature) for i in (0, 1)]
        return self.soft * (soft[0] + soft[1]) / 2 + self.gold * span_loss(ours, batch.labels) / 2


NOWHERE = -1e4
"""A logit of probability 0 whose logarithm is finite."""

# -- Which tokens are masked (the authors' code) ----------------------------------------------------------------------


@dataclass(frozen=True)
class SmoothedByFrequency:
    """A `Masking`: of all tokens of the batch at once this share, rounded up, rare ones more often.

    A token is drawn, without replacement, with probability proportional to max(count, 1)^-exponent; special ones never.

    Attributes:
        counts: (V,) how often each word occurs in the text.
        padding: the id that stands for no token.
        share: of all tokens, special ones included in their number.
        exponent: 0 makes all equally likely.
    """

    counts: Tensor
    padding: int
    share: float = 0.15
    exponent: float = 0.7

    def __call__(self, ids: Tensor, maskable: Tensor, generator: torch.Generator) -> Tensor:
        """(B, L) booleans."""
        weight = self.counts.double().clamp(min=1.0) ** -self.exponent
        chances = (weight[ids] * maskable).flatten()
        wanted = min(math.ceil(self.share * int((ids != self.padding).sum())), int(maskable.sum()))
        chosen = torch.zeros(ids.numel(), dtype=torch.bool)
        if wanted:
            chosen[torch.multinomial(chances, wanted, replacement=False, generator=generator)] = True
        return chosen.view_as(ids)


# -- Fine-tuning (section 4; the head of the authors' library) --------------------------------------------------------


class StudentClassifier(nn.Module):
    """z = V dropout(relu(W h + b)) + c, h the student's state of the first token: W is new, and no tanh, no pooler."""

    def __init__(self, encoder: LayeredEncoder, outputs: int, pooling: str = FIRST_TOKEN, dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.pre_classifier = nn.Linear(encoder.hidden_size, encoder.hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(encoder.hidden_size, outputs)

    @staticmethod
    def fresh(encoder: LayeredEncoder, outputs: int, seed: int, pooling: str = FIRST_TOKEN) -> StudentClassifier:
        """A new head on a copy of `encoder`: both maps from N(0, 0.02), biases 0."""
        torch.manual_seed(seed)
        model = StudentClassifier(encoder.first_layers(encoder.num_layers), outputs, pooling)
        for linear in (model.pre_classifier, model.classifier):
            nn.init.normal_(linear.weight, std=encoder.config.initializer_range)
            nn.init.zeros_(linear.bias)
        return model

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits; segments are not read."""
        hidden, mask = self.encoder.encode(batch.input_ids, batch.attention_mask)
        state = F.relu(self.pre_classifier(POOLINGS[self.pooling](hidden, mask)))
        logits: Tensor = self.classifier(self.dropout(state))
        return logits

    def save(self, folder: Path) -> None:
        """Write encoder and head to `folder`."""
        self.encoder.save(folder / "encoder")
        state = {k: v.contiguous() for k, v in self.state_dict().items() if not k.startswith("encoder.")}
        save_file(state, folder / "head.safetensors", metadata={"pooling": self.pooling})

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> StudentClassifier:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how its encoder is to be opened."""
        state, about = load_with_metadata(folder / "head.safetensors")
        encoder = open_encoder(folder / "encoder")
        model = StudentClassifier(encoder, len(state["classifier.bias"]), about["pooling"])
        model.load_state_dict(state, strict=False)
        return model.eval()
