"""Table 5: variants of the distilled student, each a change of the main table's design."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from replications.sparse_distillation.settings import Design

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
