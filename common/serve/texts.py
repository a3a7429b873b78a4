"""The texts that a saved model is to answer, out of a file or standard input: lines, CSV, TSV or JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import UserError, did_you_mean
from common.serve.model import Text
from common.tasks.own_columns import PAIR_COLUMNS, SINGLE_COLUMNS, field
from common.tasks.reading import COMPRESSIONS, Row, numbered_lines
from common.tasks.row_files import csv_rows, jsonl_rows, tsv_rows

STANDARD_INPUT = Path("/dev/stdin")

LINES = "lines"
FORMATS = (LINES, "csv", "tsv", "jsonl")

Placed = tuple[str, Text]
"""Where a text stands, as messages name it, and the text."""


def format_of(path: Path, asked: str) -> str:
    """The format that was asked for, or that of the file's name; lines where neither says one.

    Raises:
        UserError: no such format.
    """
    if asked and asked not in FORMATS:
        hint = did_you_mean(asked, FORMATS) or "."
        raise UserError(f"unknown format {asked!r}{hint} Formats: {', '.join(FORMATS)}. Type --format csv")
    name = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    ending = name.suffix.removeprefix(".").lower()
    return asked or (ending if ending in FORMATS else LINES)


def read_texts(path: Path, kind: str, columns: Sequence[str], *, pair: bool) -> Iterator[Placed]:
    """The texts of a file, one after the other.

    Args:
        path: plain, .gz or .xz; `STANDARD_INPUT` for that.
        kind: one of `FORMATS`.
        columns: of the text, or of both; none means the usual names (`text`; `text_a`, `text_b`).
        pair: whether two texts are expected each time.

    Raises:
        UserError: it cannot be read, is not UTF-8 or not of its format, or a text is missing.
    """
    if kind == LINES:
        if columns:
            raise UserError("lines of text have no columns: drop --columns, or type --format csv")
        yield from _lines(path, pair=pair)
        return
    rows = {"csv": csv_rows, "jsonl": jsonl_rows}[kind](path) if kind != "tsv" else tsv_rows(path, ())
    names: tuple[str, ...] = ()
    for row in rows:
        names = names or _columns(row, columns, pair=pair)
        texts = [field(row, name) for name in names]
        yield f"{path}:{row.line}", (texts[0], texts[1]) if pair else texts[0]


def _lines(path: Path, *, pair: bool) -> Iterator[Placed]:
    """A line without tabs for each text; two texts are parted by one."""
    for number, line in numbered_lines(path):
        parts = line.split("\t")
        if len(parts) != 1 + pair:
            expected = "two texts with one tab between them" if pair else "one text without tabs"
            raise UserError(
                f"{path}:{number}: expected {expected}, found {len(parts) - 1} tabs. For texts in columns with names "
                "type --format tsv, csv or jsonl"
            )
        yield f"{path}:{number}", (parts[0], parts[1]) if pair else line


def _columns(row: Row, asked: Sequence[str], *, pair: bool) -> tuple[str, ...]:
    """The columns of the texts as the file writes them; names are recognised in any case.

    Raises:
        UserError: they are missing, or several may be meant.
    """
    if asked and len(asked) != 1 + pair:
        raise UserError(
            f"--columns: expected {'two names, e.g. question,answer' if pair else 'one name'}; got {len(asked)}"
        )
    usual = PAIR_COLUMNS if pair else tuple((name,) for name in SINGLE_COLUMNS)
    there = {name.casefold(): name for name in row.fields}
    choices = [tuple(asked)] if asked else usual
    found = [choice for choice in choices if all(name.casefold() in there for name in choice)]
    if len(found) != 1:
        wanted = " or ".join("+".join(choice) for choice in (found or choices))
        what = "several may be the text" if found else "no column of texts"
        raise row.error(
            f"{what}: {wanted}; columns found: {', '.join(row.fields) or 'none'}. Name "
            f"{'both, e.g. --columns question,answer' if pair else 'it, e.g. --columns review'}"
        )
    return tuple(there[name.casefold()] for name in found[0])
