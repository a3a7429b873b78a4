"""A transformer layer taken apart, for methods that compute it for some positions alone.

    a = LayerNorm(x + W_o attention(x, keys and values of all))
    r = a + W_2 act(W_1 a)
    h = LayerNorm(r)

`LayeredEncoder.layer` runs a layer of transformers as it is. Here its linear maps, norms and dropouts have one name
each, whichever of the four model types it is of; put together again they give what the layer gives (tests hold them to
it). When a new version of transformers moves them, this file breaks, with a message that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.errors import UserError

_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "attention_dropout": "attention.self.dropout",
    "attended_dropout": "attention.output.dropout",
    "inner": "intermediate.dense",
    "activation": "intermediate.intermediate_act_fn",
    "outer": "output.dense",
    "outer_dropout": "output.dropout",
    "norm": "output.LayerNorm",
}
_MPNET = {
    **_BERT,
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "attended": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
    "attention_dropout": "attention.attn.dropout",
    "attended_dropout": "attention.dropout",
}
_ALBERT = {
    "query": "albert_layers.0.attention.query",
    "key": "albert_layers.0.attention.key",
    "value": "albert_layers.0.attention.value",
    "attended": "albert_layers.0.attention.dense",
    "attention_norm": "albert_layers.0.attention.LayerNorm",
    "attention_dropout": "albert_layers.0.attention.attention_dropout",
    "attended_dropout": "albert_layers.0.attention.output_dropout",
    "inner": "albert_layers.0.ffn",
    "activation": "albert_layers.0.activation",
    "outer": "albert_layers.0.ffn_output",
    "norm": "albert_layers.0.full_layer_layer_norm",
}
_PATHS = {"bert": _BERT, "roberta": _BERT, "mpnet": _MPNET, "albert": _ALBERT}


@dataclass(frozen=True)
class LayerParts:
    """The modules of one layer, shared with the encoder.

    Attributes:
        heads: of the attention.
        query, key, value, attended: the four projections, W_o last.
        attention_norm, norm: the norm behind the attention and the final one.
        inner, activation, outer: the feed-forward block.
        attention_dropout: of the attention's weights; attended_dropout, outer_dropout: behind W_o and W_2.
    """

    heads: int
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attended: nn.Linear
    attention_norm: nn.LayerNorm
    attention_dropout: nn.Dropout
    attended_dropout: nn.Module
    inner: nn.Linear
    activation: Callable[[Tensor], Tensor]
    outer: nn.Linear
    norm: nn.LayerNorm
    outer_dropout: nn.Module

    def by_head(self, states: Tensor) -> Tensor:
        """(B, L, H) as (B, heads, L, H / heads)."""
        apart: Tensor = states.unflatten(-1, (self.heads, -1))
        return apart.transpose(1, 2)

    def attention(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What queries (B, M, H) read of values (B, L, H) by keys (B, L, H): (B, M, H), before W_o.

        `mask` are the rows of `LayeredEncoder.embed`'s mask that belong to the queries, (B, 1 or heads, M, L).
        """
        dropout = self.attention_dropout.p if self.attention_dropout.training else 0.0
        q, k, v = (self.by_head(projected) for projected in (query, key, value))
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return read.transpose(1, 2).flatten(-2)

    def before_norm(self, states: Tensor, read: Tensor) -> Tensor:
        """The sum r (..., H) of positions whose states are x (..., H) and whose attention read (..., H)."""
        a: Tensor = self.attention_norm(states + self.attended_dropout(self.attended(read)))
        inner = self.activation(self.inner(a))
        r: Tensor = a + self.outer_dropout(self.outer(inner))
        return r

    def all_before_norm(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """The sum r (B, L, H) of every position."""
        read = self.attention(self.query(states), self.key(states), self.value(states), mask)
        return self.before_norm(states, read)


def layer_parts(encoder: LayeredEncoder, i: int) -> LayerParts:
    """The parts of layer i = 1..n.

    Raises:
        IndexError: there is no such layer.
        UserError: the installed transformers lays the layer out differently.
    """
    module, kind = encoder.layer_module(i), encoder.config.model_type
    try:
        found: dict[str, Any] = {name: attrgetter(path)(module) for name, path in _PATHS[kind].items()}
    except AttributeError as error:
        raise UserError(
            f"transformers {transformers.__version__} lays out a layer of '{kind}' differently: {error}. Install the "
            "version that was tested: pip install -c constraints.txt transformers"
        ) from error
    # ALBERT drops nothing out behind its feed-forward block.
    found.setdefault("outer_dropout", nn.Identity())
    return LayerParts(heads=int(encoder.config.num_attention_heads), **found)


def mask_rows(mask: Tensor | None, places: Tensor) -> Tensor | None:
    """The rows of `LayeredEncoder.embed`'s mask for queries at `places` (B, M): (B, 1 or heads, M, L)."""
    if mask is None:
        return None
    index = places[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3])
    return torch.gather(mask, 2, index)
