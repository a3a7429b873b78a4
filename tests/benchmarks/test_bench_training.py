"""Training speed as ratios in one interleaved run: ours, a bare PyTorch loop, and padding every text to 128 tokens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from common.encoders.sources import PretrainedEncoder
from common.tasks.task import Task
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
