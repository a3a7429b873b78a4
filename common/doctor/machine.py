"""The machine as it is: Python, installed versions, what else is at work, disk and memory."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from common.doctor.findings import Finding
from common.run.preflight import GIB, least_memory, room_on_disk
from common.run.replication import ROOT
from common.timing.quiet import QUIET

CONSTRAINTS = ROOT / "constraints.txt"
PROJECT = ROOT / "pyproject.toml"

INSTALL = "Install the tested ones: .venv/bin/python -m pip install -c constraints.txt -e '.[dev]'"

Versions = Mapping[str, str]
"""By canonical name."""


def python_version(version: str = sys.version.split()[0], project: Path = PROJECT) -> Iterator[Finding]:
    """Whether this Python is one that the project supports."""
    wanted = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["requires-python"]
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        yield Finding(
            "broken",
            f"Python {version} is outside {wanted}.",
            "Name another: make clean, then make list PYTHON=python3.12",
        )


def tested_versions(path: Path = CONSTRAINTS) -> Versions:
    """The exact versions that were tested."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def needed_libraries(project: Path = PROJECT) -> list[str]:
    """Canonical names of what the project cannot run without."""
    needed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [canonicalize_name(Requirement(text).name) for text in needed]


def installed_versions() -> Versions:
    """Of everything that this Python finds."""
    return {
        canonicalize_name(name): found.version for found in metadata.distributions() if (name := found.metadata["Name"])
    }


def versions_off(installed: Versions, tested: Versions, needed: list[str]) -> Iterator[Finding]:
    """Libraries that are missing, and those of another version than the tested one; builds (`+cpu`) do not count."""
    missing = [name for name in needed if name not in installed]
    if missing:
        yield Finding("broken", f"{', '.join(missing)}: not installed.", INSTALL)
    off = [name for name in tested if name in installed and not same_version(installed[name], tested[name])]
    if off:
        each = ", ".join(f"{name} {installed[name]} (tested: {tested[name]})" for name in off)
        yield Finding("doubtful", f"installed off constraints.txt: {each}.", INSTALL)


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same release, whatever they were built for."""
    try:
        return Version(one).public == Version(other).public
    except InvalidVersion:
        return one == other


def load_of_others(cores: float) -> Iterator[Finding]:
    """Whether others keep the machine busy: what is timed then decides nothing."""
    if cores > QUIET:
        yield Finding(
            "doubtful",
            f"others keep {cores:.1f} cores of this machine busy: times will be doubtful, scores are not touched.",
            "Wait until they are done",
        )


def other_run(at_work: bool) -> Iterator[Finding]:
    """Whether another run is at work here, on the same clock."""
    if at_work:
        yield Finding(
            "doubtful",
            "another run is at work here: the times of both will be doubtful.",
            "Better one after the other",
        )


def disk(folder: Path, model_bytes: int, steps: int) -> Iterator[Finding]:
    """Whether models of this size fit where they are kept: one with its checkpoint, and all of the run's."""
    room = room_on_disk(folder, model_bytes, steps)
    place = f"{room.free / GIB:.1f} GiB are free on the disk of {folder}"
    if room.free < room.least:
        yield Finding(
            "broken",
            f"{place}, and one model with its checkpoint takes {room.least / GIB:.1f}.",
            "Free some space, or name a folder on another disk: export REPRODUCE_CACHE=path/to/folder",
        )
    elif room.free < room.most:
        yield Finding(
            "doubtful",
            f"{place}, and this run may store up to {room.most / GIB:.1f}.",
            "If the disk fills up, finished models are kept: free some space and repeat the command",
        )


def memory(available: int, model_bytes: int) -> Iterator[Finding]:
    """Whether training a model of this size fits into the memory that is free; both in bytes."""
    needed = least_memory(model_bytes)
    if available < needed:
        yield Finding(
            "doubtful",
            f"{available / GIB:.1f} GiB of memory are free, and training takes about {needed / GIB:.1f}: a run that "
            "swaps is slow and its times are worth nothing.",
            "Close what is not needed, or take a smaller SCALE",
        )
