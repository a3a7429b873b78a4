"""The artifact store with real processes: races, and kill -9 at every step of storing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.run.artifacts import ArtifactStore, find_damage, recipe_key

RECIPE = {"kind": "backbone", "seed": 0}
NAME = "backbone"

# The maker writes `step` files into checkpoint/ one by one, resumes from those that are there, and logs every step that
# it takes. With argument `kill <place>` it kills itself at that place.
PROGRAM = """
import os, shutil, signal, sys, time
from pathlib import Path
import common.run.artifacts as artifacts
from common.run.artifacts import ArtifactStore

root, log, place = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def note(line):
    with log.open("a") as stream:
        stream.write(line + "\\n")

def make(folder):
    note("make")
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(exist_ok=True)
    for step in range(4):
        if (checkpoint / str(step)).exists():
            continue
        note(f"step {step}")
        time.sleep(0.05)
        (checkpoint / str(step)).write_text("x" * 1000)
        if place == f"step {step}":
            die()
    (folder / "model.bin").write_text("weights")
    if place == "end of make":
        die()

def before(owner, attribute, condition=lambda *a: True):
    original = getattr(owner, attribute)
    def wrapped(*arguments, **options):
        if condition(*arguments):
            die()
        return original(*arguments, **options)
    setattr(owner, attribute, wrapped)

def after(owner, attribute):
    original = getattr(owner, attribute)
    def wrapped(*arguments, **options):
        original(*arguments, **options)
        die()
    setattr(owner, attribute, wrapped)

if place == "before manifest":
    before(artifacts, "write_json")
elif place == "after manifest":
    after(artifacts, "write_json")
elif place == "after checkpoint removal":
    after(shutil, "rmtree")
elif place == "before rename":
    before(Path, "rename", lambda path, target: "partial" in path.parts)
elif place == "after rename":
    after(Path, "rename")

folder = ArtifactStore(root).get("backbone", {"kind": "backbone", "seed": 0}, make)
assert (folder / "model.bin").read_text() == "weights"
print(folder)
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    checkout = str(Path(__file__).resolve().parents[3])

    def run(place: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(program), str(tmp_path / "cache"), str(tmp_path / "log"), place],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": checkout},
        )

    return run


def log_of(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


PLACES_BEFORE_THE_MANIFEST = ["step 0", "step 2", "end of make", "before manifest"]
PLACES_AFTER_THE_MANIFEST = ["after manifest", "after checkpoint removal", "before rename", "after rename"]


@pytest.mark.parametrize("place", PLACES_BEFORE_THE_MANIFEST + PLACES_AFTER_THE_MANIFEST)
def test_a_kill_at_any_place_leaves_a_store_that_works(
    place: str, tmp_path: Path, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    killed = start(place)
    killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL
    finished = tmp_path / "cache" / "objects" / recipe_key(RECIPE)
    assert not finished.exists() or find_damage(finished) is None

    out, err = (again := start("nowhere")).communicate(timeout=30)
    assert again.returncode == 0, err
    assert Path(out.strip()) == finished and find_damage(finished) is None
    assert sorted(p.name for p in finished.iterdir()) == ["manifest.json", "model.bin"]
    assert not (tmp_path / "cache" / "partial" / recipe_key(RECIPE)).exists()
    # No step was taken twice, and a finished artifact was not made a second time.
    steps = [line for line in log_of(tmp_path) if line.startswith("step")]
    assert steps == [f"step {i}" for i in range(4)]
    assert log_of(tmp_path).count("make") == (2 if place in PLACES_BEFORE_THE_MANIFEST else 1)
    if place in PLACES_BEFORE_THE_MANIFEST:
        assert f"resuming {NAME}: it was interrupted" in err
    elif place == "after rename":
        assert err == ""
    else:
        assert "interrupted just before it was stored" in err


def test_a_kill_while_a_damaged_artifact_is_replaced(
    tmp_path: Path, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    first = start("nowhere")
    out, _ = first.communicate(timeout=30)
    (Path(out.strip()) / "model.bin").write_text("wEights")
    killed = start("before rename")
    killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL
    again = start("nowhere")
    _, err = again.communicate(timeout=30)
    assert again.returncode == 0, err
    assert find_damage(Path(out.strip())) is None


def test_two_processes_make_it_once_and_the_second_says_that_it_waits(
    tmp_path: Path, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    racers = [start("nowhere") for _ in range(3)]
    results = [racer.communicate(timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0], results
    assert len({out for out, _ in results}) == 1
    assert log_of(tmp_path).count("make") == 1


def test_who_waits_says_so_and_takes_over_when_the_first_dies(
    tmp_path: Path, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    """The operating system frees the lock of a dead process: nobody waits for a stale one."""
    holder = start("nowhere")
    deadline = time.monotonic() + 20
    # Its first step has begun, so that there is something to resume.
    while not list(tmp_path.glob("cache/partial/*/checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.005)
    holder.send_signal(signal.SIGSTOP)  # Holds the lock and does nothing.
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        if "waiting" in sentence:
            holder.kill()

    def make(folder: Path) -> None:
        (folder / "model.bin").write_text("weights")

    folder = ArtifactStore(tmp_path / "cache").get(NAME, RECIPE, make, say)
    holder.communicate(timeout=30)
    assert holder.returncode == -signal.SIGKILL
    assert (folder / "model.bin").read_text() == "weights"
    assert said == [
        f"{NAME}: another process is at work on it; waiting for it to end",
        f"resuming {NAME}: it was interrupted",
    ]
    assert json.loads((folder / "manifest.json").read_text())["name"] == NAME
