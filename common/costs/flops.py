"""Floating-point operations of a transformer encoder, counted on paper.

Every published speed-up that is not a time is a count, and the counts of the papers disagree because the tools that
made them do: under fused attention most counters see no attention at all, and some report multiply-adds where
others report operations. So the suite counts analytically, block by block, and its tests hold the formulas against
`torch.utils.flop_counter.FlopCounterMode` on the models of transformers.

The unit is the FLOP: a multiplication or an addition, so one multiply-add is 2. Counted are the matrix products:
linear maps and the two products of attention (queries with keys, weights with values). Not counted are biases,
layer norms, softmax, activations, residual additions and table lookups, which together are well below 1 % of an
encoder of base size. All counts take `tokens` as the padded length: a padding token costs what a word costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The sizes that decide what an encoder costs.

    Attributes:
        layers: layers executed in a full pass.
        hidden: width of the hidden states.
        intermediate: inner width of the feed-forward block.
        heads: attention heads; must divide `hidden`.
        vocabulary, positions, type_vocabulary: rows of the three embedding tables (0: there is no such table).
        position_buckets: rows of the table of relative position biases, one column a head, that all layers add to
            their attention scores (MPNet; 0: there is no such table).
        embedding: width of the embedding tables if they are factorised and projected to `hidden` (ALBERT,
            section 3.1); None if they are `hidden` wide and there is no projection.
        attention_sets, feed_forward_sets: how many different sets of weights the layers share for their
            attention and their feed-forward blocks (ALBERT: 1 and 1); None if every layer has its own.
        pooler: whether the encoder itself has a dense layer on the first token (BERT has, DistilBERT has not).
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int
    positions: int = 512
    type_vocabulary: int = 2
    position_buckets: int = 0
    embedding: int | None = None
    attention_sets: int | None = None
    feed_forward_sets: int | None = None
    pooler: bool = True

    def __post_init__(self) -> None:
        if min(self.layers, self.hidden, self.intermediate, self.heads) < 1:
            raise ValueError(f"layers, hidden, intermediate and heads must be at least 1, found {self}")
        if self.hidden % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a hidden size of {self.hidden}")

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> EncoderShape:
        """Read the shape off a transformers config of BERT, RoBERTa, ALBERT, DistilBERT or MPNet.

        Raises:
            ValueError: the config is of another model type.
        """
        reader = _READERS.get(config.model_type)
        if reader is None:
            raise ValueError(f"expected a config of {', '.join(_READERS)}, found {config.model_type!r}")
        return reader(config)


def _from_bert(config: PreTrainedConfig) -> EncoderShape:
    return EncoderShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        type_vocabulary=config.type_vocab_size,
    )


def _from_albert(config: PreTrainedConfig) -> EncoderShape:
    # A "layer" of an ALBERT config is a group that runs `inner_group_num` transformer layers.
    sets = config.num_hidden_groups * config.inner_group_num
    return EncoderShape(
        layers=config.num_hidden_layers * config.inner_group_num,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        type_vocabulary=config.type_vocab_size,
        embedding=config.embedding_size,
        attention_sets=sets,
        feed_forward_sets=sets,
    )


def _from_distilbert(config: PreTrainedConfig) -> EncoderShape:
    return EncoderShape(
        layers=config.n_layers,
        hidden=config.dim,
        intermediate=config.hidden_dim,
        heads=config.n_heads,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        type_vocabulary=0,
        pooler=False,
    )


def _from_mpnet(config: PreTrainedConfig) -> EncoderShape:
    return EncoderShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        type_vocabulary=0,
        position_buckets=config.relative_attention_num_buckets,
    )


_READERS: Mapping[str, Callable[[PreTrainedConfig], EncoderShape]] = {
    "bert": _from_bert,
    "roberta": _from_bert,
    "albert": _from_albert,
    "distilbert": _from_distilbert,
    "mpnet": _from_mpnet,
}


def linear_flops(inputs: int, outputs: int, rows: int = 1) -> int:
    """FLOPs of a linear map from `inputs` to `outputs` features applied to `rows` vectors."""
    return 2 * inputs * outputs * rows


def attention_flops(shape: EncoderShape, tokens: int, *, batch: int = 1, active: int | None = None) -> int:
    """FLOPs of one self-attention block: four projections, queries with keys, weights with values.

    Args:
        shape: the encoder.
        tokens: length of a sequence; every token is a key and a value.
        batch: number of sequences.
        active: how many tokens are queries; all by default. A token that has exited (token-level early exit) is
            still attended to, so its key and value are still computed, but not its query and its output.

    Raises:
        ValueError: `active` is negative or above `tokens`.
    """
    queries = _active(tokens, active)
    projections = linear_flops(shape.hidden, shape.hidden, rows=2 * queries + 2 * tokens)
    products = 2 * linear_flops(shape.hidden, tokens, rows=queries)
    return batch * (projections + products)


def feed_forward_flops(shape: EncoderShape, tokens: int, *, batch: int = 1) -> int:
    """FLOPs of one feed-forward block: `hidden` to `intermediate` and back."""
    return 2 * linear_flops(shape.hidden, shape.intermediate, rows=tokens * batch)


def layer_flops(shape: EncoderShape, tokens: int, *, batch: int = 1, active: int | None = None) -> int:
    """FLOPs of one transformer layer; `active` as in `attention_flops`."""
    queries = _active(tokens, active)
    attention = attention_flops(shape, tokens, batch=batch, active=active)
    return attention + feed_forward_flops(shape, queries, batch=batch)


def embedding_flops(shape: EncoderShape, tokens: int, *, batch: int = 1) -> int:
    """FLOPs of the projection behind factorised embeddings; 0 without one (lookups are not counted)."""
    if shape.embedding is None:
        return 0
    return linear_flops(shape.embedding, shape.hidden, rows=tokens * batch)


def pooler_flops(shape: EncoderShape, *, batch: int = 1) -> int:
    """FLOPs of a dense `hidden` to `hidden` layer on one token per sequence.

    That is BERT's and ALBERT's pooler, the dense layer of RoBERTa's classification head and DistilBERT's
    `pre_classifier`, whether or not `shape.pooler` puts it into the encoder.
    """
    return linear_flops(shape.hidden, shape.hidden, rows=batch)


def encoder_flops(shape: EncoderShape, tokens: int, *, layers: int | None = None, batch: int = 1) -> int:
    """FLOPs of the embeddings and the first `layers` layers (all by default), without pooler and head.

    Raises:
        ValueError: `layers` is negative or above the encoder's.
    """
    executed = shape.layers if layers is None else layers
    if not 0 <= executed <= shape.layers:
        raise ValueError(f"layers must lie in 0..{shape.layers}, found {executed}")
    return embedding_flops(shape, tokens, batch=batch) + executed * layer_flops(shape, tokens, batch=batch)


def classifier_flops(
    shape: EncoderShape, tokens: int, labels: int, *, layers: int | None = None, batch: int = 1
) -> int:
    """FLOPs of a sequence classifier: `encoder_flops`, one dense layer (`pooler_flops`), one linear head.

    With `layers`, the cost of a classifier that stops there and has the same head at that layer (not the cost of
    the heads that it tried on the way: add `pooler_flops` and `linear_flops` for each).
    """
    head = pooler_flops(shape, batch=batch) + linear_flops(shape.hidden, labels, rows=batch)
    return encoder_flops(shape, tokens, layers=layers, batch=batch) + head


def _active(tokens: int, active: int | None) -> int:
    if active is None:
        return tokens
    if not 0 <= active <= tokens:
        raise ValueError(f"active must lie in 0..{tokens}, found {active}")
    return active
