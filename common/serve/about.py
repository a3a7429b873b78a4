"""`settings.json`: what a folder with a trained system holds, and whether it still does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import UserError
from common.file_hash import file_sha256
from common.serve.folder import files_in

SETTINGS, README, MODEL, TOKENIZER = "settings.json", "README.md", "model", "tokenizer"

SCHEMA_VERSION = 1

MAKE_ONE = "Make one: reproduce take METHOD path/to/folder --tasks ..."


class Reading(BaseModel):
    """How texts become token ids.

    Attributes:
        max_length: tokens that are read of a text or pair, special ones included; the rest is cut off.
        padding_id: of the token that fills batches up.
        segments: whether the model is told which tokens are of the second text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_length: int
    padding_id: int
    segments: bool


class About(BaseModel):
    """What the folder holds.

    Attributes:
        method, setting, at: the system: the method's name, the setting's and its number.
        offered_by: the package whose `home` module reads the method's files.
        facts: what that module needs beside the files.
        task, labels, metric: what was learned; labels in the order of the outputs, none for a regression.
        pair: whether it answers pairs of texts.
        reading: None where the system reads texts without a tokenizer of token ids.
        backbone, weights, seed: what it was trained from: the encoder, and what identifies its pretrained weights.
        files: the SHA-256 of every other file but README.md, by path within the folder.
        versions: of the libraries that it was written with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    method: str
    setting: str
    at: float
    offered_by: str
    facts: dict[str, Any]
    task: str
    labels: tuple[str, ...]
    metric: str
    pair: bool
    reading: Reading | None
    backbone: str
    weights: str
    seed: int
    files: dict[str, str]
    versions: dict[str, str]

    @property
    def system(self) -> str:
        """For prose."""
        return f"{self.method} ({self.setting})" if self.setting else self.method


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of the folder that `settings.json` vouches for, by path within the folder."""
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in _vouched_for(folder)}


def read_about(folder: Path) -> About:
    """What `folder` holds, after a look at every file.

    Raises:
        UserError: it is no such folder, was written by a newer version, or a file is missing or was changed.
    """
    about = _read_settings(folder)
    for name, expected in about.files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{folder}: {name} is missing. Copy the whole folder again, or save the model again")
        if (found := file_sha256(path)) != expected:
            raise UserError(
                f"{path} was changed after the model was saved: expected SHA-256 {expected}, found {found}. Copy the "
                "folder again, or save the model again"
            )
    return about


def _read_settings(folder: Path) -> About:
    path = folder / SETTINGS
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        found = f"no {SETTINGS} in it" if folder.is_dir() else "no such folder" if not folder.exists() else "a file"
        raise UserError(f"{folder}: expected the folder of a saved model, found {found}. {MAKE_ONE}") from error
    except ValueError as error:
        raise UserError(f"{path}: expected the settings of a saved model, found no JSON: {error}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(
            f"{folder} was saved by a newer version of this project (schema {version}; this one reads "
            f"{SCHEMA_VERSION}): update the project, or save the model again with this one"
        )
    try:
        return About.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: expected the settings of a saved model: {where}: {first['msg']}") from error


def _vouched_for(folder: Path) -> Iterator[Path]:
    return (path for path in files_in(folder) if path not in (folder / SETTINGS, folder / README))
