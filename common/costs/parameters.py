"""Parameters of a transformer encoder, counted on paper.

The closed forms answer at once for shapes that nobody wants to allocate (ALBERT-xxlarge, an unshared ALBERT), and
say where the parameters sit: in the tables, in attention, in the feed-forward blocks. The tests hold them against
the models of transformers, built on the `meta` device.

A count is a number of scalars, biases and layer norms included. Each set of shared weights counts once.
"""

from __future__ import annotations

from common.costs.flops import EncoderShape


def linear_parameters(inputs: int, outputs: int) -> int:
    """Weights and biases of a linear map."""
    return (inputs + 1) * outputs


def attention_parameters(shape: EncoderShape) -> int:
    """One self-attention block: four projections and the layer norm after it."""
    return 4 * linear_parameters(shape.hidden, shape.hidden) + 2 * shape.hidden


def feed_forward_parameters(shape: EncoderShape) -> int:
    """One feed-forward block: two linear maps and the layer norm after it."""
    inwards = linear_parameters(shape.hidden, shape.intermediate)
    outwards = linear_parameters(shape.intermediate, shape.hidden)
    return inwards + outwards + 2 * shape.hidden


def layer_parameters(shape: EncoderShape) -> int:
    """One transformer layer."""
    return attention_parameters(shape) + feed_forward_parameters(shape)


def embedding_parameters(shape: EncoderShape) -> int:
    """The word, position and segment tables, their layer norm, and the projection if they are factorised."""
    width = shape.embedding or shape.hidden
    tables = (shape.vocabulary + shape.positions + shape.type_vocabulary) * width
    projection = 0 if shape.embedding is None else linear_parameters(width, shape.hidden)
    return tables + 2 * width + projection


def position_bias_parameters(shape: EncoderShape) -> int:
    """The table of relative position biases that all layers share; 0 without one."""
    return shape.position_buckets * shape.heads


def pooler_parameters(shape: EncoderShape) -> int:
    """A dense `hidden` to `hidden` layer (see `common.costs.flops.pooler_flops` for where it appears)."""
    return linear_parameters(shape.hidden, shape.hidden)


def encoder_parameters(shape: EncoderShape) -> int:
    """The whole encoder as transformers' `AutoModel` builds it, with its pooler if `shape.pooler`."""
    attention_sets = shape.layers if shape.attention_sets is None else shape.attention_sets
    feed_forward_sets = shape.layers if shape.feed_forward_sets is None else shape.feed_forward_sets
    blocks = attention_sets * attention_parameters(shape) + feed_forward_sets * feed_forward_parameters(shape)
    pooler = pooler_parameters(shape) if shape.pooler else 0
    return embedding_parameters(shape) + position_bias_parameters(shape) + blocks + pooler


def classifier_parameters(shape: EncoderShape, labels: int) -> int:
    """A sequence classifier: the encoder, one dense layer (in the encoder or in the head), one linear head."""
    dense = 0 if shape.pooler else pooler_parameters(shape)
    return encoder_parameters(shape) + dense + linear_parameters(shape.hidden, labels)
