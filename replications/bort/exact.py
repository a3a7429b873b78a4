"""The search at full size on parameters and inference cost alone, exactly: what the error surrogate has to make good.

With one error for all candidates the W-coefficient orders them by size and cost. By how much a larger candidate's error
must be below the smallest one's to win, follows from closed forms; no training can change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from common.records.measurements import Measurement
from common.rows import ShapeRows
from replications.bort.method import (
    BORT,
    ROBERTA_LARGE,
    SPACE,
    Architecture,
    closed_form,
    fptas,
    largest,
    w_coefficient,
)
from replications.bort.names import BORT as BORT_NAME
from replications.bort.names import SEARCH

ROBERTA, OWN = "T: RoBERTa-large", "T: largest candidate"

MAXIMUM_POINTS: Mapping[str, Architecture] = {ROBERTA: ROBERTA_LARGE, OWN: largest(SPACE.candidates)}
"""What the maximum point may be: the model that Bort was extracted from, or the largest of the set itself."""


def size_factor(architecture: Architecture, maximum: Architecture) -> float:
    """W at an error of 1: the share by which it is smaller times the share by which it is cheaper than T."""
    return w_coefficient(closed_form(maximum), closed_form(architecture), 1.0)


def exact_rows() -> Iterator[Measurement]:
    """Who wins at equal errors, where Bort stands, and what its error would have to be."""
    row = ShapeRows(SEARCH)
    for name, maximum in MAXIMUM_POINTS.items():
        found = fptas(SPACE.candidates, ("equal errors",), lambda xi, theta: 1.0, maximum=maximum)
        winner = found.winner.architecture
        how = {"setting": name, "note": f"{len(found.tried)} candidates, errors alike"}
        for architecture in (winner, BORT):
            who = f"{BORT_NAME}, {architecture.name}" if architecture == BORT else architecture.name
            factor, place = size_factor(architecture, maximum), found.rank_of(architecture)
            assert place is not None, "every candidate is tried"
            yield row("search-exact", "", "size_factor", factor, "ratio", system=who, **how)
            yield row("search-exact", "", "rank", float(place), "count", system=who, **how)
            needed = factor / size_factor(winner, maximum)
            yield row("search-exact", "", "error_needed", needed, "ratio", system=who, **how)
