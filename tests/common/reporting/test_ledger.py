"""The ledger: every claim once for each run that decides it, the same in all four forms."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from common.paper import load_paper
from common.records.runs import find_runs
from common.reporting.ledger import Line, as_csv, as_json, latex_table, ledger, markdown, write_ledger
from common.reporting.overview import PaperRuns
from common.reporting.report import comparable
from common.reporting.scoreboard import best_verdict

ROOT = Path(__file__).resolve().parents[3]
SLUGS = sorted(path.parent.name for path in ROOT.glob("replications/*/paper.yaml"))


@pytest.fixture(scope="module")
def entries() -> list[PaperRuns]:
    papers = [load_paper(ROOT / "replications" / slug / "paper.yaml") for slug in SLUGS]
    return [PaperRuns(p, tuple(comparable(find_runs(ROOT / "results", p.slug)))) for p in papers]


@pytest.fixture(scope="module")
def lines(entries: list[PaperRuns]) -> list[Line]:
    return ledger(entries)


def test_every_claim_has_a_line_for_each_run_that_decides_it(entries: list[PaperRuns], lines: list[Line]) -> None:
    for entry in entries:
        for claim in entry.paper.claims:
            own = [line for line in lines if (line.paper, line.claim) == (entry.paper.name, claim.id)]
            decided = {
                run.name for run in entry.runs for r in run.claims if r.id == claim.id and r.verdict != "not run"
            }
            assert {line.run for line in own} == (decided or {""})
            assert best_verdict(claim, entry.runs) in {line.verdict for line in own}


def test_what_was_not_run_says_why_and_has_no_number(lines: list[Line]) -> None:
    undecided = [line for line in lines if line.verdict == "not run"]
    assert undecided
    assert all(line.why and line.measured is None and not line.run for line in undecided)


def test_json_and_csv_hold_the_same(lines: list[Line]) -> None:
    rows = list(csv.DictReader(as_csv(lines).splitlines()))
    assert [{k: "" if v is None else str(v) for k, v in line.items()} for line in json.loads(as_json(lines))] == rows
    assert len(rows) == len(lines)


def test_markdown_has_a_row_a_line_and_escapes_bars(lines: list[Line]) -> None:
    text = markdown(lines)
    rows = [row for row in text.splitlines() if row.startswith("| ") and not row.startswith(("| claim", "| ---"))]
    assert len(rows) == len(lines)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}


def test_the_committed_ledger_is_what_the_records_give(lines: list[Line], tmp_path: Path) -> None:
    for path in write_ledger(lines, tmp_path):
        assert (ROOT / "results" / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex: apt-get install texlive-latex-recommended"
)
def test_in_print_it_fits_the_page(lines: list[Line], tmp_path: Path) -> None:
    packages = r"\usepackage[a4paper,margin=2.5cm]{geometry}\usepackage{array,booktabs,longtable}"
    body = rf"\documentclass[10pt]{{article}}{packages}\begin{{document}}{latex_table(lines)}\end{{document}}"
    (tmp_path / "ledger.tex").write_text(body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "ledger.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.findall(r"Overfull \\hbox|Missing character", (tmp_path / "ledger.log").read_text("latin-1"))
