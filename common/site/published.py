"""Points that the papers printed: a speed and a score of one system, as paper.yaml relates them to our quantities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from common.paper import Paper, Published
from common.paper.published import Quantity as Shown
from common.site.numbers import Number
from common.site.tradeoff import CURRENCIES, HEIGHTS, KEYS_OF_HEIGHT, KEYS_OF_SPEED

Place = tuple[str, str, str, str, float | None]
"""Task, backbone, system, setting, operating point."""


@dataclass(frozen=True)
class Printed:
    """A system as a paper printed it; its gain is the difference of two printed scores where it is not printed."""

    paper: str
    system: str
    setting: str
    task: str
    backbone: str
    numbers: Mapping[str, Number]


def printed_points(paper: Paper) -> list[Printed]:
    """Every printed system with a speed and a score, each once however often it is printed."""
    found: dict[Place, dict[str, Number]] = defaultdict(dict)
    for cell, metric, value in _readings(paper):
        place = (cell.task, cell.backbone, cell.system, cell.setting, cell.at)
        key, speed = _quantity(metric, value)
        found[place].setdefault(key, Number(speed))
    points = []
    for (task, backbone, system, setting, at), numbers in found.items():
        full = found.get((task, backbone, paper.reference, "", None), {}).get("score")
        if full is not None and "score" in numbers:
            numbers.setdefault("gained", Number(numbers["score"].value - full.value))
        drawn = any(key in numbers for key in KEYS_OF_SPEED) and any(key in numbers for key in KEYS_OF_HEIGHT)
        if drawn and system != paper.reference:
            name = setting or ("" if at is None else f"{at:g}")
            points.append(Printed(paper.name, system, name, task, backbone, numbers))
    return points


def _readings(paper: Paper) -> Iterator[tuple[Published, str, float]]:
    """Every printed number that is one of our metrics, or is shown as one by a table or a figure."""
    known = {reading.metric for quantity in (*CURRENCIES, *HEIGHTS) for reading in quantity.readings}
    shown: dict[str, list[Shown]] = {table.id: list(table.metrics) for table in paper.tables}
    for figure in paper.figures:
        for name in figure.published:
            shown.setdefault(name, []).extend((figure.x, figure.y))
    for name, quantities in shown.items():
        for cell in paper.numbers[name].cells:
            for quantity in quantities:
                value = quantity.shown(cell) if quantity.metric in known else None
                if value is not None:
                    yield cell, quantity.metric, value / quantity.scale


def _quantity(metric: str, value: float) -> tuple[str, float]:
    return next(
        (quantity.key, reading.of(value))
        for quantity in (*CURRENCIES, *HEIGHTS)
        for reading in quantity.readings
        if reading.metric == metric
    )
