"""What a recorded search says, from stored answers and times alone: who is taken, at what loss, and who is second.

The reported loss is that on dev, which no setting was chosen on. Dev may contradict a choice, and the next in the order
of speed is then taken; so the intervals of all systems that stood for choice are given together (Bonferroni): whichever
is reported, 95 % is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.best.choice import Standing, nearest, on_the_list, ranking
from common.best.limits import Limits
from common.best.times import Times
from common.compare.names import BASELINE
from common.records.claims import SURE, gain, score, system
from common.records.effects import Effect
from common.records.predictions import Evidence, answers_name, seconds_name
from common.records.statistics import LEVEL, Interval
from common.tasks.metrics import points_along
from common.timing.paired import CONTROL

TUNE_LABELS = "tune/labels"

BATCHED = " in batches"
"""Ends the name of an array of seconds a text in batches."""


def tune_answers_name(method: str, setting: str = "") -> str:
    """Name of a system's predictions on tune."""
    return answers_name(method, setting).removesuffix("answers") + "tune answers"


def points_lost(evidence: Evidence, method: str, setting: str) -> float:
    """On tune, against the baseline."""
    points = points_along(evidence.metric)
    of = [evidence[tune_answers_name(*name)] for name in ((BASELINE, ""), (method, setting))]
    full, mine = (float(points(answers, evidence[TUNE_LABELS])) for answers in of)
    return full - mine


@dataclass(frozen=True, eq=False)
class Judged:
    """The systems of a search, from its record.

    Attributes:
        evidence: what was kept.
        limits: what the user allows.
        batched: texts in a batch where batches were timed.
    """

    evidence: Evidence
    limits: Limits
    batched: int

    @cached_property
    def alone(self) -> Times:
        """One by one."""
        return self._times(1, "")

    @cached_property
    def together(self) -> Times:
        """In batches."""
        return self._times(self.batched, BATCHED)

    def _times(self, batch: int, suffix: str) -> Times:
        seconds = {arm: self.evidence[seconds_name(arm) + suffix] for arm in (BASELINE, CONTROL)}
        for method, setting in self._systems:
            seconds[arm_name(method, setting)] = self.evidence[seconds_name(method, setting) + suffix]
        return Times(batch, {arm: np.asarray(values, dtype=float) for arm, values in seconds.items()})

    @cached_property
    def _systems(self) -> list[tuple[str, str]]:
        ending = "/tune answers"
        names = [name.removesuffix(ending) for name in self.evidence.arrays if name.endswith(ending)]
        split = [name.split("@", 1) if "@" in name else [name, ""] for name in names]
        return [(method, setting) for method, setting in split if method != BASELINE]

    @cached_property
    def standings(self) -> list[Standing]:
        """Every system but the baseline, at the batch that the user asked for."""
        return [self._standing(method, setting, self.clock) for method, setting in self._systems]

    def _standing(self, method: str, setting: str, times: Times) -> Standing:
        arm = arm_name(method, setting)
        refuted = self._lost(method, setting).p_above(self.limits.max_loss) <= SURE
        lost, faster = points_lost(self.evidence, method, setting), times.surely_faster(arm)
        return Standing(method, setting, lost, refuted, faster, times.typical(arm), times.p50_ms(arm))

    def _lost(self, method: str, setting: str) -> Effect:
        return -gain([self.evidence], system(method, setting), system(BASELINE))

    # -- The choice ---------------------------------------------------------------------------------------------------

    @cached_property
    def ranked(self) -> list[Standing]:
        """Those that meet the limits, fastest first."""
        return ranking(self.standings, self.limits)

    @property
    def stood(self) -> list[Standing]:
        """Those that stood for choice before dev was asked."""
        return on_the_list(self.standings, self.limits)

    @property
    def contradicted(self) -> list[Standing]:
        """Those of them that surely lose more on dev than is allowed, and are faster than who is taken."""
        first = self.ranked[0].seconds if self.ranked else float("inf")
        return [s for s in self.stood if s.refuted and s.seconds < first]

    @property
    def nearest(self) -> Standing | None:
        """Where nothing meets the limits."""
        return nearest(self.standings, self.limits)

    # -- Its numbers --------------------------------------------------------------------------------------------------

    def loss(self, standing: Standing) -> Interval:
        """Points lost on dev, with an interval that holds for all that stood for choice together."""
        return together(self._lost(standing.method, standing.setting), len(self.stood))

    def score(self, method: str, setting: str = "") -> Interval:
        """Points on dev."""
        found = score([self.evidence], system(method, setting))
        return Interval(found.value, *found.interval, found.n)

    @property
    def clock(self) -> Times:
        """At the batch that the user asked for."""
        return self.alone if self.limits.batch == 1 else self.together

    @property
    def control(self) -> float:
        """The furthest that a control's value strays from 1."""
        return max(abs(times.ratio(CONTROL).value - 1) for times in (self.alone, self.together))


def arm_name(method: str, setting: str) -> str:
    """A system's name on the clock."""
    return f"{method} {setting}".strip()


def together(effect: Effect, count: int) -> Interval:
    """The effect with an interval that holds at 95 % for `count` of its kind together (Bonferroni)."""
    from scipy.stats import t

    tail = (1 - LEVEL) / (2 * max(1, count))
    reach = float(t.ppf(1 - tail, effect.freedom)) * effect.error if effect.error > 0 else 0.0
    return Interval(effect.value, effect.value - reach, effect.value + reach, effect.n)
