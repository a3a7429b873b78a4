"""Everything that follows from the records: verdicts, figures, tables and the README's summary.

Nothing is trained or measured here, so it can be repeated at will. A run with an untrained encoder (smoke) gets
verdicts and figures in its own folder, but stays out of the tables and the summary, which compare results.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from common.paper import Paper
from common.records.measurements import ClaimResult, write_json
from common.reporting.figures import write_figures
from common.reporting.overview import PaperRuns, facts_markdown, result_text, summary_markdown, update_block
from common.reporting.runs import RunRecord, find_runs
from common.reporting.tables import write_tables
from common.reporting.verdicts import decide_claims, quality_counts

if TYPE_CHECKING:
    from common.replication import Replication


def report(replications: Iterable[Replication], results: Path, tables: Path, readme: Path) -> list[Path]:
    """Regenerate every paper's verdicts, figures, tables and README facts, and the summary in `readme`.

    Args:
        replications: the papers; one that was never run has its published tables alone.
        results: folder of the records, `<results>/<paper>/<run>/`.
        tables: where tables go, `<tables>/<paper>/`.
        readme: a Markdown file with the markers of the block `summary`; each paper's own README has a block `facts`.

    Returns:
        The files written.

    Raises:
        UserError: a record or a paper.yaml is malformed, the markers are missing, or a file cannot be written.
    """
    written, entries = [], []
    for replication in replications:
        paper = replication.paper
        written += report_paper(paper, results, tables)
        entries.append(PaperRuns(paper, tuple(comparable(find_runs(results, paper.slug)))))
        own = replication.folder / "README.md"
        update_block(own, "facts", facts_markdown(entries[-1]))
        written.append(own)
    update_block(readme, "summary", summary_markdown(entries))
    return [*written, readme]


def report_paper(paper: Paper, results: Path, tables: Path) -> list[Path]:
    """Regenerate one paper's verdicts and figures (beside its records) and its tables.

    Returns and raises as `report`.
    """
    runs = find_runs(results, paper.slug)
    written = []
    for run in runs:
        folder = results / paper.slug / run.name
        claims = folder / "claims.json"
        write_json(claims, [c.model_dump() for c in decide_claims(paper, run.measurements, run.name)])
        written += [claims, *write_figures(paper, run, folder / "figures")]
    return written + write_tables(paper, comparable(runs), tables / paper.slug)


def comparable(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the runs whose numbers mean something beside others: all but those of untrained encoders."""
    return [run for run in runs if all(quality_counts(m.scale) for m in run.measurements)]


def verdict_lines(claims: Iterable[ClaimResult]) -> list[str]:
    """Return one line for each claim of a run: its verdict, the measurement and the reason, for a terminal."""
    return [
        f"{claim.verdict:<13} {claim.id}: {result_text(claim)}{f' ({claim.note})' if claim.note else ''}"
        for claim in claims
    ]
