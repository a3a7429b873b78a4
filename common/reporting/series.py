"""Turns measurements into the points of a figure, before any drawing.

Points of one line share its panel and its label. Where x is a metric of its own, the two numbers of a point are
those of the same system, setting, operating point and seed. Points that differ in the seed alone are pooled:
their mean, with the standard deviation as spread; a single seed's spread is its 95 % interval. In a figure that
names its settings, the setting is the operating point: each seed may have tuned a threshold of its own for it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.errors import UserError
from common.paper import Axis, Figure, PublishedNumbers
from common.records.measurements import Measurement

AT = "at"
"""The metric name that stands for the operating point."""

PointKey = tuple[str, str, str, str, float | None]


@dataclass(frozen=True, slots=True)
class Point:
    """A point on the axes' scales; `low` and `high` bound y where its spread is known."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its points in the order of x, under a label; published ones are drawn as hollow markers."""

    panel: str
    label: str
    points: tuple[Point, ...]
    published: bool = False


def measured_series(figure: Figure, measurements: Iterable[Measurement], run: str) -> list[Series]:
    """Return the figure's lines in order of appearance; none where nothing was measured.

    Raises:
        UserError: the run holds two numbers for one point and seed.
    """
    values: dict[PointKey, dict[int | None, dict[str, Measurement]]] = defaultdict(lambda: defaultdict(dict))
    metrics = (figure.x.metric, figure.y.metric)
    for m in measurements:
        if m.experiment == figure.source and m.metric in metrics and m.setting in (figure.settings or [m.setting]):
            found = values[m.task, m.system, m.setting, m.backbone, _operating_point(figure, m.at)][m.seed]
            if m.metric in found:
                where = " / ".join(part for part in (m.system, m.setting, m.task, m.metric) if part)
                raise UserError(
                    f"run {run}: {m.experiment} has two numbers for {where}, seed {m.seed}, at {m.at}; expected one"
                )
            found[m.metric] = m
    lines: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for key, by_seed in values.items():
        point = _pooled(figure, list(by_seed.values()))
        if point is not None:
            lines[_place(figure, key)].append(point)
    return [Series(panel, label, tuple(sorted(points, key=lambda p: p.x))) for (panel, label), points in lines.items()]


def published_series(figure: Figure, numbers: Sequence[PublishedNumbers]) -> list[Series]:
    """Return the published points that have both of the figure's quantities."""
    lines: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for source in numbers:
        found: dict[PointKey, dict[str, float]] = defaultdict(dict)
        for cell in source.cells:
            key = (cell.task, cell.system, cell.setting, cell.backbone, cell.at)
            for axis in (figure.x, figure.y):
                shown = axis.shown(cell)
                if shown is not None:
                    found[key][axis.metric] = shown
            if figure.x.metric == AT and cell.at is not None:
                found[key][AT] = cell.at * figure.x.scale
        for key, both in found.items():
            if figure.x.metric in both and figure.y.metric in both:
                lines[_place(figure, key)].append(Point(both[figure.x.metric], both[figure.y.metric]))
    return [
        Series(panel, label, tuple(sorted(points, key=lambda p: p.x)), published=True)
        for (panel, label), points in lines.items()
    ]


def _operating_point(figure: Figure, at: float | None) -> float | None:
    return None if figure.settings and figure.x.metric != AT else at


def _place(figure: Figure, key: PointKey) -> tuple[str, str]:
    """Return the panel and the label that a point belongs to."""
    task, system, setting, backbone, _ = key
    fields = {"task": task, "system": system, "setting": setting, "backbone": backbone}
    return fields[figure.panel_by], ", ".join(fields[f] for f in figure.line_by if fields[f])


def _pooled(figure: Figure, by_seed: list[dict[str, Measurement]]) -> Point | None:
    """Return the mean over seeds; None where no seed has both coordinates."""
    pairs: list[tuple[float, Measurement]] = []
    for found in by_seed:
        y = found.get(figure.y.metric)
        x = _x(figure.x, found, y) if y is not None else None
        if x is not None and y is not None:
            pairs.append((x, y))
    if not pairs:
        return None
    scale = figure.y.scale
    mean_x = statistics.fmean(x for x, _ in pairs)
    mean_y = statistics.fmean(m.value * scale for _, m in pairs)
    if len(pairs) > 1:
        sd = statistics.stdev(m.value * scale for _, m in pairs)
        return Point(mean_x, mean_y, mean_y - sd, mean_y + sd)
    only = pairs[0][1]
    if only.ci_low is None or only.ci_high is None:
        return Point(mean_x, mean_y)
    return Point(mean_x, mean_y, only.ci_low * scale, only.ci_high * scale)


def _x(axis: Axis, found: dict[str, Measurement], y: Measurement) -> float | None:
    if axis.metric == AT:
        return None if y.at is None else y.at * axis.scale
    return found[axis.metric].value * axis.scale if axis.metric in found else None
