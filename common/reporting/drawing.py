"""Draws series on axes with matplotlib, without touching its global state.

The palette is Okabe and Ito's, which colour-blind readers can tell apart; lines also differ in their markers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from common.paper import Figure
from common.reporting.series import AT, Series

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = "osD^vPX*"
PANELS_ABREAST = 3
# In inches.
PANEL_WIDTH, PANEL_HEIGHT, TITLE_HEIGHT = 3.6, 2.9, 0.3
CAPTION_HEIGHT, LEGEND_ROW_HEIGHT = 0.25, 0.22
HANDLE_WIDTH, LETTER_WIDTH = 0.7, 0.075
BARS_WIDTH = 0.8
LEAST_SPAN = 0.02
"""An axis spans at least this share of its largest value: the sixth digit of a constant is no curve."""
STYLE = {
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def draw(figure: Figure, series: Sequence[Series], title: str, caption: str) -> Canvas:
    """Return the drawn figure: one panel for each `Series.panel`, one legend for all, `caption` at the foot."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels = list(dict.fromkeys(one.panel for one in series))
    labels = list(dict.fromkeys(one.label for one in series))
    abreast = min(len(panels), PANELS_ABREAST)
    rows = math.ceil(len(panels) / abreast)
    size = (PANEL_WIDTH * max(abreast, 2), PANEL_HEIGHT * rows + TITLE_HEIGHT)
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=size)
        FigureCanvasAgg(canvas)
        axes = list(canvas.subplots(rows, abreast, squeeze=False).flat)
        for panel, ax in zip(panels, axes, strict=False):
            draw_panel(ax, figure, [one for one in series if one.panel == panel], labels)
            ax.set_title(panel)
        for ax in axes[len(panels) :]:
            ax.remove()
        canvas.suptitle(title, fontsize=10, wrap=True)
        _draw_foot(canvas, caption, _handles(axes[: len(panels)]))
    return canvas


def draw_panel(ax: Axes, figure: Figure, series: Sequence[Series], labels: Sequence[str]) -> None:
    """Draw the series of one panel; a label's place in `labels` gives it the same look in every panel."""
    from matplotlib.ticker import MaxNLocator

    bars = [one for one in series if figure.kind == "bar" and not one.published]
    for one in series:
        look = labels.index(one.label)
        if one.published:
            _draw_published(ax, one, look)
        elif figure.kind == "bar":
            _draw_bars(ax, one, look, place=bars.index(one), of=len(bars))
        else:
            _draw_points(ax, one, look, joined=figure.kind == "line")
    if figure.diagonal:
        ax.axline((0, 0), slope=1, color="#888888", linestyle="--", linewidth=1, label="x = y", zorder=0)
    if figure.x.metric == AT and not figure.x.log and all(p.x == round(p.x) for one in series for p in one.points):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if figure.x.log:
        ax.set_xscale("log")
    if figure.y.log:
        ax.set_yscale("log")
    else:
        _widen(ax)
    ax.set_xlabel(figure.x.label)
    ax.set_ylabel(figure.y.label)


def _widen(ax: Axes) -> None:
    low, high = ax.get_ylim()
    least = LEAST_SPAN * max(abs(low), abs(high))
    if high - low < least:
        middle = (low + high) / 2
        ax.set_ylim(middle - least / 2, middle + least / 2)


def _draw_points(ax: Axes, series: Series, look: int, *, joined: bool) -> None:
    colour, marker = _look(look)
    x, y = [p.x for p in series.points], [p.y for p in series.points]
    line = "-" if joined and len(x) > 1 else "none"
    ax.plot(x, y, color=colour, marker=marker, markersize=4, linestyle=line, label=series.label)
    spread = [(p.x, p.low, p.high) for p in series.points if p.low is not None and p.high is not None]
    if not spread:
        return
    at, low, high = zip(*spread, strict=True)
    if line == "-":
        ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    else:
        ax.vlines(at, low, high, color=colour, linewidth=1, alpha=0.6)


def _draw_bars(ax: Axes, series: Series, look: int, *, place: int, of: int) -> None:
    colour, _ = _look(look)
    width = BARS_WIDTH / of
    offset = (place - (of - 1) / 2) * width
    x = [p.x + offset for p in series.points]
    ax.bar(x, [p.y for p in series.points], width=width, color=colour, label=series.label)
    for at, p in zip(x, series.points, strict=True):
        if p.low is not None and p.high is not None:
            ax.vlines(at, p.low, p.high, color="#333333", linewidth=1)


def _draw_published(ax: Axes, series: Series, look: int) -> None:
    colour, marker = _look(look)
    x, y = [p.x for p in series.points], [p.y for p in series.points]
    ax.plot(x, y, color=colour, marker=marker, markersize=6, markerfacecolor="none", linestyle=":", label=series.label)


def _look(index: int) -> tuple[str, str]:
    """Return a colour and a marker; past the palette's end the colours return with other markers."""
    return PALETTE[index % len(PALETTE)], MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def _draw_foot(canvas: Canvas, caption: str, handles: Mapping[str, Artist]) -> None:
    """Add a strip at the foot, with the legend above the caption, and lay the panels out above it.

    The layout engine knows nothing of a second text at the foot, so the strip's height is counted here.
    """
    width, height = canvas.get_size_inches()
    longest = max(map(len, handles), default=0)
    columns = max(1, min(len(handles), int(width / (HANDLE_WIDTH + LETTER_WIDTH * longest))))
    strip = CAPTION_HEIGHT + LEGEND_ROW_HEIGHT * math.ceil(len(handles) / columns)
    total = height + strip
    canvas.set_size_inches(width, total)
    canvas.set_layout_engine("constrained", rect=(0, strip / total, 1, height / total))
    middle = CAPTION_HEIGHT / 2 / total
    canvas.text(0.5, middle, caption, ha="center", va="center", fontsize=7, color="#555555", in_layout=False)
    if handles:
        anchor = (0.5, CAPTION_HEIGHT / total)
        legend = canvas.legend(
            list(handles.values()),
            list(handles),
            loc="lower center",
            bbox_to_anchor=anchor,
            ncols=columns,
            borderaxespad=0,
        )
        legend.set_in_layout(False)


def _handles(axes: Sequence[Axes]) -> Mapping[str, Artist]:
    """Return each label once with the handle of its first appearance."""
    handles: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return {label: handle for label, handle in handles.items() if label}
