"""ALBERT's and BERT's own sizes with random weights: parameters, FLOPs, memory, training throughput, latency.

The paper's "speed-up" is training data per second against BERT-large's, on the same accelerators. It is measured here
as whole training steps (forwards, backwards, LAMB), interleaved with BERT-large's, and laid beside what the paper does
not report: how long the same models take to answer. What does not fit into memory is counted on meta tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from common.costs.flops import encoder_flops
from common.costs.memory import peak_memory
from common.costs.parameters import encoder_parameters
from common.records.measurements import Measurement
from common.rows import ShapeRows
from common.run.replication import Run, Step
from replications.albert.full_size import (
    BASE,
    COPIES,
    MEMORY,
    MODELS,
    activation_bytes,
    fits,
    random_encoder,
    weight_bytes,
)
from replications.albert.method import Shape, sharing
from replications.albert.names import NONE, STRATEGIES, embedding_setting, rows_setting
from replications.albert.throughput import BASELINE, GROUPS, ROWS_ON_A_GPU, TOKENS, Bench, inference, training

PAPER_ROW = 512
"""Tokens of a row of the paper's pre-training: what memory is counted for."""

PAPER_ROWS = (1, 8)
"""One, and the paper's 4,096 over its largest number of TPUs."""


def shape_steps(run: Run) -> list[Step]:
    """Sizes and memory first, then everything with a clock."""
    device = getattr(run, "timing_device", torch.device("cpu"))
    bench = Bench(rows=1 if device.type == "cpu" else ROWS_ON_A_GPU, device=device)
    steps = [
        Step("sizes: parameters and FLOPs", 1.0, sizes),
        Step("memory of a training step, counted", 5.0, training_memory),
        Step("memory of a forward pass", 60.0, partial(forward_memory, run)),
    ]
    for group in GROUPS:
        names = ", ".join(group)
        steps.append(Step(f"training throughput of {names}", 90.0, partial(training, run, bench, group)))
        steps.append(Step(f"latency of {names}", 50.0, partial(inference, run, bench, group)))
    return steps


# -- Closed forms -----------------------------------------------------------------------------------------------------


def sizes() -> list[Measurement]:
    """Table 1, the parameters of Tables 3 and 4, and FLOPs."""
    return [*_table1(), *_ablation_sizes(), *_flops()]


def _table1() -> Iterator[Measurement]:
    for name, shape in MODELS.items():
        row = ShapeRows(name)
        values = {"layers": shape.layers, "hidden": shape.hidden, "embedding": shape.embedding}
        for experiment in ("table1", "table2-efficiency"):
            yield row(experiment, "", "parameters", float(encoder_parameters(shape.costs)), "count")
        for metric, value in values.items():
            yield row("table1", "", metric, float(value), "count")


def _ablation_sizes() -> Iterator[Measurement]:
    """ALBERT-base with other embeddings and other sharing: exact, where the paper prints millions."""
    for strategy, embedding, experiments in _ablations():
        shape = sharing(replace(BASE, embedding=embedding), strategy)
        size, setting = float(encoder_parameters(shape.costs)), embedding_setting(embedding, BASE.hidden)
        for experiment in experiments:
            how = {"setting": setting, "at": float(embedding)}
            yield ShapeRows(strategy)(experiment, "", "parameters", size, "count", **how)


def _ablations() -> Iterator[tuple[str, int, tuple[str, ...]]]:
    for strategy in STRATEGIES:
        for embedding in (64, 128, 256, 768):
            third = ("table3",) if strategy in (STRATEGIES[0], NONE) else ()
            fourth = ("table4",) if embedding in (128, 768) else ()
            if third or fourth:
                yield strategy, embedding, (*third, *fourth)


def _flops() -> Iterator[Measurement]:
    """Of a forward pass over `TOKENS` tokens: sharing saves none."""
    whole = encoder_flops(MODELS[BASELINE].costs, TOKENS)
    for name, shape in MODELS.items():
        flops, note = encoder_flops(shape.costs, TOKENS), f"{TOKENS} tokens"
        yield ShapeRows(name)("table2-efficiency", "", "flops", float(flops), "FLOP", note=note)
        yield ShapeRows(name)("table2-efficiency", "", "flops_speedup", whole / flops, "ratio", note=note)


# -- Memory -----------------------------------------------------------------------------------------------------------


def training_memory() -> list[Measurement]:
    """Of steps of one row and of eight rows of the paper's length, counted on meta tensors, and whether they fit."""
    found = []
    for name, shape in MODELS.items():
        row, kept = ShapeRows(name), activation_bytes(shape, 1, PAPER_ROW)
        found.append(row("memory", "", "weight_bytes", float(weight_bytes(shape)), "byte"))
        for rows in PAPER_ROWS:
            needed = COPIES * weight_bytes(shape) + rows * kept
            there = "fits" if fits(needed) else "does not fit"
            note = f"rows of {PAPER_ROW} tokens, float32, counted on meta tensors; {there} into {MEMORY >> 30} GiB"
            values = {"training_bytes": (needed, "byte"), "activation_bytes": (rows * kept, "byte")}
            for metric, (value, unit) in {**values, "fits": (int(fits(needed)), "count")}.items():
                at = {"setting": rows_setting(rows), "at": float(rows), "note": note}
                found.append(row("memory", "", metric, float(value), unit, **at))
    return found


def forward_memory(run: Run) -> list[Measurement]:
    """Peak of a process that answers one text, for every model whose weights fit twice over."""
    rows, note = [], f"a text of {PAPER_ROW} tokens, float32, above the interpreter with torch"
    for done, (name, shape) in enumerate(MODELS.items(), 1):
        if fits(2 * weight_bytes(shape)):
            peak = peak_memory(_answer, shape, PAPER_ROW).increase
            rows.append(ShapeRows(name)("memory", "", "forward_peak", float(peak), "byte", timed=True, note=note))
        run.progress(done, len(MODELS))
    return rows


def _answer(shape: Shape, tokens: int) -> None:
    encoder = random_encoder(shape).eval()
    with torch.inference_mode():
        encoder(torch.zeros(1, tokens, dtype=torch.long))
