"""The command `site`: a static page from the committed records, ready to be opened from the file system."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from common.compare.command import comparison
from common.compare.report import VERDICT
from common.errors import UserError
from common.records.measurements import atomic_write
from common.records.runs import find_runs
from common.reporting.overview import PaperRuns
from common.reporting.report import comparable
from common.site.claims import entries_by_verdict
from common.site.colours import stylesheet
from common.site.comparison import comparison_sources
from common.site.data import plot_json
from common.site.images import Picture, pictures
from common.site.pages import FOLDER, INDEX, Front, PaperPage, front_page, paper_page
from common.site.published import Printed, printed_points
from common.site.tables import table_pages, to_html
from common.site.tradeoff import Source, paper_sources

if TYPE_CHECKING:
    from common.run.replication import Replication

ASSETS = ("site.css", "shapes.js", "chart.js", "page.js")
SUFFIXES = {".html", ".css", ".js", ".webp"}
"""Of what a page consists of: others' files in its folder stay."""


@dataclass(frozen=True)
class Records:
    """Where everything lies.

    Attributes:
        replications: the papers.
        results, tables: the records, and the generated tables.
        root: the checkout, which the page links to.
    """

    replications: tuple[Replication, ...]
    results: Path
    tables: Path
    root: Path


def write_site(records: Records, out: Path) -> list[Path]:
    """Write the page into `out`, and remove what an earlier one left there.

    Raises:
        UserError: a record is malformed, a table is missing, or a file cannot be written.
    """
    files = site_files(records, out)
    paths = []
    for name, content in files.items():
        paths.append(out / name)
        with atomic_write(paths[-1]) as temporary:
            temporary.write_bytes(content)
    for path in sorted(out.rglob("*")):
        if path.suffix in SUFFIXES and path not in paths:
            path.unlink()
    return paths


def site_files(records: Records, out: Path) -> dict[str, bytes]:
    """Every file of the page by its name; the same records give the same bytes.

    Args:
        records: what is shown.
        out: where it will lie, which links to the checkout depend on.

    Raises:
        UserError: a record is malformed, or a table cannot be read.
    """
    pages, sources, printed = [], [], []
    for replication in records.replications:
        paper = replication.paper
        runs = PaperRuns(paper, tuple(comparable(find_runs(records.results, paper.slug))))
        pages.append(_page(records, runs, replication))
        sources += [source for run in runs.runs for source in paper_sources(paper, run)]
        printed += printed_points(paper)
    compared, own = _comparison(records)
    front = Front(plot_json([*own, *sources], _asked_for(printed, [*own, *sources])), compared, _winners(records))
    texts = {INDEX: front_page(front, pages, out, records.root), "colours.css": stylesheet()}
    texts |= {name: (FOLDER / "assets" / name).read_text(encoding="utf-8") for name in ASSETS}
    shown = [*pages, *([compared] if compared else [])]
    texts |= {page.file: paper_page(page, pages, out) for page in shown}
    return {name: text.encode() for name, text in texts.items()} | _files_of(p for page in shown for p in page.pictures)


def _page(records: Records, runs: PaperRuns, replication: Replication) -> PaperPage:
    paper = runs.paper
    return PaperPage(
        runs=runs,
        claims=entries_by_verdict(runs, replication.deciders()),
        pictures=tuple(picture for run in runs.runs for picture in pictures(paper, run)),
        tables=tuple(table_pages(paper, records.tables / paper.slug)),
        folder=replication.folder,
    )


def _comparison(records: Records) -> tuple[PaperPage | None, list[Source]]:
    """The comparison's own page and what it adds to the plot; runs of trained encoders before others."""
    chosen = comparison()
    runs = sorted(find_runs(records.results, chosen.slug), key=lambda run: (not run.quality_counts, run.name))
    if not runs:
        return None, []
    paper = chosen.paper
    sources = [source for run in runs for source in comparison_sources(paper, run)]
    return _page(records, PaperRuns(paper, tuple(runs)), chosen), sources


def _winners(records: Records) -> Markup:
    """What `make tables` says in words; empty where nothing was compared."""
    path = records.tables / comparison().slug / VERDICT
    if not path.exists():
        return Markup("")
    try:
        return to_html(path.read_text(encoding="utf-8"), "Which method where")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}. Type make tables to write it anew") from error


def _asked_for(printed: Iterable[Printed], sources: Iterable[Source]) -> list[Printed]:
    """The published points of systems that some source draws."""
    drawn = {(source.paper, line.method) for source in sources for plot in source.tasks for line in plot.lines}
    return [point for point in printed if {(point.paper, point.system), ("", point.system)} & drawn]


def _files_of(found: Iterable[Picture]) -> dict[str, bytes]:
    return {picture.name: picture.data for picture in found}


def megabytes(paths: Iterable[Path]) -> float:
    """Size of the files, in millions of bytes."""
    return sum(path.stat().st_size for path in paths) / 1e6


def make(out: Path, records: Records) -> str:
    """Write the page; returns what to open."""
    paths = write_site(records, out)
    return f"{paths[0].relative_to(records.root)} ({len(paths)} files, {megabytes(paths):.1f} MB): open it in a browser"
