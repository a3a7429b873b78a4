"""What a student is built from, and Table 5's changes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from common.records.measurements import write_json
from replications.sparse_distillation.method import (
    DAN,
    Activation,
    AttentivePooling,
    MaxPooling,
    MeanPooling,
    SumPooling,
)

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({"relu": F.relu, "tanh": torch.tanh})

WEIGHTS, DESIGN = "student.safetensors", "design.json"


@dataclass(frozen=True)
class Design:
    """A DAN to be built: |V| asked for, d_e, and the choices of Table 5.

    `hidden` are the hidden widths (empty: one of width d_e); `initialisation` is `random` or `teacher`, `deviation`
    the standard deviation of the table's first values.
    """

    vocabulary_size: int
    dimension: int
    pooling: str = "mean"
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    dropout: float = 0.1
    initialisation: str = "random"
    deviation: float = 1.0

    def build(self, vocabulary_size: int, outputs: int, *, pair: bool) -> Student:
        """The untrained student over `vocabulary_size` n-grams (the corpus may have fewer than were asked for)."""
        return Student(self, vocabulary_size, outputs, pair=pair)

    def recipe(self) -> dict[str, object]:
        """As JSON, for an artifact's key."""
        return {**asdict(self), "hidden": list(self.hidden)}


class Student(DAN):
    """A DAN that knows its design, so that it can be kept."""

    def __init__(self, design: Design, vocabulary_size: int, outputs: int, *, pair: bool) -> None:
        super().__init__(
            vocabulary_size,
            design.dimension,
            outputs,
            pair=pair,
            hidden=design.hidden or None,
            pooling=_pooling_of(design),
            activation=ACTIVATIONS[design.activation],
            dropout=design.dropout,
            deviation=design.deviation,
        )
        self.design = design

    def save(self, folder: Path) -> None:
        """Write the weights (safetensors) and the design (JSON); `storage.load_student` reads them."""
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / WEIGHTS)
        write_json(folder / DESIGN, self.design.recipe())


def _pooling_of(design: Design) -> nn.Module:
    if design.pooling == "attentive":
        return AttentivePooling(design.dimension)
    return {"mean": MeanPooling, "sum": SumPooling, "max": MaxPooling}[design.pooling]()


# -- Table 5: variants of the distilled student, each a change of the main table's design -----------------------------

Change = Callable[[Design], Design]


def _same(design: Design) -> Design:
    return design


def _pooling(name: str) -> Change:
    return lambda design: replace(design, pooling=name)


def _hidden(*shares: float) -> Change:
    """Hidden layers as shares of d_e: the paper's 1000-256-64 at any width."""
    return lambda design: replace(design, hidden=tuple(max(1, round(share * design.dimension)) for share in shares))


VARIANTS: Mapping[str, Mapping[str, Change]] = MappingProxyType(
    {
        "pooling": {
            "mean": _same,
            "max": _pooling("max"),
            "attentive": _pooling("attentive"),
            "sum": _pooling("sum"),
        },
        "dense layers": {
            "1000-1000-2": _same,
            "1000-1000-256-2": _hidden(1, 0.256),
            "1000-1000-256-64-2": _hidden(1, 0.256, 0.064),
        },
        "activation": {
            "ReLU (paper)": _same,
            "tanh (official code)": lambda design: replace(design, activation="tanh"),
        },
        "embedding initialisation": {
            "random": _same,
            "from the teacher": lambda design: replace(design, initialisation="teacher"),
        },
        "size": {
            "1 table": _same,
            "2 tables (d_e doubled)": lambda design: replace(design, dimension=2 * design.dimension),
        },
    }
)
"""By group and by the paper's own names, which stand for the same shares of our d_e."""
