"""A data set of one's own: a folder with `train.csv` and `dev.csv` (or JSONL, or TSV) and named columns.

`task.yaml` in the folder is optional. It may name the columns, the metric and the labels:

    columns: {text_a: review, label: stars}
    metric: macro_f1
    labels: [bad, good]      # in index order; `labels: []` makes it a regression task

Without it the columns are recognised by their usual names and the labels are those found in train, sorted.
CSV is read with the usual double quotes, TSV without quoting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import UserError
from common.tasks.metrics import METRICS, REGRESSION_METRICS
from common.tasks.published_files import find_folder
from common.tasks.reading import COMPRESSIONS, Row, csv_rows, find_file, jsonl_rows, tsv_rows
from common.tasks.task import Example, Task

FORMATS = (".csv", ".jsonl", ".tsv")
DEV_NAMES = ("dev", "validation", "valid", "test")
PAIR_COLUMNS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
)
SINGLE_COLUMNS = ("text", "sentence")


class Columns(BaseModel):
    """Column names; what is left out is recognised by its usual name."""

    model_config = ConfigDict(extra="forbid")

    text_a: str | None = None
    text_b: str | None = None
    label: str = "label"


class TaskFile(BaseModel):
    """The content of task.yaml."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    columns: Columns = Columns()
    metric: str | None = None
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Recognised:
    """The columns of this data set."""

    text_a: str
    text_b: str | None
    label: str


def own_task(name: str, data_dir: Path) -> Task:
    """Read the data set in `<data_dir>/<name>/`.

    Raises:
        UserError: a missing or malformed file; the message names the file and the line.
    """
    folder = find_folder(name, data_dir)
    facts = _read_task_file(folder / "task.yaml")
    train_file, dev_file = _find(folder, ("train",)), _find(folder, DEV_NAMES)
    train_rows, dev_rows = _rows(train_file), _rows(dev_file)
    columns = _recognise(train_rows[0], facts.columns)
    labels = facts.labels if facts.labels is not None else _labels_of(train_rows, columns)
    metric = _metric(folder / "task.yaml", facts.metric, labels)
    train = tuple(_example(row, columns, labels) for row in train_rows)
    dev = tuple(_example(row, columns, labels) for row in dev_rows)
    return Task(folder.name, labels, metric, "files", train, dev)


def _find(folder: Path, stems: Sequence[str]) -> Path:
    names = [f"{stem}{suffix}" for stem in stems for suffix in FORMATS]
    path = find_file(folder, names)
    if path is None:
        raise UserError(
            f"no {stems[0]} file in {folder}: looked for {', '.join(names)}, "
            f"each also with {' or '.join(filter(None, COMPRESSIONS))}."
        )
    return path


def _rows(path: Path) -> tuple[Row, ...]:
    name = path.name
    if ".csv" in name:
        rows = tuple(csv_rows(path))
    elif ".jsonl" in name:
        rows = tuple(jsonl_rows(path))
    else:
        rows = tuple(tsv_rows(path, ()))
    if not rows:
        raise UserError(f"{path} holds no examples: expected named columns and at least one row.")
    return rows


def _recognise(row: Row, wanted: Columns) -> _Recognised:
    text_a, text_b = wanted.text_a, wanted.text_b
    if text_a is None:
        pair = next((pair for pair in PAIR_COLUMNS if set(pair) <= set(row.fields)), None)
        single = next((column for column in SINGLE_COLUMNS if column in row.fields), None)
        if pair is None and single is None:
            usual = ", ".join([*SINGLE_COLUMNS, *(" + ".join(pair) for pair in PAIR_COLUMNS)])
            raise row.error(
                f"no text column; columns found: {', '.join(row.fields)}; expected one of: {usual}. "
                "Or name yours in task.yaml: `columns: {text_a: ...}`."
            )
        text_a, text_b = pair or (single, None)
    assert text_a is not None
    return _Recognised(text_a, text_b, wanted.label)


def _field(row: Row, column: str) -> str:
    if column not in row.fields:
        raise row.error(
            f"no column '{column}'; columns found: {', '.join(row.fields)}. "
            "Other names can be given in task.yaml: `columns: {text_a: ..., label: ...}`."
        )
    return row.fields[column]


def _example(row: Row, columns: _Recognised, labels: tuple[str, ...]) -> Example:
    text_a = _field(row, columns.text_a)
    text_b = _field(row, columns.text_b) if columns.text_b else None
    _field(row, columns.label)
    target = float(row.class_index(columns.label, labels)) if labels else row.number(columns.label)
    return Example(text_a, text_b, target)


def _labels_of(rows: Sequence[Row], columns: _Recognised) -> tuple[str, ...]:
    """Return the distinct labels of train, in numeric order if all are whole numbers."""
    first_seen = {_field(row, columns.label): row for row in reversed(rows)}
    for label, row in first_seen.items():
        if not _whole(label) and _is_number(label):
            raise row.error(
                f"label '{label}' is a fraction: for a regression task write `labels: []` in task.yaml; "
                "for classes list them there."
            )
    if len(first_seen) < 2:
        raise rows[0].error(f"only one label in train: '{next(iter(first_seen))}'; expected two or more.")
    if all(map(_whole, first_seen)):
        return tuple(sorted(first_seen, key=int))
    return tuple(sorted(first_seen))


def _whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _metric(path: Path, wanted: str | None, labels: tuple[str, ...]) -> str:
    if wanted is None:
        return "accuracy" if labels else "spearman"
    if wanted not in METRICS:
        raise UserError(f"{path}: metric: unknown metric '{wanted}'; known: {', '.join(METRICS)}.")
    if (wanted in REGRESSION_METRICS) == bool(labels):
        kind = "classes" if labels else "a regression task"
        fitting = [metric for metric in METRICS if (metric in REGRESSION_METRICS) != bool(labels)]
        raise UserError(f"{path}: metric: '{wanted}' does not fit {kind}; use one of {', '.join(fitting)}.")
    if wanted == "f1" and len(labels) != 2:
        raise UserError(f"{path}: metric: 'f1' is for two labels, here are {len(labels)}; use macro_f1.")
    return wanted


def _read_task_file(path: Path) -> TaskFile:
    if not path.is_file():
        return TaskFile()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TaskFile.model_validate({} if content is None else content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UserError(
            f"{path}: {where}: {first['msg']}. Known keys: columns (text_a, text_b, label), metric, labels."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
