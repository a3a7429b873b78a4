"""How long the parts take: data, tokenisation, encoder forward, exit runtime. Run by `make bench`."""

from typing import Any

import pytest
import torch

from common.costs.flops import EncoderShape, layer_flops
from common.early_exit.multi_exit import MultiExit
from common.early_exit.rules import ImposedLayers
from common.early_exit.runtime import run_early_exit
from common.encoders.shapes import random_encoder
from common.encoders.sources import PretrainedEncoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.tasks.builtin import builtin_task
from common.tasks.task import Task
from common.timing.matmul_rate import ceiling_seconds, matmul_rate
from common.training.batches import Batch, EncodedSplit, encode
from replications.deebert.method import fresh_off_ramps, with_off_ramps

TOKENS = 64


def test_loading_the_builtin_sentiment_task(benchmark: Any) -> None:
    benchmark.pedantic(builtin_task, args=("sentiment",), kwargs={"train_size": 4000}, rounds=3)


def test_tokenising_512_texts(benchmark: Any, source: PretrainedEncoder, task: Task) -> None:
    benchmark(encode, source.tokenizer, task.train[:512], regression=False, max_length=128)


def test_padding_an_epoch(benchmark: Any, split: EncodedSplit) -> None:
    benchmark(lambda: list(split.by_length(32)))


@pytest.mark.parametrize("size", [1, 32])
def test_minilm_forward(benchmark: Any, source: PretrainedEncoder, split: EncodedSplit, size: int) -> None:
    batch = split.batch(range(size))
    with torch.inference_mode():
        benchmark(source.encoder, batch.input_ids, batch.attention_mask, batch.token_type_ids)


@pytest.fixture(scope="module")
def bert_base() -> MultiExit:
    encoder = random_encoder("bert-base")
    classifier = EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, 2))
    return with_off_ramps(classifier, fresh_off_ramps(encoder, 2, seed=0)).eval()


@pytest.mark.parametrize("size", [1, 32])
def test_exits_spread_over_bert_base(benchmark: Any, bert_base: MultiExit, size: int) -> None:
    """Exits imposed evenly over layers 1..12; the physical ceiling (matrix-product rate) goes into the record."""
    ids = torch.randint(5, 30_000, (size, TOKENS), generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, torch.ones_like(ids), None, torch.zeros(size), torch.arange(size))
    layers = torch.arange(size) % 12 + 1 if size > 1 else torch.tensor([6])
    benchmark.pedantic(run_early_exit, args=(bert_base, batch, ImposedLayers(layers)), rounds=3, warmup_rounds=1)
    shape = EncoderShape.from_config(bert_base.encoder.config)
    rate = matmul_rate(size * TOKENS, shape.hidden, shape.intermediate)
    ceiling = ceiling_seconds(int(layers.sum()) * layer_flops(shape, TOKENS), rate)
    benchmark.extra_info["ceiling_seconds"] = ceiling
    print(f"\nbatch {size}: {benchmark.stats.stats.median:.3f} s; the matrix products alone would take {ceiling:.3f} s")
