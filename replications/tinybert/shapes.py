"""Table 1's model columns at full size, with random weights: parameters, FLOPs, speed and memory.

None of them depends on what the weights are. Speed is a ratio of times on texts of 128 random tokens, one by one and in
batches of 32, all systems interleaved, BERT-base as its own control.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from common.costs.flops import EncoderShape, encoder_flops
from common.costs.memory import peak_memory
from common.costs.parameters import classifier_parameters, encoder_parameters
from common.early_exit.clock import on_item
from common.encoders.shapes import Shape, find_shape, random_encoder
from common.records.measurements import Measurement
from common.records.predictions import TIMED, Evidence, seconds_name
from common.rows import ShapeRows
from common.run.replication import Run, Step
from common.timing.paired import CONTROL, PairedThroughput, PairedTimings, paired_latency, paired_throughput
from common.timing.threads import pinned_threads
from common.training.batches import Batch
from replications.tinybert.method import TinyClassifier
from replications.tinybert.names import (
    BERT_BASE,
    BERT_SMALL,
    FOUR_LAYERS,
    NARROW,
    TEACHER,
    TINYBERT,
    TINYBERT_4,
    TINYBERT_6,
    WIDE,
)

BACKBONES = (BERT_BASE,)
CLASSES = 2
TOKENS = 128
"""Of a text: what the printed FLOPs agree with."""

TEXTS, ROUNDS = 24, 2
"""Timed one by one."""

BATCH, PASSES = 32, 3
"""Timed in batches: a pass is one batch."""

_BASE = find_shape(BERT_BASE)

ARCHITECTURES: Mapping[str, Shape] = {
    BERT_BASE: _BASE,
    BERT_SMALL: replace(_BASE, layers=4, hidden=512, heads=8, intermediate=2048),
    FOUR_LAYERS: replace(_BASE, layers=4),
    TINYBERT_4: replace(_BASE, layers=4, hidden=312, intermediate=1200),
    TINYBERT_6: replace(_BASE, layers=6),
}

ROWS: Mapping[tuple[str, str], str] = {
    (TEACHER, ""): BERT_BASE,
    ("BERT-tiny", ""): TINYBERT_4,
    ("BERT-small", ""): BERT_SMALL,
    ("BERT4-PKD", ""): FOUR_LAYERS,
    ("DistilBERT4", ""): FOUR_LAYERS,
    (TINYBERT, NARROW): TINYBERT_4,
    ("BERT6-PKD", ""): TINYBERT_6,
    ("PD6", ""): TINYBERT_6,
    ("DistilBERT6", ""): TINYBERT_6,
    (TINYBERT, WIDE): TINYBERT_6,
}
"""Table 1's rows, by the architecture that they have. MobileBERT-tiny's is not printed."""


def shape_of(name: str) -> EncoderShape:
    """Sizes of an architecture."""
    return EncoderShape.from_config(ARCHITECTURES[name].config())


def shape_steps(run: Run) -> list[Step]:
    """Sizes, then what has a clock or a gauge."""
    return [
        Step("sizes: parameters and FLOPs", 1.0, sizes),
        Step("speed, one text at a time", 30.0, partial(one_by_one, run)),
        Step("speed, batches of 32", 70.0, partial(in_batches, run)),
        Step("peak memory", 30.0, partial(memory, run)),
    ]


# -- Closed forms -----------------------------------------------------------------------------------------------------


def sizes() -> list[Measurement]:
    """Parameters of encoders with their poolers, FLOPs of a text of 128 tokens without a head, and what W adds."""
    rows = []
    for name in BACKBONES:
        parameters = float(classifier_parameters(shape_of(name), CLASSES))
        rows.append(ShapeRows(TEACHER)("sizes", name, "parameters", parameters, "count"))
    for name in ARCHITECTURES:
        row = ShapeRows(name)
        rows.append(row("sizes", name, "encoder_parameters", float(encoder_parameters(shape_of(name))), "count"))
        rows.append(row("sizes", name, "flops", float(encoder_flops(shape_of(name), TOKENS)), "FLOP"))
        rows.append(row("sizes", name, "projection_parameters", float(projection_parameters(name)), "count"))
    for (system, setting), name in ROWS.items():
        row, at = ShapeRows(system), {"setting": setting}
        parameters, flops = encoder_parameters(shape_of(name)), encoder_flops(shape_of(name), TOKENS)
        rows.append(row("table1-efficiency", "", "parameters", float(parameters), "count", **at))
        rows.append(row("table1-efficiency", "", "flops", float(flops), "FLOP", **at))
    return rows


def projection_parameters(name: str) -> int:
    """Of the shared map to the teacher's width, with its bias: in training alone."""
    return (shape_of(name).hidden + 1) * shape_of(BERT_BASE).hidden


# -- The clock --------------------------------------------------------------------------------------------------------


def model_of(name: str) -> TinyClassifier:
    """A classifier of this architecture with random weights; its head brings the pooler."""
    encoder = random_encoder(replace(ARCHITECTURES[name], has_pooler=False))
    return TinyClassifier.fresh(encoder, CLASSES, seed=0).eval()


def texts(size: int, seed: int, vocabulary: int) -> Batch:
    """`size` texts of `TOKENS` random tokens, nothing padded."""
    ids = torch.randint(5, vocabulary, (size, TOKENS), generator=torch.Generator().manual_seed(seed))
    return Batch(ids, torch.ones_like(ids), None, torch.zeros(size, dtype=torch.long), torch.arange(size))


def one_by_one(run: Run) -> list[Measurement]:
    """Speed-up of every architecture on texts of 128 tokens; the seconds are kept."""
    batches = [texts(1, seed, _BASE.vocab) for seed in range(TEXTS)]
    arms: dict[str, Callable[[int], object]] = {name: on_item(model_of(name), batches) for name in ARCHITECTURES}
    done = iter(range(1, 1 + ROUNDS * TEXTS))
    with pinned_threads():
        timings = paired_latency(
            arms,
            baseline=BERT_BASE,
            samples=TEXTS,
            rounds=ROUNDS,
            warmup=2,
            advance=lambda: run.progress(next(done), ROUNDS * TEXTS),
        )
    arrays: dict[str, np.ndarray] = {seconds_name(name): timings.sample_seconds(name) for name in timings.arms}
    run.keep(Evidence(SHAPES, 0, "", 0, _BASE.layers, {TIMED: np.arange(TEXTS), **arrays}))
    return _clocked(timings, "time_speedup", f"batch 1, {TOKENS} tokens, random weights")


SHAPES = "full size"
"""What the seconds of this run are kept under."""


def in_batches(run: Run) -> list[Measurement]:
    """Throughput of every architecture in batches of 32."""
    arms: dict[str, Callable[[], int]] = {}
    for name in ARCHITECTURES:
        arms[name] = partial(_answered, model_of(name), texts(BATCH, 0, _BASE.vocab))
    done = iter(range(1, 1 + PASSES))
    with pinned_threads():
        timings = paired_throughput(
            arms, baseline=BERT_BASE, rounds=PASSES, advance=lambda: run.progress(next(done), PASSES)
        )
    return _clocked(timings, "throughput_ratio", f"batches of {BATCH}, {TOKENS} tokens, random weights")


def _answered(model: TinyClassifier, batch: Batch) -> int:
    return len(model(batch))


def _clocked(timings: PairedTimings | PairedThroughput, metric: str, note: str) -> list[Measurement]:
    how = {"timed": True, "note": note}
    rows = [
        ShapeRows(system)("table1-efficiency", "", metric, timings.speedup(name), "ratio", setting=setting, **how)
        for (system, setting), name in ROWS.items()
    ]
    return [*rows, ShapeRows(CONTROL)("table1-efficiency", "", metric, timings.speedup(CONTROL), "ratio", **how)]


# -- Memory -----------------------------------------------------------------------------------------------------------


def memory(run: Run) -> list[Measurement]:
    """Peak of a fresh process that answers one text."""
    peaks = {}
    for done, name in enumerate(ARCHITECTURES, 1):
        peaks[name] = float(peak_memory(answer_one, name).increase)
        run.progress(done, len(ARCHITECTURES))
    how = {"timed": True, "note": f"above the bare interpreter, libraries included; one text of {TOKENS} tokens"}
    return [
        ShapeRows(system)("table1-efficiency", "", "peak_memory", peaks[name], "byte", setting=setting, **how)
        for (system, setting), name in ROWS.items()
    ]


def answer_one(name: str) -> None:
    """Build a model and run it once."""
    with torch.inference_mode():
        model_of(name)(texts(1, 0, _BASE.vocab))
