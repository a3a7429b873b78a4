from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from common.costs.flops import EncoderShape
from common.costs.parameters import (
    attention_parameters,
    classifier_parameters,
    embedding_parameters,
    encoder_parameters,
    feed_forward_parameters,
    layer_parameters,
    linear_parameters,
    pooler_parameters,
)

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
CONFIGS: dict[str, PreTrainedConfig] = {
    "bert-base": BertConfig(),
    "bert-large": BertConfig(**LARGE),
    "roberta-base": RobertaConfig(**ROBERTA),
    "roberta-large": RobertaConfig(**ROBERTA, **LARGE),
    "albert-base": AlbertConfig(**BASE),
    "albert-xxlarge": AlbertConfig(),
    "albert-grouped": AlbertConfig(**BASE, num_hidden_groups=3, inner_group_num=2),
    "distilbert": DistilBertConfig(),
    "mpnet-base": MPNetConfig(max_position_embeddings=514),
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_encoder_equals_the_model_of_transformers(name: str) -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(CONFIGS[name])
    assert encoder_parameters(EncoderShape.from_config(CONFIGS[name])) == count(model)


@pytest.mark.parametrize("name", CONFIGS)
def test_classifier_equals_the_model_of_transformers(name: str) -> None:
    config = CONFIGS[name]
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    assert classifier_parameters(EncoderShape.from_config(config), labels=config.num_labels) == count(model)


def test_parts_equal_the_parts_of_bert() -> None:
    shape = EncoderShape.from_config(CONFIGS["bert-base"])
    with torch.device("meta"):
        model = AutoModel.from_config(CONFIGS["bert-base"])
    layer = model.encoder.layer[0]
    assert attention_parameters(shape) == count(layer.attention)
    assert feed_forward_parameters(shape) == count(layer.intermediate) + count(layer.output)
    assert layer_parameters(shape) == count(layer)
    assert embedding_parameters(shape) == count(model.embeddings)
    assert pooler_parameters(shape) == count(model.pooler)


def test_linear() -> None:
    assert linear_parameters(7, 3) == count(torch.nn.Linear(7, 3))


@pytest.mark.parametrize(
    ("attention_sets", "feed_forward_sets", "published"),
    [(1, 1, 12), (1, None, 64), (None, 1, 38), (None, None, 89)],
    ids=["all-shared", "shared-attention", "shared-ffn", "not-shared"],
)
def test_sharing_as_in_table_4_of_the_albert_paper(
    attention_sets: int | None, feed_forward_sets: int | None, published: int
) -> None:
    """Millions of parameters of ALBERT-base with E = 128 (Lan et al. 2020, Table 4; 89.65 is printed as 89)."""
    base = EncoderShape.from_config(CONFIGS["albert-base"])
    shape = replace(base, attention_sets=attention_sets, feed_forward_sets=feed_forward_sets)
    assert encoder_parameters(shape) / 1e6 == pytest.approx(published, abs=0.7)
