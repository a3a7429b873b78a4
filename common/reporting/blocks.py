"""The generated parts of Markdown files that people write: blocks between two markers."""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError
from common.records.measurements import write_text


def markers(block: str) -> tuple[str, str]:
    """The lines of a Markdown file between which the generated block `block` stands."""
    return f"<!-- {block}:begin -->", f"<!-- {block}:end -->"


def update_block(path: Path, block: str, text: str) -> None:
    """Replace what stands between the markers of `block` in a Markdown file.

    Raises:
        UserError: the file cannot be read, or does not hold each marker once, in order.
    """
    first, last = markers(block)
    try:
        readme = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    start, end = readme.find(first), readme.find(last)
    if not 0 <= start < end or readme.count(first) != 1 or readme.count(last) != 1:
        raise UserError(f"{path}: expected one line {first} and below it one line {last}; add them")
    write_text(path, f"{readme[: start + len(first)]}\n\n{text.strip()}\n\n{readme[end:]}")


def escape(text: str) -> str:
    """Return text that Markdown shows as it is inside a table cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def pipe_row(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
