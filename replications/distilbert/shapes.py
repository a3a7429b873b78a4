"""Table 3 at full size with random weights: parameters, FLOPs, time and memory of BERT-base and DistilBERT.

DistilBERT is transformers' own module here, without segments and with its own head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from common.costs.flops import EncoderShape, classifier_flops
from common.costs.memory import peak_memory
from common.costs.parameters import classifier_parameters, encoder_parameters
from common.early_exit.clock import BASELINE
from common.early_exit.imposed import plain_classifier, timed_against_baseline
from common.encoders.shapes import find_shape
from common.records.measurements import Measurement
from common.records.predictions import TIMED, Array, Evidence, seconds_name
from common.rows import ShapeRows
from common.run.replication import Run, Step
from common.timing.paired import CONTROL, PairedTimings
from common.training.batches import Batch
from replications.distilbert.names import DISTILBERT

BERT = "bert-base"
CLASSES = 2

LENGTHS = (32, 128)
"""Tokens: about what a pair of STS-B has, and what GLUE is cut to."""

SIZES = {1: 16, 32: 2}
"""How many batches of each size are timed."""

MEBIBYTE = 2**20

_row = ShapeRows(DISTILBERT)


def shapes() -> dict[str, EncoderShape]:
    """Both architectures."""
    whole = EncoderShape.from_config(find_shape(BERT).config())
    return {"baseline": whole, DISTILBERT: EncoderShape.from_config(DistilBertConfig())}


def distilbert() -> DistilBertForSequenceClassification:
    """Transformers' own, random weights, in evaluation mode."""
    torch.manual_seed(0)
    return DistilBertForSequenceClassification(DistilBertConfig(num_labels=CLASSES)).eval()


def shape_steps(run: Run) -> list[Step]:
    """Sizes, then the clock, then memory."""
    clock = [
        Step(f"{BERT} and DistilBERT: batches of {size}, {length} tokens", 30.0, partial(timed, run, size, length))
        for size in SIZES
        for length in LENGTHS
    ]
    sizes_step = Step("sizes: parameters and FLOPs", 1.0, sizes)
    return [sizes_step, *clock, Step("peak memory of a batch of 32", 20.0, memory)]


def sizes() -> list[Measurement]:
    """Parameters of encoders and classifiers, and FLOPs of a text, in closed form."""
    rows = []
    for name, shape in shapes().items():
        how = {"system": name}
        rows += [
            _row("table3", BERT, "encoder_parameters", float(encoder_parameters(shape)), "count", **how),
            _row("table3", BERT, "classifier_parameters", float(classifier_parameters(shape, CLASSES)), "count", **how),
        ]
        for length in LENGTHS:
            flops, at = float(classifier_flops(shape, length, CLASSES)), {"setting": f"{length} tokens", "at": length}
            rows.append(_row("table3", BERT, "flops", flops, "FLOP", **how, **at))
    return rows


# -- The clock --------------------------------------------------------------------------------------------------------


def setting_name(size: int, length: int) -> str:
    """How a batch size and a length are shown."""
    return f"batch {size}, {length} tokens"


def timed(run: Run, size: int, length: int) -> list[Measurement]:
    """Seconds of DistilBERT relative to BERT-base's on the same random texts, interleaved."""
    setting = setting_name(size, length)
    timings = timings_of(plain_classifier(BERT, CLASSES), distilbert(), size, length)
    run.keep(evidence_of(timings, setting))
    how = {"setting": setting, "at": size, "timed": True}
    return [
        _row("table3", BERT, "time_ratio", 1.0, "ratio", system="baseline", note="by definition", **how),
        _row("table3", BERT, "time_ratio", timings.ratio(DISTILBERT), "ratio", **how),
        _row("table3", BERT, "time_speedup", timings.speedup(DISTILBERT), "ratio", **how),
        _row("table3", BERT, "time_ratio", timings.ratio(CONTROL), "ratio", system=CONTROL, **how),
    ]


def timings_of(
    bert: Callable[[Batch], Tensor], student: DistilBertForSequenceClassification, size: int, length: int
) -> PairedTimings:
    """Both on the same batches."""
    batches = [random_texts(size, length, seed) for seed in range(SIZES.get(size, 4))]
    arms: dict[str, Callable[[int], object]] = {
        BASELINE: lambda i: bert(batches[i]),
        DISTILBERT: lambda i: student(input_ids=batches[i].input_ids, attention_mask=batches[i].attention_mask).logits,
    }
    return timed_against_baseline(arms, len(batches))


def evidence_of(timings: PairedTimings, setting: str) -> Evidence:
    """Seconds of both, batch by batch."""
    arrays: dict[str, Array] = {TIMED: np.arange(len(timings.sample_seconds(BASELINE)))}
    for name, arm in (("baseline", BASELINE), (DISTILBERT, DISTILBERT), (CONTROL, CONTROL)):
        arrays[seconds_name(name)] = timings.sample_seconds(arm)
    return Evidence(f"{BERT}, {setting}", 0, "", 0, shapes()["baseline"].layers, arrays)


def random_texts(size: int, length: int, seed: int) -> Batch:
    """`size` texts of `length` random tokens, nothing padded."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 30_000, (size, length), generator=generator)
    return Batch(ids, torch.ones_like(ids), None, torch.zeros(size, dtype=torch.long), torch.arange(size))


# -- Memory -----------------------------------------------------------------------------------------------------------


def memory() -> list[Measurement]:
    """What a fresh process adds at its peak when it loads and runs each, a batch of 32 texts of 128 tokens."""
    how = {"timed": True, "note": "batch 32, 128 tokens, float32; a fresh process"}
    rows = []
    for name, run_once in (("baseline", run_bert), (DISTILBERT, run_distilbert)):
        added = peak_memory(run_once).increase / MEBIBYTE
        rows.append(_row("table3", BERT, "peak_memory", added, "MiB", system=name, **how))
    return rows


def run_bert() -> None:
    """One pass of BERT-base."""
    with torch.inference_mode():
        plain_classifier(BERT, CLASSES)(random_texts(32, 128, 0))


def run_distilbert() -> None:
    """One pass of DistilBERT."""
    batch = random_texts(32, 128, 0)
    with torch.inference_mode():
        distilbert()(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
