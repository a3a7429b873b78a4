"""Writes a run's figures from its records and the figure specifications of paper.yaml.

Each figure says what it shows, on which run, with which band, so that it can be read without the code. Tasks that
nothing learned have no panel; a system that collapsed is marked at the edge. The files hold no date: the same records
give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.paper import Figure, Paper
from common.records.measurements import atomic_write
from common.records.runs import RunRecord
from common.reporting.drawing import draw
from common.reporting.footer import footer
from common.reporting.learned import ON_SCORES, Learned, Window, collapsed_seeds, learned, window
from common.reporting.series import Series, measured_series, published_series
from common.reporting.twins import merge_twins

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

DOTS_PER_INCH = 150
SUFFIXES = (".png", ".pdf")
PNG_COLOURS = 256
"""A PNG has a palette of so many colours: a third of the bytes, and no difference to the eye."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a figure shows.

    Attributes:
        series: measured lines, then published points.
        not_learned: tasks that have measurements but no panel.
        windows: by panel, what an axis of scores may show.
    """

    series: tuple[Series, ...]
    not_learned: tuple[str, ...] = ()
    windows: dict[str, Window] | None = None


def write_figures(paper: Paper, run: RunRecord, out_dir: Path) -> list[Path]:
    """Draw every figure that the run measured, as `<figure>.png` and `<figure>.pdf`; others there are removed.

    Args:
        paper: its figure specifications and published numbers.
        run: the records to draw.
        out_dir: e.g. `results/deebert/mini-files/figures`.

    Returns:
        The files written; a figure without a measured point, or without a learned task, is left out.

    Raises:
        UserError: a run holds two numbers for one point, or a file cannot be written.
    """
    written = []
    known = learned(run.measurements, paper.reference)
    for figure in paper.figures:
        content = figure_content(paper, figure, run, known)
        if not content.series:
            continue
        title = f"{paper.name}, {figure.label}: {figure.caption}"
        notes = [_left_out(paper, content), _collapsed(figure, run, known)]
        foot = footer(figure, run, content.series, notes, content.windows)
        canvas = draw(figure, content.series, title, foot, systems=paper.systems, windows=content.windows)
        for suffix in SUFFIXES:
            path = out_dir / f"{figure.id}{suffix}"
            with atomic_write(path) as temporary:
                _save(canvas, temporary, suffix)
            written.append(path)
    _remove_others(out_dir, written)
    return written


def figure_content(paper: Paper, figure: Figure, run: RunRecord, known: Learned | None = None) -> Content:
    """Return what a figure shows: the run's lines, and published points in the panels that it measured.

    Published names of panels match ours whatever the case (SST-2 and `sst-2`). Empty where the run measured
    nothing, or nothing was learned.
    """
    known = known or learned(run.measurements, paper.reference)
    shown = [m for m in run.measurements if m.task not in known.not_learned]
    of_figure = {m.task for m in run.of(figure.source) if m.metric == figure.y.metric}
    measured = merge_twins(measured_series(figure, shown, run.name), figure.twins)
    panels = {series.panel.casefold(): series.panel for series in measured}
    published = published_series(figure, [paper.numbers[name] for name in figure.published])
    beside = [
        replace(series, panel=panels[series.panel.casefold()], label=f"published: {series.label}")
        for series in published
        if series.panel.casefold() in panels
    ]
    series = (*measured, *beside)
    windows = {}
    for panel in panels.values() if figure.panel_by == "task" else ():
        constant = known.constant_as(figure.y.metric, panel)
        view = None if constant is None else window(constant, [one for one in series if one.panel == panel])
        if view is not None:
            windows[panel] = view
    return Content(series, tuple(task for task in known.not_learned if task in of_figure), windows)


def _left_out(paper: Paper, content: Content) -> str:
    if not content.not_learned:
        return ""
    return f"left out, as the {paper.reference} does not beat the constant answer: {', '.join(content.not_learned)}"


def _collapsed(figure: Figure, run: RunRecord, known: Learned) -> str:
    shown = [m for m in run.of(figure.source) if m.setting in (figure.settings or [m.setting])]
    found = collapsed_seeds((m for m in shown if m.task not in known.not_learned), known)
    if figure.y.metric not in ON_SCORES or not found:
        return ""
    where = (f"{system} on {task} in {failed} of {seeds}" for (system, task), (failed, seeds) in found.items())
    return f"seeds that do not beat the constant answer: {', '.join(where)}"


def _save(canvas: Canvas, path: Path, suffix: str) -> None:
    """Write one file; dates and library versions would make it differ from one day to the next."""
    if suffix == ".pdf":
        canvas.savefig(path, format="pdf", dpi=DOTS_PER_INCH, metadata={"CreationDate": None})
        return
    from PIL import Image

    canvas.savefig(path, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    with Image.open(path) as image:
        # Maximum coverage keeps the rare colours: a marker of three pixels is what the reader looks for.
        full, method = image.convert("RGB"), Image.Quantize.MAXCOVERAGE
        small = full.quantize(PNG_COLOURS, method=method, kmeans=1, dither=Image.Dither.NONE)
    small.save(path, format="png", optimize=True)


def _remove_others(out_dir: Path, written: list[Path]) -> None:
    """Remove figures that the records no longer give, and what a killed run left half-written."""
    for path in sorted(out_dir.glob("*")):
        if path.suffix in SUFFIXES and path not in written:
            try:
                path.unlink()
            except OSError as error:
                raise UserError(f"cannot remove {path}: {error.strerror}") from error
