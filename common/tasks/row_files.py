"""Rows out of TSV, CSV and JSON Lines, one at a time, with errors that name the file and the line.

What two readers would understand differently is refused, not guessed: a column or key given twice, a row with too many
or too few fields, a quotation mark that nobody closes.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.tasks.reading import Row, is_number, numbered_lines, shortened

LARGEST_FIELD = 2**31 - 1
"""In characters; the csv module's own limit is 131,072, JSON has none."""

_WRAPPED = re.compile(r'"(?:[^"]|"")*"')
_QUOTED = (
    " A quotation mark opens a field of CSV right after the comma only (no blank between); TSV is read line by line, "
    "so texts with line breaks or tabs belong into CSV or JSON Lines."
)
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def tsv_rows(path: Path, needed: Sequence[str], header: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a tab-separated file; quotation marks are text like any other (GLUE's convention).

    Args:
        path: the file.
        needed: columns that must exist.
        header: the column names of a file that has no header line.

    Raises:
        UserError: an empty file, a missing or repeated column, or a row with another number of fields than the header.
    """
    columns = tuple(header) if header else ()
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if not columns:
            columns = _columns(path, fields, "\t")
            check_columns(path, columns, needed)
        elif line.strip():
            yield _row(path, number, columns, fields)
    if not columns:
        raise UserError(
            f"{path} is empty: expected a header line with the columns {', '.join(needed) or 'text, label'}."
        )


def is_quoted_tsv(path: Path) -> bool:
    """Whether a tab-separated file quotes its fields as CSV does (pandas writes such ones).

    It does where the header is in quotation marks, or a field is that holds a quotation mark doubled.
    """
    for number, line in numbered_lines(path):
        for field in line.split("\t"):
            if _WRAPPED.fullmatch(field) and (number == 1 or '""' in field[1:-1]):
                return True
    return False


def csv_rows(path: Path, separator: str = ",") -> Iterator[Row]:
    """Yield the rows of a comma-separated file with a header line and the usual double quotes.

    Raises:
        UserError: an empty file, a repeated column, an unclosed quote, or a row with another number of fields than
            the header.
    """
    columns: tuple[str, ...] = ()
    lines = (f"{line}\n" for _, line in numbered_lines(path))
    with _long_fields():
        reader = csv.reader(lines, delimiter=separator, strict=True)
        begins = 1
        try:
            for fields in reader:
                if not columns:
                    columns = _columns(path, fields, separator)
                elif fields:
                    yield _row(path, begins, columns, fields)
                begins = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}:{begins}: not valid CSV: {error}.{_quoting_hint(error)}") from error
    if not columns:
        raise UserError(f"{path} holds no examples: expected named columns and at least one row.")


def _quoting_hint(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return " A quotation mark is opened in this row and never closed: inside a field it is written twice."
    if "expected after" in str(error):
        return " A field in quotation marks ends with one; inside it they are written twice."
    return ""


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(LARGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON Lines file; numbers become text, null and nested values are left out.

    Raises:
        UserError: a line that is not a JSON object, a key given twice, half of a surrogate pair.
    """
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        place = Row(path, number, {})
        value = _json(place, line)
        if not isinstance(value, dict):
            raise place.error(
                f'expected a JSON object like {{"text": ..., "label": ...}}, found {type(value).__name__}.'
            )
        scalars = {key: str(item) for key, item in value.items() if isinstance(item, str | int | float)}
        for key, text in scalars.items():
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise place.error(
                    f"'{key}' holds half of a surrogate pair (\\ud800 to \\udfff), which is no character."
                )
        yield Row(path, number, scalars)


def _json(place: Row, line: str) -> Any:  # noqa: ANN401
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise place.error(f"the key '{key}' is given twice.")
            found[key] = value
        return found

    try:
        return json.loads(line, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise place.error(f"not valid JSON: {error.msg} (column {error.colno}).") from error
    except RecursionError as error:
        raise place.error("JSON that is nested too deeply to be read; expected one flat object a line.") from error
    except ValueError as error:  # A number of more digits than Python reads.
        raise place.error(f"not readable as JSON: {error}.") from error


def check_swallowed(row: Row, label: str, labels: Sequence[str]) -> None:
    """Refuse a quoted field whose lines read as rows of their own: a stray quotation mark has swallowed them.

    Args:
        row: of a CSV file; a field of another format holds no line that reads so.
        label: the label's column.
        labels: the classes; none for a regression, where a label is a number.

    Raises:
        UserError: a line of a field has the right number of fields, and a label in its place.
    """
    columns, separator = list(row.fields), "\t" if ".tsv" in row.path.suffixes else ","
    if ".jsonl" in row.path.suffixes:
        return
    place = columns.index(label)
    for k, text in enumerate(row.fields.values()):
        lines = text.split("\n")
        for i, line in enumerate(lines[: len(lines) if len(lines) > 1 else 0]):
            first = k if i == 0 else 0
            last = k if i == len(lines) - 1 else len(columns) - 1
            fields = line.split(separator)
            if not (first <= place <= last and len(fields) == last - first + 1):
                continue
            found = fields[place - first]
            if found in labels if labels else is_number(found):
                raise row.error(
                    f"the quotation mark that opens here runs on into line {row.line + i + (i == 0)} and swallows what "
                    f"reads as a row ('{shortened(line)}'): inside a field it is written twice, and a field that "
                    "begins with one ends with one. If the text is meant so, write the data as JSON Lines."
                )


def check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Raise a UserError that lists the columns found unless all `needed` ones are there."""
    missing = [column for column in needed if column not in columns]
    if missing:
        raise UserError(f"{path}:1: no column '{missing[0]}'; columns found: {', '.join(columns)}.")


def _columns(path: Path, header: Sequence[str], separator: str) -> tuple[str, ...]:
    """The column names of a header line; blanks around them mean nothing. Nameless columns may be many."""
    columns = tuple(name.strip() for name in header)
    repeated = next((name for name in columns if name and columns.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{path}:1: the column '{repeated}' is there twice; columns found: {', '.join(columns)}.")
    if len(columns) == 1:
        _check_separator(path, columns[0], separator)
    return columns


def _check_separator(path: Path, header: str, separator: str) -> None:
    """Refuse a header of one column that holds another separator: the file is of another kind than it is named."""
    for other, name in _OTHER_SEPARATORS.items():
        if other != separator and re.search(rf"\w\s*{re.escape(other)}\s*\w", header):
            advice = {",": "name it .csv", "\t": "name it .tsv"}.get(other, "save it with commas")
            raise UserError(
                f"{path}:1: the columns are parted by {name} ('{header}'), expected {_OTHER_SEPARATORS[separator]}: "
                f"{advice}."
            )


def _row(path: Path, number: int, columns: Sequence[str], fields: Sequence[str]) -> Row:
    row = Row(path, number, dict(zip(columns, fields, strict=False)))
    if len(fields) != len(columns):
        quoted = any(field.lstrip().startswith('"') for field in fields)
        raise row.error(
            f"expected {len(columns)} fields ({', '.join(columns)}), found {len(fields)}.{_QUOTED if quoted else ''}"
        )
    return row
