"""PABEE on the paper's own architectures at full size, with random weights: what the exits add, what leaving saves."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from common.costs.flops import EncoderShape
from common.costs.parameters import linear_parameters
from common.early_exit.full_size import FullSize
from common.early_exit.imposed import shape_of
from common.models.classifier import EncoderClassifier
from common.records.measurements import Measurement
from common.run.replication import Run, Step
from replications.pabee.method import PABEE, leaves_after
from replications.pabee.names import PABEE as NAME
from replications.pabee.names import half_patience, patience_setting

BACKBONES = ("albert-base", "bert-base")
CLASSES = 3
"""MNLI's."""

PRINTED = {3: 2.35, 6: 1.57, 9: 1.14}
"""Patience and speed-up as printed in the patience figure, for 12 layers."""

TEXTS = 24
"""Clocked for each printed speed-up."""

SPREAD = {1: 12, 32: 3}
"""How many batches of each size, for exits spread evenly: 12 single texts leave once at every layer."""


def exit_parameters(shape: EncoderShape) -> int:
    """What n-1 more linear classifiers add to the plain classifier, (n-1)(HC + C); the pooler is shared."""
    return (shape.layers - 1) * linear_parameters(shape.hidden, CLASSES)


def with_random_exits(plain: EncoderClassifier) -> PABEE:
    """The plain classifier's encoder under PABEE; each exit pools anew."""
    return PABEE.fresh(plain.encoder, CLASSES, seed=0).eval()


FULL_SIZE = FullSize(NAME, CLASSES, with_random_exits, exit_parameters)


def shape_steps(run: Run) -> list[Step]:
    """Sizes of both backbones, then the clock on each."""
    steps = [Step("sizes: exits in parameters and FLOPs", 1.0, sizes)]
    for name in BACKBONES:
        steps.append(Step(f"{name}: where the time of a full-depth run goes", 12.0, partial(costs, name)))
        steps.append(Step(f"{name}: printed speed-ups in four currencies", 35.0, partial(currencies, name)))
    spread = partial(FULL_SIZE.spread, "bert-base", SPREAD, run.progress)
    return [*steps, Step("bert-base: exits spread over all layers", 70.0, spread)]


def sizes() -> list[Measurement]:
    """What the exits add to each backbone, in parameters, bytes and FLOPs."""
    return FULL_SIZE.sizes(BACKBONES)


def costs(name: str) -> list[Measurement]:
    """Shares of backbone (with one head), further exits and selection in the time of a full-depth run."""
    layers = shape_of(name).layers
    return FULL_SIZE.costs(name, leaves_after(half_patience(layers), layers))


def currencies(name: str) -> list[Measurement]:
    """The printed speed-ups, taken as layer counts, in four currencies."""
    layers = shape_of(name).layers
    plans = {patience_setting(t): imposed_layers(t, TEXTS, layers) for t in PRINTED}
    return FULL_SIZE.currencies(name, plans, {patience_setting(t): t for t in PRINTED})


def imposed_layers(patience: int, count: int, num_layers: int) -> Tensor:
    """(count,) exit layers with about the printed speed-up's mean: some leave at t+1, the others never."""
    mean, first = num_layers / PRINTED[patience], patience + 1
    early = round(count * (num_layers - mean) / (num_layers - first))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(patience))
    return torch.where(order < early, first, num_layers)
