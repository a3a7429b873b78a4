"""Text out of plain or compressed files, line by line, and the rows that are made of it.

What is no text, or not UTF-8, surfaces here as a `UserError` that says what the file is instead: a workbook, an
archive, UTF-16. Rows of TSV, CSV and JSON Lines are read in `common.tasks.row_files`.
"""

from __future__ import annotations

import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from common.errors import UserError

COMPRESSIONS = ("", ".gz", ".xz")

LARGEST_TARGET = 1e6
"""A regression's squared error on larger values leaves float32, and no learning rate of ours fits them."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_UTF_16 = "is UTF-16, not UTF-8. Convert the file first, e.g.: iconv -f utf-16 -t utf-8 IN > OUT"
_ZIP = "is a zip archive, not text. If it is an Excel workbook, save it as CSV (UTF-8); otherwise unpack it"
_SIGNATURES = (
    (codecs.BOM_UTF16_LE, _UTF_16),
    (codecs.BOM_UTF16_BE, _UTF_16),
    (b"PK\x03\x04", _ZIP),
    (b"\xd0\xcf\x11\xe0", "is an old Excel or Word file, not text: save it as CSV (UTF-8)"),
    (b"PAR1", "is a Parquet file, not text: write it as JSON Lines or CSV"),
    (b"%PDF", "is a PDF file, not text"),
    (b"\x1f\x8b", "is compressed with gzip: its name must end with .gz"),
    (b"\xfd7zXZ", "is compressed with xz: its name must end with .xz"),
    (b"BZh", "is compressed with bzip2: unpack it"),
)


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
        """Return the index in `values` of this row's label; blanks around it mean nothing.

        Raises:
            UserError: the label is none of them.
        """
        found = self.fields[column].strip()
        if found not in values:
            known = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
            raise self.error(f"label '{shortened(found)}' in column '{column}' is none of: {known}.")
        return values.index(found)

    def number(self, column: str) -> float:
        """Return this row's target value.

        Raises:
            UserError: it is not a number as one writes it (`1_5`, `nan`), or too large to be learned.
        """
        text = self.fields[column].strip()
        if not is_number(text):
            raise self.error(f"expected a number in column '{column}', found '{shortened(text)}'.")
        value = float(text)
        if abs(value) > LARGEST_TARGET:
            raise self.error(
                f"expected a number of at most {LARGEST_TARGET:,.0f} in column '{column}', found "
                f"'{shortened(text)}': larger targets cannot be learned. Rescale the column, e.g. to 0..5."
            )
        return value


def is_number(text: str) -> bool:
    """Whether a text is a number as one writes it: `-1.5e3`, not `1_5` or `nan`."""
    return _NUMBER.fullmatch(text) is not None


def shortened(text: str, limit: int = 60) -> str:
    """`text` as a message shows it."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of `names` in `folder`, each plain, .gz or .xz.

    Raises:
        UserError: one is there in two forms: which of them is meant cannot be told.
    """
    for name in names:
        found = [path for suffix in COMPRESSIONS if (path := folder / f"{name}{suffix}").is_file()]
        if len(found) > 1:
            raise several(folder, found)
        if found:
            return found[0]
    return None


def several(folder: Path, found: Sequence[Path]) -> UserError:
    """Make the error for files of which one alone can be meant."""
    return UserError(f"{folder}: {' and '.join(path.name for path in found)} stand side by side. Keep one.")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text without its line end); a byte order mark is dropped.

    Raises:
        UserError: the file cannot be read, is a broken archive, is no text or is not UTF-8.
    """
    number = 0
    try:
        with _open(path) as stream:
            for number, raw in enumerate(stream, 1):
                if number == 1:
                    _check_signature(path, raw)
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


def _check_signature(path: Path, start: bytes) -> None:
    for signature, what in _SIGNATURES:
        if start.startswith(signature):
            raise UserError(f"{path} {what}.")
    if b"\0" in start:
        raise UserError(f"{path} {_UTF_16}." if start[1:2] == b"\0" or start[:1] == b"\0" else f"{path} is no text.")


def _open(path: Path) -> IO[bytes] | gzip.GzipFile | lzma.LZMAFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")
