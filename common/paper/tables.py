"""How a table is shown: its metrics, and which published row stands beside which of ours."""

from __future__ import annotations

from pydantic import Field, model_validator

from common.paper.facts import Facts
from common.paper.published import PublishedNumbers, Quantity


class TableMetric(Quantity):
    """A metric as a table shows it: in a panel (or a row) named `header`, in `unit`, rounded to `decimals`.

    On a terminal, where room is scarce, it is called `short`.
    """

    header: str
    short: str = ""
    unit: str = ""
    decimals: int = Field(default=1, ge=0, le=6)

    @property
    def title(self) -> str:
        """The header as it begins a line, with the unit."""
        title = self.header[:1].upper() + self.header[1:]
        return f"{title} ({self.unit})" if self.unit else title

    @property
    def brief(self) -> str:
        """The name where room is scarce."""
        return self.short or self.header


class SameRow(Facts):
    """A published row and the measured one that belongs beside it, though its setting has another name.

    Patience 6 of 12 layers and 3 of 6, say, or a published GPU and our CPU. The row shows both names.
    """

    system: str
    setting: str = ""
    ours: str

    @property
    def label(self) -> str:
        """The setting as the row shows it."""
        return f"{self.setting}, ours {self.ours}" if self.setting else self.ours


class Table(PublishedNumbers):
    """A table: published cells (none for a table that is ours alone) and how both sides are shown.

    Attributes:
        label, caption: as printed above the table.
        metrics: what it shows, a panel each, in order.
        experiment: whose measurements fill it; the table's id unless given.
        tasks: measurements of these tasks alone; of all unless given.
        same_rows: which settings stand in one row although paper and run name them differently.
    """

    label: str
    caption: str
    metrics: tuple[TableMetric, ...] = Field(min_length=1)
    experiment: str = ""
    tasks: tuple[str, ...] = ()
    same_rows: tuple[SameRow, ...] = ()

    @model_validator(mode="after")
    def _same_rows_are_published(self) -> Table:
        printed = {(cell.system, cell.setting) for cell in self.cells}
        for row in self.same_rows:
            if (row.system, row.setting) not in printed:
                raise ValueError(f"same_rows: no published row {row.system!r} with setting {row.setting!r}")
        return self

    @property
    def source(self) -> str:
        """Name of the experiment that fills the table."""
        return self.experiment or self.id

    def shows(self, task: str) -> bool:
        """Whether measurements of `task` belong to the table, however it is spelled."""
        return not self.tasks or task.casefold() in {name.casefold() for name in self.tasks}
