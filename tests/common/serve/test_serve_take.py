"""`reproduce take`: trained once, saved at the setting that was asked for; what makes no sense is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.toy_run import small_run, toy_task

from common import cli
from common.errors import UserError
from common.methods import Contender, find_method
from common.serve import load
from common.serve.take import _setting
from common.task_run import TaskRun


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_trained_once_and_answers_as_it_was_scored(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--tasks", "Sentiment", "--scale", "smoke"]
    assert cli.main(["take", "DeeBERT", str(tmp_path / "first"), *command]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'first'}: saved. Type: reproduce predict ") and "about" in err
    made = {path: path.stat().st_mtime_ns for path in (cache / "objects").iterdir()}
    assert cli.main(["take", "deebert", str(tmp_path / "second"), *command, "--setting", "S=0"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (cache / "objects").iterdir()} == made, "nothing is trained again"
    fast, slow = load(tmp_path / "first"), load(tmp_path / "second")
    assert fast.about.task == "sentiment" and slow.about.setting == "S=0"
    texts = ["a superb film"] * 3
    assert {a.exit_layer for a in slow(texts)} == {4}
    readme = (tmp_path / "first" / "README.md").read_text()
    assert "| accuracy, points |" in readme and "Nothing was timed." in readme


@pytest.fixture(scope="module")
def deebert(tmp_path_factory: pytest.TempPathFactory) -> Contender:
    toy = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)
    return find_method("DeeBERT").on(TaskRun.of(small_run(tmp_path_factory.mktemp("run"), toy), "toy", 0))


def test_without_a_name_the_setting_nearest_to_the_speed_is_taken(deebert: Contender) -> None:
    full = deebert.task_run.baseline_flops("tune").sum()

    def reached(speed: float) -> float:
        return float(full / deebert.flops("tune", _setting(deebert, "", speed)).sum())

    speeds = [full / deebert.flops("tune", setting).sum() for setting in deebert.settings]
    assert reached(100.0) == pytest.approx(max(speeds))
    assert reached(0.01) == pytest.approx(min(speeds))
    assert min(speeds) < max(speeds)


def test_a_setting_that_there_is_not_is_answered_with_those_that_there_are(deebert: Contender) -> None:
    with pytest.raises(UserError, match="DeeBERT has no setting 'S=nought'.* Settings: S="):
        _setting(deebert, "S=nought", 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["deebrt"], "unknown method 'deebrt'; did you mean 'deebert'?"),
        (["DeeBERT", "--tasks", "sentimant"], "no task 'sentimant': did you mean sentiment"),
        (["DeeBERT", "--tasks", "sentiment,paraphrase"], "--tasks is one task here"),
        (["DeeBERT", "--tasks", ""], "--tasks is one task here"),
        (["DeeBERT", "--speed", "fast"], "--speed is how many times fewer FLOPs"),
        (["DeeBERT", "--speed", "0"], "--speed is how many times fewer FLOPs"),
        (["DeeBERT", "--scale", "tiny"], "unknown scale 'tiny'"),
        (["DeeBERT", "--data", "files"], "needs the folder of the data sets"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(
    change: list[str], message: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method, *options = change
    command = ["take", method, str(tmp_path / "home"), "--tasks", "sentiment", "--scale", "smoke", *options]
    assert cli.main(command) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_it_looks_at_the_folder_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "something").touch()
    assert cli.main(["take", "nobody", str(tmp_path), "--tasks", "unknown"]) == 2
    assert "expected a new folder" in capsys.readouterr().err
