"""An encoder with fewer attention heads and feed-forward units in every layer: rows and columns are taken out.

What is left computes what the whole would with the others' outputs at zero. Every layer keeps as many, so that the
narrower encoder is described by two numbers. Its configuration still is the whole one's: transformers has no words for
heads that do not fill the width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from common.encoders.layer_parts import LayerParts, layer_parts
from common.encoders.layered import LayeredEncoder

KEPT_HEADS = "kept_heads"


@dataclass(frozen=True)
class Kept:
    """What stays of one layer.

    Attributes:
        heads: (a,) places of attention heads, ascending.
        units: (u,) places of feed-forward units, ascending.
    """

    heads: Tensor
    units: Tensor


def distinct_layers(encoder: LayeredEncoder) -> range:
    """The layers that have weights of their own: all, or of ALBERT the first, which all share."""
    return range(1, 2 if encoder.config.model_type == "albert" else encoder.num_layers + 1)


def distinct_parts(encoder: LayeredEncoder) -> Iterator[LayerParts]:
    """Their parts."""
    return (layer_parts(encoder, i) for i in distinct_layers(encoder))


def narrow(encoder: LayeredEncoder, kept: Sequence[Kept]) -> None:
    """Take the others out, in place, of a whole encoder; `kept` is one for each of `distinct_layers`."""
    for i, stays in zip(distinct_layers(encoder), kept, strict=True):
        parts = layer_parts(encoder, i)
        width = encoder.hidden_size // parts.heads
        within = (stays.heads[:, None] * width + torch.arange(width)).flatten()
        for projection in (parts.query, parts.key, parts.value):
            _keep_outputs(projection, within)
        _keep_inputs(parts.attended, within)
        _keep_outputs(parts.inner, stays.units)
        _keep_inputs(parts.outer, stays.units)
        if encoder.config.model_type == "mpnet":
            _narrow_mpnet(encoder.layer_module(i), stays.heads, width)


def _keep_outputs(linear: nn.Linear, places: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[places].clone())
    linear.bias = nn.Parameter(linear.bias.detach()[places].clone())
    linear.out_features = len(places)


def _keep_inputs(linear: nn.Linear, places: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[:, places].clone())
    linear.in_features = len(places)


def _narrow_mpnet(layer: nn.Module, heads: Tensor, width: int) -> None:
    """MPNet counts its heads itself, and adds a bias of its own to each, which travels in the mask (B, heads, L, L)."""
    attention: Any = layer.attention.attn  # type: ignore[union-attr]
    attention.num_attention_heads, attention.all_head_size = len(heads), len(heads) * width
    layer.register_buffer(KEPT_HEADS, heads.clone())
    layer.register_forward_pre_hook(_mask_of_kept_heads)


def _mask_of_kept_heads(layer: nn.Module, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    hidden, mask = inputs
    heads: Tensor = getattr(layer, KEPT_HEADS)
    return hidden, mask[:, heads]
