"""The command that saves a trained student and lets it answer."""

import argparse
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replications.sparse_distillation.distillation import FT, KD, Distillation
from replications.sparse_distillation.predictor import Predictor, main
from replications.sparse_distillation.take_home import trained

CHECKOUT = Path(__file__).resolve().parents[3]

# -- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))


def printed(predictor: Predictor, texts: list) -> str:
    rows = zip(predictor.predict(texts), texts, strict=True)
    return "".join(
        f"{p.label}\t{p.probability:.4f}\t{text if isinstance(text, str) else chr(9).join(text)}\n" for p, text in rows
    )


def test_texts_on_the_command_line(single: Predictor, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(home), "a great film", "", "not good"]) == 0
    assert capsys.readouterr().out == printed(single, ["a great film", "", "not good"])


def test_one_line_for_each_text(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(home), "a great\nfilm"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_texts_on_standard_input(
    single: Predictor, home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed("\ufeffgroße Gefühle\r\n\nnot good\x85not bad".encode())
    assert main(["predict", str(home)]) == 0
    assert capsys.readouterr().out == printed(single, ["große Gefühle", "", "not good\x85not bad"])


def test_nothing_on_standard_input(
    home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed(b"")
    assert main(["predict", str(home)]) == 0
    assert capsys.readouterr().out == ""


def test_pairs_are_parted_by_a_tab(
    double: Predictor, pair_home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed(b"a great film\tnot good\nfilm\t\n")
    assert main(["predict", str(pair_home)]) == 0
    assert main(["predict", str(pair_home), "film\tis"]) == 0
    assert capsys.readouterr().out == printed(double, [("a great film", "not good"), ("film", ""), ("film", "is")])


def test_single_texts_for_a_pair_student(
    pair_home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed(b"one\ttwo\nthree\n")
    assert main(["predict", str(pair_home)]) == 2
    assert "standard input, line 2: expected two texts with one tab" in capsys.readouterr().err


def test_pairs_for_a_single_student(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(home), "one", "two\tthree"]) == 2
    assert "text 2: expected one text without tabs" in capsys.readouterr().err


def test_bytes_that_are_no_text(home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]) -> None:
    typed(b"fine\ncaf\xe9\n")
    assert main(["predict", str(home)]) == 2
    assert "line 2: expected UTF-8, found the byte 0xe9 at column 4" in capsys.readouterr().err


def test_an_interruption_is_exit_code_130(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Predictor, __: object) -> Iterator[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict", interrupt)
    assert main(["predict", str(home), "text"]) == 130
    assert "interrupted" in capsys.readouterr().err


# -- Before it begins -------------------------------------------------------------------------------------------------

MODULE = "replications.sparse_distillation.predictor"


def test_another_python_is_told_which_one_to_take() -> None:
    """Without the environment's packages, as a system's own Python is."""
    command = [sys.executable, "-S", "-m", MODULE, "predict", "student", "text"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "torch is not installed" in done.stderr and f".venv/bin/python -m {MODULE}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_unlabelled_text_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    for split in ("train", "dev"):
        rows = [f"{split} {i},{i % 2}" for i in range(40)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    options = ["--task", "mine", "--scale", "smoke", "--data", "files", "--data-dir", str(folder.parent)]
    assert main(["save", str(tmp_path / "student"), *options]) == 2
    err = capsys.readouterr().err
    assert "mine: distillation needs unlabelled text" in err and "mine-unlabelled" in err
    assert not (tmp_path / "cache").exists()


# -- Trained and saved ------------------------------------------------------------------------------------------------


def test_save_trains_once_and_the_folder_answers_as_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    command = ["--task", "Sentiment", "--scale", "smoke"]
    assert main(["save", str(tmp_path / "first"), *command]) == 0
    assert "about" in capsys.readouterr().err
    trained = sorted((tmp_path / "cache" / "objects").iterdir())
    made = {path: path.stat().st_mtime_ns for path in trained}
    assert main(["save", str(tmp_path / "second"), *command]) == 0
    assert sorted((tmp_path / "cache" / "objects").iterdir()) == trained, "nothing is trained again"
    assert {path: path.stat().st_mtime_ns for path in trained} == made
    for name in ("student.safetensors", "labels.json", "design.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    options = {"task": "sentiment", "scale": "smoke", "data": "builtin", "data_dir": "", "seed": "0"}
    students = students_of(argparse.Namespace(**options), monkeypatch)
    texts = [e.text_a for e in students.dev]
    expected = [students.task.labels[i] for i in students.answers((KD, FT))]
    loaded = Predictor.load(tmp_path / "first")
    assert loaded.vocabulary.ngrams() == students.vocabulary(students.design.vocabulary_size).ngrams()
    assert [p.label for p in loaded.predict(texts)] == expected
    about = loaded.about
    assert (about.task, about.labels, about.teacher) == ("sentiment", ("negative", "positive"), "tiny")


def students_of(options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> Distillation:
    """The students that `trained` makes."""
    made: list[Distillation] = []
    folder = Distillation.folder
    monkeypatch.setattr(Distillation, "folder", lambda self, *rest: made.append(self) or folder(self, *rest))
    trained(options, lambda _: None)
    return made[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--task", "sentimant"], "no task 'sentimant': did you mean sentiment"),
        (["--task", "sentiment,paraphrase"], "--task is one task"),
        (["--seed", "-1"], "--seed is a training seed"),
        (["--seed", "x"], "--seed is a training seed"),
        (["--scale", "tiny"], "unknown scale 'tiny'"),
        (["--data", "web"], "unknown data source 'web'"),
        (["--data", "files"], "needs the folder of the data sets"),
    ],
)
def test_a_wrong_save_is_refused_before_anything_is_made(
    change: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    command = ["save", str(tmp_path / "home"), "--task", "sentiment", "--scale", "smoke"]
    assert main([*command, *change]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_save_looks_at_the_folder_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["save", str(home), "--task", "unknown"]) == 2
    assert "expected a new folder" in capsys.readouterr().err
