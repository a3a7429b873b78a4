"""The ledger: every claim of every paper with what was printed, what each run measured, and the verdict.

One list in four forms: JSON and CSV to compute with, Markdown and LaTeX to read. A claim has a line for each recorded
run that decides it, and a single line `not run` with the reason where none does.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from common.paper import Claim
from common.records.measurements import ClaimResult, Verdict, write_text
from common.records.runs import RunRecord
from common.reporting.blocks import escape, pipe_row
from common.reporting.latex import escape as latex
from common.reporting.markup import MISSING
from common.reporting.overview import PaperRuns
from common.reporting.scoreboard import best_verdict, measured_text, not_run_reason, printed_text, reason_text

NAME = "ledger"
"""Of its files, beside the records."""

WIDTHS = (5.4, 2.6, 3.0, 1.7, 1.8)
"""Of the columns in print, in cm; with the gaps between them 16."""

PREMISE = {True: "met", False: "not met", None: ""}


@dataclass(frozen=True)
class Line:
    """A claim as one run has it.

    Attributes:
        paper, claim, statement, kind: of what is claimed; `kind` is by-construction or empirical.
        printed: what the paper printed, with how it is to be met.
        published, unit: the printed number alone; None where only a reader can judge.
        measured, ci_low, ci_high, seeds: what the run found; None where it measured nothing.
        measured_text: the same for a reader.
        premise: met, not met, or empty where nobody asked.
        verdict: one of the fixed words.
        run, commit: the record behind it; empty where there is none.
        why: the three answers, what the premise lacks, the cells; or why it was not run.
    """

    paper: str
    claim: str
    statement: str
    kind: str
    printed: str
    published: float | None
    unit: str
    measured: float | None
    ci_low: float | None
    ci_high: float | None
    seeds: int | None
    measured_text: str
    premise: str
    verdict: Verdict
    run: str
    commit: str
    why: str


def ledger(entries: Iterable[PaperRuns]) -> list[Line]:
    """Every claim of the papers, in their order."""
    return [line for entry in entries for claim in entry.paper.claims for line in _lines(entry, claim)]


def write_ledger(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Write the ledger as Markdown, JSON, CSV and LaTeX.

    Raises:
        UserError: a file cannot be written.
    """
    texts = {"md": markdown(lines), "json": as_json(lines), "csv": as_csv(lines), "tex": latex_table(lines)}
    for ending, text in texts.items():
        write_text(folder / f"{NAME}.{ending}", text)
    return [folder / f"{NAME}.{ending}" for ending in texts]


def as_json(lines: Sequence[Line]) -> str:
    """A list of objects, one a line of the ledger."""
    return json.dumps([asdict(line) for line in lines], indent=1, ensure_ascii=False) + "\n"


def as_csv(lines: Sequence[Line]) -> str:
    """A header and a row a line; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Line)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return stream.getvalue()


def markdown(lines: Sequence[Line]) -> str:
    """A page with a table a paper."""
    parts = [
        "# The ledger",
        "",
        "Every claim of every paper, with what each recorded run found. What the words mean: "
        "[README](../README.md#how-to-read-a-verdict); why a verdict is what it is: each paper's own README. "
        "The same as data: [ledger.json](ledger.json), [ledger.csv](ledger.csv). Generated: `make tables`.",
        "",
        "A cell is a task, a setting or a rival. Of a claim about *every cell* the one least on its side is shown, "
        "about *some cell* the one most on it, *on average* the mean. Some claims also set a limit, as on points lost: "
        "it stands with the reason, in the paper's README, and can decide where the number shown would be enough.",
    ]
    header = ["claim", "printed", "measured", "premise", "verdict", "run"]
    for paper in dict.fromkeys(line.paper for line in lines):
        parts += ["", f"## {escape(paper)}", "", pipe_row(header), pipe_row(["---"] * len(header))]
        parts += [
            pipe_row(
                [
                    f"{escape(line.statement)} (`{line.claim}`)",
                    escape(line.printed),
                    escape(line.measured_text),
                    line.premise,
                    line.verdict if line.verdict != "not run" else f"not run: {escape(line.why)}",
                    line.run,
                ]
            )
            for line in lines
            if line.paper == paper
        ]
    return "\n".join(parts) + "\n"


def latex_table(lines: Sequence[Line]) -> str:
    """A longtable 16 cm wide, for a document with the packages array, booktabs and longtable."""
    head = r"claim & printed & measured & verdict & run \\"
    rows: list[str] = []
    for paper in dict.fromkeys(line.paper for line in lines):
        rows += [r"\midrule", rf"\multicolumn{{5}}{{l}}{{\emph{{{latex(paper)}}}}} \\*"]
        rows += [_latex_row(line) for line in lines if line.paper == paper]
    return "\n".join(
        [
            r"{\footnotesize\setlength{\tabcolsep}{4pt}",
            r"\begin{longtable}{" + "".join(rf">{{\raggedright\arraybackslash}}p{{{w}cm}}" for w in WIDTHS) + "}",
            rf"\toprule {head} \endhead",
            *rows,
            r"\bottomrule",
            r"\end{longtable}}",
            "",
        ]
    )


def _latex_row(line: Line) -> str:
    cells = [line.statement, line.printed, line.measured_text, line.verdict, line.run]
    return " & ".join(latex(cell) for cell in cells) + r" \\"


def _lines(entry: PaperRuns, claim: Claim) -> list[Line]:
    decided = [
        _line(entry, claim, run, result)
        for run in entry.runs
        for result in run.claims
        if result.id == claim.id and result.verdict != "not run"
    ]
    assert decided or best_verdict(claim, entry.runs) == "not run"
    return decided or [_line(entry, claim, None, None)]


def _line(entry: PaperRuns, claim: Claim, run: RunRecord | None, result: ClaimResult | None) -> Line:
    return Line(
        paper=entry.paper.name,
        claim=claim.id,
        statement=claim.statement,
        kind=claim.type,
        printed=printed_text(claim),
        published=claim.value,
        unit=claim.unit,
        measured=None if result is None else result.measured,
        ci_low=None if result is None else result.ci_low,
        ci_high=None if result is None else result.ci_high,
        seeds=None if result is None else result.seeds,
        measured_text=MISSING if result is None else measured_text(result),
        premise=PREMISE[None if result is None else result.premise_met],
        verdict="not run" if result is None else result.verdict,
        run="" if run is None else run.name,
        commit="" if run is None else run.commit,
        why=not_run_reason(claim, entry.runs) if result is None else reason_text(result),
    )
