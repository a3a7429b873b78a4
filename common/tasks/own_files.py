"""A data set of one's own: a folder with `train.csv` and `dev.csv` (or JSONL, or TSV) and named columns.

Without `task.yaml` (`common.tasks.task_yaml`) the columns are recognised by their usual names and the labels are those
found in train, sorted. CSV is read with the usual double quotes, TSV without quoting unless it quotes by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from common.tasks.own_columns import Recognised, field, recognise
from common.tasks.own_labels import labels_of
from common.tasks.published_files import find_folder
from common.tasks.reading import COMPRESSIONS, Row, several
from common.tasks.row_files import check_swallowed, csv_rows, is_quoted_tsv, jsonl_rows, tsv_rows
from common.tasks.task import Example, Task
from common.tasks.task_yaml import Columns, check_metric, read_task_file

FORMATS = (".csv", ".jsonl", ".tsv")
TRAIN_NAMES, DEV_NAMES, TEST_NAMES = ("train",), ("dev", "validation", "valid"), ("test",)


def own_task(name: str, data_dir: Path) -> Task:
    """Read the data set in `<data_dir>/<name>/`.

    Raises:
        UserError: a missing or malformed file; the message names the file and the line.
    """
    folder = find_folder(name, data_dir)
    facts = read_task_file(folder)
    train_file = _find(folder, (TRAIN_NAMES,))
    dev_file = _find(folder, (DEV_NAMES, TEST_NAMES))
    train_rows, dev_rows = _rows(train_file), _rows(dev_file)
    columns = recognise(train_rows[0], facts.columns, has_header=not _is_json(train_file))
    labels = facts.labels if facts.labels is not None else labels_of(train_rows, columns.label)
    metric = check_metric(folder, facts.metric, labels)
    wanted = Columns(text_a=columns.text_a, text_b=columns.text_b, label=columns.label)
    dev_columns = recognise(dev_rows[0], wanted, has_header=not _is_json(dev_file))
    train, dev = _examples(train_rows, columns, labels), _examples(dev_rows, dev_columns, labels)
    if len({e.label for e in train}) < 2:
        raise UserError(f"{train_file}: every row has the same value in column '{columns.label}': nothing to learn.")
    limits = (facts.at_most.train, facts.at_most.dev)
    return Task(folder.name, labels, metric, "files", train, dev, limits=limits)


def _find(folder: Path, choices: Sequence[Sequence[str]]) -> Path:
    """The one file of a split; of several choices of names the first that has any."""
    for stems in choices:
        names = [f"{stem}{suffix}{packed}" for stem in stems for suffix in FORMATS for packed in COMPRESSIONS]
        found = [path for name in names if (path := folder / name).is_file()]
        if len(found) > 1:
            raise several(folder, found)
        if found:
            return found[0]
    looked = ", ".join(f"{stem}{suffix}" for stems in choices for stem in stems for suffix in FORMATS)
    there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_file())) or "none"
    raise UserError(
        f"no {choices[0][0]} file in {folder}: looked for {looked}, each also with "
        f"{' or '.join(filter(None, COMPRESSIONS))}; files found: {there}."
    )


def _is_json(path: Path) -> bool:
    return ".jsonl" in path.suffixes


def _rows(path: Path) -> tuple[Row, ...]:
    if ".csv" in path.suffixes:
        rows = tuple(csv_rows(path))
    elif _is_json(path):
        rows = tuple(jsonl_rows(path))
    else:
        rows = tuple(csv_rows(path, "\t") if is_quoted_tsv(path) else tsv_rows(path, ()))
    if not rows:
        raise UserError(f"{path} holds no examples: expected named columns and at least one row.")
    return rows


def _examples(rows: Sequence[Row], columns: Recognised, labels: tuple[str, ...]) -> tuple[Example, ...]:
    examples = []
    for row in rows:
        text_a = field(row, columns.text_a)
        text_b = field(row, columns.text_b) if columns.text_b else None
        field(row, columns.label)
        target = float(row.class_index(columns.label, labels)) if labels else row.number(columns.label)
        check_swallowed(row, columns.label, labels)
        examples.append(Example(text_a, text_b, target))
    return tuple(examples)
