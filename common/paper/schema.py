"""The whole of a paper.yaml, and that what it refers to is there."""

from __future__ import annotations

from pydantic import Field, model_validator

from common.paper.claims import Claim
from common.paper.facts import Citation, Deviation, Erratum, Facts, Hyperparameter
from common.paper.figures import Figure
from common.paper.published import PublishedNumbers
from common.paper.tables import Table
from common.reporting.looks import parse_look


class Paper(Facts):
    """The whole of a paper.yaml.

    Attributes:
        slug: the folder's name; name: as written in prose.
        headline: id of the table shown in the project's summary.
        figure_values: numbers printed inside figures.
        systems: the look of each of its systems in every figure (`blue-circle`, or a role such as `ladder`).
        reference: the system that shows whether a task was learned at all, where it beats the constant answer.
    """

    slug: str
    name: str
    citation: Citation
    hardware: str = ""
    headline: str | None = None
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    figure_values: tuple[PublishedNumbers, ...] = ()
    systems: dict[str, str] = Field(default_factory=dict)
    reference: str = "baseline"
    hyperparameters: tuple[Hyperparameter, ...] = ()
    claims: tuple[Claim, ...] = ()
    errata: tuple[Erratum, ...] = ()
    deviations: tuple[Deviation, ...] = ()

    @model_validator(mode="after")
    def _references_resolve(self) -> Paper:
        _refuse_repeats("tables and figures", [*(t.id for t in self.tables), *(f.id for f in self.figures)])
        _refuse_repeats("claims", [c.id for c in self.claims])
        _refuse_repeats("deviations", [str(d.id) for d in self.deviations])
        numbers = self.numbers
        for figure in self.figures:
            for name in figure.published:
                if name not in numbers:
                    raise ValueError(f"figure {figure.id} draws published {name!r}: no such table or values")
        for look in self.systems.values():
            parse_look(look)
        if self.headline is not None and self.headline not in {t.id for t in self.tables}:
            raise ValueError(f"headline {self.headline!r} is not the id of a table")
        return self

    @property
    def numbers(self) -> dict[str, PublishedNumbers]:
        """Every set of published numbers by its id."""
        return {n.id: n for n in (*self.tables, *self.figure_values)}


def _refuse_repeats(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what}: the id {name!r} is used twice")
