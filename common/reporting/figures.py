"""Writes a run's figures from its records and the figure specifications of paper.yaml.

Each figure says what it shows, on which run, with which spread, so that it can be read without the code. The
files hold no date: the same records give the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from common.paper import Figure, Paper
from common.records.measurements import atomic_write
from common.records.runs import RunRecord
from common.reporting.drawing import draw
from common.reporting.series import Series, measured_series, published_series

DOTS_PER_INCH = 150


def write_figures(paper: Paper, run: RunRecord, out_dir: Path) -> list[Path]:
    """Draw every figure that the run measured, as `<figure>.png` and `<figure>.pdf`.

    Args:
        paper: its figure specifications and published numbers.
        run: the records to draw.
        out_dir: e.g. `results/deebert/mini-files/figures`.

    Returns:
        The files written; a figure without a measured point is left out.

    Raises:
        UserError: a run holds two numbers for one point, or a file cannot be written.
    """
    written = []
    for figure in paper.figures:
        series = figure_series(paper, figure, run)
        if not series:
            continue
        title = f"{paper.name}, {figure.label}: {figure.caption}"
        canvas = draw(figure, series, title, caption_line(figure, run, series))
        # Dates and library versions in the files would make them differ from one day to the next.
        for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
            path = out_dir / f"{figure.id}{suffix}"
            with atomic_write(path) as temporary:
                canvas.savefig(temporary, format=suffix[1:], dpi=DOTS_PER_INCH, metadata=metadata)
            written.append(path)
    return written


def figure_series(paper: Paper, figure: Figure, run: RunRecord) -> list[Series]:
    """Return what a figure shows: the run's lines, and published points in the panels that it measured.

    Published names of panels match ours whatever the case (SST-2 and `sst-2`). Empty where the run measured
    nothing.
    """
    measured = measured_series(figure, run.measurements, run.name)
    panels = {series.panel.casefold(): series.panel for series in measured}
    published = published_series(figure, [paper.numbers[name] for name in figure.published])
    beside = [
        replace(series, panel=panels[series.panel.casefold()], label=f"published: {series.label}")
        for series in published
        if series.panel.casefold() in panels
    ]
    return measured + beside


def caption_line(figure: Figure, run: RunRecord, series: list[Series]) -> str:
    """Say on what a figure was measured, what its spread is and how published points look."""
    shown = [m for m in run.of(figure.source) if m.metric == figure.y.metric]
    backbones = dict.fromkeys(m.backbone for m in shown if m.backbone)
    seeds = len({m.seed for m in shown if m.seed is not None})
    has_spread = any(point.low is not None for one in series for point in one.points)
    spread = "spread: 95 % interval" if has_spread else ""
    if seeds > 1:
        spread = f"mean of {seeds} seeds, spread: standard deviation"
    hollow = "hollow: published" if any(one.published for one in series) else ""
    parts = [f"measured, run {run.name}", *backbones, spread, hollow, f"commit {run.commit}"]
    return " · ".join(part for part in parts if part)
