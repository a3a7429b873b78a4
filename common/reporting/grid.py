"""Lays a table's numbers out on sheets that fit a page, before any markup.

A sheet is what is printed as one table: what one run measured beside what the paper published, a task's columns next
to each other, a system and setting on each row. A panel of a sheet is one metric; metrics of one or two rows each
become rows of their own. Intervals and settings tuned on dev stand on sheets of an appendix. A number that is not
there is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from common.paper import Table, TableMetric
from common.records.runs import RunRecord
from common.reporting.cells import DEV_TUNED, Entry, Row, Source, in_one_row, measured, published
from common.reporting.markup import entry_text, seeds_name

MAX_COLUMNS = 8
"""Columns of a sheet, those with the names of the rows included."""

MAX_CHARACTERS = 106
"""What a line of text takes at 8 pt across 16 cm, each column with two for the gap."""

MAX_LINES = 46
"""Rows of a sheet, each panel's title included: a page with its caption and notes."""

FOLDED_LINES = 2
"""Panels of at most so many rows each are put together into one."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers: of a task, published or measured, with a backbone."""

    task: str
    measured: bool
    backbone: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its names and one entry (or None) for each column, all of one metric."""

    metric: TableMetric
    labels: Row
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows under a title; the title is empty where the metric is named on the row."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Sheet:
    """What is printed as one table.

    Attributes:
        run: whose measurements it shows; empty where all is published.
        heads: over the columns that name a row: `System`, `Setting`, ...
        columns, panels: the numbers.
    """

    run: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    panels: tuple[Panel, ...]

    @property
    def lines(self) -> list[Line]:
        """Every row."""
        return [line for panel in self.panels for line in panel.lines]

    @property
    def entries(self) -> list[Entry]:
        """Every number."""
        return [e for line in self.lines for e in line.entries if e is not None]

    @cached_property
    def seeds(self) -> tuple[int | None, ...]:
        """For each column how many seeds most of its numbers have; None for a published one."""
        return tuple(_usual_seeds(line.entries[i] for line in self.lines) for i in range(len(self.columns)))

    @property
    def seed_counts(self) -> set[int]:
        """The different counts of seeds over the measured columns."""
        return {seeds for seeds in self.seeds if seeds is not None}

    @property
    def task_spans(self) -> list[tuple[str, int]]:
        """Each task with the number of its columns, in order."""
        return [(task, len(list(columns))) for task, columns in groupby(self.columns, key=lambda c: c.task)]

    def origin(self, index: int) -> str:
        """Return `published` or `measured` over a column; empty where all are the one and their tasks say more."""
        column = self.columns[index]
        if column.task and len({c.measured for c in self.columns}) == 1:
            return ""
        return "measured" if column.measured else "published"

    def detail(self, index: int) -> str:
        """Return what tells a column from others of its origin: backbone and seeds, where they differ."""
        column, seeds = self.columns[index], self.seeds[index]
        backbones = {c.backbone for c in self.columns if c.measured == column.measured}
        parts = [column.backbone] if len(backbones) > 1 else []
        if seeds and len(self.seed_counts) > 1:
            parts.append(seeds_name(seeds))
        return ", ".join(parts)


def main_sheets(table: Table, runs: Sequence[RunRecord]) -> list[Sheet]:
    """Return the table's sheets: what is published and measured on the same tasks, then what is only one of them.

    Raises:
        UserError: a run holds two numbers for one cell and seed.
    """
    printed = published(table)
    beside: list[Sheet] = []
    apart: list[Sheet] = []
    met: set[str] = set()
    for run in runs:
        ours = [source.only(lambda row: DEV_TUNED not in row[1]) for source in measured(table, run)]
        tasks = _tasks(printed, ours)
        shared = {task for task in tasks if any(source.has(task) for source in printed)}
        theirs, mine = in_one_row(table, printed, ours) if shared else (printed, ours)
        (beside if shared else apart).extend(_sheets(table, run.name, tasks, [*theirs, *mine]))
        met |= shared
    rest = [task for task in _tasks([], printed) if task not in met]
    return [*beside, *_sheets(table, "", rest, printed), *apart]


def tuned_sheets(table: Table, runs: Sequence[RunRecord]) -> list[Sheet]:
    """Return the sheets of settings that were tuned on dev; none where a table has no such setting."""
    sheets = []
    for run in runs:
        ours = [source.only(lambda row: DEV_TUNED in row[1]) for source in measured(table, run)]
        sheets += _sheets(table, run.name, _tasks([], ours), ours)
    return sheets


def interval_sheets(table: Table, runs: Sequence[RunRecord]) -> list[Sheet]:
    """Return the sheets with each seed's number and its interval; rows without any interval are left out."""
    sheets = []
    for run in runs:
        ours = [_with_intervals(source) for source in measured(table, run, by_seed=True)]
        sheets += _sheets(table, run.name, _tasks([], ours), ours)
    return sheets


def _usual_seeds(entries: Iterable[Entry | None]) -> int | None:
    counts = Counter(e.seeds for e in entries if e is not None and e.seeds is not None)
    return max(counts, key=lambda n: (counts[n], n)) if counts else None


def _with_intervals(source: Source) -> Source:
    numbers = {
        name: {row: cells for row, cells in rows.items() if any(e.low is not None for e in cells.values())}
        for name, rows in source.numbers.items()
    }
    return replace(source, numbers=numbers)


def _tasks(first: Sequence[Source], wanted: Sequence[Source]) -> list[str]:
    """Return the tasks of the `wanted` sources, those that stand in `first` too before the others."""
    keys = list(dict.fromkeys(key for source in wanted for key in source.tasks if source.has(key)))
    leading = [key for source in first for key in source.tasks if key in keys]
    return list(dict.fromkeys([*leading, *keys]))


def _sheets(table: Table, run: str, tasks: Sequence[str], sources: Sequence[Source]) -> list[Sheet]:
    """Lay tasks out on as many sheets as their columns and rows need."""
    # Published spellings win: `sst-2` stands under SST-2.
    names = {key: name for source in reversed(sources) for key, name in source.tasks.items()}
    groups = [[(source, key) for source in sources if source.has(key)] for key in tasks]
    heads, panels = _labelled(_panels(table, [cell for group in groups for cell in group]))
    whole = Sheet(run, heads, tuple(_column(*cell, names) for group in groups for cell in group), panels)
    sheets = []
    for start, stop in _pages(whole, [len(group) for group in groups]):
        page = [_between(panel, start, stop) for panel in panels]
        parts = _by_height([panel for panel in page if panel.lines])
        sheets += [replace(whole, columns=whole.columns[start:stop], panels=tuple(part)) for part in parts]
    return sheets


def _column(source: Source, key: str, names: dict[str, str]) -> Column:
    return Column(names[key], source.measured, source.backbone)


def _panels(table: Table, cells: Sequence[tuple[Source, str]]) -> list[Panel]:
    """Return a panel for each metric that has a number, over all columns."""
    panels = []
    sources = list({id(source): source for source, _ in cells}.values())
    for metric in table.metrics:
        rows = [source.numbers.get(metric.metric, {}) for source in sources]
        lines = []
        for row in _merged([list(r) for r in rows]):
            entries = tuple(s.numbers.get(metric.metric, {}).get(row, {}).get(key) for s, key in cells)
            if any(entry is not None for entry in entries):
                lines.append(Line(metric, row, entries))
        if lines:
            panels.append(Panel(metric.title, tuple(lines)))
    return panels


def _merged(orders: Sequence[list[Row]]) -> list[Row]:
    """Return every row once, in the order of the first list; what another adds follows what it follows there."""
    merged: list[Row] = []
    for order in orders:
        place = 0
        for row in order:
            if row in merged:
                place = merged.index(row) + 1
            else:
                merged.insert(place, row)
                place += 1
    return merged


def _labelled(panels: Sequence[Panel]) -> tuple[tuple[str, ...], tuple[Panel, ...]]:
    """Return the heads of the columns that name a row, and the panels without names that are empty everywhere."""
    lines = [line for panel in panels for line in panel.lines]
    heads = ("System", "Setting", "Seed")[: max((len(line.labels) for line in lines), default=0)]
    kept = [i for i in range(len(heads)) if any(line.labels[i] for line in lines)]
    fold = len(panels) > 1 and all(len(panel.lines) <= FOLDED_LINES for panel in panels)
    shown = []
    for panel in panels:
        named = []
        for line in panel.lines:
            labels = tuple(line.labels[i] for i in kept)
            named.append(replace(line, labels=(line.metric.title, *labels) if fold else labels))
        shown.append(replace(panel, lines=tuple(named)))
    if fold:
        shown = [Panel("", tuple(line for panel in shown for line in panel.lines))]
    return (("Quantity",) if fold else ()) + tuple(heads[i] for i in kept), tuple(shown)


def _between(panel: Panel, start: int, stop: int) -> Panel:
    """Return the panel's columns from `start` to `stop`, without rows that have no number there."""
    lines = [replace(line, entries=line.entries[start:stop]) for line in panel.lines]
    return replace(panel, lines=tuple(line for line in lines if any(e is not None for e in line.entries)))


def _pages(sheet: Sheet, groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut columns into pages that are neither too many nor too wide, between tasks wherever a task fits a page."""
    widths = [_width(sheet, i) for i in range(len(sheet.columns))]
    labels = sum(max(map(len, names)) + 2 for names in zip(*_names(sheet), strict=True))
    room = MAX_COLUMNS - len(sheet.heads)

    def fits(start: int, stop: int) -> bool:
        return stop - start <= room and labels + sum(widths[start:stop]) <= MAX_CHARACTERS

    start = stop = 0
    for size in groups:
        steps = [size] if fits(stop, stop + size) else [1] * size
        for step in steps:
            if stop > start and not fits(start, stop + step):
                yield start, stop
                start = stop
            stop += step
    if stop > start:
        yield start, stop


def _names(sheet: Sheet) -> list[tuple[str, ...]]:
    return [sheet.heads, *(line.labels for line in sheet.lines)]


def _width(sheet: Sheet, index: int) -> int:
    """Return how many characters a column takes, with the gap."""
    texts = [str(entry_text(line.entries[index], line.metric, sheet.seeds[index])) for line in sheet.lines]
    return max(map(len, (*texts, sheet.origin(index), sheet.detail(index), sheet.columns[index].task))) + 2


def _by_height(panels: Sequence[Panel]) -> Iterator[list[Panel]]:
    """Put panels on sheets that are no longer than a page; a panel that is longer than a page goes on several."""
    page: list[Panel] = []
    height = 0
    for panel in panels:
        for start in range(0, len(panel.lines), MAX_LINES - 1):
            part = replace(panel, lines=panel.lines[start : start + MAX_LINES - 1])
            if page and height + len(part.lines) + 1 > MAX_LINES:
                yield page
                page, height = [], 0
            page.append(part)
            height += len(part.lines) + 1
    if page:
        yield page
