"""All contenders on one task run: trained, put at like speeds on held-back data, asked on dev, timed side by side.

Everything is timed from the text to the answer, tokenisation included, because that is what a user waits for and
because a bag of words has nothing but that. One text at a time, and in batches of 32; all arms interleaved, with an A/A
control.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from common.compare.exits_in_int8 import exits_in_int8
from common.compare.judgement import area_over_ladder
from common.compare.names import BASELINE, LADDER, SPEEDS
from common.compare.rivals import RIVALS, Baseline
from common.compare.tagging import tagging_steps
from common.early_exit.clock import BATCH_SIZE
from common.early_exit.scoring import score_interval
from common.early_exit.systems import Array, Scored, answers_of
from common.errors import UserError, did_you_mean
from common.methods import Answer, Contender, Method, Setting, find_methods
from common.records.measurements import Measurement
from common.records.predictions import LABELS, TIMED, Evidence, answers_name, exits_name, seconds_name
from common.records.statistics import bootstrap_statistic
from common.rows import Rows
from common.run.replication import Run, Step
from common.tagging_methods import TaggingMethod, find_tagging_methods
from common.tagging_run import TaggingRun, labels_words
from common.task_run import TaskRun
from common.tasks.task import Example
from common.timing.paired import (
    CONTROL,
    PairedThroughput,
    PairedTimings,
    paired_latency,
    paired_throughput,
    pass_over,
)
from common.timing.threads import pinned_threads

TASKS = {
    "builtin": ("sentiment", "entailment", "paraphrase"),
    "files": ("sst-2", "mrpc", "rte", "qqp-sample"),
    "hub": ("sst-2", "mrpc", "rte", "qqp"),
}

NEAR = 1.15
"""A setting within this factor of a speed stands for it; a method without one does not reach that speed."""


# -- Who takes part ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entrants:
    """The methods that were asked for and those that do not take part in a task, with the reason."""

    methods: tuple[Method, ...]
    say: Callable[[str], None]
    tagging: tuple[TaggingMethod, ...] = ()
    _told: set[str] = field(default_factory=set)

    @staticmethod
    def asked(names: Sequence[str], say: Callable[[str], None]) -> Entrants:
        """The methods of these names; of no names all that there are. A paper folder that is broken is named.

        Raises:
            UserError: a name that nobody offers.
        """
        offered = find_methods()
        for slug, why in offered.broken.items():
            say(f"warning: replications/{slug} offers no method: {why}; the others go on")
        known = {**RIVALS, **offered.methods, **exits_in_int8(offered.methods.values())}
        taggers = find_tagging_methods()
        plain = {name.lower(): method for name, method in known.items()}
        tagging = {name.lower(): method for name, method in taggers.items()}
        unknown = [name for name in names if name.lower() not in {**plain, **tagging}]
        if unknown:
            near = did_you_mean(unknown[0].lower(), [*plain, *tagging]) or "."
            raise UserError(f"unknown method {unknown[0]!r}{near} Methods: {', '.join([*known, *taggers])}")
        asked = [name.lower() for name in names]
        chosen = [plain[name] for name in asked if name in plain] if names else list(known.values())
        of_words = [tagging[name] for name in asked if name in tagging] if names else list(taggers.values())
        return Entrants(tuple(chosen), say, tuple(of_words))

    def on(self, task_run: TaskRun) -> list[Contender]:
        """Those that can do the task; the others are named.

        Raises:
            UserError: none is left.
        """
        task = task_run.task
        if not self.methods:
            raise UserError(
                f"{task.name} labels whole texts, and no method that does was asked for: add one to METHODS="
            )
        here = self._here(task_run.run)
        able = [method for method in here if method.regression or not task.is_regression]
        left_out = [method.name for method in here if method not in able]
        if not able:
            raise UserError(
                f"{task.name} is a regression, and {', '.join(left_out)} need classes: no method is left to compare"
            )
        if left_out:
            self._tell(f"{task.name} is a regression; methods that need classes are left out: {', '.join(left_out)}")
        return [method.on(task_run) for method in able]

    def _here(self, run: Run) -> list[Method]:
        """Those that this machine and this run can have; the others are named, with what to do.

        Raises:
            UserError: none is left.
        """
        why = {method.name: method.unfit(run) for method in self.methods}
        left_out = [f"{name} is left out: {reason}" for name, reason in why.items() if reason]
        if len(left_out) == len(self.methods):
            raise UserError("; ".join(left_out))
        for line in left_out:
            self._tell(line)
        return [method for method in self.methods if not why[method.name]]

    def _tell(self, line: str) -> None:
        """Once: several tasks and seeds have the same to say."""
        if line not in self._told:
            self._told.add(line)
            self.say(line)


# -- The steps --------------------------------------------------------------------------------------------------------


def trained_steps(run: Run, names: Sequence[str] = ()) -> list[Step]:
    """Train and measure every contender on every task and seed."""
    entrants = Entrants.asked(names, run.say)
    steps: list[Step] = []
    for task in run.tasks_or(TASKS):
        for seed in run.seeds:
            if labels_words(run, task):
                steps.extend(tagging_steps(TaggingRun.of(run, task, seed), entrants.tagging))
            else:
                steps.extend(_steps_of(TaskRun.of(run, task, seed), entrants))
    return steps


def _steps_of(task_run: TaskRun, entrants: Entrants) -> Iterator[Step]:
    contenders = [Baseline(task_run), *entrants.on(task_run)]
    # What two contenders begin with (a rung in two engines, a model in two kinds of numbers) is one step.
    yield from {step.name: step for contender in contenders for step in contender.training_steps()}.values()
    arms = 1 + sum(_most_entries(contender) for contender in contenders)
    measured, seconds = Comparison(task_run, contenders), task_run.clock_seconds(2 * arms)
    yield Step(f"{task_run.label}: all contenders, answers and clock", seconds, measured.measure)


# -- One task run -----------------------------------------------------------------------------------------------------


@runtime_checkable
class Converted(Protocol):
    """A contender that runs trained weights of another one in another engine or other numbers."""

    def original(self, split: str, setting: Setting) -> Tensor:
        """(N, C) what the other answers."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A contender at a setting."""

    contender: Contender
    setting: Setting
    shown: str

    @property
    def arm(self) -> str:
        """Its name on the clock."""
        return f"{self.contender.name} {self.shown}".strip()

    @cached_property
    def layers(self) -> Array:
        """(N,) layers of the backbone executed on dev."""
        return np.asarray(self.contender.outcome("dev", self.setting).exit_layer.numpy())

    @cached_property
    def answers(self) -> Array:
        """(N,) on dev."""
        return answers_of(self.contender.outcome("dev", self.setting).logits, self.contender.task_run)

    @cached_property
    def flops(self) -> np.ndarray:
        """(N,) on dev."""
        return self.contender.flops("dev", self.setting)


def _most_entries(contender: Contender) -> int:
    """Settings that are no models, such as thresholds, are not asked for: a plan must not train what gives them."""
    return len(contender.settings) if contender.settings_are_models else len(SPEEDS)


def at_like_speeds(contender: Contender) -> list[Entry]:
    """The contender at every speed of `SPEEDS` that it reaches, chosen on tune; with few settings at all of them, and
    where settings are models too.
    """  # noqa: D205
    if len(contender.settings) <= _most_entries(contender):
        return [Entry(contender, setting, setting.name) for setting in contender.settings]
    full = contender.task_run.baseline_flops("tune").sum()
    reached = [(full / contender.flops("tune", setting).sum(), setting) for setting in contender.settings]
    entries = []
    for wanted in SPEEDS:
        speed, setting = min(reached, key=lambda found: abs(math.log(found[0] / wanted)))
        if 1 / NEAR <= speed / wanted <= NEAR:
            entries.append(Entry(contender, setting, f"{wanted:g}x"))
    return entries


@dataclass(eq=False)
class Comparison:
    """What the contenders answer and cost on one task run."""

    task_run: TaskRun
    contenders: Sequence[Contender]
    entries: list[Entry] = field(default_factory=list)

    def measure(self) -> list[Measurement]:
        """Rows of every contender at every speed; the record's evidence is kept."""
        self.entries = [entry for contender in self.contenders for entry in at_like_speeds(contender)]
        latency, throughput = self._clock()
        self.task_run.run.keep(self._evidence(latency, throughput))
        scored = Scored(self.task_run)
        row = Rows(self.task_run.task_name, self.task_run.seed, self.task_run.backbone.backbone, len(scored.labels))
        rows = [row("comparison", "constant answer", "score", scored.points(scored.constant), "points")]
        rows += self._agreements(row)
        rows += self._areas(row, scored, latency)
        for entry in self.entries:
            rows += self._rows(row, scored, entry, latency, throughput)
        how = {"timed": True, "setting": "", "note": "the baseline against itself"}
        rows.append(row("comparison", CONTROL, "time_speedup", latency.speedup(CONTROL), "ratio", **how))
        rows.append(row("comparison", CONTROL, "throughput_ratio", throughput.speedup(CONTROL), "ratio", **how))
        return rows

    def _rows(
        self, row: Rows, scored: Scored, entry: Entry, latency: PairedTimings, throughput: PairedThroughput
    ) -> Iterator[Measurement]:
        name, at = entry.contender.name, {"setting": entry.shown, "at": entry.setting.at}
        yield row("comparison", name, "score", scored.score(entry.answers), "points", **at)
        yield row("comparison", name, "score_delta", scored.gain(entry.answers), "points", **at)
        n = self.task_run.num_layers
        if entry.layers.any():
            layers = bootstrap_statistic(lambda e, axis=-1: n / e.mean(axis=axis), entry.layers, resamples=2000)
            yield row("comparison", name, "layer_speedup", layers, "ratio", **at)
        flops = float(self.task_run.baseline_flops("dev").sum() / entry.flops.sum())
        yield row("comparison", name, "flops_speedup", flops, "ratio", **at)
        yield row("comparison", name, "time_speedup", latency.speedup(entry.arm), "ratio", timed=True, **at)
        yield row("comparison", name, "throughput_ratio", throughput.speedup(entry.arm), "ratio", timed=True, **at)
        quantiles = latency.latency(entry.arm)
        for quantile in ("p50", "p90", "p99"):
            value = getattr(quantiles, quantile)
            yield row("comparison", name, f"latency_{quantile}", value, "ms", n=quantiles.n, timed=True, **at)

    def _agreements(self, row: Rows) -> Iterator[Measurement]:
        """On how many texts of dev who runs another's weights otherwise answers what that one does."""
        if self.task_run.task.is_regression:
            return
        for entry in self.entries:
            if isinstance(entry.contender, Converted):
                original = answers_of(entry.contender.original("dev", entry.setting), self.task_run)
                share = score_interval("accuracy", entry.answers, original)
                at = {"setting": entry.shown, "at": entry.setting.at}
                yield row("agreement", entry.contender.name, "agreement", share, "points", **at)

    def _areas(self, row: Rows, scored: Scored, latency: PairedTimings) -> Iterator[Measurement]:
        """What each method scores above the ladder at equal cost, in FLOPs and on the clock."""
        full = self.task_run.baseline_flops("dev").sum()
        costs = {
            "area_flops": {entry: float(entry.flops.sum() / full) for entry in self.entries},
            "area_time": {entry: latency.ratio(entry.arm).value for entry in self.entries},
        }
        ladder = [entry for entry in self.entries if entry.contender.name in (LADDER, BASELINE)]
        methods = dict.fromkeys(e.contender.name for e in self.entries if e not in ladder)
        points = {entry: scored.points(entry.answers) for entry in self.entries}
        for metric, cost in costs.items():
            for method in methods:
                mine = [(cost[e], points[e]) for e in self.entries if e.contender.name == method]
                area = area_over_ladder(mine, [(cost[e], points[e]) for e in ladder])
                if area is not None:
                    yield row("area", method, metric, area, "points", timed=metric == "area_time")

    def _clock(self) -> tuple[PairedTimings, PairedThroughput]:
        """All arms one text at a time, then in batches of texts of like length."""
        run, scale = self.task_run, self.task_run.run.scale
        texts = [run.task.dev[row] for row in self._timed]
        arms: Mapping[str, Answer] = {entry.arm: entry.contender.answer(entry.setting) for entry in self.entries}
        by_length = sorted(texts, key=lambda e: len(e.text_a) + len(e.text_b or ""))
        batches = [by_length[i : i + BATCH_SIZE] for i in range(0, len(texts), BATCH_SIZE)]
        total = scale.timing_rounds * len(texts)
        done = iter(range(1, 1 + total))
        with pinned_threads(), torch.inference_mode():
            latency = paired_latency(
                {name: _on(answer, [[text] for text in texts]) for name, answer in arms.items()},
                baseline=BASELINE,
                samples=len(texts),
                rounds=scale.timing_rounds,
                advance=lambda: run.run.progress(next(done), total),
            )
            throughput = paired_throughput(
                {name: pass_over(answer, batches) for name, answer in arms.items()},
                baseline=BASELINE,
                rounds=2 + 2 * scale.timing_rounds,
            )
        return latency, throughput

    @property
    def _timed(self) -> np.ndarray:
        return self.task_run.clock.rows

    def _evidence(self, latency: PairedTimings, throughput: PairedThroughput) -> Evidence:
        run = self.task_run
        arrays: dict[str, np.ndarray] = {
            LABELS: Scored(run).labels,
            TIMED: self._timed,
            seconds_name(CONTROL): latency.sample_seconds(CONTROL),
        }
        for entry in self.entries:
            name, setting = entry.contender.name, entry.shown
            arrays[answers_name(name, setting)] = entry.answers
            arrays[exits_name(name, setting)] = entry.layers
            arrays[seconds_name(name, setting)] = latency.sample_seconds(entry.arm)
        for number, arm in enumerate(throughput.arms):
            arrays[f"{arm}/seconds in batches"] = throughput.seconds[number]
        return Evidence(run.task_name, run.seed, run.task.metric, len(run.task.labels), run.num_layers, arrays)


def _on(answer: Answer, batches: Sequence[Sequence[Example]]) -> Callable[[int], object]:
    return lambda item: answer(batches[item])


def shape_steps(run: Run) -> list[Step]:
    """Nothing is compared at full size with random weights: the papers' own folders do that."""
    return []
