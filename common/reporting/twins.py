"""Curves that are one curve under two names.

On two classes an exit rule by entropy and one by confidence order the examples alike: whatever one rule can give, so
can the other. Drawn both, one hides the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace

from common.reporting.series import Point, Series

TOLERANCE = 0.5
"""Curves coincide that are nowhere further apart, on the y axis (points, where it shows a score).

Each rule tries thresholds of its own, so the points on the common curve differ a little.
"""


def merge_twins(series: Sequence[Series], twins: Sequence[str]) -> list[Series]:
    """Draw the lines labelled as in `twins` once in each panel where they coincide, under all their names."""
    merged: list[Series] = []
    first_names: list[str] = []
    for one in series:
        of_panel = [k for k, other in enumerate(merged) if other.panel == one.panel and first_names[k] in twins]
        twin = next((k for k in of_panel if one.label in twins and coincide(merged[k], one)), None)
        if twin is None:
            merged.append(one)
            first_names.append(one.label)
        else:
            merged[twin] = replace(merged[twin], label=f"{merged[twin].label} = {one.label}")
    return merged


def coincide(first: Series, second: Series) -> bool:
    """Whether each point of either line lies on the other, where both have an x."""
    pairs = ((point, line) for line, other in ((first, second), (second, first)) for point in _within(other, line))
    gaps = [abs(point.y - _height(line.points, point.x)) for point, line in pairs]
    return bool(gaps) and max(gaps) <= TOLERANCE


def _within(series: Series, line: Series) -> Iterable[Point]:
    low, high = line.points[0].x, line.points[-1].x
    return [point for point in series.points if low <= point.x <= high]


def _height(points: Sequence[Point], x: float) -> float:
    """Return the line's y at an x inside its range."""
    after = bisect_left([point.x for point in points], x)
    right = points[after]
    if right.x == x:
        return right.y
    left = points[after - 1]
    return left.y + (right.y - left.y) * (x - left.x) / (right.x - left.x)
