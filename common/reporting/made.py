"""What is made from the records is made again only if it has to be: if a record, the code or the made file changed.

A piece of work (a run's verdicts and figures, a paper's tables, the pages over all papers) leaves a note in the cache
folder: a hash of all that it was made from, and the hash of every file that it wrote. While both are as noted nothing
is done, and nothing heavy is imported. A file that is missing, or was edited by hand, is made again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ValidationError

from common.file_hash import file_sha256
from common.records.measurements import write_json

COMMON = Path(__file__).resolve().parents[1]
SOURCES = {".py", ".yaml"}

LIBRARIES = ("matplotlib", "numpy", "pillow", "pydantic", "scipy")
"""Numbers and figures come out of these: with another version they may come out otherwise."""

MEASURED = ("measurements.jsonl", "predictions.npz", "environment.json")
"""Of a run's record: what its verdicts and figures are made from."""

JUDGED = (*MEASURED, "claims.json")
"""The same with its verdicts: what tables and pages are made from."""


class Note(BaseModel):
    """What a piece of work was made from, as one hash, and the SHA-256 of every file that came out, by path."""

    made_from: str
    files: dict[str, str]


@dataclass(frozen=True)
class Made:
    """The notes, one a piece of work, in a folder of their own."""

    folder: Path

    @staticmethod
    def under(cache: Path) -> Made:
        """Those in the cache folder of this machine."""
        return Made(cache / "made")

    def once(self, place: Path, made_from: str, make: Callable[[], list[Path]]) -> list[Path]:
        """Do a piece of work unless it is done.

        Args:
            place: the folder or file that it is about; it names the piece.
            made_from: a hash of all that it depends on (`records_digest`).
            make: does it, and returns the files that it wrote.

        Returns:
            The files, whether they were made now or before.
        """
        path = self.folder / f"{hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:24]}.json"
        note = _read(path)
        if note is not None and note.made_from == made_from and _stand(note):
            return [Path(name) for name in note.files]
        files = make()
        write_json(path, Note(made_from=made_from, files={str(f): file_sha256(f) for f in files}).model_dump())
        return files


def records_digest(folders: Iterable[Path], names: Iterable[str], code: str) -> str:
    """A hash of these files of the runs in `folders`, and of the code that reads them."""
    return _digest([folder / name for folder in folders for name in names], code)


def code_digest(*folders: Path) -> str:
    """A hash of the shared layer's code, of the code and facts in `folders`, and of the libraries' versions."""
    files = [path for folder in (COMMON, *folders) for path in sorted(folder.rglob("*")) if path.suffix in SOURCES]
    return _digest(files, sys.version, *(version(name) for name in LIBRARIES))


def _digest(files: Iterable[Path], *facts: str) -> str:
    """Of the files' paths and contents; one that is not there counts as such."""
    whole = hashlib.sha256(repr(facts).encode())
    for path in files:
        whole.update(f"{path}\0{file_sha256(path) if path.is_file() else ''}\0".encode())
    return whole.hexdigest()


def _read(path: Path) -> Note | None:
    """A note; None where there is none, or none that can be read: then the work is done once more."""
    try:
        return Note.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _stand(note: Note) -> bool:
    return all(Path(name).is_file() and file_sha256(Path(name)) == sha256 for name, sha256 in note.files.items())
