"""An exit method on named architectures at full size, with random weights: what exits add, and what leaving saves.

A parameter count, a FLOP count and a ratio of times do not depend on what the weights are. Exit layers are imposed, so
that layers saved is known exactly and the clock is the only thing measured. A paper says how its model is put on a
backbone and what one exit costs, and takes the measurements that it wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from common.costs.flops import EncoderShape, classifier_flops, layer_flops
from common.costs.parameters import classifier_parameters, layer_parameters, linear_parameters
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
from common.early_exit.rules import AskedInVain, ExitRule, ImposedLayers
from common.early_exit.runtime import MultiExitModel, all_exits, early_exit_arm
from common.models.classifier import EncoderClassifier
from common.records.measurements import Measurement
from common.records.predictions import TIMED, Array, Evidence, at_layer, exits_name, seconds_name
from common.records.statistics import Interval
from common.rows import ShapeRows
from common.timing.paired import CONTROL, PairedTimings

EXIT_SHARES = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)
"""Depths of the imposed exits, as shares of the layers."""

BATCHED = 8
"""Texts in a batch where printed speed-ups are clocked in batches, too."""


def pooled_head_parameters(shape: EncoderShape, classes: int) -> int:
    """Of a pooler and a linear classifier."""
    return linear_parameters(shape.hidden, shape.hidden) + linear_parameters(shape.hidden, classes)


@dataclass(frozen=True)
class Bench:
    """A random backbone as plain classifier and under the method."""

    plain: EncoderClassifier
    model: MultiExitModel
    shape: EncoderShape


@dataclass(frozen=True)
class FullSize:
    """A method at full size.

    Attributes:
        method: its name.
        classes: of the classifiers.
        on: puts the method's exits on a plain classifier's backbone; random weights, evaluation mode.
        added_parameters: what the exits add to the plain classifier.
        head_flops: FLOPs of one exit on a text of `TOKENS` tokens.
        exits: how many are added; by default one after every layer but the last.
    """

    method: str
    classes: int
    on: Callable[[EncoderClassifier], MultiExitModel]
    added_parameters: Callable[[EncoderShape], int]
    head_flops: Callable[[EncoderShape], int] | None = None
    exits: Callable[[EncoderShape], int] = lambda shape: shape.layers - 1

    def bench(self, name: str) -> Bench:
        """Draw the named architecture."""
        plain = plain_classifier(name, self.classes)
        return Bench(plain, self.on(plain), shape_of(name))

    def exit_cost(self, shape: EncoderShape) -> int:
        """FLOPs of one exit; by default a pooler and a classifier on one state."""
        return self.head_flops(shape) if self.head_flops else pooled_head_flops(shape, self.classes)

    @property
    def row(self) -> ShapeRows:
        """Makes rows of this method."""
        return ShapeRows(self.method)

    # -- Closed forms -------------------------------------------------------------------------------------------------

    def sizes(self, backbones: Sequence[str]) -> list[Measurement]:
        """What the exits add to each backbone, in parameters, bytes and FLOPs."""
        return [m for name in backbones for m in self._sizes_of(name)]

    def _sizes_of(self, name: str) -> Iterator[Measurement]:
        shape = shape_of(name)
        plain, added = classifier_parameters(shape, self.classes), self.added_parameters(shape)
        head, full = self.exit_cost(shape), classifier_flops(shape, TOKENS, self.classes)
        values = {
            "parameters": (plain, "count"),
            "layer_parameters": (layer_parameters(shape), "count"),
            "exit_parameters": (added, "count"),
            "exit_parameter_share": (added / plain, "fraction"),
            "exit_bytes": (4 * added, "byte"),
            "layer_flops": (layer_flops(shape, TOKENS), "FLOP"),
            "exit_flops": (head, "FLOP"),
            "exit_flops_share": (self.exits(shape) * head / full, "fraction"),
        }
        note = f"{TOKENS} tokens, {self.classes} classes"
        for metric, (value, unit) in values.items():
            yield self.row("sizes", name, metric, float(value), unit, note=note)

    def flops_by_exit(self, experiment: str, backbones: Sequence[str]) -> Iterator[Measurement]:
        """Cost of leaving at each layer, as a share of the plain classifier's, and the exits' part of it."""
        for name in backbones:
            shape = shape_of(name)
            head, full = self.exit_cost(shape), classifier_flops(shape, TOKENS, self.classes)
            for layer, flops in enumerate(exit_flops(shape, TOKENS, head).tolist(), 1):
                at = {"setting": at_layer(layer), "at": layer, "note": f"{TOKENS} tokens, {self.classes} classes"}
                exits = min(layer, self.exits(shape)) * head
                yield self.row(experiment, name, "cumulative_flops_share", flops / full, "fraction", **at)
                yield self.row(experiment, name, "exit_flops_share", exits / full, "fraction", **at)

    # -- Imposed exits on the clock -----------------------------------------------------------------------------------

    def imposed_exits(self, name: str) -> ImposedExits:
        """Everyone leaves at one of six depths, timed at batch 1."""
        bench = self.bench(name)
        samples = 6 if "large" in name else 8
        batches = [random_batch(1, bench.shape.vocabulary, seed) for seed in range(samples)]
        layers = {at_layer(k): k for k in (round(share * bench.shape.layers) for share in EXIT_SHARES)}
        arms: dict[str, Callable[[int], object]] = {BASELINE: on_item(bench.plain, batches)}
        for label, layer in layers.items():
            arms[label] = on_item(early_exit_arm(bench.model, ImposedLayers(torch.tensor([layer]))), batches)
        return ImposedExits(self.method, name, bench.shape.layers, layers, timed_against_baseline(arms, samples))

    def spread(
        self, name: str, sizes: Mapping[int, int], progress: Callable[[int, int], None], *, rounds: int = 1
    ) -> list[Measurement]:
        """Exits spread evenly over all layers: speed-up against the layer ratio and against waiting for the slowest.

        Args:
            name: of the architecture.
            sizes: how many batches of each size.
            progress: told how far it is.
            rounds: passes over the batches.
        """
        bench, measurements = self.bench(name), []
        for done, (size, passes) in enumerate(sizes.items(), 1):
            arms = {self.method: leaving(bench.model), WAITING: waiting(bench.model)}
            spread = spread_exits(bench.plain, arms, bench.shape, size=size, passes=passes, rounds=rounds)
            measurements += spread.rows(self.method, name)
            over = spread.over_waiting(self.method)
            measurements.append(spread.row(self.method, name, "speedup_over_waiting", over))
            progress(done, len(sizes))
        return measurements

    def costs(self, name: str, rule: ExitRule, texts: int = 24) -> list[Measurement]:
        """Shares of backbone (with one head), further exits and rule in the time of a full-depth run."""
        bench = self.bench(name)
        batches = [random_batch(1, bench.shape.vocabulary, seed) for seed in range(texts)]
        arms: dict[str, Callable[[int], object]] = {
            BASELINE: on_item(bench.plain, batches),
            EVERY_EXIT: on_item(partial(all_exits, bench.model), batches),
            ASKED: on_item(early_exit_arm(bench.model, AskedInVain(rule)), batches),
        }
        timings = timed_against_baseline(arms, texts)
        how = {"timed": True, "note": f"full depth, batch 1, {TOKENS} tokens"}
        shares = cost_shares(timings.sample_seconds)
        rows = [self.row("costs", name, metric, share, "fraction", **how) for metric, share in shares.items()]
        return [*rows, self.row("costs", name, "time_ratio", timings.ratio(ASKED), "ratio", **how)]

    def currencies(self, name: str, plans: Mapping[str, Tensor], at: Mapping[str, float]) -> list[Measurement]:
        """Exit layers that stand for printed speed-ups, in layers, FLOPs, latency at batch 1 and throughput at batch 8.

        Args:
            name: of the architecture.
            plans: by setting the (texts,) layers at which texts leave.
            at: by setting its number.
        """
        bench, rows = self.bench(name), []
        timed = {size: _timed_plans(bench, plans, size) for size in (1, BATCHED)}
        full = classifier_flops(bench.shape, TOKENS, self.classes)
        by_layer = exit_flops(bench.shape, TOKENS, self.exit_cost(bench.shape))
        for setting, plan in plans.items():
            how = {"setting": setting, "at": at[setting], "note": f"imposed exits, {TOKENS} tokens"}
            mean = plan.double().mean().item()
            values: dict[str, float | Interval] = {
                "layer_speedup": bench.shape.layers / mean,
                "flops_speedup": float(full / by_layer[plan.numpy() - 1].mean()),
            }
            rows += [self.row("currencies", name, metric, value, "ratio", **how) for metric, value in values.items()]
            for size, metric in ((1, "time_speedup"), (BATCHED, "throughput_ratio")):
                speedup = timed[size].speedup(setting)
                rows.append(self.row("currencies", name, metric, speedup, "ratio", timed=True, **how))
        control = {"system": CONTROL, "timed": True, "note": f"{TOKENS} tokens, batch 1"}
        return [*rows, self.row("currencies", name, "time_speedup", timed[1].speedup(CONTROL), "ratio", **control)]


def _timed_plans(bench: Bench, plans: Mapping[str, Tensor], size: int) -> PairedTimings:
    """The same texts' exits one by one, or in batches of `size`."""
    count = min(len(plan) for plan in plans.values()) // size
    batches = [random_batch(size, bench.shape.vocabulary, seed) for seed in range(count)]
    leave = leaving(bench.model)
    arms: dict[str, Callable[[int], object]] = {BASELINE: on_item(bench.plain, batches)}
    for setting, plan in plans.items():
        parts = plan.split(size)
        arms[setting] = lambda i, parts=parts: leave(batches[i], parts[i])  # type: ignore[misc]
    return timed_against_baseline(arms, count, imposed=dict(plans) if size == 1 else None)


@dataclass(frozen=True)
class ImposedExits:
    """Arms that all leave at one layer of one backbone, timed against the plain classifier."""

    method: str
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
            arrays[seconds_name(self.method, arm)] = seconds[arm]
            arrays[exits_name(self.method, arm)] = np.full(texts, layer)
        return Evidence(self.backbone, 0, "", 0, self.num_layers, arrays)

    def measurements(self, experiment: str) -> Iterator[Measurement]:
        """Expected and measured saving of every arm, and the noise of this run."""
        row, timings = ShapeRows(self.method), self.timings
        control = {"system": CONTROL, "timed": True, "note": f"{TOKENS} tokens, batch 1"}
        yield row(experiment, self.backbone, "control_saving", timings.saving(CONTROL), "fraction", **control)
        note = f"imposed exits, {TOKENS} tokens, batch 1"
        for arm, layer in self.layers.items():
            at = {"setting": arm, "at": layer, "note": note}
            expected = Interval.exact(1 - layer / self.num_layers)
            yield row(experiment, self.backbone, "expected_saving", expected, "fraction", **at)
            yield row(experiment, self.backbone, "measured_saving", timings.saving(arm), "fraction", timed=True, **at)
