"""Turns measurements into the points of a figure, before any drawing.

Points of one line share its panel and its label. Where x is a metric of its own, the two numbers of a point are
those of the same system, setting, operating point and seed. Points that differ in the seed alone are pooled into
their mean. Where a setting has one number a seed, the setting is the operating point: each seed may have tuned a
threshold of its own for it.

A figure has one kind of band: the standard deviation over seeds where every panel has at least two seeds, otherwise
the 95 % interval over examples (of several seeds: the mean of its ends). What is the same in every seed has no
standard deviation.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from common.errors import UserError
from common.paper import Axis, Figure, PublishedNumbers
from common.records.measurements import Measurement
from common.reporting.looks import LADDER

AT = "at"
"""The metric name that stands for the operating point."""

STATIC_LADDER = "static ladder"
"""The label of truncated backbones where a figure has several."""

PointKey = tuple[str, str, str, str, float | None]
Place = tuple[str, str]
Band = Literal["seeds", "examples"]


@dataclass(frozen=True, slots=True)
class Point:
    """A point on the axes' scales; `low` and `high` bound y where its band is known."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its points in the order of x, under a label; published ones are drawn as hollow markers.

    Attributes:
        system: whose colour and marker it has (of several systems in one line: the first).
        seeds: training seeds behind its points; 0 where none is involved.
        shared: whether every point is the same in all of several seeds.
        band: what the points' `low` and `high` are.
    """

    panel: str
    label: str
    points: tuple[Point, ...]
    published: bool = False
    system: str = ""
    seeds: int = 0
    shared: bool = False
    band: Band | None = None


@dataclass(frozen=True, slots=True)
class _Pooled:
    """The measurements of one point: x (on its axis) and y of each seed."""

    place: Place
    system: str
    pairs: tuple[tuple[float, Measurement], ...]

    @property
    def seeds(self) -> int:
        return len({m.seed for _, m in self.pairs} - {None})

    @property
    def shared(self) -> bool:
        return self.seeds > 1 and len({m.value for _, m in self.pairs}) == 1

    def point(self, figure: Figure, band: Band) -> Point:
        scale = figure.y.scale
        values = [m.value * scale for _, m in self.pairs]
        x, y = statistics.fmean(x for x, _ in self.pairs), statistics.fmean(values)
        if band == "seeds":
            if self.seeds < 2 or self.shared:
                return Point(x, y)
            sd = statistics.stdev(values)
            return Point(x, y, y - sd, y + sd)
        lows = [m.ci_low * scale for _, m in self.pairs if m.ci_low is not None]
        highs = [m.ci_high * scale for _, m in self.pairs if m.ci_high is not None]
        if len(lows) < len(values) or len(highs) < len(values):
            return Point(x, y)
        return Point(x, y, statistics.fmean(lows), statistics.fmean(highs))


def measured_series(figure: Figure, measurements: Iterable[Measurement], run: str) -> list[Series]:
    """Return the figure's lines in order of appearance; none where nothing was measured.

    Raises:
        UserError: the run holds two numbers for one point and seed.
    """
    pooled = _pooled(figure, measurements, run)
    seeds: dict[str, int] = defaultdict(int)
    for one in pooled:
        seeds[one.place[0]] = max(seeds[one.place[0]], one.seeds)
    band: Band = "seeds" if min(seeds.values(), default=0) > 1 else "examples"
    lines: dict[Place, list[_Pooled]] = defaultdict(list)
    for one in pooled:
        lines[one.place].append(one)
    return [_line(figure, place, of, band) for place, of in lines.items()]


def _pooled(figure: Figure, measurements: Iterable[Measurement], run: str) -> list[_Pooled]:
    """Return what each point consists of; a seed without both coordinates is left out."""
    values: dict[PointKey, dict[int | None, dict[str, Measurement]]] = defaultdict(lambda: defaultdict(dict))
    metrics = (figure.x.metric, figure.y.metric)
    shown = [
        m
        for m in measurements
        if m.experiment == figure.source and m.metric in metrics and m.setting in (figure.settings or [m.setting])
    ]
    swept = set() if figure.settings else _swept(shown)
    for m in shown:
        setting = (m.task, m.system, m.setting, m.backbone)
        at = m.at if figure.x.metric == AT or setting in swept else None
        found = values[*setting, at][m.seed]
        if m.metric in found:
            where = " / ".join(part for part in (m.system, m.setting, m.task, m.metric) if part)
            raise UserError(
                f"run {run}: {m.experiment} has two numbers for {where}, seed {m.seed}, at {m.at}; expected one"
            )
        found[m.metric] = m
    # The footer names the backbone where all lines have one. Rungs of the static ladder, where there are several, are
    # one line.
    one_backbone = len({key[3] for key in values}) == 1
    rungs = {key[1] for key in values if LADDER.fullmatch(key[1])}
    ladder = rungs if len(rungs) > 1 else frozenset()
    pooled = []
    for key, by_seed in values.items():
        pairs = []
        for found in by_seed.values():
            y = found.get(figure.y.metric)
            x = _x(figure.x, found, y) if y is not None else None
            if x is not None and y is not None:
                pairs.append((x, y))
        if pairs:
            place = _place(figure, key, name_backbone=not one_backbone, ladder=ladder)
            pooled.append(_Pooled(place, key[1], tuple(pairs)))
    return pooled


def _line(figure: Figure, place: Place, pooled: Sequence[_Pooled], band: Band) -> Series:
    points = sorted((one.point(figure, band) for one in pooled), key=lambda p: p.x)
    has_band = any(point.low is not None for point in points)
    return Series(
        *place,
        tuple(points),
        system=pooled[0].system,
        seeds=max(one.seeds for one in pooled),
        shared=all(one.shared for one in pooled),
        band=band if has_band else None,
    )


def published_series(figure: Figure, numbers: Sequence[PublishedNumbers]) -> list[Series]:
    """Return the published points that have both of the figure's quantities."""
    lines: dict[Place, list[Point]] = defaultdict(list)
    systems: dict[Place, str] = {}
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
                place = _place(figure, key)
                systems.setdefault(place, key[1])
                lines[place].append(Point(both[figure.x.metric], both[figure.y.metric]))
    return [
        Series(*place, tuple(sorted(points, key=lambda p: p.x)), published=True, system=systems[place])
        for place, points in lines.items()
    ]


def _swept(measurements: Iterable[Measurement]) -> set[tuple[str, str, str, str]]:
    """Settings under which a seed has several operating points: (task, system, setting, backbone)."""
    counts = Counter((m.task, m.system, m.setting, m.backbone, m.metric, m.seed) for m in measurements)
    return {key[:4] for key, count in counts.items() if count > 1}


def _place(
    figure: Figure, key: PointKey, *, name_backbone: bool = True, ladder: Collection[str] = frozenset()
) -> Place:
    """Return the panel and the label that a point belongs to; the systems of `ladder` have one label."""
    task, system, setting, backbone, _ = key
    system = STATIC_LADDER if system in ladder else system
    fields = {"task": task, "system": system, "setting": setting, "backbone": backbone}
    panel = fields[figure.panel_by]
    named = [f for f in figure.line_by if f != "backbone" or name_backbone]
    return panel, ", ".join(fields[f] for f in named if fields[f]) or backbone


def _x(axis: Axis, found: dict[str, Measurement], y: Measurement) -> float | None:
    if axis.metric == AT:
        return None if y.at is None else y.at * axis.scale
    return found[axis.metric].value * axis.scale if axis.metric in found else None
