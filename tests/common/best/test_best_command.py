"""`reproduce best` from the command line, on a CSV of one's own at the smoke scale, and what it refuses."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable
from pathlib import Path

import pytest
from kit.invented_clock import clock

from common import cli
from common.best import command
from common.best import search as searching
from common.run import replication
from common.tasks import load_task
from common.tasks.task import Example

TIMES = {"TF-IDF": 0.05, "bare layers": 0.2, "1 of": 0.3, "2 of": 0.5, "DeeBERT": 0.6, "3 of": 0.8}
"""As shares of the baseline's."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts that an untrained encoder learns in seconds, as anyone would have them."""
    mood, folder = load_task("mood", "builtin", None), tmp_path_factory.mktemp("data")
    write(folder / "mine" / "train.csv", mood.train[:480], mood.labels)
    write(folder / "mine" / "dev.csv", mood.dev[:200], mood.labels)
    write(folder / "few" / "train.csv", mood.train[:80], mood.labels)
    write(folder / "few" / "dev.csv", mood.dev[:60], mood.labels)
    return folder


def write(path: Path, examples: Iterable[Example], labels: tuple[str, ...]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("text", "label"))
        rows.writerows((e.text_a, labels[int(e.label)]) for e in examples)


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that results go to; the times are invented, the machine may be busy."""
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(searching, "timed", clock(lambda arm: next((t for n, t in TIMES.items() if n in arm), 1.0)))
    monkeypatch.setattr(command, "best", functools.partial(command.best, results=tmp_path / "results"))
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one test trained the next need not."""
    return tmp_path_factory.mktemp("models")


def arguments(data: Path, *more: str, task: str = "mine", max_loss: str = "3") -> list[str]:
    files = ["--data", "files", "--data-dir", str(data), "--tasks", task]
    return ["best", "--scale", "smoke", *files, "--max-loss", max_loss, *more]


# -- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--max-loss", "-1"], ["MAX_LOSS is how many points", "got '-1'", "Type MAX_LOSS=1"]),
        (["--max-loss", "little"], ["got 'little'", "Type MAX_LOSS=1"]),
        (["--max-ms", "0"], ["MAX_MS is how many milliseconds", "Type MAX_MS=5"]),
        (["--batch", "x"], ["BATCH is how many texts", "Type BATCH=32"]),
        (["--seeds", "3"], ["one model is taken home", "got SEEDS=3"]),
        (["--tasks", ""], ["a system is chosen for one task; got none. Type TASKS=mine"]),
        (["--tasks", "mine,few"], ["got mine, few"]),
        (["--tasks", "few"], ["few: 10 texts held back from train are too few for a choice", "Give more rows"]),
        (["--batch", "201"], ["BATCH=201: mine has 200 texts in dev to time"]),
        (["--methods", "DeeBRT"], ["unknown method 'DeeBRT'; did you mean 'deebert'"]),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(
    data: Path, at_home: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: list[str]
) -> None:
    assert cli.main([*arguments(data), *options]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("reproduce: ") and err.count("\n") == 1, err
    assert all(part in err for part in expected), err
    assert not (at_home / "cache").exists() and not (at_home / "results").exists()


def test_nothing_is_written_over_silently(data: Path, at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (at_home / "model").mkdir()
    (at_home / "model" / "weights").touch()
    assert cli.main([*arguments(data), "--to", str(at_home / "model")]) == 2
    assert "something lies in" in (err := capsys.readouterr().err) and "Type BEST_DIR=" in err
    assert [path.name for path in (at_home / "model").iterdir()] == ["weights"]


def test_by_default_a_system_lies_beside_the_results_where_git_does_not_look() -> None:
    from argparse import Namespace

    from common.run.runner import Request

    asked = {"scale": "smoke", "data": "builtin", "data_dir": "", "seeds": "1", "tasks": "mood", "encoder": ""}
    request = Request.parse(Namespace(**asked, timing_device="auto"))
    folder = command.Wish.of(request, "").folder
    assert folder == replication.RESULTS / "best" / "mood@local"
    assert "results/**/*@local/" in (replication.ROOT / ".gitignore").read_text().splitlines()


# -- The whole way ----------------------------------------------------------------------------------------------------


def test_the_whole_way_from_a_csv_to_a_folder_that_answers(
    data: Path, at_home: Path, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.serve import load

    monkeypatch.setenv("REPRODUCE_CACHE", str(models))
    home = at_home / "home"
    asked = arguments(data, "--methods", "static ladder,TF-IDF,DeeBERT", "--to", str(home))
    assert cli.main(asked) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 5, out
    assert lines[0].startswith("Take ") and "loses at most 3 points on mine, the fastest one by one" in lines[0]
    assert "200 texts of dev" in lines[1] and "60 others" in lines[1]
    assert "in batches of 32" in lines[2] and lines[3].startswith("Second: ")
    assert lines[4].endswith(f"predict {home} < texts")
    assert err.startswith("mine seed 0: about ") and "cheapest first: baseline, " in err
    (record,) = (at_home / "results" / "best").iterdir()
    assert record.name == "smoke-files-mine@local" and (record / "measurements.jsonl").exists()
    answers = load(home)([text for text in ("one two", "three")])
    assert {answer.label for answer in answers} <= set(load_task("mood", "builtin", None).labels)
    readme = (home / "README.md").read_text()
    assert "were held back from training; the numbers are of dev, on which no setting was chosen." in readme
    # What is there is neither trained nor written again.
    assert cli.main(asked) == 2 and "something lies in" in capsys.readouterr().err


def test_what_nothing_meets_ends_in_the_nearest_and_no_folder(
    data: Path, at_home: Path, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRODUCE_CACHE", str(models))
    home = at_home / "home"
    asked = arguments(data, "--methods", "static ladder", "--to", str(home), "--max-ms", "0.0001", max_loss="100")
    assert cli.main(asked) == 2
    out, err = capsys.readouterr()
    assert out == "" and not home.exists()
    message = err.splitlines()[-1]
    assert message.startswith(
        "reproduce: mine: nothing faster than the baseline loses at most 100 points and takes at "
    )
    assert "nearest is static ladder (" in message and "Type MAX_MS=" in message
    assert (at_home / "results" / "best" / "smoke-files-mine@local" / "measurements.jsonl").exists()
