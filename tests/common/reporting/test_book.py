"""The one document: every table and figure of the records once, in order, typeset where there is an engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from common.errors import UserError
from common.paper import Paper, load_paper
from common.records.measurements import Measurement, write_measurements
from common.records.runs import find_runs
from common.reporting import typeset as typesetting
from common.reporting.book import FIGURES, write_book
from common.reporting.report import comparable
from common.reporting.typeset import PDF, complaint, find_engine, typeset

ROOT = Path(__file__).resolve().parents[3]
PAPERS = [load_paper(path) for path in sorted(ROOT.glob("replications/*/paper.yaml"))]

needs_tex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex: apt-get install texlive-latex-recommended"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document of the committed records."""
    return write_book(PAPERS, ROOT / "results", ROOT / "tables", tmp_path_factory.mktemp("build"))


def test_every_generated_table_is_in_it_once(source: Path) -> None:
    files = [p for p in ROOT.glob("tables/*/*.tex") if p.name != "all.tex" and p.parent.name != "compare"]
    expected = [label for path in files for label in re.findall(r"\\label\{(tab:[^}]+)\}", path.read_text())]
    found = Counter(re.findall(r"\\label\{(tab:[^}]+)\}", source.read_text()))
    assert found == Counter(expected) and max(found.values()) == 1 and len(found) > 100


def test_every_figure_of_a_comparable_run_is_in_it_once(source: Path) -> None:
    expected = Counter(
        f"{FIGURES}/{paper.slug}-{run.name}-{path.stem}.pdf".replace("_", "-")
        for paper in PAPERS
        for run in comparable(find_runs(ROOT / "results", paper.slug))
        for path in ROOT.glob(f"results/{paper.slug}/{run.name}/figures/*.pdf")
    )
    found = Counter(re.findall(r"\\includegraphics\[[^]]*\]\{([^}]+)\}", source.read_text()))
    assert found == expected and sum(found.values()) > 20
    assert all((source.parent / name).read_bytes()[:5] == b"%PDF-" for name in found)


def test_the_ledger_comes_first_then_the_papers(source: Path) -> None:
    sections = re.findall(r"\\section\{([^}]+)\}", source.read_text())
    shown = [p.name for p in PAPERS if (ROOT / "tables" / p.slug / "all.tex").exists()]
    assert sections == ["The ledger", *shown]
    assert source.read_text().count(r"\begin{longtable}") == 1


def test_nothing_floats_away_from_its_paper(source: Path) -> None:
    assert "[htbp]" not in source.read_text()
    assert source.read_text().count(r"\begin{table}[H]") == source.read_text().count(r"\begin{table}")


# -- A small project --------------------------------------------------------------------------------------------------

AWKWARD = r"A&B_1 100% #1 {x} \y ~z ^w $5"


@pytest.fixture
def project(tmp_path: Path, paper: Paper) -> Path:
    """One paper with awkward names, one recorded run with a figure, tables and a ledger."""
    folder = tmp_path / "results" / paper.slug / "mini-builtin"
    (folder / "figures").mkdir(parents=True)
    row = Measurement(experiment="table1", system="fast", metric="score", value=1.0, unit="points", scale="mini")
    write_measurements(folder / "measurements.jsonl", [row])
    shutil.copy(next(ROOT.glob("results/deebert/mini-builtin/figures/*.png")), folder / "figures" / "figure1.png")
    tables = tmp_path / "tables" / paper.slug
    tables.mkdir(parents=True)
    table = r"\begin{table}[htbp]\caption{T}\label{tab:a}\begin{tabular}{l}1\end{tabular}\end{table}"
    text = f"% Generated\n{table}\n"
    (tables / "table1.tex").write_text(text)
    (tmp_path / "results" / "ledger.tex").write_text("LEDGER\n")
    return tmp_path


def book_of(project: Path, paper: Paper) -> Path:
    return write_book([paper], project / "results", project / "tables", project / "build")


def awkward(paper: Paper) -> Paper:
    citation = paper.citation.model_copy(update={"title": AWKWARD, "authors": (AWKWARD,), "venue": AWKWARD})
    return paper.model_copy(update={"name": AWKWARD, "citation": citation})


def test_what_is_special_to_tex_is_escaped(project: Path, paper: Paper) -> None:
    text = book_of(project, awkward(paper)).read_text()
    assert text.count(r"A\&B\_1 100\% \#1 \{x\} \textbackslash{}y $\sim$z \textasciicircum{}w \$5") == 5
    assert AWKWARD not in text


@needs_tex
def test_awkward_names_are_typeset(project: Path, paper: Paper) -> None:
    pdf = typeset(book_of(project, awkward(paper)))
    assert pdf == project / "build" / PDF and pdf.read_bytes()[:5] == b"%PDF-"


def test_a_picture_stands_for_a_missing_drawing(project: Path, paper: Paper) -> None:
    source = book_of(project, paper)
    assert "{figures/a-paper-mini-builtin-figure1.png}" in source.read_text()
    assert (source.parent / "figures" / "a-paper-mini-builtin-figure1.png").exists()


def test_a_users_own_run_is_not_in_it(project: Path, paper: Paper) -> None:
    own = project / "results" / paper.slug / "mini-builtin"
    own.rename(own.with_name("mini-builtin@local"))
    text = book_of(project, paper).read_text()
    assert "includegraphics" not in text and "No run is recorded yet" in text


def test_made_again_it_holds_what_there_is_now(project: Path, paper: Paper) -> None:
    first = book_of(project, paper)
    (first.parent / "left-over").touch()
    again = book_of(project, paper)
    assert again == first and sorted(p.name for p in again.parent.iterdir()) == ["book.tex", "figures"]
    assert [p.name for p in (project / "build").iterdir()] == ["paper"]


def test_without_a_ledger_nothing_is_touched(project: Path, paper: Paper) -> None:
    before = book_of(project, paper).read_bytes()
    (project / "results" / "ledger.tex").unlink()
    with pytest.raises(UserError, match="make tables"):
        book_of(project, paper)
    assert (project / "build" / "paper" / "book.tex").read_bytes() == before


# -- Engines ----------------------------------------------------------------------------------------------------------


def test_without_an_engine_it_is_said_what_to_install(
    project: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = book_of(project, paper)
    monkeypatch.setattr(typesetting.shutil, "which", lambda program: None)
    with pytest.raises(UserError, match=r"looked for tectonic, latexmk, pdflatex.*apt-get install.*is written"):
        typeset(source)


def test_the_first_engine_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in (("pdflatex latexmk", "latexmk"), ("pdflatex", "pdflatex"), ("tectonic", "tectonic")):
        found = {name: f"/usr/bin/{name}" for name in there.split()}
        monkeypatch.setattr(typesetting.shutil, "which", found.get)
        assert find_engine().program == expected


@needs_tex
def test_what_an_engine_refuses_is_one_message(project: Path, paper: Paper) -> None:
    source = book_of(project, paper)
    typeset(source)
    source.write_text(source.read_text().replace("LEDGER", r"\undefinedcommand"))
    with pytest.raises(UserError, match=r"cannot typeset .*ndefined control sequence.*book\.log"):
        typeset(source)
    assert (project / "build" / PDF).read_bytes()[:5] == b"%PDF-", "the last whole one stays"


def test_a_complaint_is_the_first_error() -> None:
    assert complaint("This is pdfTeX\n! Undefined control sequence.\nl.3\n") == "Undefined control sequence"
    assert complaint("error: book.tex:3: Undefined\n") == "book.tex:3: Undefined"
    assert complaint("") == "it does not say why"


@needs_tex
def test_the_whole_document_is_typeset_and_nothing_is_wider_than_its_page(source: Path) -> None:
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(source.parent), "max_print_line": "10000"}
    done = subprocess.run(command, cwd=source.parent, env=environment, capture_output=True, check=False)
    log = source.with_suffix(".log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-2000:]
    assert re.findall(r"Overfull \\hbox.*|.*Float too large.*|Missing character.*|.*multiply defined.*", log) == []
