"""What follows from the comparison's committed records: figures, tables, and which method wins where."""

from __future__ import annotations

from pathlib import Path

from common.records.measurements import write_text
from common.records.runs import find_folders, find_runs
from common.reporting.made import MEASURED, Made, code_digest, records_digest
from common.run.replication import find_replications

VERDICT = "which-method.md"
FACTS = "common/compare/comparison.yaml"


def report_comparison(results: Path, tables: Path, made: Made) -> list[Path]:
    """Regenerate figures, tables and the verdicts in words, where they are not as they were made.

    Returns:
        The files that follow from the records; none without a record.

    Raises:
        UserError: a record is malformed, or a file cannot be written.
    """
    folders, out = find_folders(results, "compare"), tables / "compare"
    if not folders:
        return []

    def make() -> list[Path]:
        from common.compare.command import comparison, verdict_text, write_run_report
        from common.reporting.tables import write_tables

        chosen, runs = comparison(), find_runs(results, "compare")
        figures = [path for run in runs for path in write_run_report(chosen, run, results / "compare" / run.name)]
        write_text(out / VERDICT, "\n".join(verdict_text(run) for run in runs))
        return [*figures, *write_tables(chosen.paper, runs, out, FACTS), out / VERDICT]

    code = code_digest(*(paper.folder for paper in find_replications()))
    return made.once(out, records_digest(folders, MEASURED, code), make)
