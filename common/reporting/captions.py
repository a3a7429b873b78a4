"""What stands above and below a sheet, in plain text: caption and notes. LaTeX and Markdown share it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from common.paper import Table
from common.reporting.grid import Sheet
from common.reporting.markup import DERIVED_MARK, MISSING, PLUS_MINUS, UNVERIFIED_MARK, seeds_name

MACRO = "macro"
"""Stands as the task of a mean over tasks."""


class Kind(Enum):
    """What a sheet is for; the value stands in its caption."""

    MAIN = ""
    TUNED = "Appendix: settings chosen on the dev set that is reported (dev-tuned)."
    INTERVALS = "Appendix: 95 % intervals, those of each seed."


def caption_text(table: Table, sheet: Sheet, kind: Kind, *, first: bool) -> str:
    """Return the caption after the table's name: what it is, from which run, over how many seeds.

    Args:
        table: the table.
        sheet: one of its sheets.
        kind: of the sheet.
        first: whether it is the first of the table, which alone repeats the whole caption.
    """
    parts = [kind.value] if kind is not Kind.MAIN else [_sentence(table.caption)] if first else []
    printed = {column.backbone for column in sheet.columns if not column.measured} - {""}
    if not sheet.run:
        parts.append(f"Published{_of_one(printed)}, not measured by any recorded run.")
    else:
        parts += [f"Published: {backbone}." for backbone in printed if len(printed) == 1]
        used = {column.backbone for column in sheet.columns if column.measured} - {""}
        parts.append(f"Measured: run {sheet.run}{_of_one(used)}{_seeds_text(sheet, kind)}.")
    return " ".join(parts)


def marks_text(sheets: Iterable[Sheet]) -> str:
    """Return what the marks on the sheets mean, or nothing."""
    sheets = list(sheets)
    entries = [entry for sheet in sheets for line in sheet.lines for entry in line.entries]
    numbers = [entry for entry in entries if entry is not None]
    owns = [_seeds_of_their_own(sheet) for sheet in sheets]
    alike = any(e.sd is not None for e in numbers) and any((e.seeds or 0) > 1 and e.sd is None for e in numbers)
    marks = {
        f"{UNVERIFIED_MARK} not checked against the paper or its authors' release": any(e.unverified for e in numbers),
        f"{DERIVED_MARK} computed from printed numbers, not printed itself": any(e.derived for e in numbers),
        "(k) over k seeds, unlike its column": any(owns),
        f"no {PLUS_MINUS}: one seed, or every seed gave the same": alike,
        "n=k smallest and largest of k rounds, too few for an interval": any(e.rounds is not None for e in numbers),
        f"{MISSING} not published or not measured": any(e is None for e in entries),
        f"{MACRO}: on each side the mean over its own tasks": any(_both_sides(sheet, MACRO) for sheet in sheets),
    }
    text = "; ".join(text for text, occurs in marks.items() if occurs)
    return _sentence(text) if text else ""


def about_text(table: Table) -> str:
    """Return what the published numbers are, or nothing where there are none."""
    return f"Published: {_sentence(table.about)}" if table.cells and table.about else ""


def _seeds_text(sheet: Sheet, kind: Kind) -> str:
    counts = sheet.seed_counts
    if kind is Kind.INTERVALS or not counts - {0}:
        return ""
    mean = f"; mean {PLUS_MINUS} standard deviation over " if any(e.sd is not None for e in sheet.entries) else "; "
    return mean + (seeds_name(*counts) if len(counts) == 1 else "the seeds named over the columns")


def _both_sides(sheet: Sheet, task: str) -> bool:
    """Whether numbers for the task are both published and measured."""
    return len({column.measured for column in sheet.columns if column.task == task}) > 1


def _seeds_of_their_own(sheet: Sheet) -> bool:
    """Whether a number has other seeds than most of its column."""
    return any(
        entry is not None and entry.seeds is not None and entry.seeds != seeds
        for line in sheet.lines
        for entry, seeds in zip(line.entries, sheet.seeds, strict=True)
    )


def _of_one(backbones: set[str]) -> str:
    return f", {next(iter(backbones))}" if len(backbones) == 1 else ""


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "?")) else f"{text}."
