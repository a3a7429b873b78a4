"""All tables of all papers, compiled: nothing wider than its page, nothing smaller than 7 pt.

They are made of the committed records, and of a run that measures all that a paper prints: the widest that can come.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.paper import Paper, Table, load_paper
from common.records.measurements import Measurement
from common.records.runs import RunRecord, find_runs
from common.reporting.report import comparable
from common.reporting.tables import write_tables

ROOT = Path(__file__).parents[3]
PAPERS = sorted(path.parent.name for path in ROOT.glob("replications/*/paper.yaml"))
SMALLEST = 7
"""Of all type, in points."""

MOST_COLUMNS = 8
"""Of a table, those that name its rows included."""

pytestmark = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex: apt-get install texlive-latex-recommended"
)


def publishes(slug: str) -> bool:
    """Whether a number of its tables could be had."""
    return any(table.cells for table in load_paper(ROOT / "replications" / slug / "paper.yaml").tables)


def everything(table: Table) -> Iterator[Measurement]:
    """Measure every published number with three seeds and intervals, and as tuned on dev."""
    for metric in table.metrics:
        for cell in table.cells:
            value = metric.shown(cell)
            if value is None or cell.backbone != table.cells[0].backbone:
                continue
            for seed, setting in ((s, t) for s in range(3) for t in ("", " (dev-tuned)")):
                number = value / metric.scale * (1 + 0.1 * seed)
                yield Measurement(
                    experiment=table.source,
                    system=cell.system,
                    setting=f"{cell.setting}{setting}".strip(),
                    task=cell.task.lower(),
                    metric=metric.metric,
                    value=number,
                    ci_low=0.9 * number,
                    ci_high=1.1 * number,
                    unit=cell.unit,
                    seed=seed,
                    backbone="MiniLM-L6-H384",
                )


def full_run(paper: Paper) -> RunRecord:
    unique = {
        (m.experiment, m.system, m.setting, m.task, m.metric, m.seed): m for t in paper.tables for m in everything(t)
    }
    return RunRecord("base-files", tuple(unique.values()))


def compiled(folder: Path) -> str:
    """Compile `all.tex` and return the log, one message a line."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "max_print_line": "10000"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "all.log").read_text(encoding="latin-1")


def faults(folder: Path) -> list[str]:
    """What a reader would see as wrong with the compiled tables."""
    log = compiled(folder)
    sizes = {name: int(size) for name, size in re.findall(r"/(cm[a-z]+(\d+))\.pfb", log)}
    assert sizes, "no Type 1 font of Computer Modern in the document"
    found = re.findall(r"Overfull \\hbox.*|.*Float too large.*|Missing character.*", log)
    found += [f"{name} is smaller than {SMALLEST} pt" for name, size in sizes.items() if size < SMALLEST]
    for path in sorted(folder.glob("*.tex")):
        text = path.read_text()
        found += [f"{path.name} is scaled"] if re.search(r"\\(resize|scale)box", text) else []
        columns = max(map(len, re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)), default=0)
        found += [f"{path.name} has {columns} columns"] if columns > MOST_COLUMNS else []
    return found


@pytest.mark.parametrize("slug", PAPERS)
def test_tables_of_the_records_fit_their_page(slug: str, tmp_path: Path) -> None:
    paper = load_paper(ROOT / "replications" / slug / "paper.yaml")
    if not write_tables(paper, comparable(find_runs(ROOT / "results", slug)), tmp_path):
        pytest.skip("nothing is published and nothing measured yet")
    assert faults(tmp_path) == []


@pytest.mark.parametrize("slug", [slug for slug in PAPERS if publishes(slug)])
def test_tables_of_a_run_that_measures_everything_fit_their_page(slug: str, tmp_path: Path) -> None:
    paper = load_paper(ROOT / "replications" / slug / "paper.yaml")
    write_tables(paper, [full_run(paper)], tmp_path)
    assert faults(tmp_path) == []


def test_what_is_too_wide_too_small_or_scaled_is_seen(tmp_path: Path) -> None:
    body = r"\noindent\rule{20cm}{1pt} {\tiny small} \scalebox{0.5}{half} \begin{tabular}{lllllllll}\end{tabular}"
    head = r"\documentclass{article}\usepackage{graphicx}\begin{document}"
    (tmp_path / "all.tex").write_text(head + body + r"\end{document}")
    seen = [fault.split(" (")[0] for fault in faults(tmp_path)]
    assert seen == ["Overfull \\hbox", "cmr5 is smaller than 7 pt", "all.tex is scaled", "all.tex has 9 columns"]
