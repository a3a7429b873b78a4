"""Record files: whole or not at all, older ones still load, a broken line is named."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from common.errors import UserError
from common.records.measurements import (
    ClaimResult,
    Measurement,
    atomic_write,
    read_claims,
    read_measurements,
    write_json,
    write_measurements,
    write_text,
)

CHECKOUT = Path(__file__).resolve().parents[3]
ROW = Measurement(experiment="table1", system="x", metric="score", value=1.5, unit="points", seed=0, n=3)

VERSION_1 = (
    '{"schema_version":1,"experiment":"table1","system":"DeeBERT","task":"sst-2","metric":"score","value":90.5,'
    '"unit":"points","setting":"threshold-1","at":0.1,"seed":2,"n":872,"ci_low":88.1,"ci_high":92.4,'
    '"backbone":"MiniLM-L6-H384","timed":false,"scale":"mini","data":"files","note":""}\n'
)


def test_measurements_survive_writing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "measurements.jsonl"
    rows = [ROW, ROW.model_copy(update={"ci_low": 1.0, "ci_high": 2.0, "timed": True, "note": "é"})]
    write_measurements(path, rows)
    assert read_measurements(path) == rows
    assert len(path.read_text().splitlines()) == 2


def test_a_file_of_schema_version_1_loads(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(VERSION_1)
    (row,) = read_measurements(path)
    assert (row.value, row.at, row.ci_high, row.task) == (90.5, 0.1, 92.4, "sst-2")


@pytest.mark.parametrize("change", ['"schema_version":99', '"schema_version":99,"unheard_of":1'])
def test_a_file_of_a_newer_schema_is_refused_with_one_message(tmp_path: Path, change: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(VERSION_1 + VERSION_1.replace('"schema_version":1', change))
    with pytest.raises(UserError, match=r"m\.jsonl: written by a newer version .*schema 99.*update the checkout"):
        read_measurements(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused_where_it_is_made(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Measurement(experiment="t", system="x", metric="m", value=bad, unit="points")


@pytest.mark.parametrize(
    ("line", "named"),
    [("{", "line"), ('{"experiment": "t"}', "system"), (VERSION_1.replace("90.5", '"many"').strip(), "value")],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(VERSION_1 + line + "\n")
    with pytest.raises(UserError, match=rf"m\.jsonl:2: {named}"):
        read_measurements(path)


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_measurements(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="cannot read"):
        read_claims(tmp_path / "none.json")


def test_claims_survive_writing(tmp_path: Path) -> None:
    claim = ClaimResult(
        id="c",
        statement="s",
        type="empirical",
        subject="quality",
        over="one",
        op=">=",
        no_effect=0.0,
        unit="points",
        published=0.4,
        measured=0.5,
        ci_low=0.45,
        ci_high=0.55,
        verdict="reproduced",
        run="mini-files",
    )
    write_json(tmp_path / "claims.json", [claim.model_dump()])
    assert read_claims(tmp_path / "claims.json") == [claim]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        assert path.read_text() == "old", "nothing may reach the file before it is whole"
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from common.records.measurements import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "figure[1].png"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=CHECKOUT)
    (left,) = tmp_path.iterdir()
    assert left != path
    foreign = tmp_path / ".figure[1].png.orig"
    foreign.touch()
    with atomic_write(path) as mine:
        write_text(path, "another thread's")
        assert mine.exists(), "a process that is alive is still writing"
    assert set(tmp_path.iterdir()) == {path, foreign}


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*file\.txt: No space left on device\. Nothing was changed"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
