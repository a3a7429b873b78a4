"""What the plot shows: score against speed of every system that has both, from a run's measurements alone.

A source is an experiment of a run: the comparison, or a paper's own table or sweep. Speeds are in four currencies that
are never mixed, each as times as fast as the reference (the baseline); a share that a paper saves is turned into that.
Settings that were chosen on the reported examples stay out, as they do from the main tables.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from common.paper import Figure, Paper, Table
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.cells import DEV_TUNED
from common.reporting.learned import CONSTANT, Learned, learned
from common.reporting.looks import LADDER, ROLES, Look, looks
from common.reporting.series import Series
from common.site.numbers import Number, Reading, pooled

Role = Literal["", "reference", "ladder"]
Key = tuple[str, str, str]
"""Task, system, setting."""

STATIC = "static ladder"
"""What the plot calls first layers that were fine-tuned alone, as the comparison does."""


@dataclass(frozen=True)
class Quantity:
    """An axis.

    Attributes:
        key: in links and in the page's data.
        label: for a choice.
        axis: for the axis; `{reference}` stands for whom it is measured against.
        readings: the metrics that tell it; the first that was measured counts.
    """

    key: str
    label: str
    axis: str
    readings: tuple[Reading, ...]


CURRENCIES = (
    Quantity(
        "latency",
        "latency, one text at a time",
        "times as fast as the {reference}, one text at a time",
        (Reading("time_speedup"), Reading("time_saving", is_saving=True)),
    ),
    Quantity(
        "throughput",
        "throughput, in batches",
        "times the {reference}'s throughput, in batches",
        (Reading("throughput_ratio"),),
    ),
    Quantity(
        "layers",
        "layers executed",
        "the {reference}'s layers over those executed",
        (Reading("layer_speedup"), Reading("layer_saving", is_saving=True)),
    ),
    Quantity(
        "flops",
        "FLOPs",
        "the {reference}'s FLOPs over those spent",
        (Reading("flops_speedup"), Reading("flops_ratio"), Reading("flops_saving", is_saving=True)),
    ),
)
HEIGHTS = (
    Quantity("gained", "points over the baseline", "points over the {reference}", (Reading("score_delta"),)),
    Quantity("score", "score", "score (points)", (Reading("score"),)),
)
KEYS_OF_SPEED = tuple(quantity.key for quantity in CURRENCIES)
KEYS_OF_HEIGHT = tuple(quantity.key for quantity in HEIGHTS)


@dataclass(frozen=True)
class Point:
    """A system: a method at a setting, with its numbers by quantity."""

    setting: str
    numbers: Mapping[str, Number]

    @property
    def has_both(self) -> bool:
        """Whether it can be drawn at all."""
        return any(key in self.numbers for key in KEYS_OF_SPEED) and any(key in self.numbers for key in KEYS_OF_HEIGHT)


@dataclass(frozen=True)
class Line:
    """A method's points."""

    method: str
    role: Role
    look: Look
    points: tuple[Point, ...]


@dataclass(frozen=True)
class TaskPlot:
    """The lines of one task, and where the constant answer lies, by quantity."""

    task: str
    lines: tuple[Line, ...]
    constant: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """An experiment of a run.

    Attributes:
        key: in links.
        group, label: whose it is and what it is, for a choice.
        paper: name of the paper whose published points belong beside it; empty for those of every paper.
        reference: whom speeds and points are measured against.
        note: what a reader must know of the run.
        tasks: that were learned.
        left_out: that were not.
    """

    key: str
    group: str
    label: str
    paper: str
    reference: str
    note: str
    tasks: tuple[TaskPlot, ...]
    left_out: tuple[str, ...] = ()


def paper_sources(paper: Paper, run: RunRecord) -> Iterator[Source]:
    """Every experiment of the run in which something beside the reference has a score and a speed.

    Raises:
        UserError: a saving of everything.
    """
    known = learned(run.measurements, paper.reference)
    for experiment in dict.fromkeys(m.experiment for m in run.measurements):
        tasks = tuple(task_plots(paper, run.of(experiment), known))
        if tasks:
            yield Source(
                key=f"{paper.slug}/{run.name}/{experiment}",
                group=paper.name,
                label=_label(paper, experiment),
                paper=paper.name,
                reference=paper.reference,
                note=f"run {run.name}; {run_note(run)}",
                tasks=tasks,
                left_out=tuple(t for t in known.not_learned if t in {m.task for m in run.of(experiment)}),
            )


def task_plots(
    paper: Paper,
    measurements: Sequence[Measurement],
    known: Learned,
    intervals: Mapping[Key, Number] | None = None,
) -> Iterator[TaskPlot]:
    """The tasks that were learned and have something to draw beside the reference.

    Args:
        paper: its reference and declared looks.
        measurements: of one experiment.
        known: what the run learned.
        intervals: better bands of the points gained, where there are any.
    """
    rows = [m for m in measurements if m.system != CONSTANT and DEV_TUNED not in m.setting]
    several = len({m.backbone for m in rows}) > 1
    points: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for (task, system, backbone, setting), own in _systems(rows).items():
        point = _point(paper, system, setting, own, (intervals or {}).get((task, system, setting)))
        if point.has_both:
            points[task, system, backbone if several else ""].append(point)
    styles = _styles(paper, [system for _, system, _ in points])
    for task in dict.fromkeys(task for task, _, _ in points):
        lines = tuple(
            Line(", ".join(filter(None, (system, backbone))), role_of(paper, system), styles[system], tuple(of))
            for (where, system, backbone), of in points.items()
            if where == task
        )
        if task not in known.not_learned and any(line.role != "reference" for line in lines):
            yield TaskPlot(task, lines, _constant(known, task))


def role_of(paper: Paper, system: str) -> Role:
    """What a system is to the others."""
    if system == paper.reference:
        return "reference"
    is_ladder = system == STATIC or paper.systems.get(system) in ("ladder", ROLES["ladder"])
    return "ladder" if is_ladder else ""


def _systems(rows: Sequence[Measurement]) -> dict[tuple[str, str, str, str], list[Measurement]]:
    """The rows by task, system, backbone and setting; where a setting has several operating points, by these too."""
    together: dict[tuple[str, str, str, str], list[Measurement]] = defaultdict(list)
    for m in rows:
        system, setting = _rung(m)
        together[m.task, system, m.backbone, setting].append(m)
    apart: dict[tuple[str, str, str, str], list[Measurement]] = defaultdict(list)
    for (task, system, backbone, setting), own in together.items():
        is_sweep = max(Counter((m.metric, m.seed) for m in own).values()) > 1
        for m in own:
            name = f"{setting} {m.at:g}".strip() if is_sweep and m.at is not None else setting
            apart[task, system, backbone, name].append(m)
    return apart


def _rung(m: Measurement) -> tuple[str, str]:
    """The system and the setting that a measurement is of; first layers alone are rungs of one ladder."""
    if LADDER.fullmatch(m.system):
        return STATIC, " ".join([m.system.removeprefix("truncated "), m.setting]).strip()
    return m.system, m.setting


def _point(paper: Paper, system: str, setting: str, rows: Sequence[Measurement], gained: Number | None = None) -> Point:
    numbers = _numbers(rows)
    if gained is not None and "gained" in numbers:
        numbers["gained"] = gained
    if system == paper.reference and not setting and "score" in numbers:
        # Against itself the reference is what it is: nobody measures it.
        numbers |= {key: Number(1.0) for key in KEYS_OF_SPEED} | {"gained": Number(0.0)}
    return Point(setting, numbers)


def _numbers(rows: Sequence[Measurement]) -> dict[str, Number]:
    metrics: dict[str, list[Measurement]] = defaultdict(list)
    for m in rows:
        metrics[m.metric].append(m)
    numbers = {}
    for quantity in (*CURRENCIES, *HEIGHTS):
        reading = next((reading for reading in quantity.readings if reading.metric in metrics), None)
        if reading is not None:
            numbers[quantity.key] = pooled(metrics[reading.metric], reading)
    return numbers


def _styles(paper: Paper, systems: Sequence[str]) -> dict[str, Look]:
    declared = {STATIC: "ladder", paper.reference: "baseline", **paper.systems}
    return looks([Series("", system, (), system=system) for system in systems], declared)


def _constant(known: Learned, task: str) -> dict[str, float]:
    places = {quantity.key: known.constant_as(quantity.readings[0].metric, task) for quantity in HEIGHTS}
    return {key: place for key, place in places.items() if place is not None}


def _label(paper: Paper, experiment: str) -> str:
    """What the paper's tables and figures call the experiment."""
    parts: list[Table | Figure] = [*paper.tables, *paper.figures]
    return next((part.label for part in parts if part.source == experiment), experiment)


def run_note(run: RunRecord) -> str:
    """The backbones and the commit of a run, and what makes it less than it seems."""
    backbones = ", ".join(b.name for b in run.facts.backbones)
    parts = [*([backbones] if backbones else []), f"commit {run.commit}"]
    if not run.quality_counts:
        parts.append("an untrained encoder at a toy size: it shows that the code runs, and no more")
    return "; ".join(parts)
