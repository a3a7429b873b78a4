"""What a system looks like in every figure of the project: a colour and a marker that are its own.

A look is written `blue-circle`. The parts that every paper has (baseline, static ladder, control, constant answer)
look the same everywhere; a method's look is declared in paper.yaml under `systems`, and a test keeps it the same in
all papers that draw it. Several lines of one system in a figure (its settings, its backbones) are shades of its
colour; what a paper printed has the system's colour and marker too, hollow and dotted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from common.reporting.series import Series

Fill = Literal["full", "none", "bottom", "left"]

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow (unreadable on white), and
# three darker hues of Paul Tol's.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "pink": "#CC79A7",
    "amber": "#E69F00",
    "sky": "#56B4E9",
    "wine": "#882255",
    "olive": "#7A7A1E",
    "indigo": "#332288",
    "black": "#000000",
    "grey": "#888888",
}
MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle": "^",
    "wedge": "v",
    "plus": "P",
    "cross": "X",
    "star": "*",
    "pentagon": "p",
    "left": "<",
    "right": ">",
}
ROLES = {
    "baseline": "black-circle",
    "ladder": "grey-square",
    "control": "grey-plus",
    "constant": "grey-cross",
}
"""Looks of what every paper has; `systems` of a paper.yaml may give a role where the paper has a name of its own."""

RESERVED = {"black", "grey"}
ROLE_OF_NAME = {"baseline": "baseline", "A/A control": "control", "constant answer": "constant"}
LADDER = re.compile(r"truncated \d+L")
SHADES = (-0.45, 0.0, 0.35, 0.6)
"""How several lines of one system differ: from its colour mixed with black to its colour mixed with white."""

PUBLISHED_LINES = (":", "-.", "--")
PUBLISHED_FILLS: tuple[Fill, ...] = ("none", "bottom", "left")


@dataclass(frozen=True, slots=True)
class Look:
    """How a line is drawn: an RGB colour, matplotlib's marker, fill and line style."""

    colour: str
    marker: str
    fill: Fill = "full"
    line: str = "-"


def parse_look(text: str) -> Look:
    """Return the look that a role (`ladder`) or a colour and a marker (`blue-circle`) stand for.

    Raises:
        ValueError: it is neither.
    """
    colour, _, marker = ROLES.get(text, text).partition("-")
    if colour not in COLOURS or marker not in MARKERS:
        raise ValueError(
            f"{text!r} is no look: expected a role ({', '.join(ROLES)}) or <colour>-<marker> such as blue-circle; "
            f"colours: {', '.join(COLOURS)}; markers: {', '.join(MARKERS)}"
        )
    return Look(COLOURS[colour], MARKERS[marker])


def declared_look(system: str, systems: Mapping[str, str]) -> Look | None:
    """Return a system's own look, declared in `systems` or that of its role; None where it has none."""
    if system in systems:
        return parse_look(systems[system])
    role = "ladder" if LADDER.fullmatch(system) else ROLE_OF_NAME.get(system)
    return parse_look(role) if role else None


def looks(series: Iterable[Series], systems: Mapping[str, str]) -> dict[str, Look]:
    """Return the look of each label of a figure.

    A system without a look of its own takes one that is free in this figure, in the order of appearance.
    """
    labels = {one.label: one for one in series}
    own = {one.system: declared_look(one.system, systems) for one in labels.values()}
    free = _free_looks([look for look in own.values() if look is not None])
    of_system = {system: look or next(free) for system, look in own.items()}
    found = {}
    for label, one in labels.items():
        alike = [other.label for other in labels.values() if _kin(other) == _kin(one)]
        found[label] = _variant(of_system[one.system], alike.index(label), len(alike), published=one.published)
    return found


def _kin(series: Series) -> tuple[str, bool]:
    return series.system, series.published


def _free_looks(taken: Sequence[Look]) -> Iterator[Look]:
    colours = [colour for name, colour in COLOURS.items() if name not in RESERVED]
    unused = [colour for colour in colours if colour not in {look.colour for look in taken}]
    # Every colour comes once before one returns, with another marker.
    for marker, colour in product(MARKERS.values(), [*unused, *(c for c in colours if c not in unused)]):
        look = Look(colour, marker)
        if look not in taken:
            yield look


def _variant(look: Look, index: int, count: int, *, published: bool) -> Look:
    """Return the look of the `index`-th of `count` lines of one system."""
    if published:
        style = index % len(PUBLISHED_LINES)
        return Look(look.colour, look.marker, PUBLISHED_FILLS[style], PUBLISHED_LINES[style])
    if count == 1:
        return look
    place = index * (len(SHADES) - 1) / (count - 1)
    below = min(int(place), len(SHADES) - 2)
    return Look(mixed(look.colour, SHADES[below] + (place - below) * (SHADES[below + 1] - SHADES[below])), look.marker)


def mixed(colour: str, amount: float) -> str:
    """Return a colour mixed with black (`amount` down to -1) or with white (up to 1)."""
    target = 255 if amount > 0 else 0
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(part + abs(amount) * (target - part)):02X}" for part in parts)
