"""The committed comparisons as sources of the plot, with intervals from what every method answered."""

from __future__ import annotations

from collections.abc import Iterator

from common.compare.judgement import standings_of
from common.paper import Paper
from common.records.runs import RunRecord
from common.reporting.learned import learned
from common.site.numbers import Band, Number
from common.site.tradeoff import Key, Source, run_note, task_plots

EXPERIMENT = "comparison"
GROUP = "The comparison"


def comparison_sources(paper: Paper, run: RunRecord) -> Iterator[Source]:
    """The run's one source; none where nothing was learned.

    Args:
        paper: the layout of the comparison, with every method's look.
        run: a committed comparison.
    """
    known = learned(run.measurements, paper.reference)
    rows = run.of(EXPERIMENT)
    tasks = tuple(task_plots(paper, rows, known, intervals(run)))
    if tasks:
        yield Source(
            key=f"{paper.slug}/{run.name}",
            group=GROUP,
            label=run.name,
            paper="",
            reference=paper.reference,
            note=run_note(run),
            tasks=tasks,
            left_out=known.not_learned,
        )


def intervals(run: RunRecord) -> dict[Key, Number]:
    """Points gained over the baseline with the 95 % interval over examples and seeds, of every system."""
    found: dict[Key, Number] = {}
    for task in standings_of(run):
        seeds = len(task.seeds)
        for one in task.standings:
            low, high = one.gained.interval
            band: Band = "both" if seeds > 1 else "examples"
            found[task.task, one.method, one.setting] = Number(one.gained.value, seeds, low, high, band)
    return found
