"""FastBERT on the paper's own architecture and on ALBERT-base, at full size with random weights.

A parameter count, a FLOP count and a ratio of times do not depend on what the weights are: Table 1 and the FLOPs model
behind every Speedup of the paper are here, and what the classifiers add. Exit layers are imposed, so that layers saved
are known exactly and the clock is the only thing measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from common.early_exit.clock import BASELINE, on_item
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
from common.timing.flops import EncoderShape
from common.timing.paired import CONTROL, PairedTimings
from common.timing.parameters import classifier_parameters
from common.training.classifier import EncoderClassifier
from replications.fastbert.flops import PrintedCount, head_flops, head_parameters, leaving_flops, plain_flops
from replications.fastbert.method import ExitClassifier, FastBERT, Teacher, UncertaintyAtMost, fresh_students

BACKBONES = ("bert-base", "albert-base")
CLASSES = 2
"""Book review's."""

PRINTED = {"speed=0.1": 1.60, "speed=0.5": 4.21, "speed=0.8": 7.23}
"""Speedups of Table 2 on Book review, for 12 layers."""

SAMPLES = 24
"""Texts whose imposed exits have a printed mean; clocked one by one and in batches of 8."""

BATCHED = 8

SPREAD = {1: 12, 32: 3}
"""Batch sizes and batches for exits spread evenly: 12 single texts leave once at every layer."""


def shape_steps(run: Run) -> list[Step]:
    """Closed forms for both backbones, then the clock on each."""
    steps = [Step("sizes: classifiers in parameters and FLOPs", 1.0, partial(closed_forms, run))]
    for name in BACKBONES:
        steps.append(Step(f"{name}: where the time of a full-depth run goes", 14.0, partial(costs, name)))
        steps.append(Step(f"{name}: printed Speedups in four currencies", 30.0, partial(currencies, name)))
    steps.append(Step("bert-base: exits spread over all layers", 75.0, partial(runtime, run)))
    return steps


_row = ShapeRows("FastBERT")

# -- Closed forms -----------------------------------------------------------------------------------------------------


def closed_forms(run: Run) -> list[Measurement]:
    """Table 1, the Speedup of every exit layer, and what the classifiers add."""
    return [*table1(), *exit_speedups(), *sizes()]


def table1() -> list[Measurement]:
    """FLOPs of a layer and of a classifier by part, at BERT-base size and 128 tokens."""
    count, rows = PrintedCount.of(shape_of("bert-base")), []
    for system, parts in (("Transformer", count.layer_parts), ("Classifier", count.classifier_parts)):
        for part, flops in {**parts, "total": sum(parts.values())}.items():
            rows.append(_row("table1", "bert-base", "flops", float(flops), "FLOP", system=system, setting=part))
    return rows


def exit_speedups() -> list[Measurement]:
    """The paper's count and Speedup of leaving after 1..12 layers: the ladder that its numbers stand on."""
    count, rows = PrintedCount.of(shape_of("bert-base")), []
    for layers in range(1, count.layers + 1):
        how = {"setting": f"{layers} layers", "at": layers}
        rows.append(_row("flops-model", "bert-base", "flops", count.leaving_after(layers), "FLOP", **how))
        rows.append(_row("flops-model", "bert-base", "printed_speedup", count.speedup(layers), "ratio", **how))
    baseline = float(count.baseline)
    return [*rows, _row("flops-model", "bert-base", "flops", baseline, "FLOP", system="teacher", setting="12 layers")]


def sizes() -> list[Measurement]:
    """What L classifiers make of each backbone, against the plain classifier, in parameters, bytes and FLOPs."""
    measurements = []
    for name in BACKBONES:
        shape = shape_of(name)
        plain, head = classifier_parameters(shape, CLASSES), head_parameters(shape.hidden, CLASSES)
        flops = head_flops(shape.hidden, CLASSES, TOKENS)
        full = leaving_flops(shape, CLASSES, TOKENS, shape.layers)
        note = f"{TOKENS} tokens, {CLASSES} classes"
        measurements += [
            _row("sizes", name, "parameters", float(plain), "count", note=note),
            _row("sizes", name, "exit_parameters", float(shape.layers * head), "count", note=note),
            _row("sizes", name, "exit_parameter_share", shape.layers * head / plain, "fraction", note=note),
            _row("sizes", name, "exit_bytes", 4.0 * shape.layers * head, "byte", note=note),
            _row("sizes", name, "exit_flops", float(flops), "FLOP", note=note),
            _row("sizes", name, "exit_flops_share", shape.layers * flops / full, "fraction", note=note),
        ]
    return measurements


# -- The clock --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """A random backbone as plain classifier and as FastBERT."""

    plain: EncoderClassifier
    model: FastBERT
    shape: EncoderShape

    @staticmethod
    def of(name: str) -> Bench:
        """Draw the named architecture."""
        return Bench.around(plain_classifier(name, CLASSES))

    @staticmethod
    def around(plain: EncoderClassifier) -> Bench:
        """Put classifiers on the backbone of `plain`."""
        encoder = plain.encoder
        teacher = Teacher(encoder, ExitClassifier(encoder.hidden_size, CLASSES))
        model = FastBERT(teacher, fresh_students(encoder, CLASSES, seed=0)).eval()
        return Bench(plain, model, EncoderShape.from_config(encoder.config))


def costs(name: str) -> list[Measurement]:
    """Shares of backbone (with one head), further exits and selection in the time of a full-depth run."""
    bench = Bench.of(name)
    asked = AskedInVain(UncertaintyAtMost(0.5))
    batches = [random_batch(1, bench.shape.vocabulary, seed) for seed in range(SAMPLES)]
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
    """Three printed Speedups, taken for the mean layers that they stand for, in four currencies.

    Layers, FLOPs as counted here, latency at batch 1 and throughput at batch 8, each against the plain classifier.
    """
    bench, measurements = Bench.of(name), []
    timed = {size: _time_printed(bench, size) for size in (1, BATCHED)}
    for setting, printed in PRINTED.items():
        plan = imposed_layers(printed, bench.shape)
        how = {"setting": setting, "at": printed, "note": f"imposed exits, {TOKENS} tokens"}
        values = {
            "printed_count_speedup": PrintedCount.of(bench.shape).speedup(plan.double().mean().item()),
            "layer_speedup": bench.shape.layers / plan.double().mean().item(),
            "flops_speedup": _flops_speedup(bench.shape, plan),
        }
        for metric, value in values.items():
            measurements.append(_row("currencies", name, metric, value, "ratio", **how))
        for size, metric in ((1, "time_speedup"), (BATCHED, "throughput_ratio")):
            speedup = timed[size].speedup(setting)
            measurements.append(_row("currencies", name, metric, speedup, "ratio", timed=True, **how))
    control = timed[1].speedup(CONTROL)
    return [*measurements, _row("currencies", name, "time_speedup", control, "ratio", setting=CONTROL, timed=True)]


def imposed_layers(printed: float, shape: EncoderShape) -> Tensor:
    """(SAMPLES,) exit layers with about a printed Speedup's mean: some leave at layer 1, the others never."""
    count = PrintedCount.of(shape)
    mean = count.baseline / (printed * (count.layer + count.classifier))
    early = round(SAMPLES * (shape.layers - mean) / (shape.layers - 1))
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))
    return torch.where(order < early, 1, shape.layers)


def _flops_speedup(shape: EncoderShape, plan: Tensor) -> float:
    spent = sum(leaving_flops(shape, CLASSES, TOKENS, layer) for layer in plan.tolist())
    return len(plan) * plain_flops(shape, CLASSES, TOKENS) / spent


def _time_printed(bench: Bench, size: int) -> PairedTimings:
    """The same texts' exits at every batch size: one by one, or in batches of `size`."""
    count = SAMPLES // size
    batches = [random_batch(size, bench.shape.vocabulary, seed) for seed in range(count)]
    leave = leaving(bench.model)
    arms: dict[str, Callable[[int], object]] = {BASELINE: on_item(bench.plain, batches)}
    imposed: dict[str, Tensor] = {}
    for setting, printed in PRINTED.items():
        plan = imposed_layers(printed, bench.shape)
        plans = plan.split(size)
        arms[setting] = lambda i, plans=plans: leave(batches[i], plans[i])  # type: ignore[misc]
        if size == 1:
            imposed[setting] = plan
    return timed_against_baseline(arms, count, imposed=imposed)


def runtime(run: Run) -> list[Measurement]:
    """Exits spread evenly over 1..12: speed-up against the layer ratio and against waiting for the slowest."""
    bench, measurements = Bench.of("bert-base"), []
    for size, passes in SPREAD.items():
        arms = {"FastBERT": leaving(bench.model), WAITING: waiting(bench.model)}
        spread = spread_exits(bench.plain, arms, bench.shape, size=size, passes=passes, rounds=1)
        measurements += spread.rows("FastBERT", "bert-base")
        over = spread.over_waiting("FastBERT")
        measurements.append(spread.row("FastBERT", "bert-base", "speedup_over_waiting", over))
        run.progress(size, 33)
    return measurements
