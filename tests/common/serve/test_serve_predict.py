"""`reproduce predict`: texts in, JSON Lines out; what cannot be read ends in one message."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common import cli
from common.serve import load, predict

CHECKOUT = Path(__file__).resolve().parents[3]

Printed = Callable[..., list[dict]]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Runs the command, which must succeed; gives the objects that it prints."""

    def run(*arguments: object) -> list[dict]:
        assert cli.main(["predict", *map(str, arguments)]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command, which must end with exit code 2 and one line; gives the line."""

    def run(*arguments: object) -> str:
        assert cli.main(["predict", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("reproduce: ") and err.count("\n") == 1, err
        return err

    return run


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def expected(folder: Path, texts: list) -> list[dict]:
    return [{"label": a.label, "probability": a.probability, "exit_layer": a.exit_layer} for a in load(folder)(texts)]


TEXTS = ["good film", 'bad slow plot, "dull"', "große Gefühle"]


# -- What it reads ----------------------------------------------------------------------------------------------------


def test_lines_in_order(saved: Path, tmp_path: Path, printed: Printed) -> None:
    path = written(tmp_path / "texts.txt", "\ufeff" + "\r\n".join(TEXTS) + "\n")
    assert printed(saved / "single", path) == expected(saved / "single", TEXTS)


@pytest.mark.parametrize("name", ["texts.csv", "texts.CSV", "texts.csv.gz"])
def test_csv_by_the_files_name(saved: Path, tmp_path: Path, printed: Printed, name: str) -> None:
    rows = "id,Text\n" + "".join(f'{i},"{text.replace(chr(34), chr(34) * 2)}"\n' for i, text in enumerate(TEXTS))
    data = rows.encode()
    path = written(tmp_path / name, gzip.compress(data) if name.endswith(".gz") else data)
    assert printed(saved / "single", path) == expected(saved / "single", TEXTS)


def test_the_format_that_is_asked_for_counts(saved: Path, tmp_path: Path, printed: Printed) -> None:
    path = written(tmp_path / "texts.csv", "".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert printed(saved / "single", path, "--format", "jsonl") == expected(saved / "single", TEXTS)


def test_pairs_in_every_format(saved: Path, tmp_path: Path, printed: Printed) -> None:
    pairs = [("good film", "film"), ("bad", "plot film")]
    wanted = expected(saved / "pair", pairs)
    tab = "".join("\t".join(pair) + "\n" for pair in pairs)
    objects = "".join(json.dumps({"question": a, "answer": b, "id": 7}) + "\n" for a, b in pairs)
    assert printed(saved / "pair", written(tmp_path / "p", tab)) == wanted
    assert printed(saved / "pair", written(tmp_path / "p.tsv", "premise\thypothesis\n" + tab)) == wanted
    named = ["--columns", "question, answer"]
    assert printed(saved / "pair", written(tmp_path / "p.jsonl", objects), *named) == wanted


def test_an_encoder_answers_and_says_after_how_many_layers(saved: Path, tmp_path: Path, printed: Printed) -> None:
    path = written(tmp_path / "texts", "\n".join(TEXTS))
    answers = printed(saved / "encoder", path)
    assert answers == expected(saved / "encoder", TEXTS) and {a["exit_layer"] for a in answers} == {4}


def test_nothing_in_nothing_out(saved: Path, tmp_path: Path, printed: Printed) -> None:
    assert printed(saved / "single", written(tmp_path / "texts", "")) == []


def test_standard_input_streams(saved: Path) -> None:
    command = [sys.executable, "-m", "common.cli", "predict", str(saved / "single")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    data = "\n".join(TEXTS).encode()
    done = subprocess.run(command, cwd=CHECKOUT, input=data, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected(saved / "single", TEXTS)


def test_whoever_types_gets_each_answer_at_once(
    saved: Path, tmp_path: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    windows: list[int] = []
    stream = predict.Model.stream
    monkeypatch.setattr(predict.Model, "stream", lambda self, texts, n: windows.append(n) or stream(self, texts, n))
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(predict, "STANDARD_INPUT", written(tmp_path / "typed", "good film\n"))
    assert len(printed(saved / "single")) == len(printed(saved / "single", tmp_path / "typed")) == 1
    assert windows == [1, predict.WINDOW]


# -- What is odd is said, and answered --------------------------------------------------------------------------------


def test_empty_lines_are_answered_and_counted(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "texts", "good film\n\n   \nbad plot\n")
    assert cli.main(["predict", str(saved / "single"), str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 4
    assert err == f"reproduce: 2 texts are empty (the first: {path}:2): the answer says nothing about them\n"


def test_a_text_of_a_megabyte_is_answered_by_its_beginning(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "texts", "good film\n" + "bad plot " * 120_000 + "\n")
    assert path.stat().st_size > 2**20
    assert cli.main(["predict", str(saved / "encoder"), str(path)]) == 0
    out, err = capsys.readouterr()
    begins = load(saved / "encoder")(["bad plot " * 500])[0]
    assert json.loads(out.splitlines()[1])["probability"] == pytest.approx(begins.probability, abs=1e-5)
    limit = load(saved / "encoder").about.reading.max_length  # type: ignore[union-attr]
    assert err == (
        f"reproduce: 1 text is longer than 10,000 characters (the first: {path}:2): the model reads the first {limit} "
        "tokens\n"
    )


# -- What cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "name", "data", "more", "message"),
    [
        ("single", "t", b"fine\ncaf\xe9\n", [], "t:2: byte 0xe9 at position 4 of the line is not UTF-8. Convert"),
        ("single", "t", "fine\n".encode("utf-16"), [], "is UTF-16, not UTF-8"),
        ("single", "t", b"one\ttwo\n", [], "t:1: expected one text without tabs, found 1 tabs"),
        ("pair", "t", b"one\ttwo\nthree\n", [], "t:2: expected two texts with one tab between them, found 0 tabs"),
        ("single", "t", b"x", ["--format", "jsno"], "unknown format 'jsno'; did you mean 'jsonl'?"),
        ("single", "t", b"x", ["--columns", "text"], "lines of text have no columns: drop --columns"),
        ("single", "t.csv", b"review,stars\nx,1\n", [], "no column of texts: text or sentence; columns found: review"),
        ("single", "t.csv", b"text,sentence\nx,y\n", [], "several may be the text: text or sentence"),
        ("single", "t.csv", b"text\nx\n", ["--columns", "review"], "no column of texts: review; columns found: text"),
        ("pair", "t.csv", b"text\nx\n", ["--columns", "text"], "--columns: expected two names"),
        ("single", "t.csv", b"text,id\nx\n", [], "t.csv:2: expected 2 fields (text, id), found 1"),
        ("single", "t.jsonl", b'{"text": "x"}\n{"text": null}\n', [], "t.jsonl:2: no column 'text'"),
        ("single", "t.jsonl", b"{", [], "t.jsonl:1: not valid JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_message(
    saved: Path, tmp_path: Path, refused: Callable[..., str], folder: str, name: str, data: bytes, more: list[str],
    message: str,
) -> None:  # fmt: skip
    assert message in refused(saved / folder, written(tmp_path / name, data), *more)


def test_a_file_that_is_not_there_is_named(saved: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert f"cannot read {tmp_path / 'none.csv'}: No such file" in refused(saved / "single", tmp_path / "none.csv")


# -- It starts at once ------------------------------------------------------------------------------------------------


def test_a_bag_of_words_waits_for_nothing_that_trains(saved: Path) -> None:
    code = "import sys; from common.serve import load; load(sys.argv[1])(['x']); print(*sys.modules)"
    command = [sys.executable, "-c", code, str(saved / "single")]
    loaded = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()
    assert not {"accelerate", "datasets", "evaluate", "optuna", "transformers"} & set(loaded)


def test_an_encoder_waits_for_nothing_that_trains(saved: Path) -> None:
    code = "import sys; from common.serve import load; load(sys.argv[1])(['x']); print(*sys.modules)"
    command = [sys.executable, "-c", code, str(saved / "encoder")]
    loaded = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()
    assert not {"datasets", "evaluate", "optuna", "sklearn", "common.task_run", "common.methods"} & set(loaded)
