"""Sheets in Markdown: a caption, a pipe table a panel, notes."""

from __future__ import annotations

from collections.abc import Sequence

from common.paper import Table
from common.reporting.captions import Kind, about_text, caption_text, marks_text
from common.reporting.grid import Panel, Sheet
from common.reporting.markup import entry_text


def escape(text: str) -> str:
    """Return text that Markdown shows as it is inside a table cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def markdown_sheets(table: Table, sheets: Sequence[Sheet], kind: Kind) -> str:
    """Return the sheets, each under its caption, with the notes of all at the end."""
    parts = []
    for number, sheet in enumerate(sheets):
        title = table.label + (", continued" if number else "")
        parts.append(f"**{escape(title)}.** {escape(caption_text(table, sheet, kind, first=not number))}")
        for panel in sheet.panels:
            parts += [f"*{escape(panel.title)}*"] if panel.title else []
            parts.append(_pipe_table(sheet, panel))
    notes = [marks_text(sheets), about_text(table) if kind is Kind.MAIN else ""]
    return "\n\n".join([*parts, *(escape(note) for note in notes if note)]) + "\n"


def _pipe_table(sheet: Sheet, panel: Panel) -> str:
    heads = [*sheet.heads, *(_head(sheet, i) for i in range(len(sheet.columns)))]
    rows = [_row([escape(head) for head in heads])]
    rows.append(_row(["---"] * len(sheet.heads) + ["---:"] * len(sheet.columns)))
    for line in panel.lines:
        numbers = [entry_text(e, line.metric, seeds) for e, seeds in zip(line.entries, sheet.seeds, strict=True)]
        rows.append(_row([*map(escape, line.labels), *(escape(str(number)) for number in numbers)]))
    return "\n".join(rows)


def _head(sheet: Sheet, index: int) -> str:
    """Return `SST-2 published (BERT-base)`."""
    detail = sheet.detail(index)
    return f"{sheet.columns[index].task} {sheet.origin(index)} {f'({detail})' if detail else ''}".strip()


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()) for cell in cells) + " |"
