"""Everything that follows from the records: verdicts, figures, tables and the README's scoreboard.

Nothing is trained or measured here, so it can be repeated at will, and what is as it was made is not made again
(`common.reporting.made`). A run with an untrained encoder (smoke) gets verdicts and figures in its own folder, but
stays out of the tables and the scoreboard, which compare results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.records.measurements import ClaimResult, write_json, write_text
from common.records.runs import RunRecord, find_folders, find_runs, read_run
from common.reporting.blocks import update_block
from common.reporting.figures import write_figures
from common.reporting.ledger import ledger, write_ledger
from common.reporting.made import JUDGED, MEASURED, Made, code_digest, records_digest
from common.reporting.overview import PaperRuns
from common.reporting.paper_page import facts_markdown
from common.reporting.scoreboard import measured_text, not_run_markdown, scoreboard
from common.reporting.tables import write_tables

NOT_RUN = "not-run.md"
"""The page of claims that no recorded run decides, beside the tables."""

if TYPE_CHECKING:
    from common.run.replication import Replication


def report(replications: Iterable[Replication], results: Path, tables: Path, readme: Path, made: Made) -> list[Path]:
    """Regenerate verdicts, figures, tables, each paper's README facts, the scoreboard, the ledger, what was not run.

    Args:
        replications: the papers; one that was never run has its published tables alone.
        results: folder of the records, `<results>/<paper>/<run>/`.
        tables: where tables go, `<tables>/<paper>/`.
        readme: a Markdown file with the markers of the block `scoreboard`; each paper's own README has a block `facts`.
        made: notes on what was made before.

    Returns:
        The files that follow from the records, made now or before.

    Raises:
        UserError: a record or a paper.yaml is malformed, the markers are missing, or a file cannot be written.
    """
    from common.compare.report import report_comparison

    papers = list(replications)
    written = [path for one in papers for path in report_paper(one, results, tables, made)]
    written += report_comparison(results, tables, made)
    folders = [folder for one in papers for folder in find_folders(results, one.slug)]
    made_from = records_digest(folders, JUDGED, code_digest(*(one.folder for one in papers)))
    return written + made.once(readme, made_from, lambda: _write_pages(papers, results, tables, readme))


def _write_pages(papers: Sequence[Replication], results: Path, tables: Path, readme: Path) -> list[Path]:
    """Each paper's README facts, the scoreboard, the ledger, and what was not run."""
    entries = [PaperRuns(one.paper, tuple(comparable(find_runs(results, one.slug)))) for one in papers]
    own = [one.folder / "README.md" for one in papers]
    for path, entry in zip(own, entries, strict=True):
        update_block(path, "facts", facts_markdown(entry))
    update_block(readme, "scoreboard", scoreboard(entries))
    not_run = tables / NOT_RUN
    write_text(not_run, not_run_markdown(entries))
    return [*own, *write_ledger(ledger(entries), results), not_run, readme]


def report_paper(replication: Replication, results: Path, tables: Path, made: Made) -> list[Path]:
    """Regenerate one paper's verdicts and figures (beside its records) and its tables.

    Returns and raises as `report`.
    """
    code, written = code_digest(replication.folder), []
    folders, out = find_folders(results, replication.slug), tables / replication.slug
    for folder in folders:
        made_from = records_digest([folder], MEASURED, code)
        written += made.once(folder, made_from, lambda folder=folder: report_run(replication, folder))  # type: ignore[misc]

    def make() -> list[Path]:
        return write_tables(replication.paper, comparable(find_runs(results, replication.slug)), out)

    return written + made.once(out, records_digest(folders, JUDGED, code), make)


def report_run(replication: Replication, folder: Path) -> list[Path]:
    """Make one run's verdicts and figures in its own folder, be it a record or a user's own.

    Returns and raises as `report`.
    """
    run = read_run(folder)
    return [write_verdicts(replication, run), *write_figures(replication.paper, run, folder / "figures")]


def write_verdicts(replication: Replication, run: RunRecord) -> Path:
    """Judge every claim of the paper by a run's record, and write claims.json beside it."""
    from common.records.verdicts import decide_claims

    assert run.folder is not None, "a record that was read has a folder"
    path = run.folder / "claims.json"
    results = decide_claims(replication.paper, run, replication.deciders())
    write_json(path, [result.model_dump() for result in results])
    return path


def comparable(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the runs whose numbers mean something beside others: all but those of untrained encoders."""
    return [run for run in runs if run.quality_counts]


def verdict_lines(claims: Iterable[ClaimResult]) -> list[str]:
    """Return one line for each claim of a run: its verdict, the measurement and the reason, for a terminal."""
    return [
        f"{claim.verdict:<13} {claim.id}: {measured_text(claim)}{f' ({claim.note})' if claim.note else ''}"
        for claim in claims
    ]
