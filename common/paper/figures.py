"""How a figure is drawn: which measurements, on which axes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from common.paper.facts import Facts
from common.paper.published import Quantity

GroupBy = Literal["task", "system", "setting", "backbone"]


class Axis(Quantity):
    """A metric, or `at` for the operating point, as an axis; `label` includes the unit, `log` spaces it by powers."""

    label: str
    log: bool = False


class Figure(Facts):
    """A figure: which measurements, on which axes.

    Attributes:
        experiment: whose measurements it shows; the figure's id unless given.
        kind: `line` joins points in the order of x, `bar` groups bars at each x, `scatter` only marks points.
        settings: measurements of these settings alone; of all unless given.
        x, y: the axes; the metric `at` is the operating point itself.
        panel_by: one panel for each value of this field.
        line_by: one line (colour) for each combination of these fields.
        diagonal: draw x = y.
        published: ids of tables or `figure_values` whose numbers are drawn as hollow markers.
        twins: labels of lines that may be one and the same curve (entropy and confidence order the examples of a
            task with two classes alike): drawn once, under all their names, in the panels in which they coincide.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    label: str
    caption: str
    experiment: str = ""
    kind: Literal["line", "bar", "scatter"] = "line"
    settings: tuple[str, ...] = ()
    x: Axis
    y: Axis
    panel_by: GroupBy = "task"
    line_by: tuple[GroupBy, ...] = ("system",)
    diagonal: bool = False
    published: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Name of the experiment that fills the figure."""
        return self.experiment or self.id
