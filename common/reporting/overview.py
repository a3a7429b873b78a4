"""The text of `make list`: papers, their tables and figures, what has been run, verdicts.

It reads record files alone.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from common.paper import Paper
from common.records.measurements import ClaimResult, Verdict
from common.records.runs import RunRecord, find_runs

LEGEND = (
    "A run's line counts the paper's claims by verdict; what the words mean: README.md, 'How to read a verdict'.\n"
    "What a claim says and what was measured: replications/<paper>/README.md."
)


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
    text = "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n")
    return f"{text}\n\n{LEGEND}\n"


def _artefacts_text(entry: PaperRuns) -> str:
    measured = {m.experiment for run in entry.runs if run.quality_counts for m in run.measurements}
    tried = {m.experiment for run in entry.runs for m in run.measurements}
    groups: dict[str, list[str]] = {"measured": [], "at smoke alone": [], "not yet": []}
    sources = [(t.id, t.source) for t in entry.paper.tables] + [(f.id, f.source) for f in entry.paper.figures]
    for name, source in sources:
        groups["measured" if source in measured else "at smoke alone" if source in tried else "not yet"].append(name)
    return "\n".join(f"{name}: {', '.join(ids)}" for name, ids in groups.items() if ids)


def _runs_text(entry: PaperRuns) -> str:
    if not entry.runs:
        return f"not run yet: make reproduce PAPER={entry.paper.slug}"
    return "\n".join(f"{run.name}: {_counts(run.claims)}" for run in entry.runs)


def _counts(claims: Sequence[ClaimResult]) -> str:
    counts = Counter(claim.verdict for claim in claims)
    return ", ".join(f"{counts[v]} {v}" for v in get_args(Verdict) if counts[v]) or "no verdicts"
