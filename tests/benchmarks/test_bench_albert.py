"""Sharing must not cost: ALBERT-base answers as fast as BERT-base; and what a step of LAMB and a mask take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from common.encoders.shapes import random_encoder as published_encoder
from common.timing.paired import CONTROL, paired_latency
from common.timing.threads import pinned_threads
from common.training.loop import TrainingPlan
from replications.albert.full_size import BASE, bert, random_encoder
from replications.albert.lamb import lamb
from replications.albert.masking import NgramMasking
from replications.albert.method import Encoder

TOKENS = 64
LEAST = 0.95
"""Of BERT-base's speed, at equal depth and width."""


@pytest.mark.parametrize("rival", ["transformers", "ours"])
def test_albert_base_is_as_fast_as_bert_base(benchmark: Any, rival: str) -> None:
    ids = torch.randint(5, 30_000, (8, 1, TOKENS), generator=torch.Generator().manual_seed(0))
    albert = random_encoder(BASE).eval()
    theirs = published_encoder("bert-base")
    own = random_encoder(bert(BASE)).eval()
    other = (lambda i: theirs(ids[i], None)) if rival == "transformers" else (lambda i: own(ids[i]))
    arms = {"BERT-base": other, "ALBERT-base": lambda i: albert(ids[i])}
    with pinned_threads():
        timings = benchmark.pedantic(
            paired_latency, args=(arms,), kwargs={"baseline": "BERT-base", "samples": 8, "rounds": 4}, rounds=1
        )
    speed, control = timings.speedup("ALBERT-base"), timings.speedup(CONTROL)
    benchmark.extra_info["speed"] = speed.value
    print(f"\nALBERT-base over {rival}'s BERT-base: {speed.value:.3f} [{speed.low:.3f}, {speed.high:.3f}]", end="")
    print(f"; control {control.value:.3f} [{control.low:.3f}, {control.high:.3f}]")
    assert speed.high >= LEAST * min(1.0, control.low)


def test_a_step_of_lamb(benchmark: Any) -> None:
    """Beside AdamW, fused, on twelve layers of 384 that share nothing."""
    shape = replace(bert(replace(BASE, hidden=384, heads=6)), vocabulary=8_000)
    model = Encoder.fresh(shape, seed=0)
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 1e-3)
    optimiser = lamb(model, TrainingPlan(1e-3, 1, 1, 0, weight_decay=0.01, adam_epsilon=1e-6))
    benchmark.pedantic(optimiser.step, rounds=5, warmup_rounds=1)


def test_masking_a_batch(benchmark: Any) -> None:
    """32 rows of 128 tokens; a training step of as many takes a hundred times as long."""
    ids = torch.randint(5, 8_000, (32, 128), generator=torch.Generator().manual_seed(0))
    rule = NgramMasking(torch.rand(8_000, generator=torch.Generator().manual_seed(1)) < 0.3, most=20)
    benchmark(rule, ids, torch.ones_like(ids, dtype=torch.bool), torch.Generator().manual_seed(0))
