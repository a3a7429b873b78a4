"""What stands where at a glance: the text of `make list` and the summary block of the README.

Both read record files alone. A verdict is always shown under the name of its run.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from common.errors import UserError
from common.paper import Claim, Paper
from common.records.measurements import ClaimResult, Verdict, write_text
from common.records.runs import RunRecord, find_runs
from common.reporting.grid import build_panels
from common.reporting.markup import MISSING
from common.reporting.tables import escape, markdown_table

LEGEND = """A verdict compares the 95 % interval of our measurement with the claim: **reproduced** when all of it
lies on the claim's side, **contradicted** when all of it lies on the other, inconclusive when it straddles. It holds
for the run that it stands under: `mini` is MiniLM on a laptop, `full` MiniLM on all of the data and timed on a GPU,
`paper` the paper's own scale, `shapes` the paper's own architectures with random weights, where only costs mean
anything."""


@dataclass(frozen=True)
class PaperRuns:
    """A paper with what has been run of it."""

    paper: Paper
    runs: tuple[RunRecord, ...]


def overview(papers: Iterable[Paper], results_dir: Path, width: int = 110) -> str:
    """Return the text of `make list`: papers, their tables and figures, what has been run, verdicts.

    Raises:
        UserError: a record file is malformed.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_lines=True)
    table.add_column("paper", no_wrap=True)
    table.add_column("tables and figures", ratio=1)
    table.add_column("runs and verdicts", ratio=1)
    for paper in papers:
        entry = PaperRuns(paper, tuple(find_runs(results_dir, paper.slug)))
        table.add_row(paper.name, _artefacts_text(entry), _runs_text(entry))
    stream = io.StringIO()
    Console(file=stream, width=width, markup=False, highlight=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n") + "\n"


def summary_markdown(entries: Sequence[PaperRuns]) -> str:
    """Return the README's summary: per paper its claims against every run, then its headline table, folded."""
    return "\n\n".join([LEGEND, *(_paper_summary(entry) for entry in entries)]) + "\n"


def facts_markdown(entry: PaperRuns) -> str:
    """Return what a paper's README takes from facts and records: deviations, errata, the claims against every run."""
    paper = entry.paper
    deviations = [f"{d.id}. {escape(d.what)} *{escape(d.why)}*" for d in paper.deviations]
    errata = [f"- {escape(e.where)}: {escape(e.what)}" for e in paper.errata]
    sections = [
        ("Deviations", "\n".join(deviations)),
        ("Errata: where paper and code are at odds", "\n".join(errata)),
        ("Claims", _claims_table(entry)),
        ("Why a verdict is what it is", "\n".join(_notes(entry))),
    ]
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections if text) + "\n"


def _notes(entry: PaperRuns) -> list[str]:
    return [
        f"- `{claim.id}`, {run.name}: {claim.verdict}; {escape(claim.note)}"
        for run in entry.runs
        for claim in run.claims
        if claim.note
    ]


def markers(block: str) -> tuple[str, str]:
    """The lines of a Markdown file between which the generated block `block` stands."""
    return f"<!-- {block}:begin -->", f"<!-- {block}:end -->"


def update_block(path: Path, block: str, text: str) -> None:
    """Replace what stands between the markers of `block` in a Markdown file.

    Raises:
        UserError: the file cannot be read, or does not hold each marker once, in order.
    """
    first, last = markers(block)
    try:
        readme = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    start, end = readme.find(first), readme.find(last)
    if not 0 <= start < end or readme.count(first) != 1 or readme.count(last) != 1:
        raise UserError(f"{path}: expected one line {first} and below it one line {last}; add them")
    write_text(path, f"{readme[: start + len(first)]}\n\n{text.strip()}\n\n{readme[end:]}")


def _artefacts_text(entry: PaperRuns) -> str:
    measured = {m.experiment for run in entry.runs for m in run.measurements}
    groups: dict[str, list[str]] = {"measured": [], "not yet": []}
    sources = [(t.id, t.source) for t in entry.paper.tables] + [(f.id, f.source) for f in entry.paper.figures]
    for name, source in sources:
        groups["measured" if source in measured else "not yet"].append(name)
    return "\n".join(f"{name}: {', '.join(ids)}" for name, ids in groups.items() if ids)


def _runs_text(entry: PaperRuns) -> str:
    if not entry.runs:
        return f"not run yet: make reproduce PAPER={entry.paper.slug}"
    return "\n".join(f"{run.name}: {_counts(run.claims)}" for run in entry.runs)


def _counts(claims: Sequence[ClaimResult]) -> str:
    counts = Counter(claim.verdict for claim in claims)
    return ", ".join(f"{counts[v]} {v}" for v in get_args(Verdict) if counts[v]) or "no verdicts"


def _paper_summary(entry: PaperRuns) -> str:
    paper = entry.paper
    heading = f"### [{escape(paper.name)}](replications/{paper.slug}/README.md)"
    cited = f"{escape(paper.citation.title)} ({escape(paper.citation.venue)})"
    if not entry.runs:
        return f"{heading}\n\n{cited}. Not run yet: `make reproduce PAPER={paper.slug}`"
    return "\n\n".join(part for part in (heading, cited, _claims_table(entry), _headline(entry)) if part)


def _claims_table(entry: PaperRuns) -> str:
    header = ["claim", "published", *(run.name for run in entry.runs)]
    rows = [_row(header), _row(["---"] * len(header))]
    for claim in entry.paper.claims:
        results = [_verdict_text(claim.id, run) for run in entry.runs]
        text = f"{escape(claim.statement)} (`{claim.id}`)"
        rows.append(_row([text, escape(_published_text(claim)), *results]))
    return "\n".join(rows) if entry.paper.claims else ""


def _published_text(claim: Claim) -> str:
    return MISSING if claim.value is None else f"{claim.op} {claim.value:.4g} {claim.unit}".strip()


def result_text(result: ClaimResult) -> str:
    """Return what was measured for a claim with its 95 % interval; a dash where nothing was."""
    if result.measured is None:
        return MISSING
    text = f"{result.measured:.3g}"
    if result.ci_low is not None and result.ci_high is not None:
        text += f" [{result.ci_low:.3g}, {result.ci_high:.3g}]"
    return text


def _verdict_text(claim_id: str, run: RunRecord) -> str:
    result = next((r for r in run.claims if r.id == claim_id), None)
    if result is None or result.measured is None:
        return "not run"
    emphasis = "**" if result.verdict in ("reproduced", "contradicted") else ""
    return f"{emphasis}{result.verdict}{emphasis} {result_text(result)}"


def _headline(entry: PaperRuns) -> str:
    table = next((t for t in entry.paper.tables if t.id == entry.paper.headline), None)
    panels = build_panels(table, entry.runs) if table else []
    if table is None or not panels:
        return ""
    summary = f"<summary>{escape(table.label)}: published and measured</summary>"
    return f"<details>{summary}\n\n{markdown_table(table, panels)}\n</details>"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
