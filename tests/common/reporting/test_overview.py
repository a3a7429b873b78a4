"""The text of `make list`, and the whole report on a folder of records."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import UserError
from common.paper import Paper
from common.records.claims import Cell, Decision
from common.records.effects import Component, Effect
from common.records.measurements import Measurement, write_measurements, write_text
from common.records.runs import RunRecord, find_runs
from common.reporting.blocks import markers, update_block
from common.reporting.figures import SUFFIXES
from common.reporting.made import Made
from common.reporting.overview import overview
from common.reporting.report import report, verdict_lines

Measure = Callable[..., Measurement]
BEGIN, END = markers("scoreboard")
FACTS = "\n".join(markers("facts"))


@pytest.fixture
def results(tmp_path: Path, measure: Measure) -> Path:
    folder = tmp_path / "results"
    files = [measure("score", 88.0, seed=0), measure("saving", 0.4, seed=0)]
    write_measurements(folder / "a-paper" / "mini-files" / "measurements.jsonl", files)
    smoke = [m.model_copy(update={"scale": "smoke", "value": 12.3}) for m in files[:2]]
    write_measurements(folder / "a-paper" / "smoke-builtin" / "measurements.jsonl", smoke)
    return folder


def replication_of(paper: Paper, tmp_path: Path) -> Any:
    """What the report needs of a replication; the claim `saves` is decided, 0.41 with an error of 0.01."""
    saved = Decision((Cell("sst-2", Effect(0.41, (Component(1e-4, 1e-4, 1e9),), 100, 1), "sst-2"),))
    folder = tmp_path / "replications" / "a-paper"
    return SimpleNamespace(paper=paper, folder=folder, slug=paper.slug, deciders=lambda: {"saves": lambda _: saved})


@pytest.fixture
def reported(paper: Paper, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What `make tables` made. Figures are files with a word in them: drawing one takes a second."""

    def write_figures(paper: Paper, run: RunRecord, folder: Path) -> list[Path]:
        paths = [folder / f"figure1{suffix}" for suffix in SUFFIXES]
        for path in paths:
            write_text(path, "a figure")
        return paths

    monkeypatch.setattr("common.reporting.report.write_figures", write_figures)
    return first_report(paper, tmp_path)


def first_report(paper: Paper, tmp_path: Path) -> list[Path]:
    """With the pages that people wrote at hand."""
    readme = tmp_path / "README.md"
    readme.write_text(f"# head\n\n{BEGIN}\nold\n{END}\n\ntail\n")
    folder = tmp_path / "replications" / "a-paper"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"# A paper\n\n{FACTS}\n")
    return again(paper, tmp_path)


def again(paper: Paper, tmp_path: Path) -> list[Path]:
    """`make tables` on the folder of records."""
    made, readme = Made(tmp_path / "made"), tmp_path / "README.md"
    return report([replication_of(paper, tmp_path)], tmp_path / "results", tmp_path / "tables", readme, made)


def test_a_report_writes_verdicts_figures_tables_and_the_summary(paper: Paper, results: Path, tmp_path: Path) -> None:
    written = first_report(paper, tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in written) == [
        "README.md",
        "replications/a-paper/README.md",
        "results/a-paper/mini-files/claims.json",
        "results/a-paper/mini-files/figures/figure1.pdf",
        "results/a-paper/mini-files/figures/figure1.png",
        "results/a-paper/smoke-builtin/claims.json",
        "results/a-paper/smoke-builtin/figures/figure1.pdf",
        "results/a-paper/smoke-builtin/figures/figure1.png",
        "results/ledger.csv",
        "results/ledger.json",
        "results/ledger.md",
        "results/ledger.tex",
        "tables/a-paper/all.tex",
        "tables/a-paper/table1.md",
        "tables/a-paper/table1.tex",
        "tables/not-run.md",
    ]
    claims = json.loads((tmp_path / "results/a-paper/mini-files/claims.json").read_text())
    assert [(claim["id"], claim["verdict"]) for claim in claims] == [
        ("saves", "reproduced"),
        ("keeps", "not run"),
        ("looks", "not run"),
    ]


def test_untrained_runs_stay_out_of_tables_and_claims(reported: list[Path], tmp_path: Path) -> None:
    for path in (tmp_path / "replications/a-paper/README.md", tmp_path / "tables/a-paper/table1.md"):
        text = path.read_text()
        assert "mini-files" in text
        assert "smoke" not in text
        assert "12.3" not in text


def test_reporting_twice_makes_nothing_again(reported: list[Path], paper: Paper, tmp_path: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in reported}
    assert sorted(again(paper, tmp_path)) == sorted(reported)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in reported} == before


def test_what_is_made_once_more_has_the_same_bytes(reported: list[Path], paper: Paper, tmp_path: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in reported}
    shutil.rmtree(tmp_path / "made")
    again(paper, tmp_path)
    for path, (content, file) in before.items():
        assert path.read_bytes() == content and path.stat().st_ino != file


RUN, TABLE = "results/a-paper/mini-files", "tables/a-paper/table1.md"


def another_number(folder: Path) -> None:
    path = folder / RUN / "measurements.jsonl"
    path.write_text(path.read_text().replace("88.0", "77.0"))


def other_code(folder: Path) -> None:
    (folder / "replications/a-paper/claims.py").write_text("DECIDERS = {}\n")


def no_table(folder: Path) -> None:
    (folder / TABLE).unlink()


def a_table_edited_by_hand(folder: Path) -> None:
    (folder / TABLE).write_text((folder / TABLE).read_text().replace("88.0", "99.9"))


def no_verdicts(folder: Path) -> None:
    (folder / RUN / "claims.json").unlink()


def no_ledger(folder: Path) -> None:
    (folder / "results/ledger.csv").unlink()


def a_scoreboard_edited_by_hand(folder: Path) -> None:
    (folder / "README.md").write_text((folder / "README.md").read_text().replace("| 1 |", "| 9 |"))


@pytest.mark.parametrize(
    ("spoil", "remade"),
    [
        (another_number, {RUN, "tables/a-paper", "."}),
        (other_code, {RUN, "results/a-paper/smoke-builtin", "tables/a-paper", "."}),
        (no_table, {"tables/a-paper"}),
        (a_table_edited_by_hand, {"tables/a-paper"}),
        (no_verdicts, {RUN}),
        (no_ledger, {"."}),
        (a_scoreboard_edited_by_hand, {"."}),
    ],
)
def test_what_changed_is_made_again_and_nothing_else(
    reported: list[Path], paper: Paper, tmp_path: Path, spoil: Callable[[Path], None], remade: set[str]
) -> None:
    """Of the run's folder, the paper's tables, and the pages over all papers, by a file of each."""
    pieces = {
        RUN: f"{RUN}/figures/figure1.png",
        "results/a-paper/smoke-builtin": "results/a-paper/smoke-builtin/figures/figure1.png",
        "tables/a-paper": "tables/a-paper/all.tex",
        ".": "results/ledger.md",
    }
    spoil(tmp_path)
    before = {piece: (tmp_path / file).stat().st_ino for piece, file in pieces.items()}
    again(paper, tmp_path)
    assert {piece for piece, file in pieces.items() if (tmp_path / file).stat().st_ino != before[piece]} == remade
    text, number = (tmp_path / TABLE).read_text(), "77.0" if spoil is another_number else "88.0"
    assert number in text and "99.9" not in text and "| 9 |" not in (tmp_path / "README.md").read_text()
    assert all(path.is_file() for path in reported)


def test_a_damaged_note_makes_once_more(reported: list[Path], paper: Paper, tmp_path: Path) -> None:
    file = (tmp_path / TABLE).stat().st_ino
    for note in (tmp_path / "made").iterdir():
        note.write_text("{")
    again(paper, tmp_path)
    assert (tmp_path / TABLE).stat().st_ino != file
    assert all(json.loads(note.read_text()) for note in (tmp_path / "made").iterdir())


def test_the_readme_gets_the_scoreboard_and_keeps_the_rest(reported: list[Path], tmp_path: Path) -> None:
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith(f"# head\n\n{BEGIN}\n")
    assert readme.endswith(f"{END}\n\ntail\n")
    assert "old" not in readme.split()
    assert "| [A & B_1](replications/a-paper/README.md#claims) | 1 | 2 |" in readme


def test_a_papers_own_readme_gets_its_deviations_and_claims(reported: list[Path], paper: Paper, tmp_path: Path) -> None:
    text = (tmp_path / "replications/a-paper/README.md").read_text()
    for deviation in paper.deviations:
        assert f"{deviation.id}. {deviation.what} *{deviation.why}*" in text
    assert "| claim | printed | mini-files |" in text
    assert "smoke" not in text


def test_verdicts_read_as_lines(reported: list[Path], results: Path) -> None:
    claims = find_runs(results, "a-paper")[0].claims
    assert verdict_lines(claims)[:2] == [
        "reproduced    saves: 0.41 [0.39, 0.43]",
        "not run       keeps: \N{EM DASH} (this run does not measure it)",
    ]


def test_the_overview_lists_what_is_there_and_what_is_not(reported: list[Path], paper: Paper, results: Path) -> None:
    text = overview([paper, paper.model_copy(update={"slug": "b-paper", "name": "Other"})], results)
    assert "measured: table1, figure1" in text
    assert "not yet: figure2" in text and "at smoke alone" not in text
    shutil.rmtree(results / "a-paper" / "mini-files")
    assert "at smoke alone: table1, figure1" in overview([paper], results)
    assert "mini-files: 1 reproduced, 2 not run" in text
    assert "not run yet: make reproduce PAPER=b-paper" in text
    assert "counts the paper's claims by verdict" in text
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}\n{END}"])
def test_a_readme_without_its_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(UserError, match=r"README\.md: expected one line <!-- scoreboard:begin -->"):
        update_block(readme, "scoreboard", "new")
    assert readme.read_text() == text


def test_listing_loads_nothing_heavy() -> None:
    code = (
        "import sys, common.reporting.report, common.reporting.overview, common.paper\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'pandas', 'sklearn', 'scipy', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
