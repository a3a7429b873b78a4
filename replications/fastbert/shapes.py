"""FastBERT on the paper's own architecture and on ALBERT-base, at full size with random weights.

Table 1 and the FLOPs model behind every Speedup of the paper are closed forms; what the classifiers add and what
leaving saves is measured as for every exit method, and each printed Speedup is taken for the mean layer it stands for.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from common.costs.flops import EncoderShape
from common.early_exit.full_size import FullSize
from common.early_exit.imposed import TOKENS, shape_of
from common.models.classifier import EncoderClassifier
from common.records.measurements import Measurement
from common.run.replication import Run, Step
from replications.fastbert.flops import PrintedCount, head_flops, head_parameters
from replications.fastbert.method import EveryLayerClassified, ExitClassifier, Students, Teacher, UncertaintyAtMost
from replications.fastbert.names import FASTBERT, TEACHER

BACKBONES = ("bert-base", "albert-base")
CLASSES = 2
"""Book review's."""

PRINTED = {"speed=0.1": 1.60, "speed=0.5": 4.21, "speed=0.8": 7.23}
"""Speedups of Table 2 on Book review, for 12 layers."""

SAMPLES = 24
"""Texts whose imposed exits have a printed mean; clocked one by one and in batches."""

SPREAD = {1: 12, 32: 3}
"""Batch sizes and batches for exits spread evenly: 12 single texts leave once at every layer."""


def with_random_classifiers(plain: EncoderClassifier) -> EveryLayerClassified:
    """The plain classifier's backbone under FastBERT."""
    encoder = plain.encoder
    teacher = Teacher(encoder, ExitClassifier(encoder.hidden_size, CLASSES))
    return EveryLayerClassified(teacher, Students.fresh(encoder, CLASSES, seed=0)).eval()


FULL_SIZE = FullSize(
    FASTBERT,
    CLASSES,
    with_random_classifiers,
    added_parameters=lambda shape: shape.layers * head_parameters(shape.hidden, CLASSES),
    head_flops=lambda shape: head_flops(shape.hidden, CLASSES, TOKENS),
    exits=lambda shape: shape.layers,
)


def shape_steps(run: Run) -> list[Step]:
    """Closed forms for both backbones, then the clock on each."""
    asked = UncertaintyAtMost(0.5)
    steps = [Step("sizes: classifiers in parameters and FLOPs", 1.0, closed_forms)]
    for name in BACKBONES:
        costs = partial(FULL_SIZE.costs, name, asked, SAMPLES)
        steps.append(Step(f"{name}: where the time of a full-depth run goes", 14.0, costs))
        steps.append(Step(f"{name}: printed Speedups in four currencies", 30.0, partial(currencies, name)))
    spread = partial(FULL_SIZE.spread, "bert-base", SPREAD, run.progress)
    return [*steps, Step("bert-base: exits spread over all layers", 75.0, spread)]


def closed_forms() -> list[Measurement]:
    """Table 1, the Speedup of every exit layer, and what the classifiers add."""
    return [*table1(), *exit_speedups(), *sizes()]


def sizes() -> list[Measurement]:
    """What L classifiers make of each backbone, in parameters, bytes and FLOPs."""
    return FULL_SIZE.sizes(BACKBONES)


def table1() -> list[Measurement]:
    """FLOPs of a layer and of a classifier by part, at BERT-base size and 128 tokens."""
    count, row, rows = PrintedCount.of(shape_of("bert-base")), FULL_SIZE.row, []
    for system, parts in (("Transformer", count.layer_parts), ("Classifier", count.classifier_parts)):
        for part, flops in {**parts, "total": sum(parts.values())}.items():
            rows.append(row("table1", "bert-base", "flops", float(flops), "FLOP", system=system, setting=part))
    return rows


def exit_speedups() -> list[Measurement]:
    """The paper's count and Speedup of leaving after 1..12 layers: the ladder that its numbers stand on."""
    count, row, rows = PrintedCount.of(shape_of("bert-base")), FULL_SIZE.row, []
    for layers in range(1, count.layers + 1):
        how = {"setting": f"{layers} layers", "at": layers}
        rows.append(row("flops-model", "bert-base", "flops", count.leaving_after(layers), "FLOP", **how))
        rows.append(row("flops-model", "bert-base", "printed_speedup", count.speedup(layers), "ratio", **how))
    baseline = float(count.baseline)
    return [*rows, row("flops-model", "bert-base", "flops", baseline, "FLOP", system=TEACHER, setting="12 layers")]


def currencies(name: str) -> list[Measurement]:
    """Three printed Speedups, taken for the mean layers that they stand for, in four currencies and the paper's own."""
    shape = shape_of(name)
    plans = {setting: imposed_layers(printed, shape) for setting, printed in PRINTED.items()}
    count, rows = PrintedCount.of(shape), FULL_SIZE.currencies(name, plans, PRINTED)
    for setting, plan in plans.items():
        speedup = count.speedup(plan.double().mean().item())
        how = {"setting": setting, "at": PRINTED[setting], "note": f"imposed exits, {TOKENS} tokens"}
        rows.append(FULL_SIZE.row("currencies", name, "printed_count_speedup", speedup, "ratio", **how))
    return rows


def imposed_layers(printed: float, shape: EncoderShape) -> Tensor:
    """(SAMPLES,) exit layers with about a printed Speedup's mean: some leave at layer 1, the others never."""
    count = PrintedCount.of(shape)
    mean = count.baseline / (printed * (count.layer + count.classifier))
    early = round(SAMPLES * (shape.layers - mean) / (shape.layers - 1))
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))
    return torch.where(order < early, 1, shape.layers)
