"""Who is taken, by rules that a test holds to brute force.

The rule of choice. Speed decides among those that keep the score: of the systems that lose at most MAX_LOSS points on
`tune` (held-back training text, on which settings are chosen), that dev does not contradict (its loss there is not
surely above MAX_LOSS, one-sided 2.5 %), that are surely faster than the baseline and whose median time is at most
MAX_MS, the fastest is taken. The next fastest is the second.

The rule of dominance. A method that runs the first k layers of the backbone on every text, at whichever setting, takes
at least the time of those k layers alone, without a head: its *floor*, which needs no training to be timed. Once two
systems that keep the score are surely faster than the floor, in total and in the median, every setting of the method
comes after both of them, so it can be neither first nor second, and it is not trained. If MAX_MS excludes one of the
two, it excludes the method: its median is no smaller. What has no such floor is never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.best.limits import Limits

TINY = 1e-9
"""Scores are sums of fractions: a loss of exactly MAX_LOSS is allowed."""

PLACES = 2
"""A dominated method can take none of so many first places."""


@dataclass(frozen=True)
class Standing:
    """A method at a setting, as far as the rules look at it.

    Attributes:
        method, setting: which.
        tune_loss: points lost against the baseline on tune.
        refuted: whether its loss on dev is surely above MAX_LOSS.
        faster: whether it is surely faster than the baseline at the asked batch.
        seconds: that a text takes there: what the order is by.
        p50_ms: median milliseconds that a text takes there.
    """

    method: str
    setting: str
    tune_loss: float
    refuted: bool
    faster: bool
    seconds: float
    p50_ms: float

    @property
    def name(self) -> str:
        """For prose."""
        return f"{self.method} ({self.setting})" if self.setting else self.method

    def keeps(self, limits: Limits) -> bool:
        """Whether its score may be counted on, and it is worth taking instead of the baseline."""
        return loses_at_most(self.tune_loss, limits.max_loss) and not self.refuted and self.faster

    def in_time(self, limits: Limits) -> bool:
        """Whether a text takes no longer than is allowed."""
        return limits.max_ms is None or self.p50_ms <= limits.max_ms


def loses_at_most(loss: float, max_loss: float) -> bool:
    """Whether a loss in points is allowed."""
    return loss <= max_loss + TINY


def ranking(standings: Iterable[Standing], limits: Limits) -> list[Standing]:
    """Those that meet the limits, fastest first."""
    return sorted((s for s in standings if s.keeps(limits) and s.in_time(limits)), key=lambda s: s.seconds)


def on_the_list(standings: Iterable[Standing], limits: Limits) -> list[Standing]:
    """Those that stood for choice before dev was asked: so many intervals are given together."""
    return [s for s in standings if loses_at_most(s.tune_loss, limits.max_loss) and s.faster and s.in_time(limits)]


def is_dominated(faster_than_the_floor: Sequence[Standing], limits: Limits) -> bool:
    """Whether a method comes too late, given the systems that are surely faster than its floor (see the module)."""
    return sum(standing.keeps(limits) for standing in faster_than_the_floor) >= PLACES


def nearest(standings: Iterable[Standing], limits: Limits) -> Standing | None:
    """Where nothing meets the limits: of those that keep the score the fastest, else the one that loses least on tune.

    None: nothing is faster than the baseline.
    """
    fast = [s for s in standings if s.faster]
    keeping = [s for s in fast if s.keeps(limits)]
    if keeping:
        return min(keeping, key=lambda s: s.p50_ms)
    # Who keeps to the limit on tune and is contradicted by dev is no nearer than who does not.
    return min(fast, key=lambda s: (s.refuted, s.tune_loss), default=None)
