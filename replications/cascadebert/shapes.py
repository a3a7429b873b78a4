"""CascadeBERT on full-size architectures with random weights: what a small model beside adds, and what it saves.

A parameter count, a FLOP count and a ratio of times do not depend on what the weights are. Who is passed on is imposed,
so that layers executed are known exactly and the clock is the only thing measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from common.costs.flops import EncoderShape, classifier_flops
from common.costs.parameters import classifier_parameters
from common.early_exit.clock import BASELINE, on_item
from common.early_exit.cost_split import ASKED, nested_shares
from common.early_exit.imposed import TOKENS, leaving, plain_classifier, random_batch, timed_against_baseline
from common.early_exit.rules import AskedInVain
from common.early_exit.runtime import all_exits, early_exit_arm
from common.encoders.shapes import find_shape, random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.records.measurements import Measurement
from common.rows import ShapeRows
from common.run.replication import Run, Step
from common.timing.paired import CONTROL
from common.training.batches import Batch
from replications.cascadebert.method import Cascade, closed_form, settles_above, share_passed_on
from replications.cascadebert.names import BOTH, SHARES, SMALL

BACKBONES = ("bert-base", "albert-base")
SMALL_LAYERS = 2
CLASSES = 3
"""MNLI's."""

PASSED_ON = {f"{speedup}x": share_passed_on(speedup, SMALL_LAYERS, 12) for speedup in (2, 3, 4)}
"""Shares at which the closed form 12 / (2 + 12 q) gives the groups of the main table: 1/3, 1/6 and 1/12."""

SINGLES = 12
"""Texts at batch 1: of 12, each of the three shares is a whole number."""

BATCH = 32
POOL = 2 * BATCH
POOLS = 3
MAIN = "3x"
"""In batches the share of this group is measured, 1/6: 32 of the 192 texts of three pools."""

POOLED = "CascadeBERT"
UNPOOLED = "CascadeBERT, each batch by itself"


def shape_steps(run: Run) -> list[Step]:
    """Sizes of both cascades, then the clock on each."""
    return [
        Step("sizes: a small model beside, in parameters and FLOPs", 1.0, sizes),
        *(Step(f"{name}: 2x, 3x and 4x at batch 1, costs", 22.0, partial(singles, name)) for name in BACKBONES),
        Step(f"bert-base: {MAIN} in batches of {BATCH}", 55.0, partial(batches, run)),
    ]


_row = ShapeRows("CascadeBERT")

# -- Sizes (closed forms) ---------------------------------------------------------------------------------------------


def shapes_of(name: str) -> tuple[EncoderShape, EncoderShape]:
    """The small and the big encoder: the same architecture with 2 and with all layers."""
    big = find_shape(name)
    small, whole = (EncoderShape.from_config(s.config()) for s in (replace(big, layers=SMALL_LAYERS), big))
    return small, whole


def sizes() -> list[Measurement]:
    """What the small model adds to each backbone, in parameters, bytes and FLOPs."""
    measurements = []
    note = f"{TOKENS} tokens, {CLASSES} classes"
    for name in BACKBONES:
        small, big = shapes_of(name)
        whole, added = classifier_parameters(big, CLASSES), classifier_parameters(small, CLASSES)
        full, extra = (classifier_flops(s, TOKENS, CLASSES) for s in (big, small))
        measurements += [
            _row("sizes", name, "parameters", float(whole), "count", note=note),
            _row("sizes", name, "small_parameters", float(added), "count", note=note),
            _row("sizes", name, "small_parameter_share", added / whole, "fraction", note=note),
            _row("sizes", name, "small_bytes", 4.0 * added, "byte", note=note),
            _row("sizes", name, "small_flops", float(extra), "FLOP", note=note),
            _row("sizes", name, "small_flops_share", extra / full, "fraction", note=note),
        ]
    return measurements


# -- The clock --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """A random cascade with its two shapes."""

    cascade: Cascade
    small: EncoderShape
    big: EncoderShape

    @staticmethod
    def of(name: str) -> Bench:
        """Draw the named architecture twice, with 2 and with all layers."""
        encoder = random_encoder(replace(find_shape(name), layers=SMALL_LAYERS), seed=1)
        small = EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, CLASSES)).eval()
        return Bench(Cascade([small, plain_classifier(name, CLASSES)]).eval(), *shapes_of(name))

    @property
    def plain(self) -> Callable[[Batch], object]:
        """The big model alone: the baseline."""
        return self.cascade.models[1]

    def speedups(self, passed_on: float) -> dict[str, float]:
        """In layers (the closed form) and in FLOPs."""
        small, big = (classifier_flops(s, TOKENS, CLASSES) for s in (self.small, self.big))
        return {
            "layer_speedup": closed_form(passed_on, self.small.layers, self.big.layers),
            "flops_speedup": big / (small + passed_on * big),
        }


def passed_on_of(number: int, pool: int = POOL) -> int:
    """How many of `pool` texts are passed on in pool 0, 1, ...: after each the total is nearest to 1/6 of all."""
    share = pool * PASSED_ON[MAIN]
    return round(share * (number + 1)) - round(share * number)


def settled_by(count: int, passed_on: int, seed: int = 0) -> Tensor:
    """(count,) which model settles each text: 2 for `passed_on` random ones, 1 for the others."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return torch.where(order < passed_on, 2, 1)


def singles(name: str) -> list[Measurement]:
    """Batch 1: the main table's speed-ups in layers, FLOPs and time; the split of a run that passes everyone on."""
    bench = Bench.of(name)
    texts = [random_batch(1, bench.big.vocabulary, seed) for seed in range(SINGLES)]
    imposed = {setting: _plan(len(texts), share) for setting, share in PASSED_ON.items()}
    timings = timed_against_baseline(_arms_at_batch_1(bench, texts), len(texts), imposed=imposed)
    measurements = []
    for setting, share in PASSED_ON.items():
        how = {"setting": setting, "at": share, "note": f"share passed on imposed, {TOKENS} tokens"}
        for metric, value in bench.speedups(share).items():
            measurements.append(_row("currencies", name, metric, value, "ratio", **how))
        measurements.append(
            _row("currencies", name, "time_speedup", timings.speedup(setting), "ratio", timed=True, **how)
        )
    for system in (BOTH, CONTROL):
        speedup = timings.speedup(system)
        measurements.append(_row("currencies", name, "time_speedup", speedup, "ratio", timed=True, system=system))
    how = {"timed": True, "note": f"everyone passed on, batch 1, {TOKENS} tokens"}
    for metric, part in nested_shares(timings.sample_seconds, (SMALL, BOTH, ASKED), SHARES).items():
        measurements.append(_row("costs", name, metric, part, "fraction", **how))
    return measurements


def _plan(texts: int, share: float) -> Tensor:
    """Which model settles each text when `share` of them is passed on."""
    return settled_by(texts, round(share * texts))


def _arms_at_batch_1(bench: Bench, texts: list[Batch]) -> dict[str, Callable[[int], object]]:
    leave, never = leaving(bench.cascade), AskedInVain(settles_above(0.5))
    arms: dict[str, Callable[[int], object]] = {
        BASELINE: on_item(bench.plain, texts),
        SMALL: on_item(bench.cascade.models[0], texts),
        BOTH: on_item(partial(all_exits, bench.cascade), texts),
        ASKED: on_item(early_exit_arm(bench.cascade, never), texts),
    }
    for setting, share in PASSED_ON.items():
        plan = _plan(len(texts), share)
        arms[setting] = lambda i, plan=plan: leave(texts[i], plan[i : i + 1])  # type: ignore[misc]
    return arms


def batches(run: Run, pools: int = POOLS, pool: int = POOL) -> list[Measurement]:
    """Batches of 32 of which 1/6 is passed on: speed-up, share of the closed form, and over running both for all.

    What the batches of a pool (`pool` texts) pass on is put together for the big model; beside it each batch goes
    through by itself.
    """
    bench, name, share = Bench.of("bert-base"), "bert-base", PASSED_ON[MAIN]
    texts = [random_batch(pool, bench.big.vocabulary, seed) for seed in range(pools)]
    plans = [settled_by(pool, passed_on_of(seed, pool), seed) for seed in range(pools)]
    cascade = bench.cascade
    pooled, unpooled = leaving(cascade, at_once=BATCH), leaving(cascade)
    both = partial(all_exits, cascade)
    arms: dict[str, Callable[[int], object]] = {
        BASELINE: lambda i: [bench.plain(part) for part in parts(texts[i])],
        POOLED: lambda i: pooled(texts[i], plans[i]),
        UNPOOLED: lambda i: list(map(unpooled, parts(texts[i]), plans[i].split(BATCH))),
        BOTH: lambda i: [both(part) for part in parts(texts[i])],
    }
    both(random_batch(BATCH, bench.big.vocabulary, seed=0))  # All that a warm-up does for so long an item.
    timings = timed_against_baseline(arms, pools, rounds=1, warmup=0)
    run.progress(pools, pools)
    form = bench.speedups(share)["layer_speedup"]
    over_both = replace(timings, baseline=BOTH).speedup(POOLED)
    how = {"setting": f"{MAIN}, batch {BATCH}", "at": share, "timed": True, "note": f"imposed, {TOKENS} tokens"}
    return [
        *(
            _row("runtime", name, "throughput_ratio", timings.speedup(system), "ratio", **{**how, "system": system})
            for system in (POOLED, UNPOOLED, BOTH, CONTROL)
        ),
        *(
            _row(
                "runtime",
                name,
                "share_of_closed_form",
                timings.speedup(s).over(form),
                "ratio",
                **{**how, "system": s},
            )
            for s in (POOLED, UNPOOLED)
        ),
        _row("runtime", name, "speedup_over_both", over_both, "ratio", **how),
    ]


def parts(pool: Batch) -> list[Batch]:
    """A pool in batches of 32; its texts have one length and no segments."""
    columns = (pool.input_ids, pool.attention_mask, pool.labels, pool.rows)
    cut = zip(*(column.split(BATCH) for column in columns), strict=True)
    return [Batch(ids, mask, None, labels, rows) for ids, mask, labels, rows in cut]
