"""SENTEE and TOKEE on a tagging run: how they are trained at each scale, what they answer and spend at a setting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.baselines import Recipe
from common.early_exit.multi_exit import adamw_with_rate
from common.models.tagger import word_logits
from common.run.replication import Step
from common.tagging_methods import TaggingContender, TaggingMethod, TaggingSystem
from common.tagging_run import TAGGING_RECIPES, TaggingRun
from common.training.batches import BucketedBatches
from common.training.loop import TrainingPlan
from common.training.word_pieces import TaggedBatch, TaggedSplit
from replications.token_early_exit.method import (
    AFTER_NORM,
    BEFORE_NORM,
    Copy,
    Rule,
    SentenceBelow,
    TokenExits,
    WindowBelow,
    joint_loss,
    uncertainty,
)
from replications.token_early_exit.names import AFTER_NORM as COPIED_AFTER_NORM
from replications.token_early_exit.names import EXITED_SILENT, SENTEE, STAGE_ONE, TOKEE
from replications.token_early_exit.runtime import run_token_exits, spent_flops, whole
from replications.token_early_exit.sampling import SampledBatches, Settings, StageOne, flooded_loss

HEAD_RATE = 10.0
"""Classifiers learn at ten times the encoder's rate, as in the official code."""

WARMUP = 0.1
"""In place of the official 3000 steps: so many are about a tenth of either stage on a set of CoNLL-2003's size."""

FINEST, COARSEST = 1e-5, 1.0
"""Thresholds between which a speed is looked for: at the one hardly anyone leaves early, at the other everyone."""

HALVINGS = 8

NEAR_ENOUGH = 0.01
"""A speed within one percent of the wanted one is taken."""


@dataclass(frozen=True)
class Stage:
    """One of the two trainings.

    Attributes:
        plan: its learning rate is the encoder's.
        frozen_epochs: so many epochs of the classifiers alone come before.
    """

    plan: TrainingPlan
    frozen_epochs: int = 0


@dataclass(frozen=True)
class ScaleSettings:
    """What is trained at a scale.

    Attributes:
        recipe: of the baseline and the static ladder.
        stage_one, stage_two: of the model with a classifier after every layer; stage 1 is None where it is trained by
            the baseline's plan, whose epochs depend on the task.
        sampled: what stage 2 draws from.
        after_norm: whether the variant whose copy is taken after the norm is trained, a stage 2 of its own.
    """

    recipe: Recipe
    stage_one: Stage | None
    stage_two: Stage
    sampled: Settings
    after_norm: bool = True


OFFICIAL = Settings((5, 7, 9, 11, 13, 15), (0.01, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25))
"""The README's bounds for Chinese OntoNotes."""


def _plan(recipe: Recipe, epochs: int, factor: float = 1.0) -> TrainingPlan:
    return replace(recipe.whole, epochs=epochs, learning_rate=factor * recipe.whole.learning_rate)


SMOKE, MINI, BASE, PAPER = (TAGGING_RECIPES[name] for name in ("smoke", "mini", "base", "paper"))

SETTINGS = {
    "smoke": ScaleSettings(SMOKE, None, Stage(_plan(SMOKE, 2, 0.5)), OFFICIAL),
    "mini": ScaleSettings(MINI, None, Stage(_plan(MINI, 2, 0.5)), OFFICIAL, after_norm=False),
    "base": ScaleSettings(BASE, None, Stage(_plan(BASE, 3, 0.5)), OFFICIAL),
    "paper": ScaleSettings(
        PAPER,
        Stage(TrainingPlan(5e-6, epochs=18, batch_size=10, seed=0, weight_decay=0.01, warmup=WARMUP), frozen_epochs=2),
        Stage(TrainingPlan(1e-5, epochs=28, batch_size=10, seed=0, weight_decay=0.01, warmup=WARMUP), frozen_epochs=2),
        OFFICIAL,
    ),
}
"""At the paper's scale the stages are the official README's; the plain baseline is ours: its recipe was not found."""


@dataclass(frozen=True)
class WordOutcome:
    """How the words of a split left.

    Attributes:
        answers, exits: (words,) tag and layer.
        active: (sentences, n) pieces computed at each layer.
    """

    answers: NDArray[np.int64]
    exits: NDArray[np.int64]
    active: NDArray[np.int64]


class TokenContender(TaggingContender):
    """A trained model with a classifier after every layer, and a rule with one number or two.

    Attributes:
        name: of the method.
        tagging_run: what it is trained on.
    """

    name: str

    def __init__(self, tagging_run: TaggingRun) -> None:
        self.tagging_run = tagging_run
        self.settings = SETTINGS[tagging_run.run.scale.name]

    @abstractmethod
    def training_steps(self) -> Sequence[Step]:
        """What has to be made before it can answer."""

    def model(self) -> TokenExits:
        """The trained model, on the CPU, in evaluation mode."""
        return TokenExits.load(self.folder())

    @abstractmethod
    def outcome(self, split: str, rule: Any) -> WordOutcome:  # noqa: ANN401
        """How `tune` or `dev` leaves by a rule."""

    def flops(self, split: str, rule: Rule) -> NDArray[np.float64]:
        """(sentences,) FLOPs, unpadded."""
        run = self.tagging_run
        encoded = run.splits[split]
        pieces, words = np.array(encoded.lengths), np.array(encoded.words)
        return spent_flops(run.shape, run.tags, pieces, words, self.outcome(split, rule).active)

    def full_depth(self) -> NDArray[np.int64]:
        """(words,) what the last layer answers on dev: at a threshold of 0 nobody leaves."""
        return self.outcome("dev", self.rule(1, 0.0)).answers

    @abstractmethod
    def folder(self) -> Path:
        """What was trained; trained if it is not there."""

    @abstractmethod
    def rule(self, window: int, threshold: float) -> Any:  # noqa: ANN401
        """Who leaves at a threshold; a method without windows passes over the window."""

    def speed(self, split: str, rule: Rule) -> float:
        """FLOPs of the baseline over those spent, both summed over a split: the paper's speed-up."""
        return float(self.tagging_run.static_flops(split).sum() / self.flops(split, rule).sum())

    def threshold_at_speed(self, wanted: float, rule_at: Callable[[float], Rule], split: str = "tune") -> float:
        """The threshold whose speed on `split` comes nearest to `wanted`, found by halving on a log scale."""
        low, high = FINEST, COARSEST
        tried = {low: self.speed(split, rule_at(low)), high: self.speed(split, rule_at(high))}
        for _ in range(HALVINGS):
            middle = float(f"{np.sqrt(low * high):.3g}")
            tried[middle] = self.speed(split, rule_at(middle))
            if abs(np.log(tried[middle] / wanted)) < NEAR_ENOUGH:
                break
            low, high = (middle, high) if tried[middle] < wanted else (low, middle)
        return min(tried, key=lambda threshold: abs(float(np.log(tried[threshold] / wanted))))

    def systems(self) -> Sequence[TaggingSystem]:
        """At about two, three and four times the speed."""
        from replications.token_early_exit.systems import points_at_speeds

        return [
            TaggingSystem(
                self.name,
                system.setting,
                system.rule.threshold,
                system.outcome().answers,
                system.outcome().exits,
                self.flops("dev", system.rule),
                self.arm(system.rule),
            )
            for system in points_at_speeds(self)
        ]

    def arm(self, rule: Rule) -> Callable[[TaggedBatch], object]:
        """The model at work on a batch, for the clock."""
        model = self.model().to(self.tagging_run.run.timing_device)
        return lambda batch: run_token_exits(model, batch, rule)


class Sentee(TokenContender):
    """Sentences leave whole; the model of stage 1."""

    name = SENTEE

    @property
    def stage(self) -> Stage:
        """How stage 1 is trained on this task."""
        return self.settings.stage_one or Stage(self.tagging_run.plan)

    def training_steps(self) -> Sequence[Step]:
        """Stage 1."""
        run = self.tagging_run
        seconds = 1.1 * run.training_seconds(self.stage.plan, run.num_layers)
        return [
            Step.making(f"{run.label}: stage 1, all layers", seconds, self.folder),
            Step.making(f"{run.label}: {self.name}, every layer's answers", self.scored_seconds, lambda: self.exits),
        ]

    @property
    def scored_seconds(self) -> float:
        """Expected seconds of a pass over all that is scored."""
        return self.tagging_run.pass_seconds("tune") + self.tagging_run.pass_seconds("dev")

    def folder(self) -> Path:
        """The model of stage 1."""
        run, stage = self.tagging_run, self.stage
        plan = replace(stage.plan, seed=run.seed)
        fresh = lambda: TokenExits.fresh(run.backbone.encoder, run.tags, run.seed)  # noqa: E731
        batches = lambda: BucketedBatches(run.splits["train"], plan.batch_size, plan.seed)  # noqa: E731
        return trained_in_two(run, "token-exits-stage-1", {}, fresh, batches, joint_loss, plan, stage.frozen_epochs)

    def rule(self, window: int, threshold: float) -> SentenceBelow:
        """The threshold."""
        return SentenceBelow(threshold)

    @cached_property
    def exits(self) -> dict[str, Tensor]:
        """(words, n, C) logits of every layer for `tune` and `dev`, nobody leaving."""
        run, folder = self.tagging_run, self.folder()

        def compute() -> dict[str, Tensor]:
            model = self.model().to(run.device)
            return {name: word_logits(model, run.splits[name], run.device) for name in ("tune", "dev")}

        return run.tensors("token-exits-logits", {"model": folder.name}, compute)

    def outcome(self, split: str, rule: SentenceBelow) -> WordOutcome:
        """Simulated, exactly: until it leaves a sentence is computed whole."""
        encoded, logits = self.tagging_run.splits[split], self.exits[split]
        words = encoded.words
        u = uncertainty(logits).split(words)
        layers = np.array([int(rule.exits(one[None], torch.ones(1, len(one), dtype=torch.bool))[0, 0]) for one in u])
        exits = np.repeat(layers, words)
        answers = logits[torch.arange(len(logits)), torch.from_numpy(exits) - 1].argmax(-1).numpy()
        return WordOutcome(answers, exits, whole(np.array(encoded.lengths), layers, logits.shape[1]))


class Tokee(TokenContender):
    """Words leave one by one; the model of stage 2."""

    name = TOKEE
    exited_count = True

    def __init__(self, tagging_run: TaggingRun, copy: Copy = BEFORE_NORM) -> None:
        super().__init__(tagging_run)
        self.copy, self.stage_one = copy, Sentee(tagging_run)
        self._outcomes: dict[tuple[str, Rule], WordOutcome] = {}

    def rule(self, window: int, threshold: float) -> WindowBelow:
        """Who leaves at a window and a threshold."""
        return WindowBelow(window, threshold, exited_count=self.exited_count)

    def training_steps(self) -> Sequence[Step]:
        """Stage 2, after stage 1."""
        run = self.tagging_run
        seconds = 1.2 * run.training_seconds(self.settings.stage_two.plan, run.num_layers) + run.pass_seconds("train")
        return [Step.making(f"{run.label}: {self.name}, stage 2, self-sampling", seconds, self.folder)]

    def folder(self) -> Path:
        """The model of stage 2."""
        run, stage, first = self.tagging_run, self.settings.stage_two, self.stage_one.folder()
        plan, train = replace(stage.plan, seed=run.seed), run.splits["train"]

        def fresh() -> TokenExits:
            model = TokenExits.load(first)
            model.copy = self.copy
            return model

        def batches() -> SampledBatches:
            model = fresh().to(run.device)
            said = StageOne.of(word_logits(model, train, run.device), torch.from_numpy(run.labels("train")))
            return SampledBatches(train, said, self.settings.sampled, plan.batch_size, plan.seed)

        facts = {"stage 1": first.name, "copy": self.copy, "sampled": repr(self.settings.sampled)}
        return trained_in_two(
            run, "token-exits-stage-2", facts, fresh, batches, flooded_loss, plan, stage.frozen_epochs
        )

    def outcome(self, split: str, rule: WindowBelow) -> WordOutcome:
        """The model at work: where words halt changes what is computed above. Asked twice, computed once."""
        if (split, rule) not in self._outcomes:
            run = self.tagging_run
            self._outcomes[split, rule] = run_on_split(self._on_device, run.splits[split], rule, run.device)
        return self._outcomes[split, rule]

    @cached_property
    def _on_device(self) -> TokenExits:
        return self.model().to(self.tagging_run.device)


class StageOneAlone(Tokee):
    """Words leave one by one, though the model never learned with halted words."""

    name = STAGE_ONE

    def training_steps(self) -> Sequence[Step]:
        """Those of stage 1."""
        return []

    def folder(self) -> Path:
        """The model of stage 1."""
        return self.stage_one.folder()


class CopiedAfterNorm(Tokee):
    """Who has left carries its state, not the sum before the norm; stage 2 was trained so."""

    name = COPIED_AFTER_NORM

    def __init__(self, tagging_run: TaggingRun) -> None:
        super().__init__(tagging_run, AFTER_NORM)


class ExitedSilent(Tokee):
    """Who has left no longer counts in a window's maximum, as the official code seems to mean; the model of TOKEE."""

    name = EXITED_SILENT
    exited_count = False

    def training_steps(self) -> Sequence[Step]:
        """Those of TOKEE."""
        return []


def run_on_split(model: TokenExits, split: TaggedSplit, rule: Rule, device: torch.device) -> WordOutcome:
    """The runtime on a split, in batches of sentences of like length; the outcome is in the split's order."""
    answers: list[Tensor] = [torch.empty(0)] * len(split)
    exits: list[Tensor] = [torch.empty(0)] * len(split)
    active = torch.zeros((len(split), model.num_layers), dtype=torch.long)
    for batch in split.by_length(64):
        found = run_token_exits(model, batch.to(device), rule)
        active[batch.rows] = found.active.cpu()
        for place, row in enumerate(batch.rows.tolist()):
            words = batch.is_word[place]
            answers[row], exits[row] = found.answers[place].cpu()[words], found.exits[place].cpu()[words]
    return WordOutcome(torch.cat(answers).numpy(), torch.cat(exits).numpy(), active.numpy())


def trained_in_two(
    run: TaggingRun,
    kind: str,
    facts: Mapping[str, object],
    fresh: Callable[[], TokenExits],
    batches: Callable[[], Any],
    loss: Callable[[TokenExits, Any], Tensor],
    plan: TrainingPlan,
    frozen_epochs: int,
) -> Path:
    """The folder of a model trained with a frozen encoder first, where `frozen_epochs` says so, then as a whole."""
    rate = adamw_with_rate(HEAD_RATE * plan.learning_rate)
    known = {**run.facts, **facts, "heads' rate": HEAD_RATE, "frozen epochs": frozen_epochs}
    if not frozen_epochs:
        return run.trained(kind, known, fresh, batches, loss, plan, make_optimizer=rate)

    def frozen() -> TokenExits:
        model = fresh()
        model.encoder.requires_grad_(False)
        return model

    alone = replace(plan, epochs=frozen_epochs)
    begun = run.trained(f"{kind}-heads", known, frozen, batches, loss, alone, make_optimizer=rate)
    goes_on = {**known, "begun": begun.name}
    return run.trained(kind, goes_on, lambda: TokenExits.load(begun), batches, loss, plan, make_optimizer=rate)


class TokeeAlone(Tokee):
    """TOKEE where SENTEE does not train the model of stage 1 as well."""

    def training_steps(self) -> Sequence[Step]:
        """Both stages; what is there is not trained again."""
        return [*self.stage_one.training_steps(), *super().training_steps()]


METHODS = ()
"""None of whole texts."""

TAGGING_METHODS = (TaggingMethod(SENTEE, Sentee), TaggingMethod(TOKEE, TokeeAlone))
