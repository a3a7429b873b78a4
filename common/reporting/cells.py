"""The numbers of a table by where they come from, before they are laid out.

A source is what the paper printed, or what a run measured, with one backbone. Its numbers stand by metric, row and
task. What several seeds measured is one entry, their mean with its spread; or, for the appendix, one entry a seed.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from common.errors import UserError
from common.paper import UNVERIFIED, Published, Table, TableMetric
from common.records.measurements import Measurement
from common.records.runs import RunRecord

DEV_TUNED = "dev-tuned"
"""Part of the name of a setting that was chosen on the dev set on which it is reported."""

Row = tuple[str, ...]
"""What names a row: system and setting, in the appendix also the seed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A number as shown, on its metric's scale.

    Attributes:
        value: the number; of several seeds their mean.
        seeds: how many training seeds stand behind it; 0 where none is involved, None for a published number.
        sd: standard deviation over seeds; None for one seed, and where all seeds gave the same.
        low, high: 95 % interval of one seed's number.
        rounds: the ends are the smallest and the largest of so few rounds, and no interval.
        derived, unverified: marks of a published number.
    """

    value: float
    seeds: int | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int | None = None
    derived: bool = False
    unverified: bool = False


@dataclass(frozen=True)
class Source:
    """The numbers of one origin and backbone.

    Attributes:
        measured: by a run of ours; else published.
        backbone: what the paper or the run used; may be empty.
        numbers: entries by metric, row and task (in lower case); rows in their order.
        tasks: how each task is spelled, by its lower case, in order.
    """

    measured: bool
    backbone: str
    numbers: dict[str, dict[Row, dict[str, Entry]]]
    tasks: dict[str, str]

    def has(self, task: str) -> bool:
        """Whether there is a number for the task."""
        return any(task in row for rows in self.numbers.values() for row in rows.values())

    def only(self, keep: Callable[[Row], bool]) -> Source:
        """Return the source with those rows alone that `keep` takes."""
        numbers = {name: {row: e for row, e in rows.items() if keep(row)} for name, rows in self.numbers.items()}
        return replace(self, numbers=numbers)

    def renamed(self, names: dict[Row, Row]) -> Source:
        """Return the source with rows under the names that `names` gives them."""
        numbers = {name: {names.get(row, row): e for row, e in rows.items()} for name, rows in self.numbers.items()}
        return replace(self, numbers=numbers)


def in_one_row(table: Table, printed: Sequence[Source], ours: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """Return both sides with `same_rows` under one name, where the run has the one setting and not the other."""
    rows = {row for source in ours for named in source.numbers.values() for row in named}
    same = [s for s in table.same_rows if (s.system, s.ours) in rows and (s.system, s.setting) not in rows]
    theirs: dict[Row, Row] = {(s.system, s.setting): (s.system, s.label) for s in same}
    mine: dict[Row, Row] = {(s.system, s.ours): (s.system, s.label) for s in same}
    return [source.renamed(theirs) for source in printed], [source.renamed(mine) for source in ours]


def published(table: Table) -> list[Source]:
    """Return what the paper printed, a source for each backbone."""
    sources = []
    for backbone, cells in _by_backbone(table).items():
        numbers: dict[str, dict[Row, dict[str, Entry]]] = {}
        for metric in table.metrics:
            rows: dict[Row, dict[str, Entry]] = {(cell.system, cell.setting): {} for cell in cells}
            # The metric's own form comes last: where a paper prints it in two forms, its own form wins.
            for cell in sorted(cells, key=lambda c: c.metric == metric.metric):
                value = metric.shown(cell)
                if value is not None:
                    unverified = table.provenance_of(cell) in UNVERIFIED
                    entry = Entry(value, derived=cell.basis == "derived", unverified=unverified)
                    rows[cell.system, cell.setting][cell.task.casefold()] = entry
            numbers[metric.metric] = {row: entries for row, entries in rows.items() if entries}
        sources.append(Source(False, backbone, numbers, _spellings(cell.task for cell in cells)))
    return sources


def _by_backbone(table: Table) -> dict[str, list[Published]]:
    """Return cells by backbone; those that name none stand with the others where no two meet in one place."""
    places = Counter((cell.system, cell.setting, cell.task, cell.metric) for cell in table.cells)
    if max(places.values(), default=0) == 1 and any(not cell.backbone for cell in table.cells):
        return {"": list(table.cells)}
    groups: dict[str, list[Published]] = defaultdict(list)
    for cell in table.cells:
        groups[cell.backbone].append(cell)
    return groups


def measured(table: Table, run: RunRecord, *, by_seed: bool = False) -> list[Source]:
    """Return what a run measured, a source for each backbone; a row is a system and setting.

    With `by_seed` a row is a system, a setting and a seed, and an entry has its interval instead of a spread.

    Raises:
        UserError: the run holds two numbers for one cell and seed.
    """
    metrics = {metric.metric: metric for metric in table.metrics}
    shown = [m for m in run.of(table.source) if m.metric in metrics and table.shows(m.task)]
    sources = []
    for backbone in dict.fromkeys(m.backbone for m in shown):
        group = [m for m in shown if m.backbone == backbone]
        cells: dict[tuple[str, Row, str], list[Measurement]] = defaultdict(list)
        for m in group:
            cells[m.metric, (m.system, m.setting), m.task.casefold()].append(m)
        numbers: dict[str, dict[Row, dict[str, Entry]]] = {name: defaultdict(dict) for name in metrics}
        for (name, row, task), values in cells.items():
            for key, entry in _entries(row, values, metrics[name], by_seed, run.name):
                numbers[name][key][task] = entry
        if by_seed:
            numbers = {name: _together(rows) for name, rows in numbers.items()}
        sources.append(Source(True, backbone, numbers, _spellings(m.task for m in group)))
    return sources


def _together(rows: dict[Row, dict[str, Entry]]) -> dict[Row, dict[str, Entry]]:
    """Return the rows with the seeds of a system and setting one below the other, whichever task had them first."""
    places = {row: place for place, row in enumerate(dict.fromkeys(row[:-1] for row in rows))}
    return {row: rows[row] for row in sorted(rows, key=lambda row: (places[row[:-1]], len(row[-1]), row[-1]))}


def _entries(
    row: Row, values: Sequence[Measurement], metric: TableMetric, by_seed: bool, run: str
) -> list[tuple[Row, Entry]]:
    seeds = [m.seed for m in values]
    if len(set(seeds)) < len(seeds):
        m = values[0]
        where = " / ".join(part for part in (m.system, m.setting, m.task, m.metric) if part)
        raise UserError(f"run {run}: {m.experiment} has two numbers for {where}, seed {m.seed}; expected one")
    # A number of one seed goes before a pooled one.
    used = [m for m in values if m.seed is not None] or list(values)
    if by_seed:
        return [((*row, "" if m.seed is None else str(m.seed)), _with_interval(m, metric.scale)) for m in used]
    return [(row, _mean(used, metric.scale))]


def _mean(values: Sequence[Measurement], scale: float) -> Entry:
    numbers = [m.value * scale for m in values]
    seeds = sum(m.seed is not None for m in values)
    if math.isclose(min(numbers), max(numbers), rel_tol=1e-9):
        return Entry(numbers[0], seeds)
    return Entry(statistics.fmean(numbers), seeds, sd=statistics.stdev(numbers))


def _with_interval(m: Measurement, scale: float) -> Entry:
    seeds = int(m.seed is not None)
    if m.ci_low is None or m.ci_high is None:
        return Entry(m.value * scale, seeds)
    low, high = sorted((m.ci_low * scale, m.ci_high * scale))
    is_range = m.n is not None and f"range of {m.n} rounds" in m.note
    return Entry(m.value * scale, seeds, low=low, high=high, rounds=m.n if is_range else None)


def _spellings(tasks: Iterable[str]) -> dict[str, str]:
    """Return each task's first spelling by its lower case, in order of appearance."""
    spellings: dict[str, str] = {}
    for task in tasks:
        spellings.setdefault(task.casefold(), task)
    return spellings
