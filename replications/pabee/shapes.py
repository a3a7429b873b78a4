"""PABEE on the paper's own architectures at full size, with random weights: what the exits add, and what leaving saves.

A parameter count, a FLOP count and a ratio of times do not depend on what the weights are. Exit layers are imposed,
so that layers saved is known exactly and the clock is the only thing measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from common.early_exit.clock import BASELINE, on_item
from common.early_exit.cost import exit_flops, pooled_head_flops
from common.early_exit.cost_split import ASKED, EVERY_EXIT, cost_shares
from common.early_exit.imposed import (
    TOKENS,
    WAITING,
    leaving,
    plain_classifier,
    random_batch,
    shape_of,
    spread_exits,
    timed_against_baseline,
    waiting,
)
from common.early_exit.rules import AskedInVain
from common.early_exit.runtime import all_exits, early_exit_arm
from common.records.measurements import Measurement
from common.replication import Run, Step
from common.rows import ShapeRows
from common.timing.flops import EncoderShape, classifier_flops
from common.timing.paired import CONTROL, PairedTimings
from common.timing.parameters import classifier_parameters, linear_parameters
from common.training.classifier import EncoderClassifier
from replications.pabee.method import PABEE, leaves_after

BACKBONES = ("albert-base", "bert-base")
CLASSES = 3
"""MNLI's."""

PRINTED = {3: 2.35, 6: 1.57, 9: 1.14}
"""Patience and speed-up as printed in the patience figure, for 12 layers."""

BATCHES = {1: 24, 8: 3}
"""Batch sizes at which the printed speed-ups are clocked, with the number of batches."""

SPREAD = {1: 12, 32: 3}
"""The same for exits spread evenly: 12 single texts leave once at every layer."""


def shape_steps(run: Run) -> list[Step]:
    """Sizes of both backbones, then the clock on each."""
    steps = [Step("sizes: exits in parameters and FLOPs", 1.0, sizes)]
    for name in BACKBONES:
        steps.append(Step(f"{name}: where the time of a full-depth run goes", 12.0, partial(costs, name)))
        steps.append(Step(f"{name}: printed speed-ups in four currencies", 35.0, partial(currencies, name)))
    steps.append(Step("bert-base: exits spread over all layers", 70.0, partial(runtime, run)))
    return steps


_row = ShapeRows("PABEE")

# -- Sizes (closed forms) ---------------------------------------------------------------------------------------------


def exit_parameters(shape: EncoderShape, classes: int) -> int:
    """What n-1 more linear classifiers add to the plain classifier, (n-1)(HC + C); the pooler is shared."""
    return (shape.layers - 1) * linear_parameters(shape.hidden, classes)


def sizes() -> list[Measurement]:
    """What the exits add to each backbone, in parameters, bytes and FLOPs (each exit pools anew)."""
    measurements = []
    for name in BACKBONES:
        shape = shape_of(name)
        plain, added = classifier_parameters(shape, CLASSES), exit_parameters(shape, CLASSES)
        head, full = pooled_head_flops(shape, CLASSES), classifier_flops(shape, TOKENS, CLASSES)
        note = f"{TOKENS} tokens, {CLASSES} classes"
        measurements += [
            _row("sizes", name, "parameters", float(plain), "count", note=note),
            _row("sizes", name, "exit_parameters", float(added), "count", note=note),
            _row("sizes", name, "exit_parameter_share", added / plain, "fraction", note=note),
            _row("sizes", name, "exit_bytes", 4.0 * added, "byte", note=note),
            _row("sizes", name, "exit_flops", float(head), "FLOP", note=note),
            _row("sizes", name, "exit_flops_share", (shape.layers - 1) * head / full, "fraction", note=note),
        ]
    return measurements


# -- The clock --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """A random backbone as plain classifier and as PABEE."""

    plain: EncoderClassifier
    model: PABEE
    shape: EncoderShape

    @staticmethod
    def of(name: str) -> Bench:
        """Draw the named architecture."""
        plain = plain_classifier(name, CLASSES)
        return Bench(plain, PABEE.fresh(plain.encoder, CLASSES, seed=0).eval(), shape_of(name))


def costs(name: str) -> list[Measurement]:
    """Shares of backbone (with one head), further exits and selection in the time of a full-depth run."""
    bench = Bench.of(name)
    asked = AskedInVain(leaves_after(bench.shape.layers // 2, bench.shape.layers))
    batches = [random_batch(1, bench.shape.vocabulary, seed) for seed in range(BATCHES[1])]
    arms = {
        BASELINE: on_item(bench.plain, batches),
        EVERY_EXIT: on_item(partial(all_exits, bench.model), batches),
        ASKED: on_item(early_exit_arm(bench.model, asked), batches),
    }
    timings = timed_against_baseline(arms, len(batches))
    how = {"timed": True, "note": f"full depth, batch 1, {TOKENS} tokens"}
    shares = cost_shares(timings.sample_seconds)
    return [
        *(_row("costs", name, metric, share, "fraction", **how) for metric, share in shares.items()),
        _row("costs", name, "time_ratio", timings.ratio(ASKED), "ratio", **how),
    ]


def currencies(name: str) -> list[Measurement]:
    """The printed speed-ups, taken as layer counts, in layers, FLOPs, latency at batch 1 and throughput at batch 8."""
    bench = Bench.of(name)
    measurements: list[Measurement] = []
    timed = {size: _time_printed(bench, size, count) for size, count in BATCHES.items()}
    for patience in PRINTED:
        setting = f"t={patience}"
        how = {"setting": setting, "at": patience, "note": f"imposed exits, {TOKENS} tokens"}
        plan = imposed_layers(patience, 24, bench.shape.layers)
        layers = bench.shape.layers / plan.double().mean().item()
        measurements.append(_row("currencies", name, "layer_speedup", layers, "ratio", **how))
        measurements.append(
            _row("currencies", name, "flops_speedup", _flops_speedup(bench.shape, plan), "ratio", **how)
        )
        for size, metric in zip(BATCHES, ("time_speedup", "throughput_ratio"), strict=True):
            speedup = timed[size].speedup(setting)
            measurements.append(_row("currencies", name, metric, speedup, "ratio", timed=True, **how))
    control = {"system": CONTROL, "timed": True, "note": f"{TOKENS} tokens, batch 1"}
    measurements.append(_row("currencies", name, "time_speedup", timed[1].speedup(CONTROL), "ratio", **control))
    return measurements


def imposed_layers(patience: int, count: int, num_layers: int) -> Tensor:
    """(count,) exit layers with about the printed speed-up's mean: some leave at t+1, the others never."""
    mean, first = num_layers / PRINTED[patience], patience + 1
    early = round(count * (num_layers - mean) / (num_layers - first))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(patience))
    return torch.where(order < early, first, num_layers)


def _flops_speedup(shape: EncoderShape, plan: Tensor) -> float:
    spent = exit_flops(shape, TOKENS, pooled_head_flops(shape, CLASSES))[plan.numpy() - 1]
    return float(classifier_flops(shape, TOKENS, CLASSES) / spent.mean())


def _time_printed(bench: Bench, size: int, count: int) -> PairedTimings:
    """At batch 1 each sample has its layer; a batch of 8 holds all of them, so that every batch is alike."""
    batches = [random_batch(size, bench.shape.vocabulary, seed) for seed in range(count)]
    leave = leaving(bench.model)
    arms: dict[str, Callable[[int], object]] = {BASELINE: on_item(bench.plain, batches)}
    imposed: dict[str, Tensor] = {}
    for patience in PRINTED:
        plan = imposed_layers(patience, count if size == 1 else size, bench.shape.layers)
        plans = [plan[i : i + 1] if size == 1 else plan for i in range(count)]
        arms[f"t={patience}"] = lambda i, plans=plans: leave(batches[i], plans[i])  # type: ignore[misc]
        if size == 1:
            imposed[f"t={patience}"] = plan
    return timed_against_baseline(arms, count, imposed=imposed)


def runtime(run: Run) -> list[Measurement]:
    """Exits spread evenly over 1..12: speed-up against the layer ratio and against waiting for the slowest."""
    bench = Bench.of("bert-base")
    measurements = []
    for size, passes in SPREAD.items():
        arms = {"PABEE": leaving(bench.model), WAITING: waiting(bench.model)}
        spread = spread_exits(bench.plain, arms, bench.shape, size=size, passes=passes, rounds=1)
        measurements += spread.rows("PABEE", "bert-base")
        measurements.append(spread.row("PABEE", "bert-base", "speedup_over_waiting", spread.over_waiting("PABEE")))
        run.progress(size, 33)
    return measurements
