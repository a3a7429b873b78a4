"""Writes a paper's tables, published numbers beside measured ones, as LaTeX and Markdown.

Both come from one grid (`common.reporting.grid`), so they cannot differ in content. Each file says in its first
line which records it was made from. `<table>-appendix` holds what was tuned on dev and the intervals; `all.tex` is a
document with every table, to compile as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.paper import Paper, Table
from common.records.measurements import write_text
from common.records.runs import RunRecord
from common.reporting.captions import Kind
from common.reporting.grid import Sheet, interval_sheets, main_sheets, tuned_sheets
from common.reporting.latex import document, latex_sheets
from common.reporting.markdown import markdown_sheets

GENERATED = "Generated from"
"""Begins what a file's first line says of it."""


def write_tables(paper: Paper, runs: Sequence[RunRecord], out_dir: Path, facts: str = "") -> list[Path]:
    """Write `<table>.tex`, `<table>.md` and their `-appendix` for each table that has a number, and `all.tex`.

    Args:
        paper: its tables and published numbers.
        runs: whose measurements stand beside them, in this order.
        out_dir: the paper's own folder, e.g. `tables/deebert`.
        facts: the file that `paper` was read from, where it is not the paper.yaml of a paper's folder.

    Returns:
        The files written.

    Raises:
        UserError: a run holds two numbers for one cell, or a file cannot be written.
    """
    origin = provenance_line(paper, runs, facts)
    written = []
    for table in paper.tables:
        main = {Kind.MAIN: main_sheets(table, runs)}
        appendix = {Kind.TUNED: tuned_sheets(table, runs), Kind.INTERVALS: interval_sheets(table, runs)}
        written += _write(paper, table, main, out_dir / table.id, origin)
        written += _write(paper, table, appendix, out_dir / f"{table.id}-appendix", origin)
    if written:
        index = out_dir / "all.tex"
        names = [path.name for path in written if path.suffix == ".tex"]
        names.sort(key=lambda name: name.endswith("-appendix.tex"))
        write_text(index, f"% {origin}\n{document(paper, names)}")
        written.append(index)
    _remove_others(out_dir, written)
    return written


def _remove_others(out_dir: Path, written: Sequence[Path]) -> None:
    """Remove generated tables that the records no longer give; what people wrote stays."""
    for path in sorted(out_dir.glob("*")):
        if path.suffix in {".tex", ".md"} and path not in written and GENERATED in path.read_text().partition("\n")[0]:
            path.unlink()


def provenance_line(paper: Paper, runs: Sequence[RunRecord], facts: str = "") -> str:
    """Say what a generated file was made from: the paper's facts and each run with its commit."""
    sources = [facts or f"replications/{paper.slug}/paper.yaml"]
    sources += [f"results/{paper.slug}/{run.name} (commit {run.commit})" for run in runs]
    return f"{GENERATED} {', '.join(sources)}. Do not edit: make tables"


def _write(paper: Paper, table: Table, kinds: dict[Kind, list[Sheet]], stem: Path, origin: str) -> list[Path]:
    """Write one `.tex` and one `.md` with every kind that has a sheet; nothing where none has."""
    kinds = {kind: sheets for kind, sheets in kinds.items() if sheets}
    if not kinds:
        return []
    tex, markdown = stem.with_name(f"{stem.name}.tex"), stem.with_name(f"{stem.name}.md")
    latex = "\n".join(latex_sheets(paper, table, sheets, kind) for kind, sheets in kinds.items())
    text = "\n".join(markdown_sheets(table, sheets, kind) for kind, sheets in kinds.items())
    write_text(tex, f"% {origin}\n{latex}")
    write_text(markdown, f"<!-- {origin} -->\n\n{text}")
    return [tex, markdown]
