"""DeeBERT's own architectures at full size, with random weights: sizes, and Figure 3 and 5's time axis."""

from __future__ import annotations

from functools import partial

import torch

from common.costs.memory import peak_memory
from common.early_exit.full_size import FullSize, pooled_head_parameters
from common.early_exit.imposed import TOKENS, plain_classifier, random_batch
from common.early_exit.multi_exit import MultiExit
from common.early_exit.rules import ImposedLayers
from common.early_exit.runtime import run_early_exit
from common.encoders.shapes import find_shape
from common.models.classifier import EncoderClassifier
from common.records.measurements import Measurement
from common.run.replication import Run, Step
from replications.deebert.method import fresh_off_ramps, with_off_ramps
from replications.deebert.names import DEEBERT

BACKBONES = ("bert-base", "bert-large", "roberta-base", "roberta-large")
CLASSES = 2
"""SST-2's and MRPC's."""

SPREAD = {1: 24, 32: 3}
"""How many batches of each size, for exits spread evenly."""


def with_random_off_ramps(plain: EncoderClassifier) -> MultiExit:
    """The plain classifier under DeeBERT."""
    return with_off_ramps(plain, fresh_off_ramps(plain.encoder, CLASSES, seed=0)).eval()


FULL_SIZE = FullSize(
    DEEBERT,
    CLASSES,
    with_random_off_ramps,
    added_parameters=lambda shape: (shape.layers - 1) * pooled_head_parameters(shape, CLASSES),
)


def shape_steps(run: Run) -> list[Step]:
    """Sizes of all four backbones, then the clock on each."""
    return [
        Step("sizes: off-ramps in parameters and FLOPs", 1.0, sizes),
        Step(f"{', '.join(BACKBONES)}: imposed exits at batch 1", 120.0, partial(figure3, run)),
        Step("bert-base: memory", 30.0, memory),
        Step(
            "bert-base: exits spread over all layers",
            60.0,
            lambda: FULL_SIZE.spread("bert-base", SPREAD, run.progress, rounds=2),
        ),
    ]


def sizes() -> list[Measurement]:
    """What the off-ramps add to each backbone, and Figure 5's axis: cost of leaving at each layer."""
    return [*FULL_SIZE.sizes(BACKBONES), *FULL_SIZE.flops_by_exit("figure5", BACKBONES)]


def figure3(run: Run) -> list[Measurement]:
    """Figure 3 at true size; its times are kept for the claim that layers saved predict wall time saved."""
    rows: list[Measurement] = []
    for number, name in enumerate(BACKBONES, 1):
        experiment = FULL_SIZE.imposed_exits(name)
        run.keep(experiment.evidence())
        rows += experiment.measurements("figure3")
        run.progress(number, len(BACKBONES))
    return rows


def memory() -> list[Measurement]:
    """Peak resident memory of one batch of 32 through bert-base, without and with off-ramps, in fresh processes."""
    note = f"above the bare interpreter; batch 32, {TOKENS} tokens, libraries included"
    how = {"timed": True, "note": note}
    return [
        FULL_SIZE.row(
            "sizes", "bert-base", "peak_memory", float(peak_memory(work).increase), "byte", system=system, **how
        )
        for system, work in (("baseline", run_plain), (DEEBERT, run_with_off_ramps))
    ]


def run_plain() -> None:
    """The plain classifier on one batch."""
    with torch.inference_mode():
        plain_classifier("bert-base", CLASSES)(random_batch(32, 30_000, seed=0))


def run_with_off_ramps() -> None:
    """DeeBERT on one batch, nobody leaving before the last layer."""
    layers = torch.full((32,), find_shape("bert-base").layers)
    run_early_exit(FULL_SIZE.bench("bert-base").model, random_batch(32, 30_000, seed=0), ImposedLayers(layers))
