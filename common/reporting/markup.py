"""How a single number reads, in any markup: rounding, spread, marks, and what stands for a missing one."""

from __future__ import annotations

from dataclasses import dataclass

from common.paper import TableMetric
from common.reporting.cells import Entry

MISSING = "\N{EM DASH}"
"""Stands where a number is missing; never 0."""

UNVERIFIED_MARK = "\N{DAGGER}"
DERIVED_MARK = "\N{DOUBLE DAGGER}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"

SIGNS = {"ratio": (1, "\N{MULTIPLICATION SIGN}"), "fraction": (100, " %"), "percent": (1, " %")}
"""Units that read as a sign: what a number in them is multiplied by, and the sign."""


@dataclass(frozen=True, slots=True)
class NumberText:
    """A number in the parts that a table aligns: `80.5`, ` ± 2.0`, `†`."""

    value: str
    spread: str = ""
    marks: str = ""

    def __str__(self) -> str:
        return self.value + self.spread + self.marks


def number_text(value: float, decimals: int) -> str:
    """Return a rounded number; what rounds to zero has no sign."""
    return f"{value:z.{decimals}f}"


def sd_text(sd: float, decimals: int) -> str:
    """Return a rounded standard deviation; one that would round to zero is said to be below a last digit's unit."""
    text = number_text(sd, decimals)
    return text if float(text) or not sd else f"<{10.0**-decimals:.{decimals}f}"


def quantity_text(value: float, unit: str, low: float | None = None, high: float | None = None) -> str:
    """Return three digits with their unit, and the interval in the same unit: `39 % [36, 42]`, `1.7×`, `0.4 points`."""
    scale, sign = SIGNS.get(unit, (1, f" {unit}" if unit else ""))
    text = f"{scale * value:.3g}{sign}"
    return text if low is None or high is None else f"{text} [{scale * low:.3g}, {scale * high:.3g}]"


def seeds_name(seeds: int) -> str:
    """Return `1 seed`, `3 seeds`."""
    return f"{seeds} seed{'s' if seeds != 1 else ''}"


def entry_text(entry: Entry | None, metric: TableMetric, seeds: int | None = None) -> NumberText:
    """Return a number with its spread over seeds, or its interval, and its marks.

    Args:
        entry: the number; None where there is none.
        metric: says how it is rounded.
        seeds: how many seeds its column has; a number of fewer says its own, in parentheses.
    """
    if entry is None:
        return NumberText(MISSING)
    decimals = metric.decimals
    spread = ""
    if entry.sd is not None:
        spread = f" {PLUS_MINUS} {sd_text(entry.sd, decimals)}"
    elif entry.low is not None and entry.high is not None:
        spread = f" [{number_text(entry.low, decimals)}, {number_text(entry.high, decimals)}]"
    if entry.rounds is not None:
        spread += f" n={entry.rounds}"
    if entry.seeds is not None and seeds is not None and entry.seeds != seeds:
        spread += f" ({entry.seeds})"
    marks = UNVERIFIED_MARK * entry.unverified + DERIVED_MARK * entry.derived
    return NumberText(number_text(entry.value, decimals), spread, marks)
