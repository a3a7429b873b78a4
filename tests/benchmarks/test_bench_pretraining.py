"""A step of pre-training beside the machine's matrix products, and what a head on masked positions alone saves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from common.costs.flops import EncoderShape
from common.devices import available_device, training_precision
from common.encoders.shapes import random_encoder
from common.encoders.sources import load_encoder
from common.run.artifacts import ArtifactStore
from common.tasks.corpora import find_corpus
from common.timing.matmul_rate import matmul_rate
from common.timing.paired import paired_throughput
from common.training.loop import TrainingPlan, fit
from common.training.pretraining.batches import MaskedBatch
from common.training.pretraining.encoded import encoded_text
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel, language_loss
from common.training.pretraining.masking import Uniform
from common.training.pretraining.pretrainer import encoder_work, head_work
from common.training.pretraining.rows import Part
from common.training.pretraining.teacher import Reading
from common.training.pretraining.words import Words

LENGTH, ROWS, BATCHES = 128, 16, 3


def on_every_position(model: MaskedLanguageModel, batch: MaskedBatch) -> Tensor:
    """The same loss, with logits of all positions."""
    logits = model.head(model.states(batch).flatten(0, 1), model.table)
    return F.cross_entropy(logits[batch.places].float(), batch.targets)


def test_a_step_of_pre_training(benchmark: Any, tmp_path: Path, machine_as_it_is: None) -> None:
    """BERT-base's layers, six of them: tokens per second, the share of the ceiling, and the head on all positions."""
    tokenizer = load_encoder("minilm").tokenizer
    text = encoded_text(ArtifactStore(tmp_path), find_corpus("builtin", None, 10_000), tokenizer, print)
    reading = Reading(text, Words.of(tokenizer), LENGTH)
    whole = reading.batches(Uniform(), ROWS, seed=0)
    few = type(whole)(Part(whole.rows, 0, ROWS * BATCHES), whole.words, whole.masking, ROWS, seed=0)
    encoder = random_encoder("bert-base").first_layers(6)
    model, plan = MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, 0)), TrainingPlan(1e-5, 1, ROWS, 0)

    def train(loss: Callable[[MaskedLanguageModel, MaskedBatch], Tensor]) -> int:
        with torch.inference_mode(mode=False), torch.enable_grad():
            fit(model, few, loss, plan, checkpoint=tmp_path / "none", progress=lambda *_: None)
        return ROWS * BATCHES

    arms = {"all positions": partial(train, on_every_position), "masked alone": partial(train, language_loss)}
    options = {"baseline": "all positions", "rounds": 3}
    result = benchmark.pedantic(paired_throughput, args=(arms,), kwargs=options, rounds=1)
    speed, shape = LENGTH * result.throughput("masked alone").value, EncoderShape.from_config(encoder.config)
    device = available_device()
    precision = training_precision(device)
    rate = matmul_rate(ROWS * LENGTH, shape.hidden, shape.intermediate, device=device.type, precision=precision)
    work = encoder_work(shape, LENGTH, trained=True) + head_work(shape, Uniform().share, trained=True)
    benchmark.extra_info["tokens per second"] = speed
    benchmark.extra_info["share of the ceiling"] = share = speed * work / rate
    gain = result.speedup("masked alone")
    benchmark.extra_info["masked alone over all positions"] = gain.value
    print(f"\n{speed:,.0f} tokens/s, {share:.2f} of the ceiling of {rate / 1e9:,.0f} GFLOP/s in {precision}")
    print(f"head on masked positions alone: {gain.value:.2f} x [{gain.low:.2f}, {gain.high:.2f}]")
