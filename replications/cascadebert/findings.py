"""What the tables, figures and claims are made of, for one task and one seed: operating points, simulated and timed.

A system answers at one of several exits (the models of a cascade, the layers of an encoder), each with its price in
layers and FLOPs; a point is a system with a rule. A setting is chosen on the tune split, at a speed-up in layers.
DeeBERT and PABEE are those of their own papers' folders, asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import BASELINE, Arm, Clocked
from common.early_exit.contender import ExitContender
from common.early_exit.cost import exit_flops
from common.early_exit.rules import ExitRule, entropy
from common.early_exit.runtime import MultiExitModel, Outcome, early_exit_arm, simulate
from common.early_exit.systems import Scored
from common.methods import find_method
from common.task_run import TaskRun
from common.timing.paired import PairedThroughput
from replications.cascadebert.contender import SETTINGS, CascadeBERT, SmallModels, between
from replications.cascadebert.difficulty import log_odds
from replications.cascadebert.method import settles_above
from replications.cascadebert.names import (
    CASCADE,
    COMPLETE,
    COMPLETE_DAR,
    DEEBERT,
    PABEE,
    TARGETS,
    TRUNCATED,
    WITHOUT_DAR,
    label,
)
from replications.cascadebert.timing import cost_arms

CURVE = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Speed-ups at which curves are drawn."""

AS_FAST = 0.78
"""A system that does not reach this share of a speed-up has no row there: the main table's slowest cell has 0.79."""

PRINTED_THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
"""Of the authors' released MRPC run."""

Array = NDArray[np.generic]


@dataclass(frozen=True)
class System:
    """Something that answers at one of m exits.

    Attributes:
        tune, dev: (N, m, C) logits of every exit.
        layers: what an answer at each exit costs in layers, all that was run before included.
        flops: the same in FLOPs for a text of so many tokens, (m,).
        rules: the settings that can be chosen from, as numbers, with their rules.
    """

    name: str
    tune: Tensor
    dev: Tensor
    layers: tuple[int, ...]
    flops: Callable[[int], NDArray[np.int64]]
    rules: Mapping[float, ExitRule]

    def executed(self, outcome: Outcome) -> NDArray[np.int64]:
        """(N,) layers."""
        return np.asarray(np.take(self.layers, outcome.exit_layer.numpy() - 1), dtype=np.int64)


@dataclass(frozen=True)
class Point:
    """A system under a rule; `at` is the threshold or the patience."""

    system: System
    setting: str
    at: float
    rule: ExitRule

    @property
    def arm(self) -> str:
        """Its name on the clock."""
        return f"{self.system.name} {self.setting}"

    @cached_property
    def outcome(self) -> Outcome:
        """How dev leaves, simulated."""
        return simulate(self.system.dev, self.rule)

    @property
    def predictions(self) -> Array:
        """(N,) on dev."""
        return np.asarray(self.outcome.logits.argmax(-1).numpy())

    @property
    def executed(self) -> NDArray[np.int64]:
        """(N,) layers on dev."""
        return self.system.executed(self.outcome)


class Findings:
    """Simulations and timings of one task run, each made when first asked for."""

    def __init__(self, task_run: TaskRun, small: SmallModels) -> None:
        self.task_run, self.small, self.settings = task_run, small, SETTINGS[task_run.run.scale.name]
        self.scored = Scored(task_run)
        self.cascades = [CascadeBERT(task_run, small), CascadeBERT(task_run, small, WITHOUT_DAR, calibrated=False)]
        if small.second is not None:
            name = f"{WITHOUT_DAR}, {small.second}L first"
            self.cascades.append(CascadeBERT(task_run, small, name, depth=small.second, calibrated=False))
        self.exits = {name: _with_exits(name, task_run) for name in (DEEBERT, PABEE)}

    @property
    def num_layers(self) -> int:
        """Of the big model."""
        return self.task_run.num_layers

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) of dev."""
        return np.asarray(self.scored.labels, dtype=np.int64)

    @property
    def levels(self) -> NDArray[np.int64] | None:
        """(N,) true difficulty on dev, where it is known."""
        levels = self.scored.difficulty
        return levels if levels.all() else None

    @property
    def full(self) -> Array:
        """(N,) the big model's predictions on dev: the baseline."""
        return self.scored.baseline

    # -- Depths -------------------------------------------------------------------------------------------------------

    def layers_at(self, speedup: float) -> int:
        """The fewest layers that are no faster than `speedup`: of a half layer the rival gets all."""
        return max(1, int(np.ceil(self.num_layers / speedup)))

    @property
    def truncations(self) -> tuple[int, ...]:
        """Depths k of the static ladder: at the compared depths, and for each printed speed."""
        compared = {depth for depth in self.settings.shallow if depth > 1}
        return tuple(sorted(compared | set(map(self.layers_at, TARGETS))))

    def twelfths(self, depth: int) -> float:
        """A depth as the paper counts, in twelfths of the big model's layers."""
        return 12 * depth / self.num_layers

    # -- Systems ------------------------------------------------------------------------------------------------------

    @cached_property
    def cascade(self) -> System:
        """The paper's: the calibrated small model, then the big one."""
        return _cascade(self.cascades[0])

    @cached_property
    def without_dar(self) -> System:
        """The same without difficulty-aware regularisation."""
        return _cascade(self.cascades[1])

    @cached_property
    def second(self) -> System | None:
        """A larger complete model first, without regularisation; None where there is none."""
        return _cascade(self.cascades[2]) if len(self.cascades) > 2 else None

    @cached_property
    def deebert(self) -> System:
        """Exits on the frozen big model, left by entropy."""
        return _exits(self.exits[DEEBERT], also=entropy(self.exits[DEEBERT].exits("tune")[:, :-1]))

    @cached_property
    def pabee(self) -> System:
        """Exits trained with the encoder, left when they agree."""
        return _exits(self.exits[PABEE])

    @property
    def systems(self) -> tuple[System, ...]:
        """All of them, in the order of the table."""
        further = () if self.second is None else (self.second,)
        return (self.deebert, self.pabee, self.cascade, self.without_dar, *further)

    # -- Operating points ---------------------------------------------------------------------------------------------

    def closest(self, system: System, speedup: float, setting: str, *, split: str = "tune") -> Point:
        """The setting whose mean executed layers on `split` are nearest to what `speedup` allows."""
        executed = self._executed(system, split)
        at = min(executed, key=lambda at: abs(executed[at] - self.num_layers / speedup))
        return Point(system, setting, at, system.rules[at])

    def nearest(self, system: System, speedup: float, setting: str, *, split: str = "tune") -> Point | None:
        """The same; None if the system is too slow for that speed-up."""
        point = self.closest(system, speedup, setting, split=split)
        reached = self.num_layers / self._executed(system, split)[point.at]
        return point if reached >= AS_FAST * speedup else None

    def _executed(self, system: System, split: str) -> dict[float, float]:
        """Mean layers on `split` at every setting."""
        key = (system.name, split)
        if key not in self._swept:
            logits = system.tune if split == "tune" else system.dev
            executed = {at: system.executed(simulate(logits, rule)) for at, rule in system.rules.items()}
            self._swept[key] = {at: float(layers.mean()) for at, layers in executed.items()}
        return self._swept[key]

    @cached_property
    def _swept(self) -> dict[tuple[str, str], dict[float, float]]:
        return {}

    def at_speed(self, system: System, speedup: float) -> Point | None:
        """A cell of the main table."""
        return self.nearest(system, speedup, label(speedup))

    @cached_property
    def table_points(self) -> list[Point]:
        """The main table's rows that have a rule, chosen on tune."""
        points = [self.at_speed(system, speedup) for speedup in TARGETS for system in self.systems]
        return [p for p in points if p is not None]

    @cached_property
    def dev_tuned(self) -> list[Point]:
        """The same for the three methods with exits, chosen on dev: nearer to the speed, on the reported examples."""
        named = [(system, speedup) for speedup in TARGETS for system in (self.deebert, self.pabee, self.cascade)]
        points = [self.nearest(s, speedup, f"{label(speedup)} (dev-tuned)", split="dev") for s, speedup in named]
        return [p for p in points if p is not None]

    @cached_property
    def curve(self) -> list[Point]:
        """Of the trade-off: thresholds of the cascades and of DeeBERT, every patience of PABEE."""
        points: list[Point] = []
        for system in (self.cascade, self.without_dar, self.deebert):
            reached = [self.nearest(system, speedup, label(speedup)) for speedup in CURVE]
            points += {p.at: p for p in reached if p is not None}.values()
        rules = self.pabee.rules
        return [*points, *(Point(self.pabee, f"t={at:g}", at, rule) for at, rule in rules.items())]

    def threshold(self, tau: float) -> Point:
        """The paper's cascade at a printed threshold."""
        return Point(self.cascade, f"tau={tau:g}", tau, settles_above(tau))

    # -- Shallow models -----------------------------------------------------------------------------------------------

    def shallow(self, depth: int) -> dict[str, Tensor]:
        """(N, C) logits on dev of everything that is `depth` layers deep, by family."""
        families = {DEEBERT: self.deebert.dev[:, depth - 1]}
        if depth in self.truncations:
            families[TRUNCATED] = self.task_run.static_logits(depth)["dev"]
        if depth in self.small.depths:
            families[COMPLETE] = self.small.logits(self.small.plain_folder(depth))["dev"]
        if depth == self.small.first:
            families[COMPLETE_DAR] = self.calibrated
        return families

    @property
    def calibrated(self) -> Tensor:
        """(N, C) on dev of the small model with difficulty-aware regularisation."""
        return self.cascade.dev[:, 0]

    def knows(self, logits: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(N,) confidence in a form that ranks, and (N,) hard: whether this very model is wrong on dev."""
        return log_odds(logits), np.asarray(logits.argmax(-1).numpy() != self.labels)

    @cached_property
    def emitted(self) -> Outcome:
        """How DeeBERT leaves dev at the fastest speed of the main table."""
        return self.closest(self.deebert, TARGETS[-1], "").outcome

    # -- Costs --------------------------------------------------------------------------------------------------------

    def layer_speedup(self, point: Point) -> float:
        """Depth over mean executed layers, on dev."""
        return float(self.num_layers / point.executed.mean())

    def flops_speedup(self, point: Point) -> float:
        """FLOPs of the baseline over those spent on dev, texts unpadded."""
        lengths, exits = self.task_run.encoded.dev.lengths, (point.outcome.exit_layer - 1).tolist()
        price = {tokens: point.system.flops(tokens) for tokens in set(lengths)}
        spent = sum(int(price[tokens][i]) for tokens, i in zip(lengths, exits, strict=True))
        return float(self.task_run.baseline_flops("dev").sum()) / spent

    @cached_property
    def timed(self) -> list[Point]:
        """What runs on the clock: the main table's rows, but for the cascade that differs in its training alone.

        The main point is among them even where it has no row, too slow for its speed: its costs are split.
        """
        rows = [p for p in self.table_points if p.system.name != WITHOUT_DAR]
        return rows if self.main.arm in {p.arm for p in rows} else [*rows, self.main]

    def truncated_arm(self, depth: int) -> str:
        """The arm of the first `depth` layers."""
        return f"{TRUNCATED} {depth}"

    @property
    def main(self) -> Point:
        """CascadeBERT at the table's first speed, where the costs are split and batches are run."""
        return self.closest(self.cascade, TARGETS[0], label(TARGETS[0]))

    @cached_property
    def clocked(self) -> Clocked:
        """Batch-1 timings; measured once in a run, whoever asks first."""
        run = self.task_run
        path = run.run.scratch / f"{run.task_name}-{run.seed}.npz"
        if not path.exists():
            run.clock.one_by_one(self._arms()).save(path)
        return Clocked.load(path)

    def _arms(self) -> dict[str, Arm]:
        run, device = self.task_run, self.task_run.timing_device
        cascade = self.cascades[0].model()
        models: dict[str, MultiExitModel] = {CASCADE: cascade}
        models |= {name: contender.model().to(device) for name, contender in self.exits.items()}
        models |= {contender.name: contender.model() for contender in self.cascades[2:]}
        arms: dict[str, Arm] = {BASELINE: run.classifier().to(device)}
        for depth in sorted({self.layers_at(speedup) for speedup in TARGETS}):
            arms[self.truncated_arm(depth)] = run.classifier(depth).to(device)
        arms |= {p.arm: early_exit_arm(models[p.system.name], p.rule) for p in self.timed}
        return arms | cost_arms(cascade, self.main.rule)

    def batched(self) -> PairedThroughput:
        """Throughput in batches of 32 at the table's first speed, and with both models for everyone."""
        run, cascade, main = self.task_run, self.cascades[0].model(), self.main
        arms = cost_arms(cascade, main.rule)
        early = early_exit_arm(cascade, main.rule)
        baseline = run.classifier().to(run.timing_device)
        return run.clock.in_batches({BASELINE: baseline, CASCADE: early, **arms})


def _with_exits(name: str, task_run: TaskRun) -> ExitContender:
    contender = find_method(name).on(task_run)
    assert isinstance(contender, ExitContender)
    return contender


def _cascade(contender: CascadeBERT) -> System:
    rules = {setting.at: settles_above(setting.at) for setting in contender.settings}
    tune, dev = contender.logits("tune"), contender.logits("dev")
    return System(contender.name, tune, dev, contender.prices, contender.flops_by_model, rules)


def _exits(contender: ExitContender, also: Tensor | None = None) -> System:
    """A method with exits; `also`: numbers between whose neighbours further settings lie."""
    shape = contender.task_run.shape
    numbers = sorted({*map(float, contender.grid), *([] if also is None else between(also))})
    rules = {at: contender.rule(at) for at in numbers}

    def flops(tokens: int) -> NDArray[np.int64]:
        return exit_flops(shape, tokens, contender.head_flops(tokens))

    layers = tuple(range(1, shape.layers + 1))
    return System(contender.name, contender.exits("tune"), contender.exits("dev"), layers, flops, rules)
