"""How a single number reads, in any markup: rounding, spread, marks, and what stands for a missing one."""

from __future__ import annotations

from collections.abc import Iterable

from common.paper import Column, Table
from common.reporting.grid import Entry, Panel

MISSING = "\N{EM DASH}"
"""Stands where a number is missing; never 0."""

UNVERIFIED_MARK = "\N{DAGGER}"
DERIVED_MARK = "\N{DOUBLE DAGGER}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


def number_text(value: float, decimals: int) -> str:
    """Return a rounded number; what rounds to zero has no sign."""
    return f"{value:z.{decimals}f}"


def entry_text(entry: Entry | None, column: Column) -> str:
    """Return a number with its spread (`± sd` over seeds, or `[low, high]`) and its marks."""
    if entry is None:
        return MISSING
    text = number_text(entry.value, column.decimals)
    if entry.sd is not None:
        text += f" {PLUS_MINUS} {number_text(entry.sd, column.decimals)}"
    elif entry.low is not None and entry.high is not None:
        text += f" [{number_text(entry.low, column.decimals)}, {number_text(entry.high, column.decimals)}]"
    return text + UNVERIFIED_MARK * entry.unverified + DERIVED_MARK * entry.derived


def header_text(column: Column) -> str:
    """Return a column's header with its unit."""
    return f"{column.header} ({column.unit})" if column.unit else column.header


def notes_below(table: Table, panels: Iterable[Panel]) -> list[str]:
    """Return what stands below a table: every mark explained, then what the published numbers are."""
    lines = [line for panel in panels for block in panel.blocks for line in block.lines]
    entries = [entry for line in lines for entry in line.entries]
    numbers = [entry for entry in entries if entry is not None]
    marks = {
        f"{UNVERIFIED_MARK} not checked against the paper or its authors' release": [e.unverified for e in numbers],
        f"{DERIVED_MARK} computed from printed numbers, not printed itself": [e.derived for e in numbers],
        f"{PLUS_MINUS} standard deviation over seeds": [e.sd is not None for e in numbers],
        "[low, high] 95 % interval": [e.low is not None for e in numbers],
        f"{MISSING} not published or not measured": [e is None for e in entries],
    }
    notes = ["; ".join(text for text, occurs in marks.items() if any(occurs))]
    notes.append(f"Published: {table.about}" if table.cells else "")
    return [note if note.endswith(".") else f"{note}." for note in notes if note.strip()]
