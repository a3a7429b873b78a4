"""Contenders that are run by a rule with one number; those with exits collect every exit's logits once and simulate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import Arm
from common.early_exit.cost import exit_flops, pooled_head_flops
from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.early_exit.operating_points import Mixture, OperatingPoint, between, fastest_within, sweep
from common.early_exit.rules import ExitRule
from common.early_exit.runtime import MovableMultiExit, Outcome, collect_logits, early_exit_arm, simulate
from common.methods import EncoderContender, Setting
from common.models.classifier import predictions
from common.tasks.metrics import score


class RuleContender(EncoderContender):
    """A model of several steps, each with an answer, and a rule with one number on who needs no further step."""

    @abstractmethod
    def model(self) -> MovableMultiExit:
        """The trained model, in evaluation mode."""

    @abstractmethod
    def rule(self, at: float) -> ExitRule:
        """Who leaves, at a number."""

    @abstractmethod
    def flops_of_layers(self, split: str, layers: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) FLOPs of executing these layers (N,) on the texts of a split."""

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """(N,) FLOPs, every answer on the way included."""
        return self.flops_of_layers(split, self.outcome(split, setting).exit_layer.numpy())

    def arm(self, setting: Setting) -> Arm:
        """The exit runtime under the rule."""
        return early_exit_arm(self.model().to(self.task_run.timing_device), self.rule(setting.at))

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """The model as its `save` writes it, and the rule by name and numbers."""
        model, rule = self.model(), self.rule(setting.at)
        model.save(folder)
        return {"rule": {"name": type(rule).__name__, **asdict(rule)}}  # type: ignore[call-overload]


class ExitContender(RuleContender):
    """A backbone with an exit after every layer, and a rule with one number: a threshold, a patience."""

    # -- What a method says of itself ---------------------------------------------------------------------------------

    @abstractmethod
    def folder(self) -> Path:
        """What was trained; trained if it is not there."""

    @abstractmethod
    def model(self) -> ExitsOnEncoder:
        """The trained model, on the CPU, in evaluation mode."""

    @property
    @abstractmethod
    def grid(self) -> Sequence[float]:
        """Numbers that cover everything from never leaving early to leaving as early as can be."""

    def setting_name(self, at: float) -> str:
        """How a number is shown."""
        return f"{at:.3g}"

    def head_flops(self, tokens: int) -> int | NDArray[np.int64]:
        """FLOPs of one exit on a text of so many tokens, or (n,) by layer; by default a pooler and a classifier."""
        return pooled_head_flops(self.task_run.shape, self.task_run.outputs)

    # -- What follows from it -----------------------------------------------------------------------------------------

    @property
    def settings(self) -> Sequence[Setting]:
        """One for each number of the grid."""
        return [Setting(self.setting_name(at), at) for at in self.grid]

    @cached_property
    def _exits(self) -> Mapping[str, Tensor]:
        run, folder = self.task_run, self.folder()

        def compute() -> dict[str, Tensor]:
            model = self.model().to(run.device)
            return {
                name: collect_logits(model, split.by_length(64), len(split), run.device)
                for name, split in run.splits.items()
            }

        return run.tensors(f"{self.name}-exits", {"model": folder.name}, compute)

    def exits(self, split: str) -> Tensor:
        """(N, n, C) logits of every exit on `tune`, `dev` or `test`."""
        return self._exits[split]

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """How a split leaves, simulated."""
        return simulate(self.exits(split), self.rule(setting.at))

    def flops_of_layers(self, split: str, layers: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) FLOPs of leaving at these layers (N,)."""
        shape, lengths = self.task_run.shape, self.task_run.splits[split].lengths
        by_length = {tokens: exit_flops(shape, tokens, self.head_flops(tokens)) for tokens in set(lengths)}
        return np.array([by_length[t][k - 1] for t, k in zip(lengths, layers.tolist(), strict=True)], dtype=float)

    # -- Operating points ---------------------------------------------------------------------------------------------

    def swept(self, split: str) -> list[OperatingPoint]:
        """What every number of the grid scores (a fraction) and saves on a split."""
        run, labels = self.task_run, self.task_run.splits[split].labels.numpy()

        def scored(outcome: Outcome) -> float:
            answers = predictions(outcome.logits, regression=run.task.is_regression).numpy()
            return score(run.task.metric, answers, labels)

        return sweep(self.exits(split), self.grid, self.rule, scored)

    def fastest_within(self, drop: float, split: str = "tune") -> float:
        """The number that saves most on `split` for at most `drop` (a fraction) less than never leaving scores."""
        points = self.swept(split)
        slowest = min(points, key=lambda p: p.layer_saving)
        return fastest_within(points, slowest.score, drop).threshold

    def at_saving(self, saving: float, split: str = "tune") -> Mixture:
        """The neighbours on the curve between which the share of layers saved on `split` is `saving`, and their mix."""
        return between(self.swept(split), saving)
