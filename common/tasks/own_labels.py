"""Which classes a data set of one's own has, where task.yaml does not list them: the labels found in train.

What is no class is refused rather than learned: an empty label, the field's marks for "no gold label" (SNLI's `-` and
`-1`), and labels that a reader would take for one (`Good` and `good`, `1` and `01`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from common.tasks.own_columns import field
from common.tasks.reading import Row, shortened

LONGEST_LABEL = 200
"""In characters: what is longer is a text."""

NO_LABEL = frozenset({"", "-", "?", "nan", "null", "n/a"})
"""How files mark rows without a label, in lower case."""

_WHOLE = re.compile(r"-?\d+", re.ASCII)
_FRACTION = re.compile(r"-?\d*\.\d+", re.ASCII)


def labels_of(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    """The distinct labels of train, without blanks around them; in numeric order if all are whole numbers.

    Raises:
        UserError: a label that is none, labels that differ in spelling alone, fractions, or one label alone.
    """
    first_seen: dict[str, Row] = {}
    for row in rows:
        first_seen.setdefault(field(row, column).strip(), row)
    for label, row in first_seen.items():
        _check(label, row, column, first_seen)
    _check_spellings(first_seen)
    if len(first_seen) < 2:
        raise rows[0].error(f"only one label in train: '{next(iter(first_seen))}'; expected two or more.")
    if all(map(_WHOLE.fullmatch, first_seen)):
        return tuple(sorted(first_seen, key=int))
    return tuple(sorted(first_seen))


def _check(label: str, row: Row, column: str, labels: dict[str, Row]) -> None:
    if len(label) > LONGEST_LABEL:
        raise row.error(
            f"a label of {len(label):,} characters in column '{column}' ('{shortened(label, 30)}'): is this the label?"
        )
    if label.lower() in NO_LABEL or (label == "-1" and "0" in labels):
        others = [f'"{other}"' for other in list(labels)[:4]]
        raise row.error(
            f"label '{label}' in column '{column}' marks rows without a gold label (as SNLI's - and -1): remove them. "
            f"If it is a class, list all labels in task.yaml: `labels: [{', '.join(others)}, ...]`."
        )
    if _FRACTION.fullmatch(label):
        raise row.error(
            f"label '{label}' is a fraction: for a regression task write `labels: []` in task.yaml; "
            "for classes list them there."
        )


def _check_spellings(labels: dict[str, Row]) -> None:
    """Refuse labels that differ by case, blanks, invisible characters or leading zeros alone."""
    seen: dict[str, str] = {}
    for label, row in labels.items():
        other = seen.setdefault(_spelling(label), label)
        if other != label:
            raise row.error(
                f"labels '{label}' and '{other}' (line {labels[other].line}) differ in spelling alone: write one of "
                "them everywhere. If they are two classes, list all labels in task.yaml."
            )


def _spelling(label: str) -> str:
    """What a reader sees of a label."""
    if _WHOLE.fullmatch(label):
        return str(int(label))
    plain = unicodedata.normalize("NFKC", label).casefold()
    return " ".join("".join(c for c in plain if c.isprintable() or c.isspace()).split())
