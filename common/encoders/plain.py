"""BERT's encoder in plain PyTorch, for answering alone: it starts without transformers, whose import takes seconds.

    h_0 = LayerNorm(word + segment + position)
    a   = LayerNorm(h + W_o attention(h)),  h' = LayerNorm(a + W_2 gelu(W_1 a))

It reads what `LayeredEncoder.save` wrote and is run in the same steps; the tests hold its states to those of
`LayeredEncoder`, with padding. Other architectures, and whoever trains, take that one.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

CONFIG, WEIGHTS = "config.json", "model.safetensors"

State = dict[str, Tensor]


class PlainEncoder(nn.Module):
    """Run like `LayeredEncoder`: `embed`, then `layer` by layer.

    Attributes:
        config: what config.json says.
    """

    def __init__(self, config: SimpleNamespace, state: State) -> None:
        super().__init__()
        self.config = config
        self.words, self.segments, self.positions = (
            _frozen(state[f"embeddings.{name}_embeddings.weight"]) for name in ("word", "token_type", "position")
        )
        self.norm = _norm(state, "embeddings.LayerNorm", config.layer_norm_eps)
        self.layers = nn.ModuleList(PlainLayer(config, state, i) for i in range(config.num_hidden_layers))

    @staticmethod
    def knows(folder: Path) -> bool:
        """Whether the encoder in `folder` is one of these."""
        config = _config(folder)
        return (config.model_type, config.hidden_act) == ("bert", "gelu")

    @staticmethod
    def load(folder: Path) -> PlainEncoder:
        """Read what `LayeredEncoder.save` wrote, in evaluation mode."""
        encoder = PlainEncoder(_config(folder), load_file(folder / WEIGHTS))
        return encoder.eval()

    @property
    def num_layers(self) -> int:
        """Number of layers n."""
        return len(self.layers)

    @property
    def hidden_size(self) -> int:
        """Width H of the hidden states."""
        return int(self.config.hidden_size)

    def embed(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """h_0 (B, L, H), and the mask for `layer`: (B, 1, 1, L), True for a token, or None without padding."""
        mask = None if attention_mask is None or bool(attention_mask.all()) else attention_mask[:, None, None].bool()
        if token_type_ids is None or len(self.segments) == 1:
            segments = self.segments[0]
        else:
            segments = F.embedding(token_type_ids, self.segments)
        h = F.embedding(input_ids, self.words) + segments + self.positions[: input_ids.shape[1]]
        return self.norm(h), mask

    def layer(self, i: int, h: Tensor, mask: Tensor | None) -> Tensor:
        """h_i (B, L, H) from h_{i-1} (B, L, H), for i = 1..n."""
        out: Tensor = self.layers[i - 1](h, mask)
        return out

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """h_n (B, L, H), and the mask of `embed` for whatever reads it."""
        h, mask = self.embed(input_ids, attention_mask, token_type_ids)
        for i in range(1, self.num_layers + 1):
            h = self.layer(i, h, mask)
        return h, mask


class PlainLayer(nn.Module):
    """A layer of BERT."""

    def __init__(self, config: SimpleNamespace, state: State, index: int) -> None:
        super().__init__()
        prefix, eps = f"encoder.layer.{index}", config.layer_norm_eps
        self.heads = int(config.num_attention_heads)
        attention = f"{prefix}.attention"
        self.query, self.key, self.value = (
            _linear(state, f"{attention}.self.{name}") for name in ("query", "key", "value")
        )
        self.attended, self.attention_norm = (
            _linear(state, f"{attention}.output.dense"),
            _norm(state, f"{attention}.output.LayerNorm", eps),
        )
        self.inner, self.outer = (
            _linear(state, f"{prefix}.intermediate.dense"),
            _linear(state, f"{prefix}.output.dense"),
        )
        self.norm = _norm(state, f"{prefix}.output.LayerNorm", eps)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """h_i (B, L, H) from h_{i-1}."""
        q, k, v = (linear(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for linear in self._projections)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(-2)
        a = self.attention_norm(self.attended(read) + h)
        out: Tensor = self.norm(self.outer(F.gelu(self.inner(a))) + a)
        return out

    @property
    def _projections(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.query, self.key, self.value


def _config(folder: Path) -> SimpleNamespace:
    values: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return SimpleNamespace(**values)


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def _linear(state: State, name: str) -> nn.Linear:
    """With the weights put in: to draw millions only to throw them away would take as long as to read them."""
    weight = state[f"{name}.weight"]
    linear = nn.Linear(1, 1)
    linear.out_features, linear.in_features = weight.shape
    linear.weight, linear.bias = _frozen(weight), _frozen(state[f"{name}.bias"])
    return linear


def _norm(state: State, name: str, eps: float) -> nn.LayerNorm:
    weight = state[f"{name}.weight"]
    norm = nn.LayerNorm(len(weight), eps)
    norm.weight, norm.bias = _frozen(weight), _frozen(state[f"{name}.bias"])
    return norm
