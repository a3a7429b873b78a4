"""The text of the tables: structure, escaping, missing numbers, and a compilation where pdflatex is there."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.paper import Column, Paper
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.grid import Entry
from common.reporting.latex import SPECIAL, escape
from common.reporting.markup import entry_text
from common.reporting.tables import write_tables

Measure = Callable[..., Measurement]


@pytest.fixture
def runs(measure: Measure) -> list[RunRecord]:
    measurements = [measure("score", 88.0 + seed, seed=seed, setting="a & b | c < 5 %") for seed in range(3)]
    measurements += [measure("saving", -0.001, seed=None, system="[x]_1", ci_low=-0.02, ci_high=0.02)]
    return [RunRecord("mini-files", tuple(measurements), environment={"git": {"commit": "c0ffee" * 7}})]


def test_a_missing_number_is_a_dash_and_never_zero(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    markdown = (tmp_path / "table1.md").read_text()
    assert "| *published* | base |  | 93.6 | \N{EM DASH} |" in markdown
    assert "|  | [x]_1 |  | \N{EM DASH} | 0 [-2, 2] |" in markdown
    assert "base &  & 93.6 & --- \\\\" in (tmp_path / "table1.tex").read_text()


def test_marks_and_spreads_are_shown_and_explained(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    markdown = (tmp_path / "table1.md").read_text()
    assert "93.0\N{DOUBLE DAGGER}" in markdown
    assert "70.0\N{DAGGER}" in markdown
    assert "89.0 ± 1.0" in markdown
    notes = markdown[markdown.rindex("|") :]
    for text in (
        "\N{DAGGER} not checked",
        "\N{DOUBLE DAGGER} computed",
        "± standard",
        "[low, high]",
        "Published: test set.",
    ):
        assert text in notes


def test_the_first_line_names_the_records(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    written = write_tables(paper, runs, tmp_path)
    assert [path.name for path in written] == ["table1.tex", "table1.md", "all.tex"]
    for path in written:
        first = path.read_text().splitlines()[0]
        assert first.startswith(("% Generated from", "<!-- Generated from"))
        assert "results/a-paper/mini-files (commit c0ffeec0ffee)" in first


def test_latex_is_balanced_and_every_row_has_every_column(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    for name in ("table1.tex", "all.tex"):
        text = (tmp_path / name).read_text()
        opened, closed = re.findall(r"\\begin\{(\w+)\}", text), re.findall(r"\\end\{(\w+)\}", text)
        assert sorted(opened) == sorted(closed)
        plain = re.sub(r"\\[{}\\]", "", text)
        assert plain.count("{") == plain.count("}")
    tabulars = re.findall(
        r"\\begin\{tabular\}\{(l+r+)\}(.*?)\\end\{tabular\}", (tmp_path / "table1.tex").read_text(), re.S
    )
    assert len(tabulars) == 2
    for columns, body in tabulars:
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert rows
        for row in rows:
            spans = sum(int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + spans == len(columns)


def test_special_characters_are_escaped(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    latex = (tmp_path / "table1.tex").read_text()
    assert r"a \& b \textbar{} c \textless{} 5 \%" in latex
    assert r"{[}x{]}\_1" in latex
    assert r"A \& B\_1, Table 1 (part 1 of 2)." in latex
    assert "a & b \\| c &lt; 5 %" in (tmp_path / "table1.md").read_text()


@given(st.text(alphabet=st.sampled_from("\\&%$#_{}~^<>|[]ab -"), max_size=30))
def test_escaped_text_has_no_live_special_character(text: str) -> None:
    rest = escape(text)
    for replacement in sorted(set(SPECIAL.values()) - {" "}, key=len, reverse=True):
        rest = rest.replace(replacement, "")
    assert not set(rest) & set("\\&%$#_{}~^<>|[]")


def test_every_markdown_row_has_every_column(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    for table in (tmp_path / "table1.md").read_text().split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_a_paper_without_numbers_gets_no_file(paper: Paper, tmp_path: Path) -> None:
    bare = paper.model_copy(update={"tables": (paper.tables[0].model_copy(update={"cells": ()}),)})
    assert write_tables(bare, [], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "decimals", "text"), [(-0.04, 1, "0.0"), (0.0, 0, "0"), (-0.06, 1, "-0.1"), (12.345, 2, "12.35")]
)
def test_numbers_are_rounded_without_a_negative_zero(value: float, decimals: int, text: str) -> None:
    assert entry_text(Entry(value + 1e-9), Column(metric="m", header="h", decimals=decimals)) == text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_document_compiles(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
