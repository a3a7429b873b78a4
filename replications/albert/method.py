"""ALBERT as published (Lan et al. 2020, section 3): the encoder with its two ways to save parameters, and the losses.

Symbols: V vocabulary, E width of the embeddings, H width of the hidden states, L layers. A layer is BERT's, post-norm:

    a = LN(x + drop(W_o MHA(x)))        y = LN(a + drop(W_2 gelu(W_1 a)))

Which weights a layer has is all that sharing changes: layer i = 0..L-1 takes attention block ⌊i·A/L⌋ of A and
feed-forward block ⌊i·F/L⌋ of F. A = F = 1 shares everything, A = F = L nothing, A = 1 and F = L the attention alone,
A = L and F = 1 the feed-forward blocks alone, A = F = G makes G groups. The layer norms go with their block.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.costs.flops import EncoderShape
from common.errors import UserError
from common.models.classifier import PooledClassifier
from common.records.measurements import write_json
from common.training.batches import Batch
from common.training.pretraining.batches import MaskedBatch
from common.training.pretraining.language_model import LanguageHead
from replications.albert.names import ALL, ATTENTION, FEED_FORWARD, NONE, STRATEGIES

ACTIVATION = "gelu_new"
"""GELU in its tanh form, as in the official code, by transformers' name."""

SIZES, WEIGHTS = "shape.json", "model.safetensors"

HEAD_WIDTH = 64
INITIAL_DEVIATION = 0.02
CLASSIFIER_DROPOUT = 0.1
EPSILON = 1e-12
"""Of every layer norm."""

ModuleT = TypeVar("ModuleT", bound=nn.Module)


# -- Sizes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Sizes of an encoder, and how its layers share.

    Attributes:
        layers, hidden, heads: L, H and the attention heads, which divide H.
        embedding: E; where it is H there is no projection.
        vocabulary: V.
        attention_sets, feed_forward_sets: A and F, each 1 to L.
        positions, segments: rows of the other two embedding tables.
        dropout: of embeddings, attention weights and block outputs, while training.

    Raises:
        UserError: heads do not divide the width, more sets than layers, or a size below 1.
    """

    layers: int
    hidden: int
    heads: int
    embedding: int
    vocabulary: int = 30_000
    attention_sets: int = 1
    feed_forward_sets: int = 1
    positions: int = 512
    segments: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.layers, self.hidden, self.heads, self.embedding, self.vocabulary, self.positions, self.segments)
        if min(sizes) < 1:
            raise UserError(f"sizes of an encoder are at least 1, found {self}")
        if self.hidden % self.heads:
            raise UserError(
                f"{self.heads} heads do not divide a width of {self.hidden}: expected a divisor, such as "
                f"{max(1, self.hidden // HEAD_WIDTH)} (ALBERT takes a head for each {HEAD_WIDTH})"
            )
        for what, sets in (("attention", self.attention_sets), ("feed-forward", self.feed_forward_sets)):
            if not 1 <= sets <= self.layers:
                raise UserError(
                    f"{sets} groups of {what} weights for {self.layers} layers: expected 1 (all shared) to "
                    f"{self.layers} (none shared)"
                )
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"dropout is a share of at least 0 and below 1, found {self.dropout}")

    @property
    def costs(self) -> EncoderShape:
        """The same for the closed forms of FLOPs and parameters."""
        return EncoderShape(
            layers=self.layers,
            hidden=self.hidden,
            intermediate=4 * self.hidden,
            heads=self.heads,
            vocabulary=self.vocabulary,
            positions=self.positions,
            type_vocabulary=self.segments,
            embedding=None if self.embedding == self.hidden else self.embedding,
            attention_sets=self.attention_sets,
            feed_forward_sets=self.feed_forward_sets,
        )

    def recipe(self) -> dict[str, int | float]:
        """The sizes as JSON, for an artifact's key."""
        return asdict(self)


def sets_of(strategy: str, layers: int) -> tuple[int, int]:
    """A and F of one of Table 4's strategies.

    Raises:
        UserError: there is no such strategy.
    """
    known = {ALL: (1, 1), ATTENTION: (1, layers), FEED_FORWARD: (layers, 1), NONE: (layers, layers)}
    if strategy not in known:
        raise UserError(f"unknown sharing strategy {strategy!r}: expected one of {', '.join(STRATEGIES)}")
    return known[strategy]


def sharing(shape: Shape, strategy: str) -> Shape:
    """The shape with its layers shared by one of Table 4's strategies.

    Raises:
        UserError: there is no such strategy.
    """
    attention, feed_forward = sets_of(strategy, shape.layers)
    return replace(shape, attention_sets=attention, feed_forward_sets=feed_forward)


def grouped(shape: Shape, groups: int) -> Shape:
    """The shape with its layers in so many groups, each with weights of its own.

    Raises:
        UserError: more groups than layers, or none.
    """
    return replace(shape, attention_sets=groups, feed_forward_sets=groups)


def block_of(layer: int, sets: int, layers: int) -> int:
    """⌊i·S/L⌋: which of S sets of weights layer i = 0..L-1 has."""
    return layer * sets // layers


# -- The encoder ------------------------------------------------------------------------------------------------------


class FactorisedEmbedding(nn.Module):
    """Word, position and segment vectors in R^E, layer norm there, then one map to R^H (section 3.1)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.vocabulary, shape.embedding)
        self.positions = nn.Embedding(shape.positions, shape.embedding)
        self.segments = nn.Embedding(shape.segments, shape.embedding)
        self.norm = nn.LayerNorm(shape.embedding, EPSILON)
        self.dropout = nn.Dropout(shape.dropout)
        wide = shape.embedding == shape.hidden
        self.projection = nn.Identity() if wide else nn.Linear(shape.embedding, shape.hidden)

    def forward(self, ids: Tensor, segments: Tensor | None) -> Tensor:
        """(B, T) token and segment ids to (B, T, H)."""
        if ids.shape[1] > self.positions.num_embeddings:
            raise UserError(
                f"a text of {ids.shape[1]} tokens for {self.positions.num_embeddings} positions: cut it before"
            )
        places = self.positions.weight[: ids.shape[1]]
        kinds = self.segments.weight[0] if segments is None else self.segments(segments)
        states: Tensor = self.projection(self.dropout(self.norm(self.words(ids) + kinds + places)))
        return states


class Attention(nn.Module):
    """a = LN(x + drop(W_o MHA(x)))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.rate = shape.heads, shape.dropout
        self.query, self.key, self.value, self.output = (nn.Linear(shape.hidden, shape.hidden) for _ in range(4))
        self.dropout = nn.Dropout(shape.dropout)
        self.norm = nn.LayerNorm(shape.hidden, EPSILON)

    def forward(self, x: Tensor, present: Tensor | None) -> Tensor:
        """(B, T, H) to (B, T, H); `present` (B, 1, 1, T) is True on tokens, None without padding."""
        q, k, v = (self._by_head(part(x)) for part in (self.query, self.key, self.value))
        rate = self.rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=present, dropout_p=rate)
        out: Tensor = self.norm(x + self.dropout(self.output(mixed.transpose(1, 2).flatten(2))))
        return out

    def _by_head(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return heads


class FeedForward(nn.Module):
    """y = LN(a + drop(W_2 gelu(W_1 a))), with the tanh form of GELU, as in the official code."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.inner = nn.Linear(shape.hidden, 4 * shape.hidden)
        self.outer = nn.Linear(4 * shape.hidden, shape.hidden)
        self.dropout = nn.Dropout(shape.dropout)
        self.norm = nn.LayerNorm(shape.hidden, EPSILON)

    def forward(self, a: Tensor) -> Tensor:
        """(B, T, H) to (B, T, H)."""
        out: Tensor = self.norm(a + self.dropout(self.outer(gelu(self.inner(a)))))
        return out


def gelu(x: Tensor) -> Tensor:
    """The tanh approximation."""
    return F.gelu(x, approximate="tanh")


class Encoder(nn.Module):
    """ALBERT without heads. Sharing saves parameters and no computation: L layers are executed either way."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = FactorisedEmbedding(shape)
        self.attention = nn.ModuleList(Attention(shape) for _ in range(shape.attention_sets))
        self.feed_forward = nn.ModuleList(FeedForward(shape) for _ in range(shape.feed_forward_sets))
        self.pooler = nn.Linear(shape.hidden, shape.hidden)

    @staticmethod
    def fresh(shape: Shape, seed: int) -> Encoder:
        """With weights drawn as in the official code."""
        return initialise(Encoder(shape), seed)

    def blocks(self, layer: int) -> tuple[nn.Module, nn.Module]:
        """Attention and feed-forward block of layer i = 0..L-1."""
        shape = self.shape
        return (
            self.attention[block_of(layer, shape.attention_sets, shape.layers)],
            self.feed_forward[block_of(layer, shape.feed_forward_sets, shape.layers)],
        )

    def layer_outputs(self, ids: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> list[Tensor]:
        """The L outputs of the layers, each (B, T, H); the embedding's output is not among them."""
        x = self.embedding(ids, segments)
        present = None if mask is None else mask.bool()[:, None, None, :]
        outputs = []
        for layer in range(self.shape.layers):
            attention, feed_forward = self.blocks(layer)
            x = feed_forward(attention(x, present))
            outputs.append(x)
        return outputs

    def forward(self, ids: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """(B, T, H) of the last layer, from token ids, mask (1 on tokens, 0 on padding) and segment ids, all (B, T)."""
        return self.layer_outputs(ids, mask, segments)[-1]

    def pooled(self, states: Tensor) -> Tensor:
        """(B, H): tanh(W h + b) of the first token."""
        return torch.tanh(self.pooler(states[:, 0]))


# -- Pre-training -----------------------------------------------------------------------------------------------------


class Pretraining(nn.Module):
    """The encoder with its two heads.

    Masked words: Linear(H → E), GELU, layer norm, then the word table itself, transposed, and a bias. Pairs:
    Linear(H → 2) on the pooled first token.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, shape = encoder, encoder.shape
        self.words = LanguageHead(shape.hidden, shape.embedding, shape.vocabulary, ACTIVATION, EPSILON)
        self.pairs = nn.Linear(shape.hidden, 2)

    @staticmethod
    def fresh(shape: Shape, seed: int, deviation: float = INITIAL_DEVIATION) -> Pretraining:
        """With weights drawn as in the official code, or from a wider normal."""
        return initialise(Pretraining(Encoder(shape)), seed, deviation)

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and sizes (JSON) to `folder`."""
        write_json(folder / SIZES, self.encoder.shape.recipe())
        save_file({name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}, folder / WEIGHTS)

    @staticmethod
    def load(folder: Path, dropout: float | None = None) -> Pretraining:
        """Read what `save` wrote, in evaluation mode; with another dropout if one is given."""
        shape = Shape(**json.loads((folder / SIZES).read_text(encoding="utf-8")))
        model = Pretraining(Encoder(shape if dropout is None else replace(shape, dropout=dropout)))
        model.load_state_dict(load_file(folder / WEIGHTS))
        return model.eval()

    def forward(self, batch: MaskedBatch) -> tuple[Tensor, Tensor]:
        """(M, V) logits of the words at the batch's masked places, and (B, 2) of its pairs."""
        states = self.encoder(*batch.texts)
        chosen = states.flatten(0, 1)[batch.places]
        return self.words(chosen, self.encoder.embedding.words.weight), self.pairs(self.encoder.pooled(states))


def pretraining_loss(model: Pretraining, batch: MaskedBatch) -> Tensor:
    """L_MLM + L_SOP (or L_NSP) with unit weights; L_MLM alone where a batch asks for no order."""
    words, pairs = model(batch)
    masked = F.cross_entropy(words, batch.targets)
    return masked if batch.order is None else masked + F.cross_entropy(pairs, batch.order)


def initialise(module: ModuleT, seed: int, deviation: float = INITIAL_DEVIATION) -> ModuleT:
    """Draw weights from a normal cut at two deviations; biases 0, layer norms 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            cut = 2 * deviation
            nn.init.trunc_normal_(part.weight, 0.0, deviation, -cut, cut, generator=generator)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    return module


# -- Fine-tuning ------------------------------------------------------------------------------------------------------


class Classifier(nn.Module):
    """tanh(W h + b) of the first token, dropout 0.1, a linear map: the official code's."""

    def __init__(self, encoder: Encoder, outputs: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, PooledClassifier(encoder.shape.hidden, outputs, CLASSIFIER_DROPOUT)

    @staticmethod
    def fresh(encoder: Encoder, outputs: int, seed: int) -> Classifier:
        """The encoder and its pooler as they are, with a classifier drawn from N(0, 0.02)."""
        torch.manual_seed(seed)
        model = Classifier(encoder, outputs)
        model.head.initialise(encoder.pooler, INITIAL_DEVIATION)
        return model

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits; one output for a regression, which is trained on the squared error."""
        states = self.encoder(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        logits: Tensor = self.head(states[:, 0])
        return logits
