"""Bort at full size in both readings of the paper's size, beside BERT-base, BERT-large and RoBERTa-large.

Random weights: parameters, multiply-adds and ratios of times do not depend on them. The clock is the CPU's, as in the
paper, whose machine, batch and length are not known: several of each are timed, every system interleaved with the
others. The search is repeated exactly, on parameters and inference cost alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from common.costs.flops import EncoderShape, classifier_flops, encoder_flops
from common.costs.parameters import (
    classifier_parameters,
    embedding_parameters,
    encoder_parameters,
    layer_parameters,
    linear_parameters,
    pooler_parameters,
)
from common.early_exit.imposed import shape_of
from common.encoders.shapes import Shape, find_shape, random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.records.measurements import Measurement
from common.records.predictions import TIMED, Array, Evidence, seconds_name
from common.records.statistics import Interval
from common.rows import ShapeRows
from common.run.replication import Run, Step
from common.timing.paired import CONTROL, PairedTimings, paired_latency
from common.timing.threads import pinned_threads
from common.training.batches import Batch
from replications.bort.exact import exact_rows
from replications.bort.method import AS_COUNTED, BORT, Architecture
from replications.bort.names import ARMS, BERT_BASE, BERT_LARGE, ROBERTA_LARGE, workload
from replications.bort.names import AS_COUNTED as COUNTED_NAME
from replications.bort.names import BORT as BORT_NAME
from replications.bort.names import RELEASED as RELEASED_NAME

BACKBONES = ("bert-base", "bert-large", "roberta-large")
CLASSES = 2

READINGS: Mapping[str, Architecture] = {RELEASED_NAME: BORT, COUNTED_NAME: AS_COUNTED}

RIVALS = {BERT_BASE: "bert-base", BERT_LARGE: "bert-large", ROBERTA_LARGE: "roberta-large"}
"""Whom the paper, its README and its author compare Bort with, by the names of their shapes."""

LENGTHS = (32, 128, 512)
"""At which multiply-adds are compared."""


@dataclass(frozen=True)
class Workload:
    """What is timed: so many batches of texts of one length, in so many rounds."""

    tokens: int
    batch: int
    samples: int
    rounds: int = 2

    @property
    def name(self) -> str:
        """As tables show it."""
        return workload(self.tokens, self.batch)


WORKLOADS = (Workload(32, 1, 8), Workload(128, 1, 5), Workload(512, 1, 2), Workload(32, 32, 2))


# -- Sizes ---------------------------------------------------------------------------------------------------------


def without_types(architecture: Architecture) -> EncoderShape:
    """Its sizes as Bort has them: no token types, no pooler."""
    shape = EncoderShape.from_config(architecture.shape().config())
    return replace(shape, type_vocabulary=0, pooler=False)


def masked_head_parameters(shape: EncoderShape) -> int:
    """Of a head for masked tokens that shares the word table: dense layer, layer norm, a bias a word."""
    return linear_parameters(shape.hidden, shape.hidden) + 2 * shape.hidden + shape.vocabulary


def sizes() -> list[Measurement]:
    """Parameters of everyone; of Bort and BERT-large where they sit, as the README's table has them."""
    row = ShapeRows(BORT_NAME)
    rows = []
    for name in BACKBONES:
        count = float(classifier_parameters(shape_of(name), CLASSES))
        rows.append(row("sizes", name, "parameters", count, "count", system="baseline", note=f"{CLASSES} classes"))
    for reading, architecture in READINGS.items():
        rows += _architecture(row, BORT_NAME, reading, without_types(architecture))
    return [*rows, *_architecture(row, BERT_LARGE, "", shape_of("bert-large"))]


def _architecture(row: ShapeRows, system: str, setting: str, shape: EncoderShape) -> Iterator[Measurement]:
    """With heads: the masked-token head and a pooler, which the printed counts include."""
    large = shape_of("bert-large")
    encoder, embedding = shape.layers * layer_parameters(shape), embedding_parameters(shape)
    pooler = 0 if shape.pooler else pooler_parameters(shape)
    with_heads = encoder_parameters(shape) + pooler + masked_head_parameters(shape)
    values = {
        "total_parameters": (encoder_parameters(shape), "count"),
        "parameters_with_heads": (with_heads, "count"),
        "embedding_parameters": (embedding, "count"),
        "encoder_parameters": (encoder, "count"),
        "share_beyond_embedding": (1 - embedding / with_heads, "fraction"),
        "effective_size": (encoder / (large.layers * layer_parameters(large)), "fraction"),
        "net_size": (encoder_parameters(shape) / encoder_parameters(large), "fraction"),
    }
    for metric, (value, unit) in values.items():
        yield row("readme-architecture", "", metric, float(value), unit, system=system, setting=setting)


# -- Multiply-adds -------------------------------------------------------------------------------------------------


def multiply_add_ratios() -> Iterator[Measurement]:
    """Multiply-adds of each rival's layers over those of Bort, in both readings."""
    row = ShapeRows(BORT_NAME)
    for reading, architecture in READINGS.items():
        mine = without_types(architecture)
        for rival, name in RIVALS.items():
            for tokens in LENGTHS:
                ratio = encoder_flops(shape_of(name), tokens) / encoder_flops(mine, tokens)
                how = {"system": f"{ARMS[reading]} over {rival}", "setting": f"{tokens} tokens", "at": tokens}
                yield row("cpu-speed", name, "multiply_add_ratio", ratio, "ratio", **how)


# -- The clock -----------------------------------------------------------------------------------------------------


def random_classifier(shape: Shape | str) -> EncoderClassifier:
    """An architecture with one classifier on the first token, random weights."""
    encoder = random_encoder(shape, seed=0)
    return EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, CLASSES)).eval()


def systems() -> dict[str, Shape | str]:
    """Everyone on the clock, by name."""
    return {**RIVALS, **{ARMS[reading]: architecture.shape() for reading, architecture in READINGS.items()}}


def random_texts(vocabulary: int, load: Workload) -> list[Batch]:
    """Batches of random tokens, nothing padded."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, vocabulary, (load.samples, load.batch, load.tokens), generator=generator)
    nothing = torch.zeros(load.batch, dtype=torch.long)
    return [Batch(part, torch.ones_like(part), None, nothing, torch.arange(load.batch)) for part in ids]


def timed(load: Workload, models: Mapping[str, EncoderClassifier]) -> PairedTimings:
    """Every system on the same workload, interleaved; BERT-base takes part twice."""
    arms: dict[str, Callable[[int], object]] = {}
    for name, model in models.items():
        batches = random_texts(model.encoder.config.vocab_size, load)
        arms[name] = lambda i, model=model, batches=batches: model(batches[i])  # type: ignore[misc]
    with pinned_threads():
        return paired_latency(arms, baseline=BERT_BASE, samples=load.samples, rounds=load.rounds, warmup=1)


def speed_rows(load: Workload, timings: PairedTimings) -> Iterator[Measurement]:
    """How many times as fast as each rival Bort is in both readings, and the noise of this run."""
    row, at = ShapeRows(BORT_NAME), {"setting": load.name, "timed": True}
    yield row("cpu-speed", "bert-base", "time_speedup", timings.speedup(CONTROL), "ratio", system=CONTROL, **at)
    for arm in ARMS.values():
        for rival, name in RIVALS.items():
            speedup: Interval = replace(timings, baseline=rival).speedup(arm)
            yield row("cpu-speed", name, "time_speedup", speedup, "ratio", system=f"{arm} over {rival}", **at)


def evidence(load: Workload, timings: PairedTimings) -> Evidence:
    """Seconds of every system on every batch."""
    arrays: dict[str, Array] = {seconds_name(arm): timings.sample_seconds(arm) for arm in timings.arms}
    return Evidence(load.name, 0, "", 0, 0, {TIMED: np.arange(load.samples), **arrays})


@dataclass
class Bench:
    """The systems, drawn once for all workloads."""

    drawn: dict[str, EncoderClassifier]

    @property
    def models(self) -> Mapping[str, EncoderClassifier]:
        """Everyone."""
        if not self.drawn:
            self.drawn.update({name: random_classifier(shape) for name, shape in systems().items()})
        return self.drawn

    def measure(self, run: Run, load: Workload) -> list[Measurement]:
        """Time a workload and keep its evidence."""
        timings = timed(load, self.models)
        run.keep(evidence(load, timings))
        return list(speed_rows(load, timings))


def expected_seconds(load: Workload) -> float:
    """Of all systems and the control, at 80 GFLOP a second."""
    shapes = [EncoderShape.from_config((find_shape(s) if isinstance(s, str) else s).config()) for s in _timed_shapes()]
    flops = sum(classifier_flops(shape, load.tokens, CLASSES, batch=load.batch) for shape in shapes)
    return 2 + (load.samples * load.rounds + 1) * flops / 80e9


def _timed_shapes() -> Sequence[Shape | str]:
    return [*systems().values(), RIVALS[BERT_BASE]]


def shape_steps(run: Run) -> list[Step]:
    """Counts, the exact search, then the clock."""
    bench = Bench({})
    return [
        Step("sizes: Bort in both readings, BERT-base, BERT-large, RoBERTa-large", 1.0, sizes),
        Step("multiply-adds: every baseline over Bort", 1.0, lambda: list(multiply_add_ratios())),
        Step("the search, exactly: parameters and operations alone", 1.0, lambda: list(exact_rows())),
        *(
            Step(f"CPU time: {load.name}", expected_seconds(load), partial(bench.measure, run, load))
            for load in WORKLOADS
        ),
    ]
