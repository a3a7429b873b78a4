"""Draws series on axes with matplotlib, without touching its global state."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from common.paper import Figure
from common.reporting.learned import CONSTANT, Window, below
from common.reporting.looks import Look, looks, parse_look
from common.reporting.series import AT, Series

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

PANELS_ABREAST = 3
# In inches.
PANEL_WIDTH, PANEL_HEIGHT, TITLE_HEIGHT = 3.6, 2.9, 0.3
CAPTION_ROW_HEIGHT, CAPTION_MARGIN, LEGEND_ROW_HEIGHT = 0.13, 0.12, 0.22
CAPTION_LETTERS_PER_INCH = 17.5
HANDLE_WIDTH, LETTER_WIDTH = 0.7, 0.075
BARS_WIDTH = 0.8
LEAST_SPAN = 0.02
"""An axis spans at least this share of its largest value: the sixth digit of a constant is no curve."""
AIR = 0.05
"""Share of an axis that stays free at either end."""
STYLE = {
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def draw(
    figure: Figure,
    series: Sequence[Series],
    title: str,
    caption: Sequence[str],
    *,
    systems: Mapping[str, str] | None = None,
    windows: Mapping[str, Window] | None = None,
) -> Canvas:
    """Return the drawn figure: one panel for each `Series.panel`, one legend for all, `caption` at the foot.

    Args:
        figure: its axes and kind.
        series: the lines, of all panels.
        title: above the panels.
        caption: lines below the legend.
        systems: the paper's declared looks.
        windows: by panel, what an axis of scores may show; points below are marked at its edge.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels = list(dict.fromkeys(one.panel for one in series))
    abreast = min(len(panels), PANELS_ABREAST)
    rows = math.ceil(len(panels) / abreast)
    size = (PANEL_WIDTH * max(abreast, 2), PANEL_HEIGHT * rows + TITLE_HEIGHT)
    of_label = looks(series, systems or {})
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=size)
        FigureCanvasAgg(canvas)
        axes = list(canvas.subplots(rows, abreast, squeeze=False).flat)
        for panel, ax in zip(panels, axes, strict=False):
            shown = [one for one in series if one.panel == panel]
            draw_panel(ax, figure, shown, of_label, (windows or {}).get(panel))
            ax.set_title(panel)
        for ax in axes[len(panels) :]:
            ax.remove()
        canvas.suptitle(title, fontsize=10, wrap=True)
        _draw_foot(canvas, caption, _handles(axes[: len(panels)]))
    return canvas


def draw_panel(
    ax: Axes, figure: Figure, series: Sequence[Series], of_label: Mapping[str, Look], window: Window | None
) -> None:
    """Draw the series of one panel, each with the look of its label."""
    from matplotlib.ticker import MaxNLocator

    bars = [one for one in series if figure.kind == "bar" and not one.published]
    for one in series:
        look = of_label[one.label]
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
        _plain_numbers(ax.xaxis)
    if figure.y.log:
        ax.set_yscale("log")
        _plain_numbers(ax.yaxis)
    else:
        if window is not None:
            _look_through(ax, series, of_label, window)
        _widen(ax)
    ax.set_xlabel(figure.x.label)
    ax.set_ylabel(figure.y.label)


def _plain_numbers(axis: Axis) -> None:
    """On a logarithmic axis that spans less than two powers of ten: 1, 2, 3, 5 as they are, not as powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if 0 < low < high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _look_through(ax: Axes, series: Sequence[Series], of_label: Mapping[str, Look], window: Window) -> None:
    """Let the axis follow what lies in the window, and mark what lies below it at the lower edge."""
    from matplotlib.markers import CARETDOWN

    points = [point for one in series for point in one.points]
    inside = [point for point in points if point.y in window]
    ends = [y for point in inside for y in (point.low, point.high) if y is not None]
    shown = [point.y for point in inside] + [min(max(y, window.low), window.high) for y in ends]
    air = AIR * (max(shown) - min(shown))
    ax.set_ylim(min(shown) - air, max(shown) + air)
    low, high = ax.get_ylim()
    if low < window.constant < high:
        look = parse_look("constant")
        ax.axhline(window.constant, color=look.colour, linestyle=(0, (1, 2)), linewidth=1, label=CONSTANT, zorder=0)
    for one in series:
        look = of_label[one.label]
        at = [point.x for point in below(window, one)]
        if at:
            fill = look.colour if look.fill == "full" else "none"
            edge = ax.get_xaxis_transform()
            (marks,) = ax.plot(at, [0.0] * len(at), transform=edge, color=look.colour, markerfacecolor=fill)
            marks.set(linestyle="none", marker=CARETDOWN, markersize=9, clip_on=False, zorder=5, in_layout=False)


def _widen(ax: Axes) -> None:
    low, high = ax.get_ylim()
    least = LEAST_SPAN * max(abs(low), abs(high))
    if high - low < least:
        middle = (low + high) / 2
        ax.set_ylim(middle - least / 2, middle + least / 2)


def _draw_points(ax: Axes, series: Series, look: Look, *, joined: bool) -> None:
    x, y = [p.x for p in series.points], [p.y for p in series.points]
    line = look.line if joined and len(x) > 1 else "none"
    ax.plot(x, y, color=look.colour, marker=look.marker, markersize=_size(look), linestyle=line, label=series.label)
    spread = [(p.x, p.low, p.high) for p in series.points if p.low is not None and p.high is not None]
    if not spread:
        return
    at, low, high = zip(*spread, strict=True)
    if line == "none":
        ax.vlines(at, low, high, color=look.colour, linewidth=1, alpha=0.6)
    else:
        ax.fill_between(at, low, high, color=look.colour, alpha=0.15, linewidth=0)


def _draw_bars(ax: Axes, series: Series, look: Look, *, place: int, of: int) -> None:
    width = BARS_WIDTH / of
    offset = (place - (of - 1) / 2) * width
    x = [p.x + offset for p in series.points]
    ax.bar(x, [p.y for p in series.points], width=width, color=look.colour, label=series.label)
    for at, p in zip(x, series.points, strict=True):
        if p.low is not None and p.high is not None:
            ax.vlines(at, p.low, p.high, color="#333333", linewidth=1)


def _draw_published(ax: Axes, series: Series, look: Look) -> None:
    x, y = [p.x for p in series.points], [p.y for p in series.points]
    (line,) = ax.plot(x, y, color=look.colour, linestyle=look.line, label=series.label)
    line.set(marker=look.marker, markersize=_size(look) + 2, fillstyle=look.fill, markerfacecoloralt="none")


def _size(look: Look) -> int:
    """A star and a pentagon cover less than a square of their size."""
    return {"*": 7, "p": 5, "P": 5, "X": 5}.get(look.marker, 4)


def _draw_foot(canvas: Canvas, caption: Sequence[str], handles: Mapping[str, Artist]) -> None:
    """Add a strip at the foot, with the legend above the caption, and lay the panels out above it.

    The layout engine knows nothing of a second text at the foot, so the strip's height is counted here.
    """
    width, height = canvas.get_size_inches()
    longest = max(map(len, handles), default=0)
    columns = max(1, min(len(handles), int(width / (HANDLE_WIDTH + LETTER_WIDTH * longest))))
    wide = int(width * CAPTION_LETTERS_PER_INCH)
    lines = [row for line in caption for row in textwrap.wrap(line, wide)]
    foot = CAPTION_MARGIN + CAPTION_ROW_HEIGHT * len(lines)
    strip = foot + LEGEND_ROW_HEIGHT * math.ceil(len(handles) / columns)
    total = height + strip
    canvas.set_size_inches(width, total)
    canvas.set_layout_engine("constrained", rect=(0, strip / total, 1, height / total))
    middle = foot / 2 / total
    text = "\n".join(lines)
    canvas.text(0.5, middle, text, ha="center", va="center", fontsize=7, color="#555555", in_layout=False)
    if handles:
        anchor = (0.5, foot / total)
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
