"""What a recorded comparison says, from stored predictions and times alone: fronts, winners, who is never worth it.

Who is so fast is asked of everyone. Whether a method is worth it is asked within one engine: a method in PyTorch that
loses to layers in ONNX Runtime may have lost to the engine, which it could have, too. "Surely" is at the level of a
95 % interval, and Holm's wherever one of several is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from common.compare.names import BASELINE, LADDER, PYTORCH, SPEEDS, engine_of
from common.records.claims import SURE, by_task, gain, has_learned, speedup, system
from common.records.effects import Effect, holm
from common.records.predictions import Evidence
from common.records.runs import RunRecord
from common.records.verdicts import noise_of

IN_BATCHES = "throughput_ratio"

NEARLY = 0.97
"""A system counts as so many times as fast if it lacks at most 3 %, what an A/A control may be off."""


@dataclass(frozen=True, eq=False)
class Standing:
    """A method at a setting, on one task over all seeds.

    Attributes:
        method, setting: which.
        speed: times as fast as the baseline, one text at a time.
        gained: points over the baseline.
    """

    method: str
    setting: str
    speed: Effect
    gained: Effect

    @property
    def name(self) -> str:
        """For prose."""
        return f"{self.method} ({self.setting})" if self.setting else self.method


@dataclass(frozen=True, eq=False)
class TaskStandings:
    """All systems of one task."""

    task: str
    seeds: Sequence[Evidence]

    @cached_property
    def learned(self) -> bool:
        """Whether the baseline did: elsewhere whoever is cheapest loses nothing."""
        return has_learned(self.seeds, system(BASELINE))

    @cached_property
    def standings(self) -> list[Standing]:
        """Every system that all seeds have, the baseline left out."""
        names = [set(_timed_systems(evidence)) for evidence in self.seeds]
        shared = [key for key in _timed_systems(self.seeds[0]) if all(key in known for known in names)]
        return [
            Standing(
                method,
                setting,
                speedup(self.seeds, method, setting),
                gain(self.seeds, system(method, setting), system(BASELINE)),
            )
            for method, setting in shared
            if method != BASELINE
        ]

    def ahead(self, first: Standing, second: Standing) -> Effect:
        """Points that the first scores above the second."""
        return gain(self.seeds, system(first.method, first.setting), system(second.method, second.setting))

    def surely_ahead(self, first: Standing, second: Standing) -> bool:
        """At the level of a 95 % interval."""
        return self._p_ahead(first, second) <= SURE

    def _p_ahead(self, first: Standing, second: Standing) -> float:
        return self.ahead(first, second).p_above(0.0)

    def front(self) -> list[Standing]:
        """The systems that no other one beats in both, by their means; fastest last."""
        front: list[Standing] = []
        for standing in sorted(self.standings, key=lambda s: -s.speed.value):
            if not front or standing.gained.value > front[-1].gained.value:
                front.append(standing)
        return front[::-1]

    def at_least(self, speed: float) -> list[Standing]:
        """Who is so fast, best score first."""
        fast = [s for s in self.standings if s.speed.value >= NEARLY * speed]
        return sorted(fast, key=lambda s: -s.gained.value)

    @property
    def rungs(self) -> list[Standing]:
        """The static ladder."""
        return [s for s in self.standings if s.method == LADDER]

    def never_worth_it(self) -> list[str]:
        """Methods of which every system is surely beaten by another method's, in the same engine, as fast or faster."""
        methods = dict.fromkeys(s.method for s in self.standings if s.method != LADDER)
        return [method for method in methods if all(self._beaten(s) for s in self.standings if s.method == method)]

    def _beaten(self, standing: Standing, by: str | None = None) -> bool:
        """Whether another method, or the one named, has something as fast or faster that is surely better."""
        engine, speed = engine_of(standing.method), NEARLY * standing.speed.value
        others = (s for s in self.standings if s.method != standing.method and by in (None, s.method))
        rivals = [s for s in others if engine_of(s.method) == engine and s.speed.value >= speed]
        return any(holm([self._p_ahead(rival, standing) for rival in rivals], SURE))

    def better_than_the_ladder(self) -> list[Standing]:
        """Systems in its engine that are surely ahead of the best rung that is no faster, and beaten by none that is:
        what keeping fewer layers would not give.
        """  # noqa: D205
        tried: list[tuple[Standing, float]] = []
        for standing in self.standings:
            slower = [rung for rung in self.rungs if NEARLY * rung.speed.value <= standing.speed.value]
            best = max(slower, key=lambda rung: rung.gained.value, default=None)
            if standing.method != LADDER and engine_of(standing.method) == PYTORCH and best is not None:
                tried.append((standing, self._p_ahead(standing, best)))
        sure = holm([p for _, p in tried], SURE)
        ahead = [standing for (standing, _), is_sure in zip(tried, sure, strict=True) if is_sure]
        return [standing for standing in ahead if not self._beaten(standing, by=LADDER)]


def _timed_systems(evidence: Evidence) -> list[tuple[str, str]]:
    names = [name.removesuffix("/answers") for name in evidence.arrays if name.endswith("/answers")]
    split = [tuple(name.split("@", 1)) if "@" in name else (name, "") for name in names]
    return [(method, setting) for method, setting in split if f"{_key(method, setting)}/seconds" in evidence]


def _key(method: str, setting: str) -> str:
    return f"{method}@{setting}" if setting else method


# -- In words ---------------------------------------------------------------------------------------------------------


def standings_of(run: RunRecord) -> list[TaskStandings]:
    """One a task; a user's own tasks too, since nothing of a paper is judged here."""
    return [TaskStandings(task, seeds) for task, seeds in by_task(run.all_evidence).items()]


def sentences(task: TaskStandings) -> Iterator[str]:
    """What a user should know of one task."""
    if not task.learned:
        yield "The baseline did not learn this task, so nothing can be lost and nothing is compared."
        return
    for speed in SPEEDS:
        fast = task.at_least(speed)
        if not fast:
            yield f"At least {speed:g} times as fast: nobody."
            continue
        best, others = fast[0], fast[1:]
        close = [s.method for s in others if s.method != best.method and not task.surely_ahead(best, s)]
        text = f"At least {speed:g} times as fast: {best.name}, {_points(best.gained)}"
        yield text + (f"; within the noise of it: {', '.join(dict.fromkeys(close))}." if close else ".")
    above = task.better_than_the_ladder()
    if above:
        yield f"Surely better than as fast a static ladder: {', '.join(s.name for s in above)}."
    elif task.rungs:
        yield "No method is surely better than simply keeping fewer layers at the same speed."
    yield from _never(task.never_worth_it(), {s.method for s in above})


def _never(never: Sequence[str], above: Collection[str]) -> Iterator[str]:
    """Who is beaten at every setting; a method that beats the ladder can be, too: by another method."""
    plainly, after_all = [m for m in never if m not in above], [m for m in never if m in above]
    if plainly:
        why = "in the same engine something as fast is surely better at every setting"
        yield f"Never worth it here ({why}): {', '.join(plainly)}."
    if after_all:
        yield (
            f"Better than keeping fewer layers, and still never worth it here: {', '.join(after_all)}; "
            "at every setting another method that is as fast is surely better."
        )


def _points(gained: Effect) -> str:
    low, high = gained.interval
    word = "gained" if gained.value >= 0 else "lost"
    ends = sorted((abs(low), abs(high))) if low * high > 0 else (-high, -low) if word == "lost" else (low, high)
    return f"{abs(gained.value):.1f} points {word} [{ends[0]:.1f}, {ends[1]:.1f}]"


HOW_TO_READ = (
    "A setting such as (2x) is a speed in FLOPs, chosen on held-back training text. Speeds below were measured, one "
    "text at a time, against the fine-tuned backbone in PyTorch."
)


def verdict_markdown(run: RunRecord, offered: Sequence[str] = ()) -> str:
    """Who took part, every task's sentences and its front.

    Args:
        run: the record.
        offered: the methods that can take part, to say which did not.
    """
    tasks = standings_of(run)
    part = dict.fromkeys(standing.method for task in tasks for standing in task.standings)
    lines = [f"### Which method where: run `{run.name}`", "", f"{HOW_TO_READ} Took part: {', '.join(part)}."]
    absent = [method for method in offered if method not in part]
    if absent and (set(part) & set(offered)) - {LADDER}:  # of tasks that tag words none of them can be
        lines.append(f"Did not: {', '.join(absent)}.")
    lines += _doubts(run)
    lines.append("")
    for task in tasks:
        seeds = len(task.seeds)
        lines += [f"**{task.task}** ({seeds} seed{'s' if seeds > 1 else ''})", ""]
        lines += [f"- {sentence}" for sentence in sentences(task)]
        if task.learned:
            front = ", ".join(f"{s.name} {s.speed.value:.1f}x {s.gained.value:+.1f}" for s in task.front())
            lines.append(f"- Pareto front (speed-up, points over the baseline): {front}.")
        lines.append("")
    return "\n".join(lines)


def _doubts(run: RunRecord) -> list[str]:
    """What makes times doubtful: of the sentences those of one text at a time, of tables those in batches, too."""
    one_by_one = replace(run, measurements=tuple(m for m in run.measurements if m.metric != IN_BATCHES))
    noise, in_batches = noise_of(one_by_one), noise_of(run)
    if noise:
        return ["", f"**Doubtful**: {noise}. Trust the points, and not who is faster."]
    return ["", f"In batches, of which nothing is said here, {in_batches}."] if in_batches else []


# -- The area score ---------------------------------------------------------------------------------------------------


def area_over_ladder(points: Sequence[tuple[float, float]], ladder: Sequence[tuple[float, float]]) -> float | None:
    """Mean over a method's points of its score less the ladder's at the same cost (ELUE's score).

    Args:
        points: (cost as a share of the baseline's, score) of the method.
        ladder: the same of the static ladder and the baseline; costs between its rungs are interpolated linearly.

    Returns:
        None if no point lies within the ladder's range.
    """
    ordered = sorted(ladder)
    costs, scores = np.array([c for c, _ in ordered]), np.array([s for _, s in ordered])
    inside = [(cost, score) for cost, score in points if costs[0] <= cost <= costs[-1]]
    if not inside:
        return None
    return float(np.mean([score - np.interp(cost, costs, scores) for cost, score in inside]))
