"""The command: what is broken makes its exit code, before a run and after one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kit.fake_paper import FakePaper

from common import cli
from common.doctor import command, machine
from common.records.measurements import Measurement, read_measurements, write_measurements

SMOKE = ["--scale", "smoke"]


@pytest.fixture
def healthy(fake: FakePaper, monkeypatch: pytest.MonkeyPatch) -> FakePaper:
    """The fake paper on a machine that nothing is wrong with."""
    monkeypatch.setattr(command, "busy_now", lambda: 0.0)
    monkeypatch.setattr(machine, "installed_versions", machine.tested_versions)
    fake.results.mkdir(exist_ok=True)
    return fake


@pytest.fixture
def doctor(healthy: FakePaper, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on the fake paper's results; returns exit code and page."""
    original = command.doctor
    monkeypatch.setattr(command, "doctor", lambda *given: original(*given, results=healthy.results))

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.main(["doctor", *arguments, *SMOKE])
        return code, capsys.readouterr().out

    return run


def test_before_any_run_the_machine_and_the_backbone_are_looked_at(doctor: Any) -> None:
    code, page = doctor("fake-paper")
    assert code == 0
    assert "  in order  Python, versions, load of others, other runs, writing" in page
    assert "the backbone tiny:\n  in order  precision of training, precision of timing, attention, padding" in page
    assert "fake_paper, before the run smoke-builtin:\n  in order  data and weights, disk, memory" in page
    assert "results/fake_paper:\n  unknown   stored runs: nothing has been run yet." in page
    assert page.endswith("1 unknown\n")


def test_after_a_run_its_files_are_looked_at(healthy: FakePaper, doctor: Any) -> None:
    assert cli.main(["run", "fake-paper", *SMOKE]) == 0
    code, page = doctor("fake-paper")
    assert code == 0
    assert "results/fake_paper/smoke-builtin@local:" in page
    assert "stored answers, predictions, baseline, label order, exits" in page


def test_without_a_paper_every_stored_run_is_looked_at(healthy: FakePaper, doctor: Any) -> None:
    for slug in ("one", "other"):
        folder = healthy.results / slug / "mini-builtin"
        folder.mkdir(parents=True)
        write_measurements(folder / "measurements.jsonl", [])
    code, page = doctor()
    assert code == 0
    assert "results/one/mini-builtin:" in page and "results/other/mini-builtin:" in page


def test_a_busy_machine_is_doubtful_and_no_failure(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "busy_now", lambda: 1.5)
    code, page = doctor()
    assert code == 0 and "doubtful  load of others: others keep 1.5 cores" in page and "1 doubtful" in page


def test_a_damaged_file_is_broken_and_the_others_are_looked_at(healthy: FakePaper, doctor: Any) -> None:
    assert cli.main(["run", "fake-paper", *SMOKE]) == 0
    folder = healthy.results / "another" / "mini-builtin"
    folder.mkdir(parents=True)
    (folder / "measurements.jsonl").write_text("{\n")
    code, page = doctor()
    assert code == 1
    assert "results/another/mini-builtin:\n  broken    files:" in page
    assert "results/fake_paper/smoke-builtin@local:" in page and "1 broken" in page


def raised(row: Measurement) -> Measurement:
    """The baseline's score ten points higher; everything else as it was."""
    is_score = (row.system, row.metric) == ("baseline", "score")
    return row.model_copy(update={"value": row.value + 10}) if is_score else row


def test_a_score_that_was_changed_by_hand_is_broken(healthy: FakePaper, doctor: Any) -> None:
    """On a copy of a committed record: its baseline is printed ten points too high."""
    committed = Path(__file__).resolve().parents[3] / "results" / "deebert" / "smoke-builtin"
    folder = healthy.results / "deebert" / "smoke-builtin@local"
    folder.mkdir(parents=True)
    for name in ("predictions.npz", "environment.json"):
        shutil.copy(committed / name, folder / name)
    rows = read_measurements(committed / "measurements.jsonl")
    changed = [raised(row) for row in rows]
    write_measurements(folder / "measurements.jsonl", rows)
    assert doctor()[0] == 0
    write_measurements(folder / "measurements.jsonl", changed)
    code, page = doctor()
    assert code == 1 and "broken    stored answers:" in page and "is printed as" in page


def test_data_that_cannot_be_read_are_broken(healthy: FakePaper, doctor: Any) -> None:
    code, page = doctor("fake-paper", "--tasks", "mood,nothing-of-the-sort")
    assert code in (1, 2), page


def test_bad_options_end_in_one_message(healthy: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["doctor", "--scale", "huge"], ["doctor", "nobody"]):
        assert cli.main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_it_writes_nothing(healthy: FakePaper, doctor: Any) -> None:
    assert cli.main(["run", "fake-paper", *SMOKE]) == 0
    before = healthy.everything()
    doctor("fake-paper")
    assert healthy.everything() == before
    assert json.loads((healthy.own_folder() / "environment.json").read_text())
