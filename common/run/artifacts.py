"""A content-addressed store of trained models and features: asked for twice, made once.

An artifact is a folder that follows from a recipe: everything that its making depends on (what kind of thing it is, the
data's fingerprint, the encoder, the hyper-parameters, the seed). The recipe's hash is its address, so that a changed
hyper-parameter means another artifact, and nothing stale is ever returned.

    <root>/objects/<key>/    finished; manifest.json holds name, recipe, and the size and SHA-256 of every file
    <root>/partial/<key>/    being made; survives a kill, so that the maker can resume from its own checkpoints
    <root>/locks/<key>.lock  held while one process makes it; the operating system frees it if that process dies

An artifact appears under `objects` by one rename, after its manifest is written. A kill at any moment leaves either the
finished artifact, or a partial folder that the next request takes up. What is returned was checked against its
manifest.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from common.errors import UserError
from common.file_hash import file_sha256
from common.records.measurements import write_json

Recipe = Mapping[str, Any]
Make = Callable[[Path], None]
Say = Callable[[str], None]

MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint"
_DIFFERENCES_NAMED = 3
_VALUE_WIDTH = 40
_HARDLY_A_BYTE = 64 * 1024
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoredFile(BaseModel):
    """Size in bytes and SHA-256 of a stored file."""

    size: int
    sha256: str


class Manifest(BaseModel):
    """What an artifact is and which files it holds, by path relative to its folder."""

    schema_version: Literal[1] = 1
    name: str
    recipe: dict[str, Any]
    files: dict[str, StoredFile]


def recipe_key(recipe: Recipe) -> str:
    """SHA-256, in hexadecimal, of the recipe in canonical JSON: the order of keys does not matter, values do.

    Raises:
        TypeError: a value has no JSON form, or a key is not a string.
        ValueError: a number is not finite.
    """
    return hashlib.sha256(_canonical(recipe).encode("ascii")).hexdigest()


def default_root() -> Path:
    """The folder named by the environment variable REPRODUCE_CACHE, else .cache/reproduce in the checkout."""
    named = os.environ.get("REPRODUCE_CACHE")
    return Path(named).expanduser() if named else Path(__file__).resolve().parents[2] / ".cache" / "reproduce"


class ArtifactStore:
    """Artifacts under one root folder, shared by any number of processes on one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sound: dict[str, Signature] = {}

    def get(self, name: str, recipe: Recipe, make: Make, say: Say | None = None) -> Path:
        """The folder of the artifact that `recipe` describes; it is made if it is not there or is damaged.

        Args:
            name: what to call it, e.g. `deebert/backbone/sst-2/seed0`; for messages alone, the recipe decides.
            recipe: all that the artifact depends on, as JSON values, including what kind of thing it is: equal recipes
                share one artifact whatever their names.
            make: fills the folder that it is given. If it is interrupted it is called again with the same folder and
                what it left there. A subfolder `checkpoint` may hold its intermediate state; it is removed at the end.
            say: takes one sentence on why something is made again or waited for; by default it goes to standard error.
                On a plain hit nothing is said, nor where nothing of that name was stored before.

        Returns:
            The finished folder, to be read only. Every file was checked against the manifest.

        Raises:
            UserError: the disk is full or the root cannot be written; nothing is published then.
            ValueError: `make` left no file, or one that is called manifest.json.
        """
        say = say or _say_on_stderr
        key = recipe_key(recipe)
        finished = self.root / "objects" / key
        if self._is_sound(finished):
            return finished
        with self._locked(name, key, say):
            # Looked at again, because another process may have made it in the meantime.
            damage = find_damage(finished) if finished.is_dir() else None
            if finished.is_dir() and damage is None:
                return finished
            partial = self.root / "partial" / key
            if partial.is_dir() and find_damage(partial) is None:
                say(f"{name}: made earlier, interrupted just before it was stored")
            else:
                reason = f"training {name} again: {damage}" if damage else self._reason(name, recipe, partial)
                if reason:
                    say(reason)
                self._fill(partial, name, recipe, make)
            self._publish(partial, finished)
        return finished

    def _is_sound(self, folder: Path) -> bool:
        """Whether a finished artifact is there and undamaged; files are hashed once a process, unless they change."""
        if not folder.is_dir():
            return False
        seen = signature(folder)
        if self._sound.get(folder.name) != seen and find_damage(folder) is None:
            self._sound[folder.name] = seen
        return self._sound.get(folder.name) == seen

    def _fill(self, partial: Path, name: str, recipe: Recipe, make: Make) -> None:
        with self._writing():
            partial.mkdir(parents=True, exist_ok=True)
            (partial / MANIFEST).unlink(missing_ok=True)
        try:
            make(partial)
        except Exception as error:
            if _is_disk_full(error, self.root):
                raise self._disk_full(error) from error
            raise
        if (partial / MANIFEST).exists():
            raise ValueError(f"{name}: the file name {MANIFEST} is reserved for the store")
        with self._writing():
            files = {str(path.relative_to(partial)): _describe(path) for path in _content(partial)}
            if not files:
                raise ValueError(f"{name}: nothing was written into {partial}")
            manifest = Manifest(name=name, recipe=json.loads(_canonical(recipe)), files=files)
            write_json(partial / MANIFEST, manifest.model_dump())

    def _publish(self, partial: Path, finished: Path) -> None:
        with self._writing():
            if (partial / CHECKPOINT).exists():
                shutil.rmtree(partial / CHECKPOINT)
            if finished.exists():  # Damaged: a sound one would have been returned.
                shutil.rmtree(finished)
            finished.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(finished)

    def _reason(self, name: str, recipe: Recipe, partial: Path) -> str:
        """One sentence on why the artifact has to be made although nothing is damaged; empty the first time."""
        if partial.is_dir() and any(partial.iterdir()):
            return f"resuming {name}: it was interrupted"
        stored = [m.recipe for m in self._manifests() if m.name == name]
        if not stored:
            return ""
        nearest = min((differences(old, recipe) for old in stored), key=len)
        named = "; ".join(nearest[:_DIFFERENCES_NAMED])
        more = len(nearest) - _DIFFERENCES_NAMED
        return f"training {name}: {named}" + (f"; and {more} more" if more > 0 else "")

    def _manifests(self) -> Iterator[Manifest]:
        for path in sorted((self.root / "objects").glob(f"*/{MANIFEST}")):
            manifest = _read_manifest(path)
            if manifest is not None:
                yield manifest

    @contextmanager
    def _locked(self, name: str, key: str, say: Say) -> Iterator[None]:
        with self._writing():
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "locks" / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(f"{name}: another process is at work on it; waiting for it to end")
                lock.acquire(poll_interval=0.1)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Explain what goes wrong while the store itself writes."""
        try:
            yield
        except OSError as error:
            if _is_disk_full(error, self.root):
                raise self._disk_full(error) from error
            raise UserError(
                f"cannot write the cache folder {self.root}: {error.strerror}. Name another one: "
                "export REPRODUCE_CACHE=path/to/folder"
            ) from error

    def _disk_full(self, error: BaseException) -> UserError:
        return UserError(
            f"the disk is full ({error}). Models that were finished are kept in {self.root}, of the one in progress at "
            "most its last checkpoint. Free some space and give the same command again, or name a cache folder on "
            "another disk: export REPRODUCE_CACHE=path/to/folder"
        )


Signature = tuple[tuple[str, int, int], ...]
"""Of every file its name, size in bytes, and time of the last change in nanoseconds."""


def signature(folder: Path) -> Signature:
    """What changes when a file of `folder` does."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def find_damage(folder: Path) -> str | None:
    """One clause on what is wrong with a finished artifact, or None if every file is as its manifest says."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return f"the stored one has no {MANIFEST}"
    except (OSError, ValidationError):
        return f"{MANIFEST} of the stored one cannot be read"
    if recipe_key(manifest.recipe) != folder.name:
        return f"{MANIFEST} of the stored one describes another artifact"
    for relative, expected in manifest.files.items():
        path = folder / relative
        if not path.is_file():
            return f"{relative} of the stored one is missing"
        size = path.stat().st_size
        if size != expected.size:
            return f"{relative} of the stored one is damaged ({size} bytes, expected {expected.size})"
        if file_sha256(path) != expected.sha256:
            return f"{relative} of the stored one is damaged (its SHA-256 is not the recorded one)"
    return None


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What changed from one recipe to another, one clause for each value, e.g. `epochs was 3 ..., now 4`."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    clauses = []
    for path in [*after, *(path for path in before if path not in after)]:
        name = ".".join(path)
        if path not in before:
            clauses.append(f"{name} is new ({_shown(after[path])})")
        elif path not in after:
            clauses.append(f"{name} is gone (was {_shown(before[path])} in the stored one)")
        elif before[path] != after[path]:
            was, now = _shown(before[path]), _shown(after[path])
            clauses.append(f"{name} was {was} in the stored one, now {now}" if was != now else f"{name} changed")
    return clauses


def _leaves(recipe: Recipe, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path and canonical JSON of every value that is not a non-empty mapping."""
    for name, value in recipe.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*prefix, name))
        else:
            yield (*prefix, name), _canonical(value)


def _shown(value: str) -> str:
    return value if len(value) <= _VALUE_WIDTH else value[:_VALUE_WIDTH] + "..."


def _canonical(value: Any) -> str:  # noqa: ANN401
    _check_keys(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _check_keys(value: Any) -> None:  # noqa: ANN401
    """Refuse keys that are not strings: json would turn 1 and "1" into the same key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a recipe's keys are strings, found {name!r}")
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


def _read_manifest(path: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _content(folder: Path) -> list[Path]:
    """The files that are published: all but those under `checkpoint`."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != CHECKPOINT
    )


def _describe(path: Path) -> StoredFile:
    # On disk before the manifest vouches for it.
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return StoredFile(size=path.stat().st_size, sha256=file_sha256(path))


def _is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether `error`, or one that it came from, says that there is no space left.

    Writers in other languages (safetensors, torch) raise errors of their own, with the number in the text or not even
    that: then a disk with hardly a byte left decides.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            return True
        if any(f"os error {number})" in str(cause) for number in _DISK_FULL):
            return True
        cause = cause.__cause__ or cause.__context__
    return folder.is_dir() and shutil.disk_usage(folder).free < _HARDLY_A_BYTE


def _say_on_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
