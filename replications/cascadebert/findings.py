"""What the tables, figures and claims are made of, for one task and one seed: operating points, simulated and timed.

A setting is chosen on the tune split, where its mean executed layers are nearest to what a speed-up allows. DeeBERT and
PABEE are those of their own papers' folders, asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import TRUNCATED as HALF
from common.early_exit.clock import Arm
from common.early_exit.contender import ExitContender, RuleContender
from common.early_exit.cost_split import ASKED, EVERY_EXIT, full_depth_arms
from common.early_exit.rules import entropy
from common.early_exit.standard import standard_evidence
from common.early_exit.systems import OnTheClock, Scored, System
from common.methods import Setting, find_method
from common.models.classifier import EncoderClassifier
from common.records.ordering import dense_ranks
from common.records.predictions import Array, Evidence, answers_name, exits_name, seconds_name
from common.task_run import TaskRun
from common.timing.paired import PairedThroughput
from replications.cascadebert.contender import CascadeBERT, between
from replications.cascadebert.difficulty import log_odds
from replications.cascadebert.names import (
    BOTH,
    CASCADE,
    COMPARED,
    COMPLETE,
    COMPLETE_DAR,
    DEEBERT,
    EMITTED,
    PABEE,
    SMALL,
    TARGETS,
    TRUNCATED,
    WITHOUT_DAR,
    label,
    layers,
    rank_name,
)
from replications.cascadebert.small_models import SmallModels

CURVE = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Speed-ups at which curves are drawn."""

AS_FAST = 0.78
"""A method that does not reach this share of a speed-up has no row there: the main table's slowest cell has 0.79."""

PRINTED_THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
"""Of the authors' released MRPC run."""


class Findings:
    """Simulations and timings of one task run, each made when first asked for."""

    def __init__(self, task_run: TaskRun, small: SmallModels) -> None:
        self.task_run, self.small, self.settings = task_run, small, small.settings
        self.scored = Scored(task_run)
        self.cascade = CascadeBERT(task_run, small)
        self.without_dar = CascadeBERT(task_run, small, WITHOUT_DAR, calibrated=False)
        self.second: CascadeBERT | None = None
        if small.second is not None:
            name = f"{WITHOUT_DAR}, {small.second}L first"
            self.second = CascadeBERT(task_run, small, name, depth=small.second, calibrated=False)
        self.deebert, self.pabee = (_with_exits(name, task_run) for name in (DEEBERT, PABEE))

    @property
    def num_layers(self) -> int:
        """Of the big model."""
        return self.task_run.num_layers

    @property
    def contenders(self) -> tuple[RuleContender, ...]:
        """All of them, in the order of the table."""
        further = () if self.second is None else (self.second,)
        return (self.deebert, self.pabee, self.cascade, self.without_dar, *further)

    @property
    def levels(self) -> NDArray[np.int64] | None:
        """(N,) true difficulty on dev, where it is known."""
        levels = self.scored.difficulty
        return levels if levels.all() else None

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

    # -- Operating points ---------------------------------------------------------------------------------------------

    def closest(self, contender: RuleContender, speedup: float, setting: str, split: str = "tune") -> System:
        """The contender where its mean executed layers on `split` are nearest to what `speedup` allows."""
        executed = self._executed(contender, split)
        at = min(executed, key=lambda at: abs(executed[at] - self.num_layers / speedup))
        return System(contender, setting, at)

    def at_speed(self, contender: RuleContender, speedup: float, setting: str, split: str = "tune") -> System | None:
        """The same; None if the contender is too slow for that speed-up."""
        system = self.closest(contender, speedup, setting, split)
        reached = self.num_layers / self._executed(contender, split)[system.at]
        return system if reached >= AS_FAST * speedup else None

    def _executed(self, contender: RuleContender, split: str) -> dict[float, float]:
        """Mean layers on `split` at every setting; of DeeBERT also between the entropies that were seen on tune."""
        key = (contender.name, split)
        if key not in self._swept:
            numbers = {float(setting.at) for setting in contender.settings}
            if contender is self.deebert:
                numbers |= {*between(entropy(self.deebert.exits("tune")[:, :-1]))}
            outcomes = {at: contender.outcome(split, Setting("", at)) for at in sorted(numbers)}
            self._swept[key] = {at: outcome.exit_layer.double().mean().item() for at, outcome in outcomes.items()}
        return self._swept[key]

    @cached_property
    def _swept(self) -> dict[tuple[str, str], dict[float, float]]:
        return {}

    @cached_property
    def table(self) -> list[System]:
        """The main table's rows that have a rule, chosen on tune."""
        rows = [self.at_speed(who, speedup, label(speedup)) for speedup in TARGETS for who in self.contenders]
        return [s for s in rows if s is not None]

    @cached_property
    def dev_tuned(self) -> list[System]:
        """The same for the three methods, chosen on dev: nearer to the speed, on the reported examples."""
        methods = (self.deebert, self.pabee, self.cascade)
        named = {speedup: f"{label(speedup)} (dev-tuned)" for speedup in TARGETS}
        rows = [self.at_speed(who, speedup, name, "dev") for speedup, name in named.items() for who in methods]
        return [s for s in rows if s is not None]

    @cached_property
    def curve(self) -> list[System]:
        """Of the trade-off: thresholds of the cascades and of DeeBERT, every patience of PABEE."""
        systems: list[System] = []
        for contender in (self.cascade, self.without_dar, self.deebert):
            reached = [self.at_speed(contender, speedup, label(speedup)) for speedup in CURVE]
            systems += {s.at: s for s in reached if s is not None}.values()
        return [*systems, *(System(self.pabee, f"t={s.at:g}", float(s.at)) for s in self.pabee.settings)]

    @property
    def thresholds(self) -> list[System]:
        """The paper's cascade at the printed thresholds."""
        return [System(self.cascade, f"tau={tau:g}", tau) for tau in PRINTED_THRESHOLDS]

    @property
    def main(self) -> System:
        """CascadeBERT at the table's first speed, where the costs are split and batches are run."""
        return self.closest(self.cascade, TARGETS[0], label(TARGETS[0]))

    @cached_property
    def emitted(self) -> System:
        """DeeBERT at the fastest speed of the main table."""
        return self.closest(self.deebert, TARGETS[-1], EMITTED)

    # -- Shallow models -----------------------------------------------------------------------------------------------

    def shallow(self, depth: int) -> dict[str, Tensor]:
        """(N, C) logits on dev of everything that is `depth` layers deep, by family."""
        families = {DEEBERT: self.deebert.exits("dev")[:, depth - 1]}
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
        return self.cascade.logits("dev")[:, 0]

    def knows(self, logits: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(N,) confidence in a form that ranks, and (N,) hard: whether this very model is wrong on dev."""
        return log_odds(logits), np.asarray(logits.argmax(-1).numpy() != self.scored.labels)

    # -- The clock ----------------------------------------------------------------------------------------------------

    @cached_property
    def timed(self) -> list[System]:
        """What runs on the clock: the main table's rows, but for the cascade that differs in its training alone.

        The main point is among them even where it has no row, too slow for its speed: its costs are split.
        """
        rows = [s for s in self.table if s.contender is not self.without_dar]
        return rows if self.main.arm in {s.arm for s in rows} else [*rows, self.main]

    def truncated_arm(self, depth: int) -> str:
        """The arm of the first `depth` layers; half of them are timed for every paper."""
        return HALF if depth == self.task_run.half else f"{TRUNCATED} {depth}"

    @cached_property
    def clock(self) -> OnTheClock:
        """Batch-1 timings of the table's rows, the ladder, the small model alone, and both models for everyone."""
        run = self.task_run
        depths = {self.layers_at(speedup) for speedup in TARGETS} - {run.half}

        def static(depth: int) -> Arm:
            return run.classifier(depth).to(run.timing_device)

        def small() -> Arm:
            model: EncoderClassifier = EncoderClassifier.load(self.cascade.folder).to(run.timing_device)
            return model

        beside = {self.truncated_arm(depth): partial(static, depth) for depth in sorted(depths)}
        return OnTheClock(run, self.timed, self.main, {**beside, SMALL: small})

    def batched(self) -> PairedThroughput:
        """Throughput in batches of 32 at the table's first speed, and with both models for everyone."""
        both = full_depth_arms(self.cascade.model(), self.main.rule)[EVERY_EXIT]
        return self.clock.in_batches([self.main], {BOTH: both})

    # -- What is kept -------------------------------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        """The standard arrays at every setting of the tables, and of static and shallow models.

        `exits` are layers executed, all that was run before included. Confidences are kept as ranks of the log-odds:
        probabilities saturate, and their ties would count as inversions.
        """
        systems = [*self.table, *self.dev_tuned, *self.curve, *self.thresholds]
        kept = standard_evidence(self.scored, self.clock, [], systems, {})
        more: dict[str, Array] = {
            "trained/hard": self.small.hard.numpy(),
            COMPARED: np.array(self.settings.shallow),
            exits_name(DEEBERT, EMITTED): self.emitted.exit_layers(),
        }
        more |= {**dict(self._static()), **dict(self._shallow())}
        for name, arm in ((SMALL, SMALL), (BOTH, EVERY_EXIT), (f"{BOTH}, rule asked", ASKED)):
            more[seconds_name(CASCADE, name)] = self.clock.one_by_one.seconds(arm)
        return Evidence(kept.task, kept.seed, kept.metric, kept.classes, kept.layers, {**kept.arrays, **more})

    def _static(self) -> Iterator[tuple[str, Array]]:
        """Of the static ladder: by the speed that it stands at, and by depth."""
        for speedup in TARGETS:
            depth, setting = self.layers_at(speedup), label(speedup)
            yield answers_name(TRUNCATED, setting), self.scored.static(depth)
            yield exits_name(TRUNCATED, setting), np.full(len(self.scored.labels), depth)
            yield seconds_name(TRUNCATED, setting), self.clock.one_by_one.seconds(self.truncated_arm(depth))
        for depth in self.truncations:
            yield answers_name(TRUNCATED, layers(depth)), self.scored.static(depth)

    def _shallow(self) -> Iterator[tuple[str, Array]]:
        """Answers and ranked confidences of everything shallow that is compared."""
        for depth in self.settings.shallow:
            for family, logits in self.shallow(depth).items():
                yield answers_name(family, layers(depth)), np.asarray(logits.argmax(-1).numpy())
                yield rank_name(family, depth), dense_ranks(self.knows(logits)[0])


def _with_exits(name: str, task_run: TaskRun) -> ExitContender:
    contender = find_method(name).on(task_run)
    assert isinstance(contender, ExitContender)
    return contender
