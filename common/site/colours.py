"""The figures' colours on a light and on a dark page: as they are where they stand out, else a shade that does."""

from __future__ import annotations

from collections.abc import Mapping

from common.reporting.looks import COLOURS, mixed

GROUNDS = {"light": "#FFFFFF", "dark": "#14171B"}
"""What the page is painted on."""

LEAST_CONTRAST = 3.0
"""Of a mark against its ground (WCAG 2.1, 1.4.11)."""

STEP = 0.05

OPPOSITE = {"black": "#FFFFFF"}
"""What stands for a colour on the dark page: black is there the colour that stands out most."""


def stylesheet() -> str:
    """Custom properties `--blue`, `--orange`, ... for both grounds, `--ground` among them."""
    light, dark = (_properties({"ground": ground, **shades(dress)}) for dress, ground in GROUNDS.items())
    return f":root {{\n{light}}}\n@media (prefers-color-scheme: dark) {{\n:root {{\n{dark}}}\n}}\n"


def shades(dress: str) -> dict[str, str]:
    """Every colour of the figures by its name, as `#RRGGBB` on the `light` or the `dark` page."""
    colours = COLOURS if dress == "light" else {**COLOURS, **OPPOSITE}
    return {name: readable(colour, GROUNDS[dress]) for name, colour in colours.items()}


def readable(colour: str, ground: str) -> str:
    """The colour, darkened or lightened as little as it takes to stand out from `ground`; both as `#RRGGBB`."""
    towards = -1 if luminance(ground) > luminance("#777777") else 1
    steps = round(1 / STEP)
    shades = (mixed(colour, towards * step * STEP) for step in range(steps + 1))
    return next(shade for shade in shades if contrast(shade, ground) >= LEAST_CONTRAST)


def contrast(first: str, second: str) -> float:
    """Ratio of the lighter colour's luminance to the darker one's, from 1 to 21 (WCAG 2.1)."""
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of `#RRGGBB`, from 0 (black) to 1 (white) (WCAG 2.1)."""
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _properties(values: Mapping[str, str]) -> str:
    return "".join(f"  --{name}: {value};\n" for name, value in values.items())
