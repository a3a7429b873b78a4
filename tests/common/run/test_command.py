"""Whose results go where: a user's own beside the record, the record by `make record` alone; nothing else changes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from filelock import FileLock
from kit.fake_paper import FakePaper

from common import cli
from common.errors import UserError
from common.records.measurements import read_measurements
from common.run import preflight, replication
from common.run.artifacts import default_root
from common.run.preflight import alone_at_work, check_room, check_writable, warn_if_busy

CHECKOUT = Path(__file__).resolve().parents[3]
OWN = ["run", "fake-paper"]
RECORD = ["record", "fake-paper"]


def values(folder: Path) -> list[float]:
    return [m.value for m in read_measurements(folder / "measurements.jsonl") if not m.timed]


# -- The record -------------------------------------------------------------------------------------------------------


def test_a_users_run_leaves_the_record_and_the_tables_as_they_are(fake: FakePaper) -> None:
    assert cli.main(RECORD) == 0
    before = fake.everything()
    assert any("/tables/" in path for path in before)
    fake.measures(second=20)
    assert cli.main(OWN) == 0
    now = fake.everything()
    assert {path: now[path] for path in before} == before
    assert {Path(path).relative_to(fake.results).parts[1] for path in now.keys() - before.keys()} == {
        "mini-builtin@local",
        "shapes@local",
    }
    assert values(fake.own_folder("mini-builtin")) == [1, 20, 3] and values(fake.run_folder("mini-builtin")) == [
        1,
        2,
        3,
    ]


def test_smoke_by_a_user_is_no_baseline_of_regress(fake: FakePaper) -> None:
    assert cli.main(["regress", "--update"]) == 0
    fake.measures(second=20)
    assert cli.main([*OWN, "--scale", "smoke"]) == 0
    assert cli.main([*RECORD, "--scale", "smoke"]) == 2
    fake.measures()
    assert cli.main(["regress"]) == 0


def test_own_data_are_no_record_and_need_no_shapes(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fake.root / "data" / "mine"
    folder.mkdir(parents=True)
    for split, count in (("train", 32), ("dev", 40)):
        rows = [f"{split} {i},{i % 2}" for i in range(count)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    options = ["--data", "files", "--data-dir", str(folder.parent), "--tasks", "mine"]
    assert cli.main([*RECORD, *options]) == 2
    assert "mine is your own" in capsys.readouterr().err and fake.calls() == []
    assert cli.main([*OWN, *options]) == 0
    assert fake.calls() == ["first", "second", "third"], "no shapes"
    assert "mine: 32 train and 40 dev rows read" in capsys.readouterr().err


def git(folder: Path, *arguments: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env={**os.environ, **identity}, capture_output=True, text=True, check=True).stdout


def test_a_checkout_is_clean_after_a_users_commands(fake: FakePaper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record, commit, then what a newcomer types: git sees no change."""
    readme = fake.root / "README.md"
    readme.write_text("<!-- scoreboard:begin -->\n<!-- scoreboard:end -->\n")
    (fake.folder / "README.md").write_text("<!-- facts:begin -->\n<!-- facts:end -->\n")
    for name, path in (("ROOT", fake.root), ("README", readme), ("TABLES", fake.root / "tables")):
        monkeypatch.setattr(replication, name, path)
    ignored = (CHECKOUT / ".gitignore").read_text()
    (fake.root / ".gitignore").write_text(f"{ignored}\ncache/\ncalls.log\n")
    assert cli.main(RECORD) == cli.main(["report"]) == 0
    git(fake.root, "init", "-q")
    git(fake.root, "add", ".")
    git(fake.root, "commit", "-q", "-m", "record")
    fake_log = fake.folder / "calls.log"
    assert fake_log.exists()
    for command in (OWN, [*OWN, "--scale", "smoke", "--seeds", "2"], ["report"], ["list"], ["plan", "fake-paper"]):
        assert cli.main(command) == 0
        assert git(fake.root, "status", "--porcelain") == "", command
    assert fake.own_folder("mini-builtin").is_dir()


# -- The last screen --------------------------------------------------------------------------------------------------


def test_the_last_screen_says_where_to_look_and_what_to_type(
    fake: FakePaper, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(RECORD) == 0
    capsys.readouterr()
    assert cli.main(OWN) == 0
    out = capsys.readouterr().out
    assert "Fake Paper: your run mini-builtin (1 seed" in out and "your run shapes (full size, random weights" in out
    assert "Of all 3 numbers of this run that can be compared with the record's, times left out, 3 agree" in out
    assert f"{fake.own_folder('mini-builtin')}/" in out and "make reproduce PAPER=fake_paper SEEDS=3" in out
    assert "not run" not in out


# -- Before the first step --------------------------------------------------------------------------------------------


def test_results_that_cannot_be_written_are_found_before_the_first_step(
    fake: FakePaper, capsys: pytest.CaptureFixture[str]
) -> None:
    (fake.results / fake.slug).mkdir(parents=True)
    (fake.own_folder()).write_text("a file in the way")
    assert cli.main([*OWN, "--scale", "smoke"]) == 2
    assert f"cannot write {fake.own_folder()}" in capsys.readouterr().err
    assert fake.calls() == []


def test_a_malformed_record_is_found_before_the_first_step(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fake.run_folder("base-files")
    folder.mkdir(parents=True)
    (folder / "measurements.jsonl").write_text("{\n")
    for command in (OWN, RECORD):
        assert cli.main(command) == 2
        assert "base-files/measurements.jsonl:1" in capsys.readouterr().err
    assert fake.calls() == []


def test_a_folder_is_looked_at_without_being_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


GIB = 2**30


@pytest.mark.parametrize(("free", "refused", "warned"), [(1, True, False), (30, False, True), (1000, False, False)])
def test_the_disk_is_looked_at_beforehand(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free: int,
    refused: bool,
    warned: bool,
) -> None:
    usage = preflight.shutil.disk_usage(tmp_path)._replace(free=free * GIB)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage)
    if refused:
        with pytest.raises(UserError, match=r"1.0 GiB are free .* expected at least 6.1"):
            check_room(tmp_path / "cache", GIB, 50)
    else:
        check_room(tmp_path / "cache", GIB, 50)
        assert ("may store up to 50.1" in capsys.readouterr().err) == warned
    check_room(tmp_path / "cache", 0, 50)


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for cores, expected in ((0.4, ""), (1.3, "others keep 1.3 cores")):
        monkeypatch.setattr(preflight, "busy_now", lambda cores=cores: cores)
        warn_if_busy()
        err = capsys.readouterr().err
        assert expected in err and bool(err) == bool(expected)


def test_another_run_at_work_is_said_and_hinders_nobody(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    locks = default_root() / "locks"
    locks.mkdir(parents=True)
    with FileLock(locks / "at-work.lock"):
        begun = time.monotonic()
        assert cli.main([*OWN, "--scale", "smoke"]) == 0
        assert time.monotonic() - begun < 30
    assert "another run is at work here" in capsys.readouterr().err
    with alone_at_work(default_root()):
        pass
    assert "another run" not in capsys.readouterr().err
