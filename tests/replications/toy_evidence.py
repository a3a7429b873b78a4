"""Invented evidence, for the tests of every paper's claims: answers that are wrong on a share of dev, and a record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.records.claims import Cell
from common.records.measurements import Measurement
from common.records.predictions import Evidence, compact
from common.records.runs import RunRecord

Array = NDArray[Any]


@dataclass(frozen=True)
class ToyRecord(RunRecord):
    """A record that was never written: what it keeps is given."""

    kept: tuple[Evidence, ...] = ()

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All of it."""
        return self.kept


def record_of(*evidence: Evidence, measurements: Sequence[Measurement] = ()) -> RunRecord:
    """A run that kept this, in the types that a file would have."""
    kept = (replace(e, arrays={name: compact(array) for name, array in e.arrays.items()}) for e in evidence)
    return ToyRecord("mini-files", tuple(measurements), kept=tuple(kept))


def wrong_on(labels: Array, share: float, *, first: float = 0.0) -> Array:
    """Answers to labels 0 and 1 that are wrong on a share of the examples, from the share `first` on.

    Systems that are wrong on the same examples differ for certain; the difference of others has an interval.
    """
    n = len(labels)
    begin, end = round(first * n), round((first + share) * n)
    place = np.arange(n)
    return np.where((place >= begin) & (place < end), 1 - labels, labels)


def values(cells: Sequence[Cell]) -> dict[str, float]:
    """What was measured in each cell, by its name."""
    return {cell.name: cell.effect.value for cell in cells}


def all_right(e: Evidence) -> Evidence:
    """What a run kept, with every answer right: then no claim is passed over because nothing was learned."""
    arrays = {
        name: e[name.split("/")[0] + "/labels"] if name.startswith("test/") else e.labels
        for name in e.arrays
        if name.endswith("/answers")
    }
    return replace(e, arrays={**e.arrays, **arrays})
