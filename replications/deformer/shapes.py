"""BERT-base (k = 9) and BERT-large (k = 20) at full size and at the paper's lengths, with random weights.

FLOPs and requested memory are counted, latency is measured with the cache read from disk. Slots are full: no padding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from common.costs.flops import EncoderShape
from common.costs.memory import requested_bytes
from common.early_exit.imposed import shape_of, timed_against_baseline
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.models.classifier import PooledClassifier
from common.models.span_reader import SpanHead
from common.records.measurements import Measurement
from common.records.predictions import TIMED, Array, Evidence, seconds_name
from common.rows import ShapeRows
from common.run.replication import Run, Step
from common.timing.paired import CONTROL, PairedTimings
from common.training.segments import Segment, SegmentLayout, TwoSegmentBatch
from replications.deformer.cache import About, PassageCache, encode_passages
from replications.deformer.flops import PAPER_K, PAPER_LENGTHS, Lengths, cached_flops, flops_speedup, full_flops
from replications.deformer.method import DeFormer
from replications.deformer.names import BASELINE, DEFORMER, PLAIN, at_k, timed_shape
from replications.deformer.online import Online

TABLE_OF = {"squad": "table1", "race": "table1", "boolq": "table1", "mnli": "table2", "qqp": "table2"}
"""Where the paper prints each task's speed-up."""

SWEEPS = {"bert-base": range(1, 12), "bert-large": range(13, 24)}
"""Depths of figure 4."""

CACHED_TOKENS = 150
"""Of the passage whose size the appendix gives: 226 KB in bfloat16."""

CLASSES = 2

PASSAGES = 8
"""Asked at once, one question."""

TIMED_ITEMS, TIMED_ROUNDS, LONG_ROUNDS = 4, 3, 2
"""Of what takes long there are fewer rounds."""


def shape_steps(run: Run) -> list[Step]:
    """Counts, then the clock."""
    clocks = [
        Step(f"{name}, {task}, {count} at once: latency", seconds, partial(latency, name, task, count, rounds, run))
        for name, task, count, rounds, seconds in (
            ("bert-base", "squad", 1, TIMED_ROUNDS, 20.0),
            ("bert-base", "squad", PASSAGES, LONG_ROUNDS, 40.0),
            ("bert-base", "race", 1, LONG_ROUNDS, 40.0),
            ("bert-base", "boolq", 1, TIMED_ROUNDS, 20.0),
            ("bert-base", "mnli", 1, TIMED_ROUNDS, 8.0),
            ("bert-base", "qqp", 1, TIMED_ROUNDS, 8.0),
            ("bert-large", "squad", 1, LONG_ROUNDS, 40.0),
        )
    ]
    return [
        Step("FLOPs and cache sizes in closed form", 1.0, sizes),
        Step("requested memory, counted", 10.0, memory),
        *clocks,
    ]


# -- Counted ----------------------------------------------------------------------------------------------------------


def sizes() -> list[Measurement]:
    """FLOPs at the paper's lengths and depths, and bytes of the cache."""
    return [*_speedups(), *_table3(), *_sweeps(), *_cache_sizes()]


def _speedups() -> Iterator[Measurement]:
    row, shape, k = ShapeRows(DEFORMER), shape_of("bert-base"), PAPER_K["bert-base"]
    for task, lengths in PAPER_LENGTHS.items():
        speedup = flops_speedup(shape, k, lengths.live, lengths.layout.max_seq)
        yield row(TABLE_OF[task], "bert-base", "flops_speedup", speedup, "ratio", setting=at_k(k), task=task)


def _table3() -> Iterator[Measurement]:
    """GFLOPs of the whole models and of DeFormer on SQuAD's lengths."""
    lengths = PAPER_LENGTHS["squad"]
    for name, k in PAPER_K.items():
        shape, row = shape_of(name), ShapeRows(DEFORMER)
        full = full_flops(shape, lengths.layout.max_seq)
        cached = cached_flops(shape, k, lengths.live, lengths.layout.max_seq)
        yield row("table3", name, "flops", float(full), "FLOP", system=BASELINE, task="squad")
        yield row("table3", name, "flops", float(cached), "FLOP", setting=at_k(k), task="squad")
        yield row("sizes", name, "added_parameters", 0.0, "count", setting=at_k(k))


def _sweeps() -> Iterator[Measurement]:
    """Speed-ups of figure 4."""
    lengths = PAPER_LENGTHS["squad"]
    for name, depths in SWEEPS.items():
        for k in depths:
            speedup = flops_speedup(shape_of(name), k, lengths.live, lengths.layout.max_seq)
            at = {"setting": at_k(k), "at": k, "task": "squad"}
            yield ShapeRows(PLAIN)("figure4", name, "flops_speedup", speedup, "ratio", **at)


def _cache_sizes() -> Iterator[Measurement]:
    row = ShapeRows(DEFORMER)
    for name in PAPER_K:
        for precision, width in (("float32", 4), ("bfloat16", 2)):
            size = CACHED_TOKENS * shape_of(name).hidden * width
            note = f"a passage of {CACHED_TOKENS} tokens"
            yield row("cache", name, "passage_bytes", float(size), "byte", setting=precision, note=note)


def memory() -> list[Measurement]:
    """Bytes that one sequence asks for, whole and with a cached segment; the cached states are among them."""
    rows = [m for task in PAPER_LENGTHS for m in _memory_of("bert-base", task)]
    return [*rows, *_memory_of("bert-large", "squad")]


def _memory_of(name: str, task: str) -> Iterator[Measurement]:
    encoder = random_encoder(name, device="meta")
    encoder.set_attention("eager")
    lengths, k, row = PAPER_LENGTHS[task], PAPER_K[name], ShapeRows(DEFORMER)
    full = requested_bytes(partial(_whole, encoder, lengths))
    cached = requested_bytes(partial(_with_cache, encoder, k, lengths))
    table = "table3" if name == "bert-large" else TABLE_OF[task]
    saved = {"setting": at_k(k), "task": task}
    yield row(table, name, "memory_reduction", 1 - cached / full, "fraction", **saved)
    if task == "squad":
        yield row("table3", name, "memory", float(full), "byte", system=BASELINE, task=task)
        yield row("table3", name, "memory", float(cached), "byte", **saved)


@torch.inference_mode()
def _whole(encoder: LayeredEncoder, lengths: Lengths) -> object:
    h, _ = encoder.embed(torch.zeros(1, lengths.layout.max_seq, dtype=torch.long, device="meta"), None)
    for i in range(1, encoder.num_layers + 1):
        h = encoder.layer(i, h, None)
    return h


@torch.inference_mode()
def _with_cache(encoder: LayeredEncoder, k: int, lengths: Lengths) -> object:
    h, _ = encoder.embed(torch.zeros(1, lengths.live, dtype=torch.long, device="meta"), None)
    for i in range(1, k + 1):
        h = encoder.layer(i, h, None)
    cached = torch.zeros(1, lengths.layout.max_seq - lengths.live, encoder.hidden_size, device="meta")
    h = torch.cat([h, cached], dim=1)
    for i in range(k + 1, encoder.num_layers + 1):
        h = encoder.layer(i, h, None)
    return h


# -- The clock --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """A random backbone under DeFormer and whole, with questions, and passages in a cache.

    Attributes:
        arms: the baseline and DeFormer, each on item i.
        speedup: of FLOPs.
    """

    arms: dict[str, Callable[[int], object]]
    speedup: float


def bench(name: str, task: str, count: int, folder: Path, items: int) -> Bench:
    """Random weights and tokens; item i is one example asked of `count` cached texts.

    Args:
        name: of the architecture.
        task: whose lengths.
        count: cached texts asked at once, all of one question.
        folder: where the cache goes.
        items: how many different examples.
    """
    lengths, k, encoder = PAPER_LENGTHS[task], PAPER_K[name], random_encoder(name, seed=0)
    torch.manual_seed(0)
    reads = task == "squad"
    head = SpanHead(encoder.hidden_size) if reads else PooledClassifier(encoder.hidden_size, CLASSES)
    model, whole = DeFormer(encoder, k, head).eval(), DeFormer(encoder, 0, head).eval()
    shape, layout, device = shape_of(name), lengths.layout, torch.device("cpu")
    cached_first = lengths.live == layout.second_slot
    cache = PassageCache.make(folder, About.of(model, layout, token_type=0 if cached_first else 1))
    count *= lengths.sequences
    live, kept = _tokens(shape, items, lengths.live), _tokens(shape, items * count, layout.max_seq - lengths.live)
    keys = encode_passages(model, kept.tolist(), cache, 0, device)
    online = Online(model, cache)
    # RACE's question is merged with each option: as many questions as sequences.
    questions = lengths.sequences

    def asked(i: int) -> Segment:
        return _segment(live[[i] * questions], int(cached_first), layout)

    def together(i: int) -> TwoSegmentBatch:
        texts = _segment(kept[i * count : (i + 1) * count], int(not cached_first), layout)
        question = _segment(live[[i] * count], int(cached_first), layout)
        first, second = (texts, question) if cached_first else (question, texts)
        return TwoSegmentBatch(first, second, torch.zeros(count), torch.arange(count))

    batches = [together(i) for i in range(items)]
    of = [j % questions for j in range(count)]
    arms: dict[str, Callable[[int], object]] = {
        BASELINE: lambda i: whole(batches[i]),
        DEFORMER: lambda i: online(asked(i), of, keys[i * count : (i + 1) * count]),
    }
    return Bench(arms, flops_speedup(shape, k, lengths.live, layout.max_seq))


def _tokens(shape: EncoderShape, count: int, length: int) -> torch.Tensor:
    return torch.randint(5, shape.vocabulary, (count, length), generator=torch.Generator().manual_seed(count + length))


def _segment(ids: torch.Tensor, token_type: int, layout: SegmentLayout) -> Segment:
    return Segment(ids, torch.ones_like(ids), token_type, layout.first_position(token_type))


def timed(
    name: str, task: str, count: int, items: int = TIMED_ITEMS, rounds: int = TIMED_ROUNDS
) -> tuple[PairedTimings, float]:
    """DeFormer against the whole model, and the ratio of their FLOPs."""
    with tempfile.TemporaryDirectory() as folder:
        made = bench(name, task, count, Path(folder) / "cache", items)
        return timed_against_baseline(made.arms, items, rounds=rounds, warmup=1), made.speedup


def latency(name: str, task: str, count: int, rounds: int, run: Run) -> list[Measurement]:
    """Times as fast as the whole model, the cache read from disk; the seconds are kept."""
    timings, flops = timed(name, task, count, rounds=rounds)
    seconds: dict[str, Array] = {
        seconds_name(arm): timings.sample_seconds(arm) for arm in (BASELINE, DEFORMER, CONTROL)
    }
    texts = len(seconds[seconds_name(BASELINE)])
    run.keep(Evidence(timed_shape(name, task, count), 0, "", 0, PAPER_K[name], {TIMED: np.arange(texts), **seconds}))
    row, speedup = ShapeRows(DEFORMER), timings.speedup(DEFORMER)
    how = {"setting": f"{count} at once", "task": task, "note": "cache read from disk", "timed": True}
    milliseconds = [1000 * float(np.median(seconds[seconds_name(arm)])) for arm in (BASELINE, DEFORMER)]
    return [
        row("table4", name, "time_speedup", speedup, "ratio", **how),
        row("table4", name, "share_of_flops_speedup", speedup.over(flops), "fraction", **how),
        row("table4", name, "milliseconds", milliseconds[1], "ms", **how),
        row("table4", name, "milliseconds", milliseconds[0], "ms", **{**how, "system": BASELINE}),
        row("table4", name, "time_speedup", timings.speedup(CONTROL), "ratio", **{**how, "system": CONTROL}),
    ]
