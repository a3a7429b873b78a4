"""Lays published and measured numbers out in one grid, before any markup.

A table becomes panels that fit a page; in a panel, blocks of rows stand above each other under the same
columns (task x metric): what the paper printed, one block a backbone, then what each run measured. Tasks on
both sides come first, so that a reader compares down a column. A number that is not there is None.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from common.errors import UserError
from common.paper import UNVERIFIED, Column, Table
from common.records.measurements import Measurement
from common.records.runs import RunRecord

MAX_COLUMNS = 12
"""Columns of numbers that a page takes."""

RowKey = tuple[str, str]
CellKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A number as shown, on its column's scale, with its spread over seeds or else its 95 % interval."""

    value: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    derived: bool = False
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A row: one system at one setting, with one entry (or None) for each column."""

    system: str
    setting: str
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one origin."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Blocks under shared columns; a column is a task's name and the metric shown under it."""

    columns: tuple[tuple[str, Column], ...]
    blocks: tuple[Block, ...]

    @property
    def task_spans(self) -> list[tuple[str, int]]:
        """Each task with the number of its columns, in order."""
        spans: dict[str, int] = defaultdict(int)
        for task, _ in self.columns:
            spans[task] += 1
        return list(spans.items())

    @property
    def entries(self) -> list[Entry]:
        """Every number in the panel."""
        return [e for block in self.blocks for line in block.lines for e in line.entries if e is not None]


@dataclass(frozen=True)
class _Origin:
    """The numbers of one block: rows, each with its entries by (task in lower case, metric)."""

    title: str
    rows: dict[RowKey, dict[CellKey, Entry]]
    tasks: dict[str, str]


def build_panels(table: Table, runs: Sequence[RunRecord]) -> list[Panel]:
    """Return the table's panels; none where nothing was published and nothing measured.

    Raises:
        UserError: a run holds two numbers for one cell and seed.
    """
    published = list(_published(table))
    measured = [origin for run in runs for origin in _measured(table, run)]
    origins = [o for o in (*published, *measured) if o.rows]
    # Published spellings win: `sst-2` stands under SST-2.
    names = {key: name for o in reversed(origins) for key, name in o.tasks.items()}
    on_paper = list(dict.fromkeys(key for o in published for key in o.tasks))
    ours = list(dict.fromkeys(key for o in measured for key in o.tasks))
    groups = [[key for key in on_paper if key in ours], [key for key in on_paper if key not in ours]]
    for origin in measured:
        placed = {key for group in groups for key in group}
        groups.append([key for key in origin.tasks if key not in placed])
    present = {cell for o in origins for row in o.rows.values() for cell in row}
    panels = []
    for group in groups:
        columns = {key: [m for m in table.metrics if (key, m.metric) in present] for key in group}
        pages = _pages({key: metrics for key, metrics in columns.items() if metrics})
        panels += [_panel([(key, m) for key in keys for m in columns[key]], names, origins) for keys in pages]
    return panels


def _pages(columns: dict[str, list[Column]]) -> Iterator[list[str]]:
    """Cut tasks into pages of at most `MAX_COLUMNS` columns, never inside a task."""
    page: list[str] = []
    width = 0
    for key, metrics in columns.items():
        if page and width + len(metrics) > MAX_COLUMNS:
            yield page
            page, width = [], 0
        page.append(key)
        width += len(metrics)
    if page:
        yield page


def _panel(columns: list[tuple[str, Column]], names: dict[str, str], origins: list[_Origin]) -> Panel:
    blocks = []
    for origin in origins:
        lines = []
        for (system, setting), cells in origin.rows.items():
            entries = tuple(cells.get((key, column.metric)) for key, column in columns)
            if any(entry is not None for entry in entries):
                lines.append(Line(system, setting, entries))
        if lines:
            blocks.append(Block(origin.title, tuple(lines)))
    return Panel(tuple((names[key], column) for key, column in columns), tuple(blocks))


def _published(table: Table) -> Iterator[_Origin]:
    tasks = _spellings(cell.task for cell in table.cells)
    for backbone in dict.fromkeys(cell.backbone for cell in table.cells):
        cells = [cell for cell in table.cells if cell.backbone == backbone]
        rows: dict[RowKey, dict[CellKey, Entry]] = {(cell.system, cell.setting): {} for cell in cells}
        for column in table.metrics:
            # The column's own metric comes last: where a paper prints it in two forms, its own form wins.
            for cell in sorted(cells, key=lambda c: c.metric == column.metric):
                value = column.shown(cell)
                if value is not None:
                    unverified = table.provenance_of(cell) in UNVERIFIED
                    entry = Entry(value, derived=cell.basis == "derived", unverified=unverified)
                    rows[cell.system, cell.setting][cell.task.casefold(), column.metric] = entry
        title = f"published, {backbone}" if backbone else "published"
        yield _Origin(title, {row: numbers for row, numbers in rows.items() if numbers}, tasks)


def _measured(table: Table, run: RunRecord) -> Iterator[_Origin]:
    wanted = {column.metric: column for column in table.metrics}
    measurements = [m for m in run.of(table.source) if m.metric in wanted and table.shows(m.task)]
    for backbone in dict.fromkeys(m.backbone for m in measurements):
        group = [m for m in measurements if m.backbone == backbone]
        cells: dict[tuple[RowKey, CellKey], list[Measurement]] = defaultdict(list)
        for m in group:
            cells[(m.system, m.setting), (m.task.casefold(), m.metric)].append(m)
        rows: dict[RowKey, dict[CellKey, Entry]] = defaultdict(dict)
        for (row, cell), values in cells.items():
            rows[row][cell] = _pooled(values, wanted[cell[1]], run.name)
        yield _Origin(_title(run.name, backbone, group), dict(rows), _spellings(m.task for m in group))


def _spellings(tasks: Iterable[str]) -> dict[str, str]:
    """Return each task's first spelling by its lower case, in order of appearance."""
    spellings: dict[str, str] = {}
    for task in tasks:
        spellings.setdefault(task.casefold(), task)
    return spellings


def _pooled(values: list[Measurement], column: Column, run: str) -> Entry:
    """Return the mean over seeds with its spread, or a single number with its interval."""
    seeds = [m.seed for m in values]
    if len(set(seeds)) < len(seeds):
        m = values[0]
        where = " / ".join(part for part in (m.system, m.setting, m.task, m.metric) if part)
        raise UserError(f"run {run}: {m.experiment} has two numbers for {where}, seed {m.seed}; expected one")
    by_seed = [m for m in values if m.seed is not None]
    scale = column.scale
    if len(by_seed) > 1:
        numbers = [m.value * scale for m in by_seed]
        return Entry(statistics.fmean(numbers), sd=statistics.stdev(numbers))
    only = (by_seed or values)[0]
    if only.ci_low is None or only.ci_high is None:
        return Entry(only.value * scale)
    low, high = sorted((only.ci_low * scale, only.ci_high * scale))
    return Entry(only.value * scale, low=low, high=high)


def _title(run: str, backbone: str, measurements: Iterable[Measurement]) -> str:
    seeds = len({m.seed for m in measurements if m.seed is not None})
    parts = ["measured", f"run {run}", backbone, f"{seeds} seed{'s' if seeds > 1 else ''}" if seeds else ""]
    return ", ".join(part for part in parts if part)
