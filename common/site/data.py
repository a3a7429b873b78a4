"""The plot's data as JSON inside the page: a browser lets no page read a file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from common.reporting.looks import COLOURS
from common.site.published import Printed
from common.site.tradeoff import CURRENCIES, HEIGHTS, Line, Point, Quantity, Source

NAME_OF_COLOUR = {value: name for name, value in COLOURS.items()}


def plot_json(sources: Sequence[Source], printed: Iterable[Printed]) -> Markup:
    """Everything the plot can show, safe between the tags of a script."""
    content = {
        "currencies": [_quantity(q) for q in CURRENCIES],
        "heights": [_quantity(q) for q in HEIGHTS],
        "sources": [_source(source) for source in sources],
        "printed": [_printed(point) for point in printed],
    }
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # A script ends at the first `</script`, whatever the JSON means; an escaped `<` means the same.
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _quantity(quantity: Quantity) -> dict[str, str]:
    return {"key": quantity.key, "label": quantity.label, "axis": quantity.axis}


def _source(source: Source) -> dict[str, Any]:
    return {
        "key": source.key,
        "group": source.group,
        "label": source.label,
        "paper": source.paper,
        "reference": source.reference,
        "note": source.note,
        "leftOut": list(source.left_out),
        "tasks": [
            {"name": plot.task, "constant": dict(plot.constant), "lines": [_line(line) for line in plot.lines]}
            for plot in source.tasks
        ],
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "method": line.method,
        "role": line.role,
        "colour": NAME_OF_COLOUR[line.look.colour],
        "marker": line.look.marker,
        "points": [_point(point) for point in line.points],
    }


def _point(point: Point) -> dict[str, Any]:
    return {"setting": point.setting, **{key: number.plain() for key, number in point.numbers.items()}}


def _printed(point: Printed) -> dict[str, Any]:
    fields = {name: getattr(point, name) for name in ("paper", "system", "setting", "task", "backbone")}
    return {**fields, **{key: number.plain() for key, number in point.numbers.items()}}
