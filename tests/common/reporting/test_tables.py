"""The text of the tables: structure, escaping, missing numbers, spreads and seeds."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.paper import Paper, TableMetric
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.cells import Entry
from common.reporting.latex import SPECIAL, escape
from common.reporting.markup import entry_text
from common.reporting.tables import write_tables

Measure = Callable[..., Measurement]
SCORE = TableMetric(metric="score", header="score", decimals=1)


@pytest.fixture
def runs(measure: Measure) -> list[RunRecord]:
    measurements = [measure("score", 88.0 + seed, seed=seed, setting="a & b | c < 5 %") for seed in range(3)]
    measurements += [measure("score", 50.9, seed=seed, system="constant answer") for seed in range(3)]
    measurements += [measure("saving", -0.001, seed=0, system="[x]_1", ci_low=-0.02, ci_high=0.02)]
    measurements += [measure("score", 60.0 + seed, seed=seed, setting="t_1 (dev-tuned)") for seed in range(2)]
    return [RunRecord("mini-files", tuple(measurements), environment={"git": {"commit": "c0ffee" * 7}})]


def test_a_missing_number_is_a_dash_and_never_zero(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    markdown = (tmp_path / "table1.md").read_text()
    assert "| base |  | 93.6 | \N{EM DASH} |" in markdown
    assert "base &  & 93.6 & ---" in (tmp_path / "table1.tex").read_text()


def test_what_the_records_no_longer_give_is_removed(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    for stale in ("table9.tex", "table9.md"):
        (tmp_path / stale).write_text((tmp_path / stale.replace("9", "1")).read_text())
    (tmp_path / "notes.md").write_text("by hand\n")
    write_tables(paper, runs, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*written, "notes.md"])


def test_spreads_seeds_and_marks_are_shown_and_explained(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    markdown = (tmp_path / "table1.md").read_text()
    for text in (
        "mean ± standard deviation over 3 seeds.",
        "93.0\N{DOUBLE DAGGER}",
        "70.0\N{DAGGER}",
        "89.0 ± 1.0",
        "| [x]_1 |  | \N{EM DASH} | 0 (1) |",
        "| constant answer |  | \N{EM DASH} | 50.9 |",
    ):
        assert text in markdown
    notes = markdown[markdown.rindex("|") :]
    for text in ("\N{DAGGER} not checked", "\N{DOUBLE DAGGER} computed", "(k) over k", "no ±", "Published: test set."):
        assert text in notes


def test_spreads_and_intervals_are_never_in_one_table(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    main, appendix = (tmp_path / "table1.tex").read_text(), (tmp_path / "table1-appendix.tex").read_text()
    tables = [part.split(r"\toprule")[1] for part in (main + appendix).split(r"\begin{table}")[1:]]
    kinds = [(r"$\pm$" in table, bool(re.search(r"\{\[\}\$-\$2, 2", table))) for table in tables]
    assert kinds == [(True, False), (False, False), (True, False), (False, True)]
    assert "t\\_1 (dev-tuned)" not in main
    assert "60.5 $\\pm$ 0.7" in appendix


def test_the_first_line_names_the_records(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    written = write_tables(paper, runs, tmp_path)
    stems = ["table1", "table1-appendix"]
    assert [path.name for path in written] == [f"{s}.{e}" for s in stems for e in ("tex", "md")] + ["all.tex"]
    for path in written:
        first = path.read_text().splitlines()[0]
        assert first.startswith(("% Generated from", "<!-- Generated from"))
        assert "results/a-paper/mini-files (commit c0ffeec0ffee)" in first


def test_the_same_records_give_the_same_bytes(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    first, second = (write_tables(paper, runs, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_latex_is_balanced_and_every_row_has_every_column(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    for name in ("table1.tex", "table1-appendix.tex", "all.tex"):
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
    assert r"A \& B\_1, Table 1, continued." in latex
    assert "a & b \\| c &lt; 5 %" in (tmp_path / "table1.md").read_text()


@given(st.text(alphabet=st.sampled_from('\\&%$#_{}~^<>|[]ab -"`'), max_size=30))
def test_escaped_text_has_no_live_special_character(text: str) -> None:
    rest = escape(text)
    for replacement in sorted(set(SPECIAL.values()) - {" "}, key=len, reverse=True):
        rest = rest.replace(replacement, "")
    assert not set(rest) & set("\\&%$#_{}~^<>|[]")


def test_quotations_open_and_close(paper: Paper) -> None:
    assert escape('rows "BERT" are `teacher` here') == "rows ``BERT'' are `teacher' here"


def test_every_markdown_row_has_every_column(paper: Paper, runs: list[RunRecord], tmp_path: Path) -> None:
    write_tables(paper, runs, tmp_path)
    for name in ("table1.md", "table1-appendix.md"):
        for table in (tmp_path / name).read_text().split("\n\n"):
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
    metric = TableMetric(metric="m", header="h", decimals=decimals)
    assert str(entry_text(Entry(value + 1e-9), metric)) == text


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (Entry(80.0, 3, sd=2.04), "80.0 ± 2.0"),
        (Entry(80.0, 3, sd=0.04), "80.0 ± <0.1"),
        (Entry(80.0, 3), "80.0"),
        (Entry(80.0, 2, sd=1.0), "80.0 ± 1.0 (2)"),
        (Entry(80.0, 1), "80.0 (1)"),
        (Entry(80.0), "80.0"),
        (Entry(80.0, 0, low=79.0, high=81.0, rounds=2), "80.0 [79.0, 81.0] n=2 (0)"),
        (None, "\N{EM DASH}"),
    ],
)
def test_a_number_says_its_spread_and_its_own_seeds(entry: Entry | None, text: str) -> None:
    assert str(entry_text(entry, SCORE, seeds=3)) == text
