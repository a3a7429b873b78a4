"""Published numbers, each in tidy form and with where it was read, and the scale on which they are shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from common.paper.facts import Facts, Provenance


class Published(Facts):
    """One published number, in tidy form.

    Attributes:
        backbone, system, setting, task, metric, value, unit: as in `common.records.measurements.Measurement`.
        at: the operating point as a number (a threshold, a layer).
        basis: `printed` in the source, or `derived` from printed numbers by arithmetic.
        provenance: where it differs from that of the whole table.
        note: anything that a reader of this one number must know.
    """

    backbone: str = ""
    system: str
    setting: str = ""
    task: str = ""
    metric: str
    value: float
    unit: str
    at: float | None = None
    basis: Literal["printed", "derived"] = "printed"
    provenance: Provenance | None = None
    note: str = ""


class PublishedNumbers(Facts):
    """Published numbers with where they were read: a table's cells, or values printed in a figure."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    about: str = ""
    cells: tuple[Published, ...] = ()
    provenance: Provenance | None = None
    source_note: str = ""

    @model_validator(mode="after")
    def _cells_are_sound(self) -> PublishedNumbers:
        if self.provenance is None and any(cell.provenance is None for cell in self.cells):
            raise ValueError("published cells need a provenance, on the table or on each cell")
        seen = set()
        for cell in self.cells:
            key = (cell.backbone, cell.system, cell.setting, cell.task, cell.metric, cell.at)
            if key in seen:
                raise ValueError(f"{self.id}: two cells for {' / '.join(str(k) for k in key if k)}")
            seen.add(key)
        return self

    def provenance_of(self, cell: Published) -> Provenance | None:
        """Return the cell's own provenance, else that of the whole table."""
        return cell.provenance or self.provenance


class PublishedAs(Facts):
    """The paper prints a quantity as another metric: ours = `factor` x theirs (e.g. a change: -1)."""

    metric: str
    factor: float


class Quantity(Facts):
    """A metric as it is shown: the number times `scale` (100 shows a fraction as a percentage)."""

    metric: str
    scale: float = 1.0
    published_as: tuple[PublishedAs, ...] = ()

    def shown(self, cell: Published) -> float | None:
        """Return a published cell's number on this quantity's scale; None if it is another quantity."""
        factors = {self.metric: 1.0} | {p.metric: p.factor for p in self.published_as}
        # A product of -1 and 0 is -0.0, which would print as "-0".
        return cell.value * factors[cell.metric] * self.scale + 0.0 if cell.metric in factors else None
