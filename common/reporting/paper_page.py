"""The generated part of a paper's own README: deviations, errata, claims and why a verdict is what it is."""

from __future__ import annotations

from common.reporting.blocks import escape
from common.reporting.overview import PaperRuns
from common.reporting.scoreboard import claims_markdown, reasons_markdown


def facts_markdown(entry: PaperRuns) -> str:
    """The sections that have content, in order."""
    paper = entry.paper
    deviations = [f"{d.id}. {escape(d.what)} *{escape(d.why)}*" for d in paper.deviations]
    errata = [f"- {escape(e.where)}: {escape(e.what)}" for e in paper.errata]
    sections = [
        ("Deviations", "\n".join(deviations)),
        ("Errata: where paper and code are at odds", "\n".join(errata)),
        ("Claims", claims_markdown(entry)),
        ("Why a verdict is what it is", reasons_markdown(entry)),
    ]
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections if text) + "\n"
