"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from common.errors import UserError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` if the block ends without an exception; its parents are made.

    Raises:
        UserError: there is something at `folder` already, or it cannot be written.
    """
    check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            yield new
            for path in files_in(new):
                _finish(path)
            new.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {folder}: {error}. Nothing was changed there") from error


def check_free(folder: Path) -> None:
    """Refuse a folder that nothing could be saved to, before what is to be saved is trained.

    Raises:
        UserError: there is something at `folder` already, or nothing can be written there.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"expected a new folder to save the model to, found {folder}. Name another one, or remove it")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"cannot write {folder}: {above} is no folder that can be written. Name another one")


def files_in(folder: Path) -> list[Path]:
    """Every file in it and below, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _finish(path: Path) -> None:
    """For everyone to read (safetensors writes for the owner alone), and safely on the disk."""
    path.chmod(0o644)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
