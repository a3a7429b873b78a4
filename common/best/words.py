"""The choice in five lines, what to do where there is none, and what the folder's README is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.best.choice import Standing
from common.best.judgement import TUNE_LABELS, Judged, arm_name
from common.best.limits import at_once, rounded_up
from common.best.times import Times
from common.compare.names import BASELINE
from common.errors import UserError
from common.records.runs import RunRecord
from common.records.statistics import Interval
from common.timing.quiet import QUIET

DOUBTFUL = 0.03
"""A control further off than that makes times doubtful."""


@dataclass(frozen=True, eq=False)
class Words:
    """What is said of a recorded search.

    Attributes:
        run: its record.
        judged: the systems in it.
    """

    run: RunRecord
    judged: Judged

    @property
    def task(self) -> str:
        """Its name."""
        return self.judged.evidence.task

    # -- The five lines -----------------------------------------------------------------------------------------------

    def lines(self, predict: str, folder: Path) -> list[str]:
        """Whom to take, what it costs, how fast it is, who is second, where it lies.

        Args:
            predict: what is typed before the folder to let it answer.
            folder: where the first lies.

        Raises:
            UserError: nothing meets the limits.
        """
        first = self.first
        return [
            f"Take {first.name}: of what {self._allowed} on {self.task}, the fastest {self.judged.limits.speed}.",
            f"It costs {self.cost(first)}.",
            f"It is {self.pace(first)}, on {self.machine}{self.doubt}.",
            self._second,
            f"It lies in {folder}. Type: {predict} {folder} < texts",
        ]

    @cached_property
    def first(self) -> Standing:
        """Whom to take.

        Raises:
            UserError: nothing meets the limits; the nearest is named.
        """
        if not self.judged.ranked:
            raise UserError(self._nothing_meets)
        return self.judged.ranked[0]

    @property
    def _allowed(self) -> str:
        limits = self.judged.limits
        slow = "" if limits.max_ms is None else f" and takes at most {limits.max_ms:g} ms a text (p50)"
        return f"loses at most {_points(limits.max_loss)}{slow}"

    def cost(self, standing: Standing) -> str:
        """Points lost on dev, on how many texts, and what the interval is worth."""
        judged, evidence = self.judged, self.judged.evidence
        lost, stood = judged.loss(standing), len(judged.stood)
        value = f"{lost.value:z.1f} points" if lost.value >= 0 else f"nothing (it gains {-lost.value:.1f} points)"
        interval = _interval(lost)
        family = "" if stood == 1 else f", for all {stood} that stood for choice together"
        sure = "" if lost.high <= judged.limits.max_loss else "; that the loss is within the limit is not sure"
        whole = f"of the baseline's {judged.score(BASELINE).value:.1f} ({evidence.metric}"
        dev, tune = len(evidence.labels), len(evidence[TUNE_LABELS])
        return (
            f"{value} {interval} {whole}; the loss and its 95 % interval on {dev} texts of dev{family}; "
            f"chosen on {tune} others{sure})"
        )

    def pace(self, standing: Standing) -> str:
        """Times as fast one by one and in batches, with what a text takes."""
        return "; ".join(self._at(standing, times) for times in (self.judged.alone, self.judged.together))

    def _at(self, standing: Standing, times: Times) -> str:
        arm = arm_name(standing.method, standing.setting)
        speed, ms = times.speedup(arm), times.p50_ms(arm)
        more = "p50" if times.batch == 1 else f"{1 / times.typical(arm):.0f} a second"
        took = f"{ms:.3g} ms a text, {more}"
        return f"{speed.value:.1f} times as fast as the baseline {at_once(times.batch)} {_interval(speed)} ({took})"

    @property
    def _second(self) -> str:
        if len(self.judged.ranked) < 2:
            return "Second: nothing else that was tried meets the limits; the baseline itself loses nothing."
        second = self.judged.ranked[1]
        speed = self.judged.clock.speedup(arm_name(second.method, second.setting))
        lost = self.judged.loss(second)
        return (
            f"Second: {second.name}, {lost.value:z.1f} points lost {_interval(lost)}, {speed.value:.1f} times as fast "
            f"{self.judged.limits.speed} {_interval(speed)}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """How the first was chosen, a sentence each, for whoever reads its numbers elsewhere."""
        judged, tune = self.judged, len(self.judged.evidence[TUNE_LABELS])
        return (
            f"Chosen as the fastest {judged.limits.speed} of what {self._allowed} of {judged.evidence.metric} against "
            f"the baseline, on {tune} texts that were held back from training; the numbers are of dev, on which no "
            "setting was chosen.",
            f"The interval of the points holds for all {len(judged.stood)} systems that stood for choice together.",
            f"Batches are of {judged.batched} texts.",
        )

    # -- The machine --------------------------------------------------------------------------------------------------

    @property
    def machine(self) -> str:
        """On what was timed."""
        facts = self.run.environment
        machine, timing = facts.get("machine", {}), facts.get("devices", {}).get("timing", "cpu")
        if timing != "cpu" and machine.get("accelerators"):
            return str(machine["accelerators"][0])
        cores = facts.get("state", {}).get("usable_cores", "?")
        return f"{cores} {'core' if cores == 1 else 'cores'} of {machine.get('cpu', 'this machine')}"

    @property
    def doubt(self) -> str:
        """What makes the times doubtful; empty where nothing does."""
        load = float(self.run.environment.get("timing", {}).get("others_load_max", 0.0))
        if load > QUIET:
            return f" (doubtful: others kept {load:.1f} cores busy meanwhile)"
        if self.judged.control > DOUBTFUL:
            return f" (doubtful: the baseline differed from itself by {self.judged.control:.0%})"
        return ""

    # -- Where nothing meets the limits -------------------------------------------------------------------------------

    @property
    def _nothing_meets(self) -> str:
        judged, limits = self.judged, self.judged.limits
        near = judged.nearest
        refused = f"{self.task}: nothing faster than the baseline {self._allowed} {limits.speed}"
        if near is None:
            return (
                f"{refused}: nothing that was tried is surely faster than the baseline here{self.doubt}. Take the "
                f"baseline, or look again on a quiet machine"
            )
        lost = judged.loss(near)
        said = (
            f"nearest is {near.name}, {_points(lost.value)} lost on dev {_interval(lost)}, {near.p50_ms:.3g} ms (p50)"
        )
        if near.keeps(limits):
            return f"{refused}; {said}. Type MAX_MS={rounded_up(near.p50_ms)}, or allow a greater loss"
        if near.refuted:
            return f"{refused}: what does on held-back text surely loses more on dev; {said}. Allow a greater loss"
        return f"{refused}; {said}, {near.tune_loss:z.1f} on held-back text. Type MAX_LOSS={rounded_up(near.tune_loss)}"

    def contradicted(self) -> Iterator[str]:
        """A line for each faster system that dev speaks against."""
        for standing in self.judged.contradicted:
            lost = self.judged.loss(standing)
            yield (
                f"{standing.name}: passed over: chosen on held-back text it loses {standing.tune_loss:z.1f} points "
                f"there, and on dev {lost.value:z.1f} {_interval(lost)}"
            )


def _points(value: float) -> str:
    return f"{value:g} point" if value == 1 else f"{round(value, 2):g} points"


def _interval(found: Interval) -> str:
    return f"[{found.low:z.1f}, {found.high:z.1f}]"
