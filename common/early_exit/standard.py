"""The rows that exit papers share: operating table, trade-off, exit histogram, score by exit and by difficulty, costs.

A paper says which it wants, under which experiment's name, and adds what is its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.early_exit.clock import BASELINE, TRUNCATED, Clocked
from common.early_exit.cost_split import cost_shares
from common.early_exit.systems import OnTheClock, Scored, System, answers_of
from common.records.measurements import Measurement
from common.records.predictions import (
    LABELS,
    TIMED,
    Evidence,
    answers_name,
    at_layer,
    exits_name,
    seconds_name,
    static_name,
)
from common.records.statistics import Interval
from common.rows import Rows
from common.timing.paired import CONTROL, PairedThroughput

# -- How a paper counts what is won -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Currency:
    """Savings (shares of the baseline's cost) or speed-ups (times as fast), in layers, FLOPs and time."""

    suffix: str
    unit: str
    none: float
    of_layers: Callable[[System], Interval]
    of_clock: Callable[[Clocked, str], Interval]

    def of_ratio(self, speedup: float) -> float:
        """A speed-up in this currency."""
        return speedup if self is SPEEDUPS else 1 - 1 / speedup


SAVINGS = Currency("saving", "fraction", 0.0, lambda s: s.layer_saving, lambda c, arm: c.saving(arm))
SPEEDUPS = Currency("speedup", "ratio", 1.0, lambda s: s.layer_speedup, lambda c, arm: c.speedup(arm))


# -- The operating table ----------------------------------------------------------------------------------------------


@dataclass
class OperatingTable:
    """Score and speed of the baseline, the static ladder and a method at its settings.

    Attributes:
        experiment: the table's name.
        currency: how the paper counts.
        scored: the static systems on dev.
        clock: what is timed.
        systems: the rows.
    """

    experiment: str
    currency: Currency
    scored: Scored
    clock: OnTheClock
    systems: Sequence[System]

    def rows(self, row: Rows, depths: Sequence[int]) -> Iterator[Measurement]:
        """The constant answer, the baseline, the rungs at `depths`, then every system."""
        yield from self.baseline_rows(row)
        for depth in depths:
            yield from self.static_rows(row, depth)
        for system in self.systems:
            yield from self.system_rows(row, system)

    def baseline_rows(self, row: Rows) -> Iterator[Measurement]:
        """What everything is compared with, and the A/A control."""
        name, scored, clocked = self.experiment, self.scored, self.clock.one_by_one
        yield row(name, "constant answer", "score", scored.points(scored.constant), "points")
        yield row(name, "baseline", "score", scored.score(scored.baseline), "points")
        yield row(
            name,
            "baseline",
            f"time_{self.currency.suffix}",
            self.currency.none,
            self.currency.unit,
            note="by definition",
        )
        yield from clocked.latency_rows(row, name, "baseline", BASELINE)
        yield self._timed(row, CONTROL, CONTROL, {"timed": True})

    def static_rows(self, row: Rows, depth: int) -> Iterator[Measurement]:
        """A rung of the ladder; half the depth is timed."""
        answers, system = self.scored.static(depth), static_name(depth)
        yield from self.score_rows(row, system, answers)
        gained = self.currency.of_ratio(self.scored.task_run.num_layers / depth)
        yield row(self.experiment, system, f"layer_{self.currency.suffix}", gained, self.currency.unit)
        if depth == self.scored.task_run.half:
            yield self._timed(row, system, TRUNCATED, self.clock.one_by_one.timed(TRUNCATED))

    def system_rows(self, row: Rows, system: System) -> Iterator[Measurement]:
        """A method at a setting."""
        at = {"setting": system.setting, "at": system.at}
        yield from self.score_rows(row, system.name, system.answers(), **at)
        suffix, unit = self.currency.suffix, self.currency.unit
        yield row(self.experiment, system.name, f"layer_{suffix}", self.currency.of_layers(system), unit, **at)
        flops = self.currency.of_ratio(system.flops_speedup)
        yield row(self.experiment, system.name, f"flops_{suffix}", flops, unit, **at)
        arm = self.clock.arm_of(system)
        if arm is not None:
            yield self._timed(row, system.name, arm, {**at, **self.clock.one_by_one.timed(arm)})

    def score_rows(self, row: Rows, name: str, answers: Any, **at: object) -> Iterator[Measurement]:  # noqa: ANN401
        """Score on dev and what is gained over the baseline."""
        yield row(self.experiment, name, "score", self.scored.score(answers), "points", **at)
        yield row(self.experiment, name, "score_delta", self.scored.gain(answers), "points", **at)

    def _timed(self, row: Rows, name: str, arm: str, how: Mapping[str, object]) -> Measurement:
        value = self.currency.of_clock(self.clock.one_by_one, arm)
        return row(self.experiment, name, f"time_{self.currency.suffix}", value, self.currency.unit, **how)

    def batch_rows(self, row: Rows, batched: PairedThroughput, systems: Sequence[System]) -> Iterator[Measurement]:
        """Throughput in batches of 32, and the control's."""
        arms = {(s.name, s.setting): s.arm for s in systems} | {(CONTROL, ""): CONTROL}
        for (name, setting), arm in arms.items():
            how = {"setting": setting, "timed": True, "note": "batches of 32"}
            yield row(self.experiment, name, "throughput_ratio", batched.speedup(arm), "ratio", **how)


def average_rows(
    experiment: str, tables: Sequence[OperatingTable], row: Rows, depths: Sequence[int]
) -> Iterator[Measurement]:
    """The plain mean over tasks, of the static systems and of each setting that all tasks have."""
    suffix, unit = tables[0].currency.suffix, tables[0].currency.unit
    scored = [table.scored for table in tables]
    yield row(experiment, "baseline", "score", _mean(s.points(s.baseline) for s in scored), "points")
    for depth in depths:
        yield row(experiment, static_name(depth), "score", _mean(s.points(s.static(depth)) for s in scored), "points")
    known = [{(s.name, s.setting): s for s in table.systems} for table in tables]
    for name, setting in (key for key in known[0] if all(key in others for others in known)):
        systems = [systems[name, setting] for systems in known]
        score = _mean(t.scored.points(s.answers()) for t, s in zip(tables, systems, strict=True))
        yield row(experiment, name, "score", score, "points", setting=setting)
        layers = _mean(t.currency.of_layers(s).value for t, s in zip(tables, systems, strict=True))
        yield row(experiment, name, f"layer_{suffix}", layers, unit, setting=setting)
        arms = [t.clock.arm_of(s) for t, s in zip(tables, systems, strict=True)]
        if None not in arms:
            times = [
                t.currency.of_clock(t.clock.one_by_one, arm).value for t, arm in zip(tables, arms, strict=True) if arm
            ]
            yield row(experiment, name, f"time_{suffix}", _mean(iter(times)), unit, setting=setting, timed=True)


def with_all_tasks(tables: Iterable[OperatingTable]) -> Iterator[tuple[Rows, list[OperatingTable]]]:
    """The tables of each seed that did all tasks, and what makes rows of their average; none if there is one task."""
    by_seed: dict[int, list[OperatingTable]] = defaultdict(list)
    for table in tables:
        by_seed[table.scored.task_run.seed].append(table)
    most = max(map(len, by_seed.values()), default=0)
    for seed, found in by_seed.items():
        if len(found) == most >= 2:
            yield Rows("macro", seed, found[0].scored.task_run.backbone.backbone, len(found)), found


# -- Curves, histograms, exits ----------------------------------------------------------------------------------------


def exit_histogram(row: Rows, experiment: str, system: System, metric: str = "exit_share") -> Iterator[Measurement]:
    """Share of texts that leave at each layer."""
    for layer, share in enumerate(system.outcome().histogram(system.num_layers).tolist(), 1):
        yield row(experiment, system.name, metric, share, "fraction", setting=system.setting, at=layer)


def score_by_exit(row: Rows, experiment: str, name: str, scored: Scored, exits: Any) -> Iterator[Measurement]:  # noqa: ANN401
    """Score of each exit when every text is made to leave there; `exits` (N, n, C)."""
    for layer in range(1, exits.shape[1] + 1):
        score = scored.score(answers_of(exits[:, layer - 1], scored.task_run))
        yield row(experiment, name, "score", score, "points", setting=at_layer(layer), at=layer)


def score_by_difficulty(row: Rows, scored: Scored, system: System) -> Iterator[Measurement]:
    """Where difficulty is known (builtin tasks): do harder texts stay longer, and where does score go?"""
    levels, exits = scored.difficulty, system.exit_layers()
    right, full = system.answers() == scored.labels, scored.baseline == scored.labels
    for level in sorted(set(levels.tolist()) - {0}):
        chosen = levels == level
        at = {"at": level, "setting": f"level {level}", "n": int(chosen.sum())}
        yield row("difficulty", system.name, "exit_layer", float(exits[chosen].mean()), "layers", **at)
        yield row("difficulty", system.name, "score", 100 * float(right[chosen].mean()), "points", **at)
        yield row("difficulty", "baseline", "score", 100 * float(full[chosen].mean()), "points", **at)


def cost_rows(row: Rows, name: str, clock: OnTheClock) -> Iterator[Measurement]:
    """Where the time of a full-depth run goes at batch 1: backbone (with one head), the other exits, the rule."""
    for metric, share in cost_shares(clock.one_by_one.seconds).items():
        yield row("costs", name, metric, share, "fraction", timed=True, note="full depth, batch 1")


# -- What is kept of a task run ---------------------------------------------------------------------------------------


def standard_evidence(
    scored: Scored,
    clock: OnTheClock,
    depths: Sequence[int],
    systems: Sequence[System],
    exits: Mapping[str, Any],
    batched: PairedThroughput | None = None,
) -> Evidence:
    """Everyone's answers, exit layers and seconds on dev.

    Args:
        scored: of dev.
        clock: what was timed.
        depths: of the static ladder.
        systems: at every setting that a table or a claim needs.
        exits: (N, n, C) by method, kept as answers at `layer i`.
        batched: seconds of whole passes.
    """
    run, clocked = scored.task_run, clock.one_by_one
    half = static_name(run.half)
    arrays: dict[str, np.ndarray] = {
        LABELS: scored.labels,
        "difficulty": scored.difficulty,
        TIMED: clocked.rows,
        answers_name("baseline"): scored.baseline,
        seconds_name("baseline"): clocked.seconds(BASELINE),
        seconds_name(half): clocked.seconds(TRUNCATED),
        seconds_name(CONTROL): clocked.seconds(CONTROL),
    }
    for depth in depths:
        arrays[answers_name(static_name(depth))] = scored.static(depth)
    for name, logits in exits.items():
        for layer in range(1, logits.shape[1] + 1):
            arrays[answers_name(name, at_layer(layer))] = answers_of(logits[:, layer - 1], run)
    for system in systems:
        arrays[answers_name(system.name, system.setting)] = system.answers()
        arrays[exits_name(system.name, system.setting)] = system.exit_layers()
    for system in (*systems, *clock.systems):
        arm = clock.arm_of(system)
        if arm is not None:
            arrays[seconds_name(system.name, system.setting)] = clocked.seconds(arm)
    if batched is not None:
        for number, arm in enumerate(batched.arms):
            arrays[f"{arm}/seconds in batches"] = batched.seconds[number]
    return Evidence(run.task_name, run.seed, run.task.metric, len(run.task.labels), run.num_layers, arrays)


def _mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))
