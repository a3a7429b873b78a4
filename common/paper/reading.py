"""Reading a paper.yaml: whatever is wrong with it ends in one message that names the file and the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from common.errors import UserError, did_you_mean
from common.paper.schema import Paper
from common.strict_yaml import UniqueKeys


def load_paper(path: Path) -> Paper:
    """Read and check a paper.yaml.

    Raises:
        UserError: the file cannot be read, is not YAML, has an unknown or missing key or a value of the wrong
            type (the message names the field, e.g. `tables.0.cells.3.value`), or its slug is not the name of
            its folder.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_one_line(error)}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected keys such as 'slug' and 'citation', found {type(data).__name__}")
    try:
        paper = Paper.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error)}") from error
    if paper.slug != path.resolve().parent.name:
        raise UserError(
            f"{path}: slug: expected {path.resolve().parent.name!r} (the folder's name), found {paper.slug!r}"
        )
    return paper


def _first_problem(error: ValidationError) -> str:
    """Say in one line which field is wrong and, for a misspelt key, what was probably meant."""
    details = error.errors()
    # A misspelt key also leaves the key that was meant missing: the misspelling says more.
    first = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    where = ".".join(map(str, first["loc"])) or "file"
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = sorted(_known_keys(first["loc"][:-1]))
        return f"{where}: unknown key {key!r}" + (did_you_mean(key, known) or f"; known: {', '.join(known)}")
    found = "" if first["type"] == "missing" else f" (found {_short(first['input'])})"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{found}"


def _known_keys(location: tuple[int | str, ...]) -> set[str]:
    """Return the keys allowed at a place in the file, by walking down the schema."""
    model: type[BaseModel] = Paper
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_inside(model.model_fields[part].annotation) or model
    return set(model.model_fields)


def _model_inside(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := _model_inside(a))), None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]} ..."
