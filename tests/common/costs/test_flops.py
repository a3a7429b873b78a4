from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    DistilBertConfig,
    GPT2Config,
    MPNetConfig,
    RobertaConfig,
)

from common.costs.flops import (
    EncoderShape,
    attention_flops,
    classifier_flops,
    embedding_flops,
    encoder_flops,
    feed_forward_flops,
    layer_flops,
    linear_flops,
    pooler_flops,
)

CONFIGS = {
    "bert-base": BertConfig(),
    "bert-large": BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
    "roberta-base": RobertaConfig(max_position_embeddings=514, type_vocab_size=1),
    "albert-base": AlbertConfig(hidden_size=768, num_attention_heads=12, intermediate_size=3072),
    "albert-xxlarge": AlbertConfig(),
    "albert-grouped": AlbertConfig(
        hidden_size=64, num_attention_heads=4, intermediate_size=96, num_hidden_groups=2, inner_group_num=3
    ),
    "distilbert": DistilBertConfig(),
    "mpnet-base": MPNetConfig(max_position_embeddings=514),
}
BERT_BASE = EncoderShape.from_config(CONFIGS["bert-base"])


def counted_flops(model: torch.nn.Module, batch: int, tokens: int) -> int:
    ids = torch.ones(batch, tokens, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(ids)
    return int(counter.get_total_flops())


def on_meta(auto: Any, config: Any) -> torch.nn.Module:
    with torch.device("meta"):
        model: torch.nn.Module = auto.from_config(config, attn_implementation="eager")
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_classifier_equals_the_flop_counter(name: str) -> None:
    expected = counted_flops(on_meta(AutoModelForSequenceClassification, CONFIGS[name]), batch=3, tokens=37)
    shape = EncoderShape.from_config(CONFIGS[name])
    assert classifier_flops(shape, tokens=37, labels=2, batch=3) == expected


@pytest.mark.parametrize("name", ["bert-base", "albert-base", "distilbert"])
def test_encoder_equals_the_flop_counter(name: str) -> None:
    shape = EncoderShape.from_config(CONFIGS[name])
    expected = counted_flops(on_meta(AutoModel, CONFIGS[name]), batch=2, tokens=64)
    pooler = pooler_flops(shape, batch=2) if shape.pooler else 0
    assert encoder_flops(shape, 64, batch=2) + pooler == expected


def test_truncated_encoder_equals_the_flop_counter() -> None:
    with torch.device("meta"):
        five_layers = BertModel(BertConfig(num_hidden_layers=5, attn_implementation="eager"), add_pooling_layer=False)
    assert encoder_flops(BERT_BASE, 128, layers=5) == counted_flops(five_layers, batch=1, tokens=128)


def test_bert_base_at_128_tokens_in_gflop() -> None:
    total = encoder_flops(BERT_BASE, 128) + pooler_flops(BERT_BASE)
    assert total / 1e9 == pytest.approx(22.348, abs=5e-4)
    products = 12 * (attention_flops(BERT_BASE, 128) - linear_flops(768, 768, rows=4 * 128))
    assert products / 1e9 == pytest.approx(0.604, abs=5e-4)


def test_layer_with_exited_tokens_equals_the_flop_counter() -> None:
    tokens, active, width, inner, heads = 20, 7, 48, 80, 4
    shape = EncoderShape(layers=1, hidden=width, intermediate=inner, heads=heads, vocabulary=10)
    states = torch.randn(tokens, width)
    square, up, down = torch.randn(width, width), torch.randn(width, inner), torch.randn(inner, width)

    def split(x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], heads, width // heads).transpose(0, 1)

    with FlopCounterMode(display=False) as counter:
        queries = split(states[:active] @ square)
        keys, values = split(states @ square), split(states @ square)
        mixed = (queries @ keys.transpose(1, 2)).softmax(-1) @ values
        mixed.transpose(0, 1).reshape(active, width) @ square @ up @ down
    assert layer_flops(shape, tokens, active=active) == counter.get_total_flops()


shapes = st.builds(
    lambda heads, width, **rest: EncoderShape(heads=heads, hidden=heads * width, **rest),
    heads=st.integers(1, 16),
    width=st.integers(1, 64),
    layers=st.integers(1, 24),
    intermediate=st.integers(1, 4096),
    vocabulary=st.integers(1, 1000),
    embedding=st.none() | st.integers(1, 256),
)


@given(shapes, st.integers(1, 512), st.integers(1, 64))
def test_cost_is_linear_in_the_batch(shape: EncoderShape, tokens: int, batch: int) -> None:
    one = classifier_flops(shape, tokens, labels=3)
    assert classifier_flops(shape, tokens, labels=3, batch=batch) == batch * one


@given(shapes, st.integers(1, 512), st.data())
def test_layers_add_up(shape: EncoderShape, tokens: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, shape.layers))
    rest = (shape.layers - cut) * layer_flops(shape, tokens)
    assert encoder_flops(shape, tokens, layers=cut) + rest == encoder_flops(shape, tokens)
    assert encoder_flops(shape, tokens, layers=0) == embedding_flops(shape, tokens)


@given(shapes, st.integers(1, 256), st.integers(1, 256))
def test_a_split_sequence_saves_exactly_the_attention_between_its_parts(
    shape: EncoderShape, first: int, second: int
) -> None:
    parts = layer_flops(shape, first) + layer_flops(shape, second)
    across = 2 * 2 * 2 * first * second * shape.hidden
    assert layer_flops(shape, first + second) - parts == across


@given(shapes, st.integers(1, 512), st.data())
def test_each_exited_token_saves_the_same(shape: EncoderShape, tokens: int, data: st.DataObject) -> None:
    active = data.draw(st.integers(0, tokens))
    saved = layer_flops(shape, tokens) - layer_flops(shape, tokens, active=active)
    one = linear_flops(shape.hidden, 2 * shape.hidden + 2 * shape.intermediate + 2 * tokens)
    assert saved == (tokens - active) * one
    assert layer_flops(shape, tokens, active=tokens) == layer_flops(shape, tokens)


def test_more_active_tokens_than_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match=r"active must lie in 0\.\.8, found 9"):
        layer_flops(BERT_BASE, 8, active=9)
    with pytest.raises(ValueError, match="found -1"):
        attention_flops(BERT_BASE, 8, active=-1)


def test_more_layers_than_the_encoder_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layers must lie in 0\.\.12, found 13"):
        encoder_flops(BERT_BASE, 8, layers=13)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide a hidden size of 12"):
        EncoderShape(layers=1, hidden=12, intermediate=4, heads=5, vocabulary=10)
    with pytest.raises(ValueError, match="at least 1"):
        EncoderShape(layers=0, hidden=12, intermediate=4, heads=3, vocabulary=10)


def test_unknown_config_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a config of bert, roberta, albert, distilbert, mpnet, found 'gpt2'"):
        EncoderShape.from_config(GPT2Config())


def test_feed_forward_is_two_linear_maps() -> None:
    assert feed_forward_flops(BERT_BASE, 7) == linear_flops(768, 3072, rows=7) + linear_flops(3072, 768, rows=7)
