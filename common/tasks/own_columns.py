"""Which columns of a data set of one's own hold the texts and the label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import UserError
from common.tasks.reading import Row
from common.tasks.task_yaml import Columns

PAIR_COLUMNS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
)
SINGLE_COLUMNS = ("text", "sentence")


@dataclass(frozen=True, slots=True)
class Recognised:
    """The columns of a data set."""

    text_a: str
    text_b: str | None
    label: str


def recognise(row: Row, wanted: Columns, *, has_header: bool) -> Recognised:
    """The columns that the first row of train has; usual names are recognised in any case (`Text`).

    Raises:
        UserError: a column is missing, or several may be the text.
    """
    place = Row(row.path, 1, row.fields) if has_header else row
    text_a, text_b = (wanted.text_a, wanted.text_b) if wanted.text_a is not None else _texts(place)
    names = [_present(place, column) for column in (text_a, text_b, wanted.label) if column is not None]
    if len(set(names)) < len(names):
        raise place.error(f"one column cannot be two of text and label ({', '.join(names)}); name them in task.yaml.")
    return Recognised(names[0], names[1] if text_b else None, names[-1])


def _texts(row: Row) -> tuple[str, str | None]:
    """The usual names that are there: one pair or one single text."""
    there = {column.casefold() for column in row.fields}
    pairs = [pair for pair in PAIR_COLUMNS if set(pair) <= there]
    within = {column for pair in pairs for column in pair}
    choices: list[tuple[str, str | None]] = [*pairs]
    choices += [(column, None) for column in SINGLE_COLUMNS if column in there and column not in within]
    if not choices:
        usual = ", ".join([*SINGLE_COLUMNS, *(" + ".join(pair) for pair in PAIR_COLUMNS)])
        raise row.error(
            f"no text column; columns found: {_listed(row.fields)}; expected one of: {usual}. "
            "Or name yours in task.yaml: `columns: {text_a: ...}`."
        )
    if len(choices) > 1:
        shown = ", or ".join(" + ".join(filter(None, choice)) for choice in choices)
        raise row.error(
            f"the text may be {shown}: name the one that is meant in task.yaml, "
            f"e.g. `columns: {{text_a: {choices[-1][0]}}}`."
        )
    return choices[0]


def _present(row: Row, column: str) -> str:
    """The column as the file writes it: the same, or the only one that differs by case alone."""
    if column in row.fields:
        return column
    alike = [name for name in row.fields if name.casefold() == column.casefold()]
    if len(alike) == 1:
        return alike[0]
    raise missing(row, column)


def field(row: Row, column: str) -> str:
    """The text of a column.

    Raises:
        UserError: the row has none (JSON Lines: no such key, null, or a nested value).
    """
    if column not in row.fields:
        raise missing(row, column)
    return row.fields[column]


def missing(row: Row, column: str) -> UserError:
    """Make the error for a column that is not there."""
    return row.error(
        f"no column '{column}'; columns found: {_listed(row.fields)}. "
        "Other names can be given in task.yaml: `columns: {text_a: ..., label: ...}`."
    )


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(columns) or "none"
