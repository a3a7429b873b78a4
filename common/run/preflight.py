"""What is looked at before the first step: whether results can be kept, and whether the clock can be trusted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import UserError
from common.run.progress import say
from common.timing.quiet import QUIET, busy_now

CHECKPOINT_COPIES = 6
"""Weights and two moments, twice while a new checkpoint takes the place of the old one."""

SLACK_BYTES = 64 * 2**20

TRAINING_COPIES = 8
"""Weights, gradients and two moments of what is trained, the weights of what it stands on, and activations."""

LIBRARY_BYTES = 3 * 2**29
"""What the libraries and a task's texts take before anything is trained."""

GIB = 2**30

AT_WORK = "at-work.lock"
"""Held by a run at work, in the cache's folder `locks`."""


def check_writable(folder: Path) -> None:
    """Make sure that files can be written to `folder`, which need not exist yet and is not made.

    Raises:
        UserError: they cannot.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write {folder}: {error.strerror}. Results and trained models are kept there: make {nearest} "
            "writable, or name another cache folder: export REPRODUCE_CACHE=path/to/folder"
        ) from error


@dataclass(frozen=True)
class Room:
    """Bytes that are free on a disk, that one model takes at `least`, and that all of a run's take at `most`."""

    free: int
    least: int
    most: int


def room_on_disk(folder: Path, model_bytes: int, steps: int) -> Room:
    """Of the disk of `folder`, which need not exist yet, for at most `steps` models of this size."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    return Room(free, CHECKPOINT_COPIES * model_bytes + SLACK_BYTES, steps * model_bytes + SLACK_BYTES)


def least_memory(model_bytes: int) -> int:
    """About how many bytes of memory it takes to train a model of this size."""
    return TRAINING_COPIES * model_bytes + LIBRARY_BYTES


def check_room(folder: Path, model_bytes: int, steps: int) -> None:
    """Refuse a run whose first model would not fit on the disk; warn where its last may not.

    Args:
        folder: where models go.
        model_bytes: size of the largest model; 0 where nothing is trained.
        steps: at most so many models are kept.

    Raises:
        UserError: not even one model with its checkpoint fits.
    """
    if not model_bytes:
        return
    room = room_on_disk(folder, model_bytes, steps)
    if room.free < room.least:
        raise UserError(
            f"{room.free / GIB:.1f} GiB are free on the disk of {folder}: expected at least {room.least / GIB:.1f}, "
            "for one model with its checkpoint. Free some space, or name a cache folder on another disk: "
            "export REPRODUCE_CACHE=path/to/folder"
        )
    if room.free < room.most:
        say(
            f"warning: {room.free / GIB:.1f} GiB are free on the disk of {folder}, and this run may store up to "
            f"{room.most / GIB:.1f}; if the disk fills up, finished models are kept, and the same command goes on"
        )


def warn_if_busy() -> None:
    """Say so if others keep the machine busy: what is timed then decides nothing."""
    cores = busy_now()
    if cores > QUIET:
        say(
            f"warning: others keep {cores:.1f} cores of this machine busy: times will be doubtful; scores are not "
            "touched by it"
        )


def someone_at_work(cache: Path) -> bool:
    """Whether a run holds the lock that says so; nothing is made where none was ever at work."""
    path = cache / "locks" / AT_WORK
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def alone_at_work(cache: Path) -> Iterator[None]:
    """Hold the lock that says that a run is at work; if another run holds it, say so and go on."""
    (cache / "locks").mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / "locks" / AT_WORK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("warning: another run is at work here: the times of both will be doubtful. Better one after the other")
    try:
        yield
    finally:
        lock.release()
