"""Sheets in LaTeX: booktabs rules, one floating table a sheet, 8 pt, never shrunk, numbers aligned at the point."""

from __future__ import annotations

import re
from collections.abc import Sequence

from common.paper import Paper, Table
from common.reporting.captions import (
    Kind,
    about_text,
    caption_text,
    marks_text,
)
from common.reporting.grid import Line, Sheet
from common.reporting.markup import NumberText, entry_text

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"$\sim$",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ a bare bracket would be read as a length
    "]": "{]}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{DAGGER}": r"$\dagger$",
    "\N{DOUBLE DAGGER}": r"$\ddagger$",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\n": " ",
}
"""What stands in LaTeX for a character that is not itself there."""


QUOTES = (
    ('"', "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),
    ("`", "\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"),
)
"""A mark that stands on both sides of a quotation, and what opens and closes one in print."""


def escape(text: str) -> str:
    """Return LaTeX that prints `text`. Characters outside Latin-1 and `SPECIAL` need LuaLaTeX or XeLaTeX."""
    for mark, opening, closing in QUOTES:
        text = re.sub(f"{mark}([^{mark}]*){mark}", f"{opening}\\1{closing}", text)
    return "".join(SPECIAL.get(character, character) for character in text)


def latex_sheets(paper: Paper, table: Table, sheets: Sequence[Sheet], kind: Kind) -> str:
    """Return one floating table a sheet; the first of a kind carries the label `tab:<paper>-<table>[-<kind>]`."""
    name = f"{paper.slug}-{table.id}" + ("" if kind is Kind.MAIN else f"-{kind.name.lower()}")
    parts = []
    for number, sheet in enumerate(sheets, 1):
        title = f"{paper.name}, {table.label}" + (", continued" if number > 1 else "")
        caption = caption_text(table, sheet, kind, first=number == 1)
        notes = [marks_text([sheet])]
        if kind is Kind.MAIN and any(not column.measured for column in sheet.columns):
            notes.append(about_text(table) if number == 1 else "")
        lines = [
            "\\begin{table}[htbp]",
            "\\centering",
            f"\\caption{{\\textbf{{{escape(_sentence_end(title))}}} {escape(caption)}}}",
            f"\\label{{tab:{name}{'' if number == 1 else f'-{number}'}}}",
            "\\smallskip",
            "\\footnotesize",
            "\\setlength{\\tabcolsep}{4pt}",
            _tabular(sheet),
        ]
        lines += [f"\n\\smallskip\\raggedright {escape(note)}\\par" for note in notes if note]
        parts.append("\n".join([*lines, "\\end{table}"]))
    return "\n\n".join(parts) + "\n"


def document(paper: Paper, names: Sequence[str]) -> str:
    """Return a document that inputs the tables called `names`, for pdflatex; its lines are 16 cm long."""
    inputs = "\n".join(f"\\input{{{name}}}" for name in names)
    return f"""\\documentclass[10pt]{{article}}
\\usepackage[a4paper,margin=2.5cm]{{geometry}}
\\usepackage{{booktabs}}
\\extrafloats{{500}}
\\maxdeadcycles=1000
\\renewcommand{{\\topfraction}}{{0.9}}
\\renewcommand{{\\floatpagefraction}}{{0.7}}
\\begin{{document}}
\\section*{{{escape(paper.name)}: published and measured}}
{inputs}
\\end{{document}}
"""


def _sentence_end(title: str) -> str:
    return f"{title}."


def _tabular(sheet: Sheet) -> str:
    labels, numbers = len(sheet.heads), len(sheet.columns)
    lines = [f"\\begin{{tabular}}{{{'l' * labels}{'r' * numbers}}}", "\\toprule", *_head_rows(sheet)]
    for panel in sheet.panels:
        lines.append("\\midrule")
        if panel.title:
            lines.append(f"\\multicolumn{{{labels + numbers}}}{{l}}{{\\emph{{{escape(panel.title)}}}}} \\\\")
        lines += _rows(panel.lines, sheet)
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _head_rows(sheet: Sheet) -> list[str]:
    """Return the rows over the numbers, tasks with a rule below each; empty rows are left out."""
    spans, indices = sheet.task_spans, range(len(sheet.columns))
    heads, rules, start = [], [], len(sheet.heads) + 1
    for task, span in spans:
        heads.append(f"\\multicolumn{{{span}}}{{{'c' if span > 1 else 'r'}}}{{{escape(task)}}}")
        if task and span > 1:
            rules.append(f"\\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    rows = [
        (heads if any(task for task, _ in spans) else [], " ".join(rules)),
        ([escape(sheet.origin(i)) for i in indices], ""),
        ([escape(sheet.detail(i)) for i in indices], ""),
    ]
    rows = [(cells, rule) for cells, rule in rows if any(cells)]
    lines = []
    for number, (cells, rule) in enumerate(rows, 1):
        names = [escape(head) if number == len(rows) else "" for head in sheet.heads]
        lines += [_row([*names, *cells]), *([rule] if rule else [])]
    return lines


def _rows(lines: Sequence[Line], sheet: Sheet) -> list[str]:
    """Return the rows of a panel; what a row's name shares with the row above is not repeated."""
    columns = [
        _aligned([entry_text(line.entries[i], line.metric, seeds) for line in lines])
        for i, seeds in enumerate(sheet.seeds)
    ]
    rows = []
    above: tuple[str, ...] = ()
    for number, line in enumerate(lines):
        shared = next((i for i, (a, b) in enumerate(zip(above, line.labels, strict=False)) if a != b), len(above))
        names = ["" if i < shared else escape(label) for i, label in enumerate(line.labels)]
        rows.append(_row([*names, *(column[number] for column in columns)]))
        above = line.labels[:-1]
    return rows


def _aligned(texts: Sequence[NumberText]) -> list[str]:
    """Return the numbers of a column with the room that the widest spread takes beside each; marks take no room."""
    widest = max((text.spread for text in texts), key=len)
    cells = []
    for text in texts:
        spread = _math(escape(text.spread))
        if len(text.spread) < len(widest):
            room = widest[: len(widest) - len(text.spread)] if text.spread else widest
            phantom = f"\\phantom{{{_math(escape(room))}}}" if not text.spread else f"\\hphantom{{{'0' * len(room)}}}"
            spread += phantom
        cells.append(_math(escape(text.value)) + spread + (f"\\rlap{{{escape(text.marks)}}}" if text.marks else ""))
    return cells


def _math(text: str) -> str:
    """Return LaTeX with true minus signs."""
    return re.sub(r"-(?=\d)", r"$-$", text)


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
