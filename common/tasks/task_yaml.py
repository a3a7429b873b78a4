"""`task.yaml`, the optional file that says what a data set of one's own is: columns, metric, labels, how much of it.

columns: {text_a: review, label: stars}
metric: macro_f1
labels: [bad, good]      # in index order; `labels: []` makes it a regression task
at_most: {train: 5000, dev: 1000}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import UserError, did_you_mean
from common.strict_yaml import AsWritten
from common.tasks.metrics import METRICS, REGRESSION_METRICS

TASK_FILE = "task.yaml"
KNOWN_KEYS = "columns (text_a, text_b, label), metric, labels, at_most (train, dev)"

Count = Annotated[int, Field(ge=2)]


class Columns(BaseModel):
    """Column names; what is left out is recognised by its usual name."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    text_a: str | None = None
    text_b: str | None = None
    label: str = "label"

    @model_validator(mode="after")
    def _are_three(self) -> Columns:
        if self.text_b is not None and self.text_a is None:
            raise ValueError("text_b is named without text_a; name both")
        named = {"text_a": self.text_a, "text_b": self.text_b, "label": self.label}
        seen: dict[str, str] = {}
        for role, column in named.items():
            if column is not None and column in seen:
                raise ValueError(f"{seen[column]} and {role} are the same column '{column}'")
            if column is not None:
                seen[column] = role
        return self


class AtMost(BaseModel):
    """How many rows are used of each split, drawn at random with the classes in their shares; None: all."""

    model_config = ConfigDict(extra="forbid")

    train: Count | None = None
    dev: Count | None = None


class TaskFile(BaseModel):
    """The content of task.yaml."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    columns: Columns = Columns()
    metric: str | None = None
    labels: tuple[str, ...] | None = None
    at_most: AtMost = AtMost()

    @model_validator(mode="after")
    def _labels_are_classes(self) -> TaskFile:
        if self.labels is None:
            return self
        self.labels = tuple(label.strip() for label in self.labels)
        if len(self.labels) == 1:
            raise ValueError("labels: one label is no task; list two or more, or none ([]) for a regression")
        for label in self.labels:
            if not label:
                raise ValueError("labels: an empty label; rows without a label cannot be used")
            if self.labels.count(label) > 1:
                raise ValueError(f"labels: '{label}' is listed twice")
        return self


def read_task_file(folder: Path) -> TaskFile:
    """Read `task.yaml` in a folder; without one, everything is recognised.

    Raises:
        UserError: it is called almost so, is not YAML, or says what cannot be.
    """
    path = folder / TASK_FILE
    for other in folder.iterdir():
        if other.name != TASK_FILE and other.name.lower() in {TASK_FILE, "task.yml"}:
            raise UserError(f"{other} is not read: name it {TASK_FILE}.")
    if not path.is_file():
        return TaskFile()
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=AsWritten)
        return TaskFile.model_validate({} if content is None else content)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error)}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not readable as YAML: {error.problem}.") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply. Known keys: {KNOWN_KEYS}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}.") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    hint = did_you_mean(str(first["loc"][-1]), _keys()) if first["type"] == "extra_forbidden" else ""
    return f"{where}: {message}{hint}. Known keys: {KNOWN_KEYS}." if where else f"{message}. Known keys: {KNOWN_KEYS}."


def _keys() -> Iterator[str]:
    for model in (TaskFile, Columns, AtMost):
        yield from model.model_fields


def check_metric(folder: Path, wanted: str | None, labels: tuple[str, ...]) -> str:
    """The metric of a task with these labels: the one wanted, or the usual one.

    Raises:
        UserError: there is no such metric, or it is for another kind of task.
    """
    where = f"{folder / TASK_FILE}: metric"
    if wanted is None:
        return "accuracy" if labels else "spearman"
    if wanted not in METRICS:
        raise UserError(
            f"{where}: unknown metric '{wanted}'{did_you_mean(wanted, METRICS)}; known: {', '.join(METRICS)}."
        )
    if (wanted in REGRESSION_METRICS) == bool(labels):
        kind = "classes" if labels else "a regression task"
        fitting = [metric for metric in METRICS if (metric in REGRESSION_METRICS) != bool(labels)]
        raise UserError(f"{where}: '{wanted}' does not fit {kind}; use one of {', '.join(fitting)}.")
    if wanted == "f1" and len(labels) != 2:
        raise UserError(f"{where}: 'f1' is for two labels, here are {len(labels)}; use macro_f1.")
    return wanted
