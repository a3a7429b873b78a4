"""Architectures by name, without weights.

A parameter count, a FLOP count or a latency ratio does not depend on trained weights. So the papers' own
architectures are kept here as numbers, and `random_encoder` builds any of them with seeded random weights, or on the
`meta` device with no weights at all. Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder

ModelType = Literal["bert", "roberta", "albert", "mpnet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The dimensions of an encoder.

    Attributes:
        model_type: the transformers model type.
        layers: number of layers n.
        hidden: width H of the hidden states.
        heads: attention heads; `hidden` is divisible by it.
        intermediate: width of the feed-forward block.
        vocab: rows of the word embedding.
        embedding: width of the word embedding; only ALBERT factorises it (Lan et al. 2020, section 3.1).
        positions: rows of the position embedding.
        token_types: rows of the token type embedding; MPNet has none.
        pad_token_id: padding token; RoBERTa counts positions from it, MPNet from 2 whatever it is.
        layer_norm_eps: epsilon of every LayerNorm.
        activation: transformers' name of the activation of the feed-forward block.
        dropout: dropout of hidden states and attention probabilities during training.
        has_pooler: whether the architecture ends in a pooler (H x H) on the first token.
    """

    model_type: ModelType
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocab: int = 30522
    embedding: int | None = None
    positions: int = 512
    token_types: int = 2
    pad_token_id: int = 0
    layer_norm_eps: float = 1e-12
    activation: str = "gelu"
    dropout: float = 0.1
    has_pooler: bool = True

    def config(self) -> Any:  # noqa: ANN401
        """The transformers configuration of this shape."""
        from transformers import AutoConfig

        values: dict[str, Any] = {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.positions,
            "pad_token_id": self.pad_token_id,
            "layer_norm_eps": self.layer_norm_eps,
            "hidden_act": self.activation,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
        }
        if self.token_types:
            values["type_vocab_size"] = self.token_types
        if self.embedding is not None:
            values["embedding_size"] = self.embedding
        return AutoConfig.for_model(self.model_type, **values)


def _bert(layers: int, hidden: int, heads: int, **changes: Any) -> Shape:  # noqa: ANN401
    values: dict[str, Any] = {"intermediate": 4 * hidden, **changes}
    return Shape(model_type="bert", layers=layers, hidden=hidden, heads=heads, **values)


def _roberta(layers: int, hidden: int, heads: int, **changes: Any) -> Shape:  # noqa: ANN401
    # 514 positions: RoBERTa starts counting at pad_token_id + 1.
    values: dict[str, Any] = {
        "intermediate": 4 * hidden,
        "vocab": 50265,
        "positions": 514,
        "token_types": 1,
        "pad_token_id": 1,
        "layer_norm_eps": 1e-5,
        **changes,
    }
    return Shape(model_type="roberta", layers=layers, hidden=hidden, heads=heads, **values)


def _albert(layers: int, hidden: int, heads: int, **changes: Any) -> Shape:  # noqa: ANN401
    # Dropout 0 as in the second release of the checkpoints, the one that is used in practice.
    values: dict[str, Any] = {
        "intermediate": 4 * hidden,
        "vocab": 30000,
        "embedding": 128,
        "activation": "gelu_new",
        "dropout": 0.0,
        **changes,
    }
    return Shape(model_type="albert", layers=layers, hidden=hidden, heads=heads, **values)


def _mpnet(layers: int, hidden: int, heads: int, **changes: Any) -> Shape:  # noqa: ANN401
    # 514 positions: counted from 2. The table of 32 relative position biases a head is shared by the layers.
    values: dict[str, Any] = {
        "intermediate": 4 * hidden,
        "vocab": 30527,
        "positions": 514,
        "token_types": 0,
        "pad_token_id": 1,
        "layer_norm_eps": 1e-5,
        **changes,
    }
    return Shape(model_type="mpnet", layers=layers, hidden=hidden, heads=heads, **values)


_TINY: dict[str, Any] = {"vocab": 30522, "positions": 512, "pad_token_id": 0, "dropout": 0.1}

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        # Devlin et al. 2019, section 3.
        "bert-base": _bert(12, 768, 12),
        "bert-large": _bert(24, 1024, 16),
        # Liu et al. 2019, section 3 and the released configurations.
        "roberta-base": _roberta(12, 768, 12),
        "roberta-large": _roberta(24, 1024, 16),
        # Sanh et al. 2019, section 3: BERT-base with half of the layers, no token types and no pooler. The BERT
        # module needs one token type, so this shape has 768 parameters more than DistilBERT's 66 362 880.
        "distilbert-base": _bert(6, 768, 12, token_types=1, has_pooler=False),
        # Lan et al. 2020, table 1 and the released configurations.
        "albert-base": _albert(12, 768, 12),
        "albert-large": _albert(24, 1024, 16),
        "albert-xlarge": _albert(24, 2048, 16),
        "albert-xxlarge": _albert(12, 4096, 64),
        # Every second layer of MiniLM-L12-H384 (Wang et al. 2020).
        "minilm-l6-h384": _bert(6, 384, 12),
        # Song et al. 2020, section 4.1 and the released configuration.
        "mpnet-base": _mpnet(12, 768, 12),
        # Smoke scale. All take the BERT vocabulary, so that one tokenizer serves them.
        "tiny": _bert(4, 64, 4),
        "tiny-roberta": _roberta(4, 64, 4, **_TINY),
        "tiny-albert": _albert(4, 64, 4, **_TINY),
        "tiny-mpnet": _mpnet(4, 64, 4, **{**_TINY, "positions": 514}),
    }
)


def find_shape(name: str) -> Shape:
    """The shape called `name`.

    Raises:
        UserError: no shape has this name; the message lists the names and the nearest one.
    """
    try:
        return SHAPES[name]
    except KeyError:
        known = ", ".join(SHAPES)
        raise UserError(
            f"unknown encoder shape {name!r}: expected one of {known}{did_you_mean(name, SHAPES)}"
        ) from None


def random_encoder(shape: str | Shape, seed: int = 0, device: str = "cpu") -> LayeredEncoder:
    """An encoder of the given shape with seeded random weights, in evaluation mode.

    The weights are drawn on the CPU, so that equal seeds give equal weights on every device; the global random state
    of torch is left as it was.

    Args:
        shape: a name in `SHAPES` or a shape of one's own.
        seed: seed of the weights.
        device: where the encoder lives; on `meta` nothing is allocated and the weights have no values.

    Raises:
        UserError: unknown shape name.
    """
    import torch
    from transformers import AutoModel

    from common.encoders.checkpoints import attention_kernel
    from common.encoders.layered import LayeredEncoder

    shape = find_shape(shape) if isinstance(shape, str) else shape
    with torch.random.fork_rng(devices=[]), torch.device("meta" if device == "meta" else "cpu"):
        torch.default_generator.manual_seed(seed)
        model = AutoModel.from_config(
            shape.config(),
            attn_implementation=attention_kernel(shape.model_type),
            add_pooling_layer=shape.has_pooler,
        )
    return LayeredEncoder(model, pooler_is_pretrained=False).to(device).eval()
