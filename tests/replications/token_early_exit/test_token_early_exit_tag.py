"""The command that tags a text: CoNLL out, the model that a run would train, and bad input refused."""

from pathlib import Path

import numpy as np
import pytest
from kit.toy_tagging import tagging_run, toy_tagging

from common.run.replication import Run
from replications.token_early_exit import tag

COMMAND = ["--task", "toy", "--scale", "smoke"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tagging_run(tmp_path_factory.mktemp("run"), toy_tagging())


@pytest.fixture(autouse=True)
def on_the_toy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tag, "bare_run", lambda request, tell: run)


def write(folder: Path, text: str) -> str:
    (folder / "notes.txt").write_text(text, encoding="utf-8")
    return str(folder / "notes.txt")


def test_words_come_out_with_their_tags_and_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["anna saw paris", "", "  mary smith  ", *["the paris"] * 40]
    assert tag.main([write(tmp_path, "\n".join(lines)), *COMMAND, "--speed", "3"]) == 0
    blocks = [block.split("\n") for block in capsys.readouterr().out.strip().split("\n\n")]
    assert [[row.split("\t")[0] for row in block] for block in blocks] == [line.split() for line in lines if line]
    rows = [row.split("\t") for block in blocks for row in block]
    assert {row[1] for row in rows} <= set(toy_tagging().tags)
    assert {int(row[2]) for row in rows} <= {1, 2, 3, 4}


def test_at_full_depth_it_answers_as_the_model_did_on_dev(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = run.tagging("toy").dev
    assert tag.main([write(tmp_path, "\n".join(" ".join(s.words) for s in dev)), *COMMAND, "--speed", "1"]) == 0
    rows = [row.split("\t") for row in capsys.readouterr().out.split("\n") if row]
    tokee, rule = tag.chosen(tag._parser().parse_args(["x", *COMMAND, "--speed", "1"]))
    expected = tokee.outcome("dev", rule).answers
    assert [row[1] for row in rows] == [tokee.tagging_run.task.tags[t] for t in expected]
    assert {row[2] for row in rows} == {"4"}
    assert np.all(tokee.outcome("dev", rule).exits == 4)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("anna", ["--speed", "5"], "a speed is 1 .nobody leaves early. or 2, 3, 4; got '5'"),
        ("anna\n" + "a " * 600, [], r"notes.txt:2: the sentence has 600 words in 602 pieces"),
        ("anna", ["--data", "disk"], "unknown data source 'disk'"),
        ("anna", ["--data", "files"], "DATA_DIR"),
    ],
)
def test_bad_input_ends_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, options: list[str], message: str
) -> None:
    import re

    assert tag.main([write(tmp_path, text), *COMMAND, *options]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_missing_text_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tag.main([str(tmp_path / "none.txt"), *COMMAND]) == 2
    assert "cannot read" in capsys.readouterr().err
