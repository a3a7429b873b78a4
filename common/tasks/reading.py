"""Rows out of plain or compressed text files, one at a time, with errors that name the file and the line.

Everything a user may get wrong in a data file surfaces here as a `UserError`: a missing or empty file, a broken
archive, bytes that are not UTF-8, a missing column, a row with too many or too few fields.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from common.errors import UserError

COMPRESSIONS = ("", ".gz", ".xz")


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its place in the file and its fields by column name."""

    path: Path
    line: int
    fields: Mapping[str, str]

    def error(self, message: str) -> UserError:
        """Make an error that names the file and the line."""
        return UserError(f"{self.path}:{self.line}: {message}")

    def class_index(self, column: str, values: Sequence[str]) -> int:
        """Return the index in `values` of this row's label.

        Raises:
            UserError: the label is none of them.
        """
        found = self.fields[column]
        if found not in values:
            raise self.error(f"label '{found}' in column '{column}' is none of: {', '.join(values)}.")
        return values.index(found)

    def number(self, column: str) -> float:
        """Return this row's target value.

        Raises:
            UserError: it is not a finite number.
        """
        text = self.fields[column]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if value - value != 0.0:
            raise self.error(f"expected a number in column '{column}', found '{text}'.")
        return value


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of `names` in `folder`, each tried plain, then as .gz, then as .xz."""
    candidates = (folder / f"{name}{suffix}" for name in names for suffix in COMPRESSIONS)
    return next((path for path in candidates if path.is_file()), None)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text without its line end); a byte order mark is dropped.

    Raises:
        UserError: the file cannot be read, is a broken archive or is not UTF-8.
    """
    number = 0
    try:
        with _open(path) as stream:
            for number, raw in enumerate(stream, 1):
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(
            f"{path}:{number}: byte 0x{byte:02x} at position {error.start + 1} of the line is not UTF-8. "
            "Convert the file first, e.g.: iconv -f latin1 -t utf-8 IN > OUT"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{path}: broken archive after line {number} ({error}). Download it again or unpack it by hand."
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from error


def _open(path: Path) -> IO[bytes] | gzip.GzipFile | lzma.LZMAFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def tsv_rows(path: Path, needed: Sequence[str], header: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a tab-separated file; quotation marks are text like any other (GLUE's convention).

    Args:
        path: the file.
        needed: columns that must exist.
        header: the column names of a file that has no header line.

    Raises:
        UserError: an empty file, a missing column, or a row with another number of fields than the header.
    """
    columns = tuple(header) if header else ()
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if not columns:
            columns = tuple(fields)
            check_columns(path, columns, needed)
        elif line.strip():
            yield _row(path, number, columns, fields)
    if not columns:
        raise UserError(f"{path} is empty: expected a header line with the columns {', '.join(needed)}.")


def csv_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a comma-separated file with a header line and the usual double quotes.

    Raises:
        UserError: an empty file, an unclosed quote, or a row with another number of fields than the header.
    """
    reader = csv.reader((f"{line}\n" for _, line in numbered_lines(path)), strict=True)
    columns: tuple[str, ...] = ()
    try:
        for fields in reader:
            if not columns:
                columns = tuple(fields)
            elif fields:
                yield _row(path, reader.line_num, columns, fields)
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid CSV: {error}.") from error


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON Lines file; numbers become text, null and nested values are left out.

    Raises:
        UserError: a line that is not a JSON object.
    """
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not valid JSON: {error.msg} (column {error.colno}).") from error
        if not isinstance(value, dict):
            raise UserError(
                f"{path}:{number}: expected a JSON object like "
                f'{{"text": ..., "label": ...}}, found {type(value).__name__}.'
            )
        scalars = {key: item for key, item in value.items() if isinstance(item, str | int | float)}
        yield Row(path, number, {key: str(item) for key, item in scalars.items()})


def check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Raise a UserError that lists the columns found unless all `needed` ones are there."""
    missing = [column for column in needed if column not in columns]
    if missing:
        raise UserError(f"{path}:1: no column '{missing[0]}'; columns found: {', '.join(columns)}.")


def _row(path: Path, number: int, columns: Sequence[str], fields: Sequence[str]) -> Row:
    row = Row(path, number, dict(zip(columns, fields, strict=False)))
    if len(fields) != len(columns):
        raise row.error(f"expected {len(columns)} fields ({', '.join(columns)}), found {len(fields)}.")
    return row
