"""Tables in LaTeX: booktabs rules, one floating table a panel, shrunk to the line's width only if too wide."""

from __future__ import annotations

import re
from collections.abc import Sequence

from common.paper import Paper, Table
from common.reporting.grid import Block, Panel
from common.reporting.markup import entry_text, header_text, notes_below

LABEL_COLUMNS = 2
"""Columns before the numbers: system and setting."""

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
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
    "\N{DAGGER}": r"$^{\dagger}$",
    "\N{DOUBLE DAGGER}": r"$^{\ddagger}$",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\n": " ",
}
"""What stands in LaTeX for a character that is not itself there."""


def escape(text: str) -> str:
    """Return LaTeX that prints `text`. Characters outside Latin-1 and `SPECIAL` need LuaLaTeX or XeLaTeX."""
    return "".join(SPECIAL.get(character, character) for character in text)


def latex_table(paper: Paper, table: Table, panels: Sequence[Panel]) -> str:
    """Return one floating table for each panel; the first carries the label `tab:<paper>-<table>`."""
    parts = []
    for number, panel in enumerate(panels, 1):
        part = f" (part {number} of {len(panels)})" if len(panels) > 1 else ""
        caption = f"\\textbf{{{escape(paper.name)}, {escape(table.label)}{part}.}} {escape(table.caption)}"
        lines = [
            "\\begin{table}[htbp]",
            "\\centering",
            f"\\caption{{{caption}}}",
            f"\\label{{tab:{paper.slug}-{table.id}{'' if number == 1 else f'-{number}'}}}",
            # Shrink what is too wide; leave what fits at its own size.
            "\\resizebox{\\ifdim\\width>\\linewidth \\linewidth\\else \\width\\fi}{!}{%",
            _tabular(panel),
            "}",
        ]
        lines += [f"\n\\smallskip\\footnotesize {escape(note)}" for note in notes_below(table, [panel])]
        parts.append("\n".join([*lines, "\\end{table}"]))
    return "\n\n".join(parts) + "\n"


def document(paper: Paper, names: Sequence[str]) -> str:
    """Return a document that inputs the tables called `names`, for pdflatex."""
    inputs = "\n".join(f"\\input{{{name}}}" for name in names)
    return f"""\\documentclass{{article}}
\\usepackage[T1]{{fontenc}}
\\usepackage[margin=2cm]{{geometry}}
\\usepackage{{booktabs}}
\\usepackage{{graphicx}}
\\begin{{document}}
\\section*{{{escape(paper.name)}: published and measured}}
{inputs}
\\end{{document}}
"""


def _tabular(panel: Panel) -> str:
    width = LABEL_COLUMNS + len(panel.columns)
    lines = [f"\\begin{{tabular}}{{{'l' * LABEL_COLUMNS}{'r' * len(panel.columns)}}}", "\\toprule"]
    lines += _task_heads(panel)
    lines.append(_row(["System", "Setting", *(escape(header_text(column)) for _, column in panel.columns)]))
    for block in panel.blocks:
        lines += ["\\midrule", f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{escape(block.title)}}}}} \\\\"]
        lines += _block_rows(block, panel)
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}%"])


def _task_heads(panel: Panel) -> list[str]:
    """Return the row of task names with a rule under each; nothing where no task is involved."""
    if all(not task for task, _ in panel.task_spans):
        return []
    heads, rules, start = [], [], LABEL_COLUMNS + 1
    for task, span in panel.task_spans:
        heads.append(f"\\multicolumn{{{span}}}{{c}}{{{escape(task)}}}")
        rules.append(f"\\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return [_row([""] * LABEL_COLUMNS + heads), " ".join(rules)]


def _block_rows(block: Block, panel: Panel) -> list[str]:
    return [
        _row(
            [
                escape(line.system),
                escape(line.setting),
                *(_number(entry_text(e, c)) for e, (_, c) in zip(line.entries, panel.columns, strict=True)),
            ]
        )
        for line in block.lines
    ]


def _number(text: str) -> str:
    return re.sub(r"-(?=\d)", r"$-$", escape(text))


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
