"""The source of one PDF: every table and figure of the records, and the ledger, in the order in which one reads them.

It is made of files that are there (`make tables` wrote them): nothing is computed anew. Tables and figures stand where
they are named, one after another, and no larger than a page.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.paper import Paper
from common.records.measurements import write_text
from common.records.runs import RunRecord, find_runs
from common.reporting.latex import escape
from common.reporting.ledger import NAME as LEDGER
from common.reporting.report import comparable

SOURCE = "book.tex"
FIGURES = "figures"
SUFFIXES = (".pdf", ".png")
"""Of figures, the first that there is."""

APPENDIX = "-appendix"

PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[a4paper,margin=2.5cm]{geometry}
\usepackage{array,booktabs,float,graphicx,longtable}
\usepackage[hidelinks]{hyperref}
\raggedbottom
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\pagestyle{headings}
\counterwithin{table}{section}
\counterwithin{figure}{section}
\setcounter{tocdepth}{1}
\title{Fast BERT, replicated\\\large All tables, all figures, and the ledger}
\author{}
\date{}
\begin{document}
\maketitle
\thispagestyle{empty}
"""

ABOUT = r"""What each paper printed stands beside what was measured here, on equal terms: one backbone, one baseline and
one static ladder for all. The ledger lists every claim with its verdict; then each paper has its tables, its figures,
and in an appendix the intervals and what was tuned on the reported examples. Every number comes from the records in
\texttt{results/}; \texttt{make tables} makes them anew, \texttt{make paper} this document. What the words of a verdict
mean is said in the project's \texttt{README.md}."""


@dataclass(frozen=True)
class Chapter:
    """What there is of one paper: its recorded runs, its tables' files, and its figures' with their runs."""

    paper: Paper
    runs: tuple[RunRecord, ...]
    tables: tuple[Path, ...]
    appendix: tuple[Path, ...]
    figures: tuple[tuple[RunRecord, str, Path], ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.tables or self.figures)


def chapter(paper: Paper, results: Path, tables: Path) -> Chapter:
    """Collect a paper's files, in the order of its paper.yaml.

    Raises:
        UserError: a record is malformed.
    """
    runs = tuple(comparable(find_runs(results, paper.slug)))
    folder = tables / paper.slug
    pictures = (
        (run, figure.id, _picture(results / paper.slug / run.name / FIGURES, figure.id))
        for run in runs
        for figure in paper.figures
    )
    return Chapter(
        paper,
        runs,
        _there(folder / f"{table.id}.tex" for table in paper.tables),
        _there(folder / f"{table.id}{APPENDIX}.tex" for table in paper.tables),
        tuple((run, figure, path) for run, figure, path in pictures if path is not None),
    )


def _there(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.exists())


def _picture(folder: Path, name: str) -> Path | None:
    return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").exists()), None)


def write_book(papers: Sequence[Paper], results: Path, tables: Path, build: Path) -> Path:
    """Write the source and copies of the figures into the folder `paper` of `build`, all of it or nothing.

    Args:
        papers: in this order, after the ledger.
        results: folder of the records.
        tables: folder of the generated tables.
        build: a folder that git ignores.

    Returns:
        The LaTeX file to typeset.

    Raises:
        UserError: a record is malformed, there is no ledger, or the folder cannot be written.
    """
    chapters = [one for paper in papers if not (one := chapter(paper, results, tables)).is_empty]
    ledger = results / f"{LEDGER}.tex"
    if not ledger.exists():
        raise UserError(f"no {ledger}: type make tables first")
    target = build / "paper"
    try:
        build.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=build, prefix=".paper-") as temporary:
            made, old = Path(temporary) / "made", Path(temporary) / "old"
            write_text(made / SOURCE, document(chapters, ledger.read_text(encoding="utf-8")))
            (made / FIGURES).mkdir()
            for one in chapters:
                for run, figure, path in one.figures:
                    shutil.copy(path, made / _copy_of(one.paper, run, figure, path))
            if target.exists():
                target.rename(old)
            made.rename(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}. Make {build} writable") from error
    return target / SOURCE


def _copy_of(paper: Paper, run: RunRecord, figure: str, path: Path) -> str:
    """Where a figure is copied: letters, digits and hyphens, which every engine takes."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{paper.slug}-{run.name}-{figure}")
    return f"{FIGURES}/{plain}{path.suffix}"


def document(chapters: Sequence[Chapter], ledger: str) -> str:
    """The whole source."""
    parts = [PREAMBLE, ABOUT, r"\tableofcontents", r"\clearpage", r"\section{The ledger}", ledger.strip()]
    for one in chapters:
        parts += [r"\clearpage", *_section(one)]
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def _section(one: Chapter) -> Iterator[str]:
    paper = one.paper
    yield rf"\section{{{escape(paper.name)}}}"
    yield _citation(paper)
    yield _recorded(one.runs)
    yield from map(_table, one.tables)
    for run, figure_id, path in one.figures:
        yield _figure(paper, run, figure_id, path)
    if one.appendix:
        yield rf"\subsection*{{{escape(paper.name)}: intervals, and what was tuned on dev}}"
        yield from map(_table, one.appendix)


def _citation(paper: Paper) -> str:
    cited = paper.citation
    authors = ", ".join(cited.authors)
    return rf"{escape(authors)}: \emph{{{escape(cited.title)}}}. {escape(cited.venue)}."


def _recorded(runs: Sequence[RunRecord]) -> str:
    if not runs:
        return "No run is recorded yet: what was published stands alone."
    return "Recorded: " + ", ".join(escape(f"{run.name} (commit {run.commit})") for run in runs) + "."


def _table(path: Path) -> str:
    """A generated table, placed where it is named."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("%")]
    return "\n".join(lines).replace(r"\begin{table}[htbp]", r"\begin{table}[H]").strip()


def _figure(paper: Paper, run: RunRecord, figure_id: str, path: Path) -> str:
    (figure,) = (one for one in paper.figures if one.id == figure_id)
    caption = rf"\textbf{{{escape(f'{paper.name}, {figure.label}.')}}} {escape(f'Run {run.name}.')}"
    size = r"width=\linewidth,height=0.8\textheight,keepaspectratio"
    return "\n".join(
        [
            r"\begin{figure}[H]",
            r"\centering",
            rf"\includegraphics[{size}]{{{_copy_of(paper, run, figure_id, path)}}}",
            rf"\caption{{{caption}}}",
            r"\end{figure}",
        ]
    )
