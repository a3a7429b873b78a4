"""BERT-large, the paper's backbone, and BERT-base under RightTool at full size, with random weights."""

from __future__ import annotations

from functools import partial

from common.costs.flops import EncoderShape, pooler_flops
from common.costs.parameters import classifier_parameters, linear_parameters
from common.early_exit.full_size import FullSize
from common.early_exit.imposed import shape_of
from common.models.classifier import EncoderClassifier
from common.records.measurements import Measurement
from common.run.replication import Run, Step
from replications.right_tool.contender import added_flops
from replications.right_tool.method import RightTool, classifier_layers
from replications.right_tool.names import RIGHT_TOOL

BACKBONES = ("bert-large", "bert-base")
CLASSES = 2
"""IMDB's and SST's."""

OTHER_CLASSES = (3, 4)
"""MNLI's and SNLI's; AG's."""

SPREAD = {"bert-large": {1: 24}, "bert-base": {1: 24, 32: 3}}
"""How many batches of each size, for exits spread evenly; BERT-large as in the paper, one by one."""


def added_parameters(shape: EncoderShape, classes: int = CLASSES) -> int:
    """Of all classifiers and their mixes, the last one's too: sum over j of (H + 1) C + l_j."""
    depths = classifier_layers(shape.layers)
    return len(depths) * linear_parameters(shape.hidden, classes) + sum(depths)


def with_random_classifiers(plain: EncoderClassifier) -> RightTool:
    """The plain classifier's encoder under RightTool."""
    return RightTool.fresh(plain.encoder, CLASSES, seed=0).eval()


def further_flops(shape: EncoderShape) -> int:
    """FLOPs beside the encoder of who leaves last, but for the last pooler, which the plain classifier has too."""
    return int(added_flops(shape, CLASSES).sum()) - pooler_flops(shape)


FULL_SIZE = FullSize(
    RIGHT_TOOL, CLASSES, with_random_classifiers, added_parameters, head_flops=further_flops, exits=lambda shape: 1
)
"""What is added is counted as one."""


def shape_steps(run: Run) -> list[Step]:
    """Sizes, then the clock."""
    spread = [
        Step(
            f"{name}: exits spread over all layers",
            60.0,
            partial(FULL_SIZE.spread, name, batches, run.progress, rounds=2),
        )
        for name, batches in SPREAD.items()
    ]
    return [Step("sizes: classifiers and mixes in parameters and FLOPs", 1.0, sizes), *spread]


def sizes() -> list[Measurement]:
    """What is added to each backbone, for each of the paper's numbers of classes."""
    rows = FULL_SIZE.sizes(BACKBONES)
    for name in BACKBONES:
        shape = shape_of(name)
        for classes in OTHER_CLASSES:
            added, how = added_parameters(shape, classes), {"setting": f"{classes} classes"}
            share = added / classifier_parameters(shape, classes)
            rows.append(FULL_SIZE.row("sizes", name, "exit_parameters", float(added), "count", **how))
            rows.append(FULL_SIZE.row("sizes", name, "exit_parameter_share", share, "fraction", **how))
    return rows
