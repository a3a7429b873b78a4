"""The same weights in transformers' `AlbertForPreTraining`, and from there to wherever ALBERT is wanted.

transformers shares whole layers in groups, always has the projection behind the embeddings, and knows no sharing of
attention or feed-forward blocks alone. What it has no place for is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UserError
from replications.albert.method import ACTIVATION, EPSILON, INITIAL_DEVIATION, Pretraining, Shape, block_of


def configuration(shape: Shape) -> Any:  # noqa: ANN401
    """The transformers configuration of a shape.

    Raises:
        UserError: transformers' ALBERT has no such sharing, no such groups, or no place for embeddings of width H.
    """
    from transformers import AlbertConfig

    if shape.embedding == shape.hidden:
        raise UserError(
            f"transformers' ALBERT projects its embeddings always, and with E = H = {shape.hidden} there is no "
            "projection here: take a smaller E"
        )
    groups = shape.attention_sets
    if groups != shape.feed_forward_sets:
        raise UserError(
            f"transformers' ALBERT shares whole layers, and this model has {shape.attention_sets} attention blocks and "
            f"{shape.feed_forward_sets} feed-forward blocks: only groups of layers have a place there"
        )
    theirs = [int(layer / (shape.layers / groups)) for layer in range(shape.layers)]
    if theirs != [block_of(layer, groups, shape.layers) for layer in range(shape.layers)]:
        raise UserError(f"transformers rounds {groups} groups of {shape.layers} layers otherwise than the paper")
    return AlbertConfig(
        vocab_size=shape.vocabulary,
        embedding_size=shape.embedding,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_hidden_groups=groups,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        hidden_act=ACTIVATION,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.segments,
        initializer_range=INITIAL_DEVIATION,
        layer_norm_eps=EPSILON,
    )


def to_transformers(model: Pretraining) -> Any:  # noqa: ANN401
    """An `AlbertForPreTraining` with the weights of `model`, copied, in evaluation mode.

    Raises:
        UserError: as `configuration`.
    """
    from transformers import AlbertForPreTraining

    with torch.random.fork_rng(devices=[]):
        theirs = AlbertForPreTraining(configuration(model.encoder.shape))
    theirs.load_state_dict(dict(_named(model)), strict=True)
    return theirs.eval()


def _named(model: Pretraining) -> Iterator[tuple[str, Tensor]]:
    """Every weight under transformers' name."""
    encoder, embedding = model.encoder, model.encoder.embedding
    table, bias = embedding.words.weight, model.words.bias
    yield "albert.embeddings.word_embeddings.weight", table
    yield "albert.embeddings.position_embeddings.weight", embedding.positions.weight
    yield "albert.embeddings.token_type_embeddings.weight", embedding.segments.weight
    yield from _of("albert.embeddings.LayerNorm", embedding.norm)
    yield from _of("albert.encoder.embedding_hidden_mapping_in", embedding.projection)
    for group, (attention, feed_forward) in enumerate(zip(encoder.attention, encoder.feed_forward, strict=True)):
        layer = f"albert.encoder.albert_layer_groups.{group}.albert_layers.0"
        for ours, name in (("query", "query"), ("key", "key"), ("value", "value"), ("output", "dense")):
            yield from _of(f"{layer}.attention.{name}", attention.get_submodule(ours))
        yield from _of(f"{layer}.attention.LayerNorm", attention.get_submodule("norm"))
        yield from _of(f"{layer}.ffn", feed_forward.get_submodule("inner"))
        yield from _of(f"{layer}.ffn_output", feed_forward.get_submodule("outer"))
        yield from _of(f"{layer}.full_layer_layer_norm", feed_forward.get_submodule("norm"))
    yield from _of("albert.pooler", encoder.pooler)
    yield "predictions.bias", bias
    yield from _of("predictions.LayerNorm", model.words.norm)
    yield from _of("predictions.dense", model.words.dense)
    yield "predictions.decoder.weight", table
    yield "predictions.decoder.bias", bias
    yield from _of("sop_classifier.classifier", model.pairs)


def _of(name: str, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for part, tensor in module.state_dict().items():
        yield f"{name}.{part}", tensor
