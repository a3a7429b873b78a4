"""Invented evidence, for the tests of every paper's claims: answers that are wrong on a share of dev, and a record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.paper import Paper
from common.records.claims import Cell, Decision
from common.records.facts import Premise
from common.records.measurements import Measurement
from common.records.predictions import Evidence, answers_name, compact
from common.records.runs import RunRecord
from common.records.verdicts import ClaimResult, decide_claims
from common.run.replication import Replication, choose

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


def constant(one: Evidence, name: str, setting: str = "") -> Evidence:
    """The same evidence with a system that answers a constant."""
    return replace(one, arrays={**one.arrays, answers_name(name, setting): np.zeros_like(one.labels)})


def decided(found: object) -> Decision:
    """What a decider found, which must be cells."""
    assert isinstance(found, Decision)
    return found


@dataclass(frozen=True)
class Judge:
    """Gives verdicts on a paper's claims; a machine that nothing is known of counts as quiet."""

    slug: str

    @cached_property
    def replication(self) -> Replication:
        """The paper's folder."""
        (found,) = choose(self.slug)
        return found

    @cached_property
    def paper(self) -> Paper:
        """The facts."""
        return self.replication.paper

    def __call__(self, claim: str, record: RunRecord, *, met: bool = True) -> str:
        """The verdict's word; as if the premise were met, without which strong words are impossible."""
        return self.result(claim, record, met=met).verdict

    def result(self, claim: str, record: RunRecord, *, met: bool = False) -> ClaimResult:
        """All that is said of the claim; with its premise as it stands, unless it counts as met."""
        (one,) = (c for c in self.paper.claims if c.id == claim)
        one = one.model_copy(update={"premise": Premise()}) if met else one
        environment = record.environment or {"timing": {"others_load_max": 0.0}}
        deciders = {claim: self.replication.deciders()[claim]}
        alone = self.paper.model_copy(update={"claims": (one,)})
        (result,) = decide_claims(alone, replace(record, environment=environment), deciders)
        return result
