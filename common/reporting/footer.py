"""The lines at the foot of a figure: on what it was measured, how many seeds, what the bands are, what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from common.paper import Figure
from common.records.runs import RunRecord
from common.reporting.learned import Window, below
from common.reporting.series import Series

BANDS = {"seeds": "band: ± standard deviation over seeds", "examples": "band: 95 % interval of each number"}


def footer(
    figure: Figure,
    run: RunRecord,
    series: Sequence[Series],
    notes: Sequence[str] = (),
    windows: Mapping[str, Window] | None = None,
) -> list[str]:
    """Say all that a reader needs, so that the figure can stand alone; `notes` are lines of its own."""
    shown = [m for m in run.of(figure.source) if m.metric == figure.y.metric]
    backbones = dict.fromkeys(m.backbone for m in shown if m.backbone)
    bands = dict.fromkeys(BANDS[one.band] for one in series if one.band is not None)
    if not bands and any(one.seeds > 1 and not one.shared for one in series):
        bands = {"no band: not every panel has two seeds": None}
    hollow = "hollow, dotted: published" if any(one.published for one in series) else ""
    first = [f"measured, run {run.name}", *backbones, seeds_text(series), *bands, hollow, f"commit {run.commit}"]
    lines = [
        " · ".join(part for part in first if part),
        _sentence("the same in every seed, so without a band", _shared(series)),
        *notes,
        _sentence("▼ below the axis", _below(series, windows or {})),
    ]
    return [line for line in lines if line]


def seeds_text(series: Iterable[Series]) -> str:
    """Say how many seeds each panel has, and which of its lines have fewer."""
    measured = [one for one in series if not one.published]
    panels: dict[str, int] = {}
    for one in measured:
        panels[one.panel] = max(panels.get(one.panel, 0), one.seeds)
    counts = sorted(set(panels.values()), reverse=True)
    if not any(counts):
        return ""
    if len(counts) == 1:
        text = "1 seed" if counts[0] == 1 else f"mean of {counts[0]} seeds"
    else:
        text = "seeds: " + "; ".join(f"{n} on {_names(p for p in panels if panels[p] == n)}" for n in counts)
    fewer: dict[tuple[str, int], list[str]] = {}
    for one in measured:
        if one.seeds < panels[one.panel]:
            fewer.setdefault((one.label, one.seeds), []).append(one.panel)
    if not fewer:
        return text
    return f"{text} ({'; '.join(f'{label}: {n} on {_names(where)}' for (label, n), where in fewer.items())})"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


def _sentence(what: str, names: Iterable[str]) -> str:
    listed = _names(names)
    return f"{what}: {listed}" if listed else ""


def _shared(series: Sequence[Series]) -> list[str]:
    """Return the labels that are the same in every seed, wherever they are shown."""
    labels = dict.fromkeys(one.label for one in series if one.shared)
    return [label for label in labels if all(one.shared for one in series if one.label == label)]


def _below(series: Iterable[Series], windows: Mapping[str, Window]) -> list[str]:
    found = []
    for one in series:
        values = [f"{point.y:.1f}".replace("-", "\N{MINUS SIGN}") for point in below(windows.get(one.panel), one)]
        if values:
            found.append(f"{one.label} on {one.panel} ({_names(values)})")
    return found
