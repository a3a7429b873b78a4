"""The last screen of a user's run: what came out, beside the record and the paper; where to look; what to try next.

Each row is a system. It has three groups of numbers: yours, the recorded ones of the same seeds, and those that the
paper printed for the same task, system and setting; a group without any number is left out. Yours *agrees* with the
record where it reads alike or lies within the record's 95 % interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from common.paper import Paper, Published, Table, TableMetric
from common.records.measurements import ClaimResult, Measurement
from common.records.runs import RunRecord
from common.reporting.markup import number_text
from common.reporting.scoreboard import measured_text, printed_text
from common.run.progress import duration
from common.timing.quiet import QUIET

NOT_SHOWN = "dev-tuned"
"""Settings that were chosen on the examples that they are scored by belong in an appendix."""

CONTROL = "A/A control"
CONSTANT = "constant answer"
MACRO = "macro"
"""The mean over a run's tasks, and in papers that over theirs."""

CLOSE = 1.0
"""Points that a system may lose and still be close to the baseline."""

TIMES = ("time_speedup", "time_saving", "speedup")
"""Metrics of wall-clock speed."""

TIME = TableMetric(metric="speedup", header="time", unit="x", decimals=2)
"""What is shown of speed where the headline table has none on the clock."""

NAME_WIDTH = 34
NUMBER_WIDTH = 8
NO_NUMBER = "-"

Key = tuple[str, str]
"""A system at a setting."""

Rows = dict[Key, dict[str, "Number"]]
"""Numbers by system and metric."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as shown, on its column's scale, with its interval if it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    def holds(self, other: Number, decimals: int) -> bool | None:
        """Whether `other` reads alike or lies within the interval; None where neither can be said."""
        if number_text(self.value, decimals) == number_text(other.value, decimals):
            return True
        if self.low is None or self.high is None or self.low == self.high:
            return None
        return self.low <= other.value <= self.high


@dataclass(frozen=True)
class _Group:
    """Columns of one origin."""

    name: str
    columns: tuple[TableMetric, ...]
    rows: Rows

    @property
    def widths(self) -> list[int]:
        widths = [max(NUMBER_WIDTH, len(_header(column)) + 2) for column in self.columns]
        return [max(widths[0], len(self.name) + 2 - sum(widths[1:])), *widths[1:]]

    @property
    def head(self) -> str:
        return f"{self.name:>{sum(self.widths)}}"

    @property
    def units(self) -> str:
        return "".join(f"{_header(c):>{w}}" for c, w in zip(self.columns, self.widths, strict=True))

    def cells(self, key: Key) -> str:
        """One system's numbers."""
        row = self.rows.get(key, {})
        texts = [number_text(row[c.metric].value, c.decimals) if c.metric in row else NO_NUMBER for c in self.columns]
        return "".join(f"{text:>{w}}" for text, w in zip(texts, self.widths, strict=True))


def _header(column: TableMetric) -> str:
    return f"{column.brief} {column.unit}".strip()


def ending(paper: Paper, runs: Sequence[tuple[RunRecord, RunRecord | None]], folders: Sequence[Path]) -> str:
    """The whole screen.

    Args:
        paper: the facts.
        runs: each of the user's runs with the record of the same name, if there is one.
        folders: where the user's runs are, as it is to be printed.
    """
    endings = [RunEnding(paper, own, recorded) for own, recorded in runs]
    lines = [line for each in endings for line in each.lines()]
    return "\n".join([*lines, *_next(paper.slug, runs[0][0], folders)]) + "\n"


@dataclass(frozen=True)
class RunEnding:
    """What is said of one run.

    Attributes:
        paper: the facts.
        own: what the user's run left.
        recorded: the record of the same name; None if there is none.
    """

    paper: Paper
    own: RunRecord
    recorded: RunRecord | None

    def lines(self) -> Iterator[str]:
        """The lines, from the title to what is doubtful."""
        yield from self._title()
        yield from self._tasks()
        yield from self._agreeing()
        yield from self._claims()
        yield from self._doubts()

    # -- Numbers ------------------------------------------------------------------------------------------------------

    @property
    def _table(self) -> Table | None:
        return next((t for t in self.paper.tables if t.id == self.paper.headline), None)

    @cached_property
    def _columns(self) -> tuple[TableMetric, ...]:
        """The headline table's metrics; time as well, if it has none and some was measured."""
        columns = self._table.metrics if self._table else ()
        if any(c.metric in TIMES for c in columns):
            return columns
        measured = {m.metric for m in self.own.measurements}
        metric = next((name for name in ("time_speedup", "speedup") if name in measured), None)
        return (*columns, TIME.model_copy(update={"metric": metric})) if metric and columns else columns

    def _of(self, run: RunRecord | None, task: str) -> Rows:
        """A run's numbers on a task by system and column, the mean over the seeds that both runs have.

        Systems without a score, of which the clock alone was asked, are left out.
        """
        found: dict[Key, dict[str, list[Measurement]]] = {}
        source = self._table.source if self._table else ""
        columns = {column.metric: column for column in self._columns}
        for m in run.measurements if run else ():
            at_home = m.experiment == source or (m.metric in TIMES and m.metric in columns)
            wanted = (
                m.metric in columns and m.seed in self._seeds and m.system != CONTROL and NOT_SHOWN not in m.setting
            )
            if m.task == task and at_home and wanted:
                found.setdefault((m.system, m.setting), {}).setdefault(m.metric, []).append(m)
        scored = {key: row for key, row in found.items() if "score" in row or "score" not in columns}
        return {key: {name: _mean(ms, columns[name].scale) for name, ms in row.items()} for key, row in scored.items()}

    @cached_property
    def _seeds(self) -> frozenset[int | None]:
        """The seeds of both runs: another seed is another model. All of them, where they share none."""
        own = {m.seed for m in self.own.measurements}
        recorded = {m.seed for m in self.recorded.measurements} if self.recorded else own
        return frozenset((own & recorded) - {None} or own | recorded) | {None}

    def _published(self, task: str) -> Rows:
        """The paper's numbers on a task, by our settings' names; none of its averages, which are of other tasks."""
        rows: Rows = {}
        ours = {(same.system, same.setting): same.ours for same in (self._table.same_rows if self._table else ())}
        for cell in self._cells(task):
            for column in self._columns:
                value = column.shown(cell)
                for setting in {cell.setting, ours.get((cell.system, cell.setting), cell.setting)}:
                    if value is not None:
                        rows.setdefault((cell.system, setting), {}).setdefault(column.metric, Number(value))
        return rows

    def _cells(self, task: str) -> list[Published]:
        """What was printed on a task with the first backbone that has it."""
        key = task.casefold()
        cells = [c for c in (self._table.cells if self._table else ()) if c.task.casefold() == key != MACRO]
        return [cell for cell in cells if cell.backbone == cells[0].backbone]

    # -- Lines --------------------------------------------------------------------------------------------------------

    def _title(self) -> Iterator[str]:
        about = self.own.environment
        seeds = about.get("seeds") or []
        many = f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}"
        what = "full size, random weights" if about.get("data") == "none" else many
        took = f", {duration(about['seconds'])}" if "seconds" in about else ""
        yield ""
        yield f"{self.paper.name}: your run {self.own.name.partition('@')[0]} ({what}{took})"

    def _tasks(self) -> Iterator[str]:
        source = self._table.source if self._table else ""
        for task in dict.fromkeys(m.task for m in self.own.of(source) if m.task):
            own, recorded = self._of(self.own, task), self._of(self.recorded, task)
            printed = self._cells(task)
            theirs = " ".join(["published", *([printed[0].backbone] if printed else [])]).strip()
            groups = {"yours": own, "recorded": recorded, theirs: self._published(task)}
            shown = [self._group(name, rows, own) for name, rows in groups.items() if own.keys() & rows.keys()]
            yield ""
            yield _row("mean over tasks" if task == MACRO else task, [group.head for group in shown])
            yield _row("", [group.units for group in shown])
            for key, row in own.items():
                agreement = self._agreement(row, recorded.get(key, {}))
                yield f"{_row(' '.join(key).strip(), [group.cells(key) for group in shown])}  {agreement}".rstrip()
            if task != MACRO:
                yield from self._in_words(task, own)
                if not own.keys() & recorded.keys():
                    yield f"  There is no record of {task} to compare with."
                if not own.keys() & groups[theirs].keys():
                    yield f"  The paper prints nothing on {task}."

    def _in_words(self, task: str, own: Rows) -> Iterator[str]:
        """What stays close to the baseline, and how fast it is."""
        baseline = own.get((self.paper.reference, ""), {}).get("score")
        if baseline is None or not self.own.quality_counts:
            return
        speeds = {key: speed for key, row in own.items() if (speed := self._speed(row)) is not None}
        close = {
            key: speed
            for key, speed in speeds.items()
            if own[key]["score"].value >= baseline.value - CLOSE and key[0] not in (self.paper.reference, CONSTANT)
        }
        if not speeds:
            return
        if not close:
            yield f"  In words: nothing timed is within a point of the {self.paper.reference}'s {baseline.value:.1f}."
            return
        best = max(close, key=lambda key: close[key])
        yield (
            f"  In words: within a point of the {self.paper.reference}'s {baseline.value:.1f}, the fastest is "
            f"{' '.join(best).strip()} with {own[best]['score'].value:.1f}, at {close[best]:.2g} times its speed."
        )

    def _speed(self, row: dict[str, Number]) -> float | None:
        """How many times as fast as the baseline on the clock."""
        for column in self._columns:
            if column.metric in TIMES and column.metric in row:
                value = row[column.metric].value / column.scale
                return 1 / (1 - value) if column.metric == "time_saving" else value
        return None

    def _group(self, name: str, rows: Rows, own: Rows) -> _Group:
        columns = tuple(c for c in self._columns if any(c.metric in rows.get(key, {}) for key in own))
        return _Group(name, columns, rows)

    def _agreement(self, own: dict[str, Number], recorded: dict[str, Number]) -> str:
        both = [c for c in self._columns if c.metric in own and c.metric in recorded]
        found = {c.brief: recorded[c.metric].holds(own[c.metric], c.decimals) for c in both}
        differs = [header for header, holds in found.items() if holds is False]
        return f"differs: {', '.join(differs)}" if differs else "agrees" if True in found.values() else ""

    def _agreeing(self) -> Iterator[str]:
        """How many of all numbers that no clock made are as recorded."""
        recorded = _by_name(self.recorded.measurements) if self.recorded else {}
        pairs = [(m, recorded[name]) for name, m in _by_name(self.own.measurements).items() if name in recorded]
        found = [Number(old.value, old.ci_low, old.ci_high).holds(Number(own.value), 3) for own, old in pairs]
        judged = [holds for holds in found if holds is not None]
        if judged:
            yield ""
            yield (
                f"Of all {len(judged)} numbers of this run that can be compared with the record's, times left out, "
                f"{sum(judged)} agree with it."
            )

    def _claims(self) -> Iterator[str]:
        decided = [claim for claim in self.own.claims if claim.verdict != "not run"]
        if not decided:
            return
        printed = {claim.id: printed_text(claim) for claim in self.paper.claims}
        recorded = {claim.id: claim for claim in self.recorded.claims} if self.recorded else {}
        yield ""
        yield "What the paper claims, of what this run can speak to (verdicts on the paper rest on the records alone):"
        for claim in decided:
            yield f"  {claim.statement}"
            old = recorded.get(claim.id)
            theirs = f"; recorded {_claim_text(old)}" if old and old.verdict != "not run" else ""
            yield f"    yours {_claim_text(claim)}{theirs}; printed {printed.get(claim.id, NO_NUMBER)}"

    def _doubts(self) -> Iterator[str]:
        others = (self.own.environment.get("timing") or {}).get("others_load_max", 0.0)
        if others > QUIET:
            yield ""
            yield f"Others kept up to {others:.1f} cores busy while it was timed: trust the scores, not the times."
        if not self.own.quality_counts:
            yield ""
            yield "This scale shows that everything runs; its encoder is not pretrained, and no score says anything."


def _next(slug: str, own: RunRecord, folders: Sequence[Path]) -> Iterator[str]:
    yield ""
    yield "Where to look"
    for folder in folders:
        yield f"  {folder}/  every number, and figures/"
    yield f"  tables/{slug}/  the recorded numbers beside the published ones"
    yield f"  replications/{slug}/README.md  the claims and their verdicts"
    yield "What to try next"
    for command, what in _proposals(slug, own):
        yield f"  {command}  # {what}"


def _proposals(slug: str, own: RunRecord) -> Iterator[tuple[str, str]]:
    if not own.quality_counts:
        yield f"make reproduce PAPER={slug}", "pretrained weights, in minutes"
        return
    if len(own.environment.get("seeds") or []) == 1:
        yield f"make reproduce PAPER={slug} SEEDS=3", "how much the training seed moves"
    yield f"make reproduce PAPER={slug} DATA=files DATA_DIR=data TASKS=mine", "your own texts, see README.md"


def _mean(measurements: Sequence[Measurement], scale: float) -> Number:
    """The mean over seeds, and the mean of the ends of their intervals, if all have one."""
    lows = [m.ci_low for m in measurements if m.ci_low is not None]
    highs = [m.ci_high for m in measurements if m.ci_high is not None]
    whole = len(lows) == len(highs) == len(measurements)
    value = scale * fmean(m.value for m in measurements)
    return Number(value, scale * fmean(lows), scale * fmean(highs)) if whole else Number(value)


def _by_name(measurements: Iterable[Measurement]) -> dict[tuple[object, ...], Measurement]:
    untimed = (m for m in measurements if not m.timed)
    return {(m.experiment, m.system, m.setting, m.task, m.metric, m.seed, m.backbone): m for m in untimed}


def _claim_text(claim: ClaimResult) -> str:
    return f"{measured_text(claim)}, {claim.verdict}"


def _row(name: str, groups: Sequence[str]) -> str:
    return f"  {name:<{NAME_WIDTH}}{'  |'.join(groups)}"
