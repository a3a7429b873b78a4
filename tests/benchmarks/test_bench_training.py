"""Training speed as ratios in one interleaved run.

Ours against a bare PyTorch loop and against padding every text to 128 tokens; bfloat16 against float32.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from common.costs.flops import EncoderShape, encoder_flops
from common.devices import Precision, available_device, training_precision
from common.encoders.shapes import random_encoder
from common.encoders.sources import PretrainedEncoder
from common.tasks.task import Task
from common.timing.matmul_rate import matmul_rate
from common.timing.paired import paired_throughput
from common.training.batches import Batch, BucketedBatches, EncodedSplit
from common.training.finetune import classification_loss, new_classifier
from common.training.loop import TrainingPlan, fit

PLAN = TrainingPlan(learning_rate=1e-5, epochs=1, batch_size=32, seed=0)


@dataclass(frozen=True)
class PaddedTo:
    """The same batches, every text padded to `length` tokens."""

    batches: BucketedBatches
    length: int

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[Batch]:
        for b in self.batches.epoch(number):
            missing = (0, self.length - b.input_ids.shape[1])
            pad = partial(torch.nn.functional.pad, pad=missing)
            types = None if b.token_type_ids is None else pad(b.token_type_ids)
            yield Batch(pad(b.input_ids), pad(b.attention_mask), types, b.labels, b.rows)


def trained(function: Callable[..., int]) -> Callable[..., int]:
    """The clock runs everything in inference mode; training needs gradients."""

    def with_gradients(*arguments: Any) -> int:
        with torch.inference_mode(mode=False), torch.enable_grad():
            return function(*arguments)

    return with_gradients


def test_training_throughput(
    benchmark: Any, source: PretrainedEncoder, task: Task, split: EncodedSplit, tmp_path: Path
) -> None:
    """Useful (unpadded) texts per second; the ratios go into the record."""
    small = EncodedSplit(split.input_ids[:192], (split.token_type_ids or ())[:192], split.labels[:192], 0)
    batches = BucketedBatches(small, PLAN.batch_size, seed=0)

    @trained
    def ours(batches: Any = batches) -> int:
        model = new_classifier(source.encoder.first_layers(6), task, seed=0)
        fit(model, batches, classification_loss, PLAN, checkpoint=tmp_path / "none", progress=lambda *_: None)
        return len(small)

    @trained
    def bare() -> int:
        model = new_classifier(source.encoder.first_layers(6), task, seed=0).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
        for batch in batches.epoch(0):
            optimizer.zero_grad()
            classification_loss(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return len(small)

    arms = {"bare loop": bare, "ours": ours, "padded to 128": partial(ours, PaddedTo(batches, 128))}
    options = {"baseline": "bare loop", "rounds": 3}
    result = benchmark.pedantic(paired_throughput, args=(arms,), kwargs=options, rounds=1)
    for name in ("ours", "padded to 128"):
        speedup = result.speedup(name)
        benchmark.extra_info[name] = speedup.value
        print(f"\n{name}: {speedup.value:.2f} x the bare loop [{speedup.low:.2f}, {speedup.high:.2f}]")


TOKENS = 64
TEXTS = 64


def test_training_in_bfloat16(benchmark: Any, task: Task, tmp_path: Path, machine_as_it_is: None) -> None:
    """BERT-base at 64 tokens: bfloat16 over float32, and each beside the ceiling of its matrix products."""
    device = available_device()
    if training_precision(device) != "bfloat16":
        pytest.skip(f"no bfloat16 instructions on this {device.type}: it trains in float32")
    ids = torch.randint(1000, 30_000, (TEXTS, TOKENS), generator=torch.Generator().manual_seed(0))
    split = EncodedSplit(tuple(map(tuple, ids.tolist())), None, torch.arange(TEXTS) % 2, padding_id=0)
    batches = BucketedBatches(split, PLAN.batch_size, seed=0)
    model = new_classifier(random_encoder("bert-base"), task, seed=0)

    @trained
    def train(precision: Precision) -> int:
        plan = replace(PLAN, precision=precision)
        fit(model, batches, classification_loss, plan, checkpoint=tmp_path / "none", progress=lambda *_: None)
        return TEXTS

    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    arms = {precision: partial(train, precision) for precision in precisions}
    options = {"baseline": "float32", "rounds": 3}
    result = benchmark.pedantic(paired_throughput, args=(arms,), kwargs=options, rounds=1)
    shape = EncoderShape.from_config(model.encoder.config)
    # Backwards a product is two: with respect to its input and to its weights.
    flops = 3 * encoder_flops(shape, TOKENS)
    for precision in precisions:
        speed = result.throughput(precision).value
        sizes = (PLAN.batch_size * TOKENS, shape.hidden, shape.intermediate)
        rate = matmul_rate(*sizes, device=device.type, precision=precision)
        benchmark.extra_info[f"{precision} tokens per second"] = speed * TOKENS
        benchmark.extra_info[f"{precision} share of the ceiling"] = share = speed * flops / rate
        print(f"\n{precision}: {speed * TOKENS:.0f} tokens/s, {share:.2f} of the ceiling of {rate / 1e9:.0f} GFLOP/s")
    speedup = result.speedup("bfloat16")
    benchmark.extra_info["bfloat16 over float32"] = speedup.value
    print(f"bfloat16: {speedup.value:.2f} x float32 [{speedup.low:.2f}, {speedup.high:.2f}]")
