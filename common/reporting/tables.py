"""Writes a paper's tables, published numbers beside measured ones, as LaTeX and Markdown.

Both come from one grid (`common.reporting.grid`), so they cannot differ in content. Each file says in its first
line which records it was made from. `all.tex` is a document with every table, to compile as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.paper import Column, Paper, Table
from common.records.measurements import write_text
from common.records.runs import RunRecord
from common.reporting.grid import Panel, build_panels
from common.reporting.latex import document, latex_table
from common.reporting.markup import entry_text, header_text, notes_below


def write_tables(paper: Paper, runs: Sequence[RunRecord], out_dir: Path) -> list[Path]:
    """Write `<table>.tex`, `<table>.md` for each table of the paper that has a number, and `all.tex`.

    Args:
        paper: its tables and published numbers.
        runs: whose measurements stand beside them, in this order.
        out_dir: the paper's own folder, e.g. `tables/deebert`.

    Returns:
        The files written.

    Raises:
        UserError: a run holds two numbers for one cell, or a file cannot be written.
    """
    origin = provenance_line(paper, runs)
    written = []
    for table in paper.tables:
        panels = build_panels(table, runs)
        if not panels:
            continue
        tex, markdown = out_dir / f"{table.id}.tex", out_dir / f"{table.id}.md"
        write_text(tex, f"% {origin}\n{latex_table(paper, table, panels)}")
        write_text(markdown, f"<!-- {origin} -->\n\n{markdown_table(table, panels)}")
        written += [tex, markdown]
    if written:
        index = out_dir / "all.tex"
        names = [path.name for path in written if path.suffix == ".tex"]
        write_text(index, f"% {origin}\n{document(paper, names)}")
        written.append(index)
    return written


def provenance_line(paper: Paper, runs: Sequence[RunRecord]) -> str:
    """Say what a generated file was made from: the paper's facts and each run with its commit."""
    sources = [f"replications/{paper.slug}/paper.yaml"]
    sources += [f"results/{paper.slug}/{run.name} (commit {run.commit})" for run in runs]
    return f"Generated from {', '.join(sources)}. Do not edit: make tables"


def markdown_table(table: Table, panels: Sequence[Panel]) -> str:
    """Return a table in Markdown: a heading, one pipe table a panel, and notes."""
    parts = [f"**{escape(table.label)}.** {escape(table.caption)}"]
    parts += [_markdown_panel(panel) for panel in panels]
    parts += [escape(note) for note in notes_below(table, panels)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows as it is inside a table cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _markdown_panel(panel: Panel) -> str:
    header = ["", "system", "setting", *(_column_title(task, column) for task, column in panel.columns)]
    rows = [_markdown_row(header), _markdown_row(["---"] * 3 + ["---:"] * len(panel.columns))]
    for block in panel.blocks:
        title = f"*{escape(block.title)}*"
        for line in block.lines:
            numbers = [entry_text(e, c) for e, (_, c) in zip(line.entries, panel.columns, strict=True)]
            rows.append(_markdown_row([title, escape(line.system), escape(line.setting), *numbers]))
            title = ""
    return "\n".join(rows)


def _column_title(task: str, column: Column) -> str:
    return escape(f"{task} {header_text(column)}".strip())


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
