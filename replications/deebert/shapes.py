"""DeeBERT's own architectures at full size, with random weights: sizes, and Figure 3 and 5's time axis.

A parameter count, a FLOP count and a ratio of times do not depend on what the weights are. Exit layers are imposed,
so that layers saved is known exactly and the clock is the only thing measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from common.early_exit.clock import BASELINE, on_item
from common.early_exit.cost import exit_flops, pooled_head_flops
from common.early_exit.imposed import (
    TOKENS,
    leaving,
    plain_classifier,
    random_batch,
    shape_of,
    timed_against_baseline,
)
from common.early_exit.imposed import spread_exits as time_spread_exits
from common.early_exit.rules import ImposedLayers
from common.early_exit.runtime import early_exit_arm, run_early_exit
from common.encoders.shapes import find_shape
from common.records.measurements import Measurement
from common.records.predictions import Array, Evidence, exits_name, seconds_name
from common.records.statistics import Interval
from common.replication import Run, Step
from common.rows import ShapeRows
from common.timing.flops import layer_flops
from common.timing.memory import peak_memory
from common.timing.paired import CONTROL, PairedTimings
from common.timing.parameters import classifier_parameters, layer_parameters, linear_parameters
from common.training.classifier import EncoderClassifier
from replications.deebert.method import DeeBERT, OffRamps
from replications.deebert.names import DEEBERT, TIMED, at_layer

BACKBONES = ("bert-base", "bert-large", "roberta-base", "roberta-large")
CLASSES = 2
"""SST-2's and MRPC's."""

EXIT_SHARES = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)
"""Depths of the imposed exits, as shares of the layers."""


_rows = ShapeRows(DEEBERT)


def shape_steps(run: Run) -> list[Step]:
    """Sizes of all four backbones, then the clock on each."""
    steps = [Step("sizes: off-ramps in parameters and FLOPs", 1.0, sizes)]
    steps.append(Step(f"{', '.join(BACKBONES)}: imposed exits at batch 1", 120.0, partial(figure3, run)))
    steps.append(Step("bert-base: memory", 30.0, memory))
    steps.append(Step("bert-base: exits spread over all layers", 60.0, partial(spread_exits, run)))
    return steps


# -- Sizes (closed forms) ---------------------------------------------------------------------------------------------


def sizes() -> list[Measurement]:
    """What the off-ramps add to each backbone, and Figure 5's axis: cost of leaving at each layer."""
    measurements = []
    for name in BACKBONES:
        shape = shape_of(name)
        head = linear_parameters(shape.hidden, shape.hidden) + linear_parameters(shape.hidden, CLASSES)
        plain = classifier_parameters(shape, CLASSES)
        added = (shape.layers - 1) * head
        head_flops = pooled_head_flops(shape, CLASSES)
        cost = exit_flops(shape, TOKENS, head_flops)
        full = cost[-1] - (shape.layers - 1) * head_flops

        def row(metric: str, value: float, unit: str, at: int | None = None, name: str = name) -> Measurement:
            experiment, setting = ("sizes", "") if at is None else ("figure5", f"layer {at}")
            return Measurement(
                experiment=experiment,
                system="DeeBERT",
                metric=metric,
                value=float(value),
                unit=unit,
                backbone=name,
                at=at,
                setting=setting,
                note=f"{TOKENS} tokens, {CLASSES} classes",
            )

        measurements += [
            row("parameters", plain, "count"),
            row("layer_parameters", layer_parameters(shape), "count"),
            row("off_ramp_parameters", added, "count"),
            row("off_ramp_parameter_share", added / plain, "fraction"),
            row("off_ramp_bytes", 4 * added, "byte"),
            row("layer_flops", layer_flops(shape, TOKENS), "FLOP"),
            row("off_ramp_flops", head_flops, "FLOP"),
            row("off_ramp_flops_share", (shape.layers - 1) * head_flops / full, "fraction"),
        ]
        for layer, flops in enumerate(cost.tolist(), 1):
            off_ramps = min(layer, shape.layers - 1) * head_flops
            measurements.append(row("cumulative_flops_share", flops / full, "fraction", layer))
            measurements.append(row("off_ramp_flops_share", off_ramps / full, "fraction", layer))
    return measurements


def memory() -> list[Measurement]:
    """Peak resident memory of one batch of 32 through bert-base, without and with off-ramps, in fresh processes."""
    measurements = []
    for system, work in (("baseline", run_plain), ("DeeBERT", run_with_off_ramps)):
        peak = peak_memory(work).increase
        measurements.append(
            Measurement(
                experiment="sizes",
                system=system,
                metric="peak_memory",
                value=float(peak),
                unit="byte",
                backbone="bert-base",
                timed=True,
                note=f"above the bare interpreter; batch 32, {TOKENS} tokens, libraries included",
            )
        )
    return measurements


def run_plain() -> None:
    """The plain classifier on one batch."""
    with torch.inference_mode():
        plain_classifier("bert-base", CLASSES)(random_batch(32, 30_000, seed=0))


def run_with_off_ramps() -> None:
    """DeeBERT on one batch, nobody leaving before the last layer."""
    layers = torch.full((32,), find_shape("bert-base").layers)
    run_early_exit(Bench.of("bert-base").model, random_batch(32, 30_000, seed=0), ImposedLayers(layers))


# -- The clock --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """A random backbone as plain classifier and as DeeBERT."""

    plain: EncoderClassifier
    model: DeeBERT

    @staticmethod
    def of(name: str) -> Bench:
        """Draw the named architecture."""
        plain = plain_classifier(name, CLASSES)
        return Bench(plain, DeeBERT(plain, OffRamps.fresh(plain.encoder, CLASSES, seed=0)).eval())


@dataclass(frozen=True)
class ImposedExits:
    """Figure 3's experiment on one backbone: arms that all leave at one layer, timed against the plain classifier."""

    backbone: str
    num_layers: int
    layers: Mapping[str, int]
    timings: PairedTimings

    def evidence(self) -> Evidence:
        """Seconds of every arm on every text, and the layer at which the arm left."""
        seconds = {name: self.timings.sample_seconds(name) for name in (BASELINE, CONTROL, *self.layers)}
        texts = len(seconds[BASELINE])
        arrays: dict[str, Array] = {TIMED: np.arange(texts)}
        for name in (BASELINE, CONTROL):
            arrays[seconds_name(name)] = seconds[name]
        for arm, layer in self.layers.items():
            arrays[seconds_name(DEEBERT, arm)] = seconds[arm]
            arrays[exits_name(DEEBERT, arm)] = np.full(texts, layer)
        return Evidence(self.backbone, 0, "", 0, self.num_layers, arrays)

    def measurements(self) -> list[Measurement]:
        """Expected and measured saving of every arm, and the noise of this run."""
        control = {"system": CONTROL, "timed": True, "note": f"{TOKENS} tokens, batch 1"}
        rows = [_rows("figure3", self.backbone, "control_saving", self.timings.saving(CONTROL), "fraction", **control)]
        for arm, layer in self.layers.items():
            rows.append(self._row("expected_saving", Interval.exact(1 - layer / self.num_layers), arm, layer))
            rows.append(self._row("measured_saving", self.timings.saving(arm), arm, layer))
        return rows

    def _row(self, metric: str, value: Interval, arm: str, layer: int | None) -> Measurement:
        how = {"setting": arm, "at": layer, "timed": metric != "expected_saving"}
        note = f"imposed exits, {TOKENS} tokens, batch 1"
        return _rows("figure3", self.backbone, metric, value, "fraction", note=note, **how)


def figure3(run: Run) -> list[Measurement]:
    """Figure 3 at true size; its times are kept for the claim that layers saved predict wall time saved."""
    rows: list[Measurement] = []
    for number, name in enumerate(BACKBONES, 1):
        experiment = imposed_exits(name)
        run.keep(experiment.evidence())
        rows += experiment.measurements()
        run.progress(number, len(BACKBONES))
    return rows


def imposed_exits(name: str) -> ImposedExits:
    """Leave at given layers, timed at batch 1."""
    bench, shape = Bench.of(name), shape_of(name)
    samples = 6 if "large" in name else 8
    batches = [random_batch(1, shape.vocabulary, seed) for seed in range(samples)]
    layers = {at_layer(layer): layer for layer in (round(share * shape.layers) for share in EXIT_SHARES)}
    arms: dict[str, Callable[[int], object]] = {BASELINE: lambda i: bench.plain(batches[i])}
    for label, layer in layers.items():
        arms[label] = on_item(early_exit_arm(bench.model, ImposedLayers(torch.tensor([layer]))), batches)
    return ImposedExits(name, shape.layers, layers, timed_against_baseline(arms, samples))


def spread_exits(run: Run) -> list[Measurement]:
    """Exits spread evenly over 1..12 at batch 1 and 32: speed-up against the layer ratio, and the machine's ceiling."""
    bench, shape = Bench.of("bert-base"), shape_of("bert-base")
    measurements = []
    for size, passes in ((1, 24), (32, 3)):
        arms = {"DeeBERT": leaving(bench.model)}
        spread = time_spread_exits(bench.plain, arms, shape, size=size, passes=passes)
        measurements += spread.rows("DeeBERT", "bert-base")
        run.progress(size, 33)
    return measurements
