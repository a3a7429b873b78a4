"""A contender at a rule, what its answers are worth against the baseline's, the clock, what a record keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from common.early_exit import scoring
from common.early_exit.clock import BASELINE, TRUNCATED, Clock, Clocked
from common.records.predictions import (
    LABELS,
    TIMED,
    Evidence,
    answers_name,
    exits_name,
    seconds_name,
    static_name,
)
from common.records.statistics import Interval, bootstrap_statistic
from common.records.tagging import TAG_PARTS, WORDS, flops_name
from common.tagging_run import TaggingRun
from common.tasks.tag_metrics import Counts, points, points_ahead, tag_parts
from common.timing.paired import CONTROL, PairedThroughput
from replications.token_early_exit.contender import TokenContender, WordOutcome
from replications.token_early_exit.method import SentenceBelow, WindowBelow
from replications.token_early_exit.names import FULL_DEPTH, SPEEDS, WINDOWS, speed_name

Array = NDArray[np.int64]


@dataclass(frozen=True)
class System:
    """A contender at a rule."""

    contender: TokenContender
    setting: str
    rule: SentenceBelow | WindowBelow

    @property
    def name(self) -> str:
        """Of the method."""
        return self.contender.name

    @property
    def arm(self) -> str:
        """Its name on the clock."""
        return f"{self.name} {self.setting}"

    def outcome(self, split: str = "dev") -> WordOutcome:
        """How a split leaves."""
        return self.contender.outcome(split, self.rule)

    def speed(self, split: str) -> float:
        """FLOPs of the baseline over those spent."""
        return self.contender.speed(split, self.rule)


def points_at_speeds(contender: TokenContender) -> list[System]:
    """The contender at about each speed of the paper, its threshold chosen on tune and kept."""
    run = contender.tagging_run

    def choose() -> dict[str, torch.Tensor]:
        found = [contender.threshold_at_speed(speed, partial(_rule, contender, speed)) for speed in SPEEDS]
        return {"thresholds": torch.tensor(found, dtype=torch.float64)}

    facts = {"model": contender.folder().name, "windows": str(WINDOWS), "rule": repr(_rule(contender, SPEEDS[0], 0.0))}
    chosen = run.tensors(f"token-exits-thresholds/{contender.name}", facts, choose)["thresholds"].tolist()
    return [
        System(contender, speed_name(speed), _rule(contender, speed, threshold))
        for speed, threshold in zip(SPEEDS, chosen, strict=True)
    ]


def _rule(contender: TokenContender, speed: int, threshold: float) -> SentenceBelow | WindowBelow:
    """SENTEE has but a threshold; TOKEE's window is that of the speed."""
    rule: SentenceBelow | WindowBelow = contender.rule(WINDOWS[speed], threshold)
    return rule


def depth_at(speed: int, layers: int) -> int | None:
    """Layers of a static model that is so many times as fast; None where it has no whole number of them."""
    return layers // speed if layers % speed == 0 else None


@dataclass
class Scored:
    """The static systems' answers on dev, and what any answers are worth."""

    run: TaggingRun

    @cached_property
    def baseline(self) -> Array:
        """(words,) the baseline's answers."""
        return self.static(self.run.num_layers)

    def static(self, layers: int) -> Array:
        """(words,) those of a rung of the static ladder."""
        return np.asarray(self.run.static_logits(layers)["dev"].argmax(-1).numpy())

    def static_speed(self, layers: int) -> float:
        """FLOPs of the baseline over those of a rung."""
        return float(self.run.static_flops("dev").sum() / self.run.static_flops("dev", layers).sum())

    @cached_property
    def constant(self) -> Array:
        """(words,) the one tag that scores best everywhere."""
        labels = self.run.labels("dev")
        return max((np.full_like(labels, tag) for tag in range(self.run.tags)), key=lambda a: self.counts(a).points)

    def counts(self, answers: Array) -> Counts:
        """What answers got right of each sentence."""
        return self.run.counts("dev", answers)

    def score(self, answers: Array) -> Interval:
        """Score in points, with an interval over sentences."""
        return bootstrap_statistic(points, *self.counts(answers).arrays, resamples=scoring.RESAMPLES)

    def gain(self, answers: Array) -> Interval:
        """Points gained over the baseline on the same sentences (negative: lost)."""
        arrays = (*self.counts(answers).arrays, *self.counts(self.baseline).arrays)
        return bootstrap_statistic(points_ahead, *arrays, resamples=scoring.RESAMPLES)


@dataclass
class OnTheClock:
    """Latencies of every system beside the baseline and half of the static ladder, measured once in a run."""

    run: TaggingRun
    systems: Sequence[System]

    @property
    def clock(self) -> Clock:
        """Times arms on dev."""
        run = self.run
        return Clock(run.splits["dev"], run.run.scale, run.run.timing_device, run.run.progress)

    @cached_property
    def one_by_one(self) -> Clocked:
        """All arms interleaved, one sentence at a time."""
        path = self.run.run.scratch / f"{self.run.task_name}-{self.run.seed}.npz"
        if not path.exists():
            half = self.run.tagger(self.run.half).to(self.run.run.timing_device)
            self.clock.one_by_one({**self._arms(), TRUNCATED: half}).save(path)
        return Clocked.load(path)

    def in_batches(self) -> PairedThroughput:
        """Whole passes in batches of 32."""
        return self.clock.in_batches(self._arms())

    def _arms(self) -> Mapping[str, Callable[..., object]]:
        baseline = self.run.tagger().to(self.run.run.timing_device)
        return {BASELINE: baseline} | {system.arm: system.contender.arm(system.rule) for system in self.systems}


def evidence_of(
    scored: Scored, clock: OnTheClock, depths: Sequence[int], systems: Sequence[System], batched: PairedThroughput
) -> Evidence:
    """Everyone's answers, exit layers, FLOPs and seconds on dev; of SENTEE and TOKEE the last layer's answers, too."""
    run, clocked = scored.run, clock.one_by_one
    half = static_name(run.half)
    arrays: dict[str, NDArray] = {
        LABELS: run.labels("dev"),
        WORDS: np.array(run.splits["dev"].words),
        TAG_PARTS: tag_parts(run.task.tags),
        "difficulty": run.difficulty("dev"),
        TIMED: clocked.rows,
        answers_name("baseline"): scored.baseline,
        flops_name("baseline"): run.static_flops("dev"),
        seconds_name("baseline"): clocked.seconds(BASELINE),
        seconds_name(half): clocked.seconds(TRUNCATED),
        seconds_name(CONTROL): clocked.seconds(CONTROL),
    }
    for depth in depths:
        arrays[answers_name(static_name(depth))] = scored.static(depth)
    timed = {(system.name, system.setting) for system in clock.systems}
    for system in systems:
        name, outcome = (system.name, system.setting), system.outcome()
        arrays[answers_name(*name)], arrays[exits_name(*name)] = outcome.answers, outcome.exits
        arrays[flops_name(*name)] = system.contender.flops("dev", system.rule)
        if name in timed:
            arrays[seconds_name(*name)] = clocked.seconds(system.arm)
    for contender in {system.name: system.contender for system in clock.systems}.values():
        arrays[answers_name(contender.name, FULL_DEPTH)] = contender.full_depth()
    for number, arm in enumerate(batched.arms):
        arrays[f"{arm}/seconds in batches"] = batched.seconds[number]
    return Evidence(run.task_name, run.seed, run.task.metric, run.tags, run.num_layers, arrays)
