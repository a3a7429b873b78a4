"""Exits imposed on random weights: what leaving early is worth on the clock, with nothing left to learning.

The layers saved are then known exactly, and the wall clock is the only thing measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from common.costs.flops import EncoderShape, layer_flops
from common.early_exit.clock import BASELINE
from common.early_exit.rules import ImposedLayers
from common.early_exit.runtime import MultiExitModel, run_early_exit
from common.encoders.shapes import find_shape, random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.records.measurements import Measurement
from common.records.statistics import Interval
from common.timing.matmul_rate import ceiling_seconds, matmul_rate
from common.timing.paired import PairedTimings, paired_latency
from common.timing.threads import pinned_threads
from common.training.batches import Batch

WAITING = "waiting for the slowest"
"""A batched run without compaction: every layer is computed for all until the last one leaves."""

TOKENS = 64

ImposedArm = Callable[[Batch, Tensor], object]
"""Runs a batch whose samples leave at the given layers (B,)."""


def shape_of(name: str) -> EncoderShape:
    """The named architecture's sizes."""
    return EncoderShape.from_config(find_shape(name).config())


def plain_classifier(name: str, classes: int) -> EncoderClassifier:
    """The named architecture with one classifier, random weights."""
    encoder = random_encoder(name, seed=0)
    return EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, classes)).eval()


def random_batch(size: int, vocabulary: int, seed: int) -> Batch:
    """`size` texts of `TOKENS` random tokens, nothing padded."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, vocabulary, (size, TOKENS), generator=generator)
    return Batch(ids, torch.ones_like(ids), None, torch.zeros(size, dtype=torch.long), torch.arange(size))


def leaving(model: MultiExitModel, at_once: int | None = None) -> ImposedArm:
    """The exit runtime: who has left is taken out of the batch, and a layer is computed for `at_once` texts at most."""
    return lambda batch, layers: run_early_exit(model, batch, ImposedLayers(layers), at_once)


def waiting(model: MultiExitModel) -> ImposedArm:
    """The batch goes on whole until its slowest sample leaves."""
    return lambda batch, layers: run_early_exit(model, batch, ImposedLayers(layers.max().expand(len(layers))))


def timed_against_baseline(
    arms: dict[str, Callable[[int], object]],
    samples: int,
    *,
    rounds: int = 2,
    warmup: int = 2,
    imposed: Mapping[str, Tensor] | None = None,
) -> PairedTimings:
    """Time every arm on samples 0 .. `samples`-1 against the arm `BASELINE`, with pinned threads.

    Args:
        arms: by name.
        samples: how many.
        rounds: passes over all of them.
        warmup: untimed calls beforehand.
        imposed: by arm the layer at which each sample leaves, (samples,), where it is imposed.
    """
    with pinned_threads():
        timings = paired_latency(arms, baseline=BASELINE, samples=samples, rounds=rounds, warmup=warmup)
    return replace(timings, imposed={arm: layers.numpy() for arm, layers in (imposed or {}).items()})


@dataclass(frozen=True)
class SpreadExits:
    """Exits imposed evenly over all layers, in batches of one size, timed against the plain classifier.

    Attributes:
        size: texts in a batch.
        layer_ratio: depth over mean exit layer: what leaving early could be worth at most.
        timings: the arms; a sample of theirs is a batch.
        matmul_share: share of the machine's matrix-product rate that the plain classifier reaches.
    """

    size: int
    layer_ratio: float
    timings: PairedTimings
    matmul_share: float

    def speedup(self, arm: str) -> Interval:
        """Against the plain classifier."""
        return self.timings.speedup(arm)

    def over_waiting(self, arm: str) -> Interval:
        """Against the arm `WAITING`."""
        return replace(self.timings, baseline=WAITING).speedup(arm)

    def rows(self, system: str, backbone: str) -> list[Measurement]:
        """Speed-up, how much of the layer ratio that is, and the plain classifier's share of the ceiling."""
        speedup = self.speedup(system)
        return [
            self.row(system, backbone, "speedup", speedup),
            self.row(system, backbone, "share_of_layer_ratio", speedup.over(self.layer_ratio)),
            self.row(BASELINE, backbone, "share_of_matmul_ceiling", Interval.exact(self.matmul_share)),
        ]

    def row(self, system: str, backbone: str, metric: str, value: Interval) -> Measurement:
        """A record of the experiment `runtime`."""
        return Measurement(
            experiment="runtime",
            system=system,
            metric=metric,
            value=value.value,
            ci_low=value.low,
            ci_high=value.high,
            n=value.n,
            unit="ratio",
            backbone=backbone,
            setting=f"batch {self.size}",
            at=self.size,
            timed=True,
            note=f"exits imposed evenly over all layers, {TOKENS} tokens",
        )


def spread_exits(
    plain: Callable[[Batch], object],
    arms: Mapping[str, ImposedArm],
    shape: EncoderShape,
    *,
    size: int,
    passes: int,
    rounds: int = 2,
) -> SpreadExits:
    """Time `arms` on `passes` batches of `size` texts whose exits are spread evenly over layers 1..n."""
    batches = [random_batch(size, shape.vocabulary, seed) for seed in range(passes)]
    exits = torch.arange(24) % shape.layers + 1
    plans = [exits.repeat(1 + size // 24).roll(-i)[:size] for i in range(passes)]
    timed: dict[str, Callable[[int], object]] = {BASELINE: lambda i: plain(batches[i])}
    for name, arm in arms.items():
        timed[name] = lambda i, arm=arm: arm(batches[i], plans[i])  # type: ignore[misc]
    with pinned_threads():
        timings = paired_latency(timed, baseline=BASELINE, samples=passes, rounds=rounds, warmup=min(10, passes))
        if size == 1:
            layers = torch.cat(plans).numpy()
            timings = replace(timings, imposed=dict.fromkeys(arms, layers))
        rate = matmul_rate(size * TOKENS, shape.hidden, shape.intermediate)
    ideal = ceiling_seconds(size * shape.layers * layer_flops(shape, TOKENS), rate)
    layer_ratio = shape.layers / torch.cat(plans).double().mean().item()
    matmul_share = float(ideal / np.median(timings.sample_seconds(BASELINE)))
    return SpreadExits(size, layer_ratio, timings, matmul_share)
