"""What a teacher shows of its inside: the hidden states of every layer, and its attention before the softmax.

transformers gives attention only after the softmax, and under its fused kernel none: an empty tuple, with a warning.
Here queries and keys are caught where the model computes them, whatever kernel goes on from there, and scores are made
of them: there is one tensor a layer, or an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from common.encoders.layered import LayeredEncoder


@dataclass(frozen=True)
class Observed:
    """A forward pass.

    Attributes:
        hidden: h_0, ..., h_n, each (B, L, H): the embedding output and every layer's.
        scores: of layers 1..n, each (B, heads, L, L): Q K^T / sqrt(d), MPNet's position bias included; 0 at padding.
    """

    hidden: tuple[Tensor, ...]
    scores: tuple[Tensor, ...]


def observe(
    encoder: LayeredEncoder, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None = None
) -> Observed:
    """Run all layers; gradients flow where they are enabled.

    Raises:
        RuntimeError: a layer computed no queries or keys where they are looked for.
    """
    h, mask = encoder.embed(input_ids, attention_mask, token_type_ids)
    hidden, scores = [h], []
    for i in range(1, encoder.num_layers + 1):
        with _caught(*encoder.query_and_key(i)) as caught:
            h = encoder.layer(i, h, mask)
        if set(caught) != {"query", "key"}:
            raise RuntimeError(f"layer {i} of {encoder.config.model_type} computed no queries and keys to look at")
        hidden.append(h)
        scores.append(_scores(encoder, caught["query"], caught["key"], mask, attention_mask))
    return Observed(tuple(hidden), tuple(scores))


@contextmanager
def _caught(query: nn.Linear, key: nn.Linear) -> Iterator[dict[str, Tensor]]:
    found: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: found.__setitem__(name, out))  # type: ignore[misc]
        for name, module in (("query", query), ("key", key))
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _scores(
    encoder: LayeredEncoder, query: Tensor, key: Tensor, mask: Tensor | None, attention_mask: Tensor | None
) -> Tensor:
    heads = encoder.config.num_attention_heads
    # (B, L, heads x d) to (B, heads, L, d)
    q, k = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key))
    scores: Tensor = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if encoder.config.model_type == "mpnet" and mask is not None:
        scores = scores + mask
    if attention_mask is None:
        return scores
    return scores.masked_fill(~attention_mask.bool()[:, None, None, :], 0.0)
