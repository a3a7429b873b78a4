"""Do they add up? Any method of exits over layers in 8-bit integers.

The trained model is the method's own; its encoder's linear layers are quantised as the int8 baseline's are, its exits
stay in float32. It is run at the method's settings, chosen by what it answers itself. As many FLOPs are counted as of
the method: what int8 saves is seen on the clock alone, one by one and in batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.compare.int8 import in_int8
from common.compare.names import in_int8 as named
from common.early_exit.contender import ExitContender
from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.early_exit.rules import ExitRule
from common.early_exit.runtime import collect_logits
from common.methods import Method, Setting, of_the_cpu
from common.run.replication import Step
from common.serve.home import package_of
from common.task_run import TaskRun


class ExitsInInt8(ExitContender):
    """A method of exits whose encoder is quantised.

    Attributes:
        whole: the method in float32.
    """

    def __init__(self, whole: ExitContender) -> None:
        super().__init__(whole.task_run)
        self.whole, self.name = whole, named(whole.name)

    def training_steps(self) -> Sequence[Step]:
        """The method's own, then every exit's answers in int8."""
        run = self.task_run
        answers = Step.making(f"{run.label}: the exits of {self.name}", run.scored_seconds, lambda: self._exits)
        return [*self.whole.training_steps(), answers]

    def folder(self) -> Path:
        """The method's."""
        return self.whole.folder()

    def model(self) -> ExitsOnEncoder:
        """Quantised, on the CPU."""
        model = self.whole.model().cpu()
        model.encoder = in_int8(model.encoder)
        return model

    @cached_property
    def _exits(self) -> Mapping[str, Tensor]:
        run, cpu = self.task_run, torch.device("cpu")

        def compute() -> dict[str, Tensor]:
            model = self.model()
            return {
                name: collect_logits(model, split.by_length(64), len(split), cpu) for name, split in run.splits.items()
            }

        facts = {"model": self.folder().name, "engine": torch.backends.quantized.engine}
        return run.tensors(f"{self.name}-exits", facts, compute)

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """The method's in float32, and whose it is; its layers are quantised again when it is read."""
        whole = {"method": self.whole.name, "offered_by": package_of(self.whole)}
        return {**self.whole.save_parts(setting, folder), "whole": whole}

    def original(self, split: str, setting: Setting) -> Tensor:
        """What the method answers in float32 at this setting."""
        return self.whole.outcome(split, setting).logits

    def rule(self, at: float) -> ExitRule:
        """The method's."""
        return self.whole.rule(at)

    @property
    def grid(self) -> Sequence[float]:
        """The method's."""
        return self.whole.grid

    def setting_name(self, at: float) -> str:
        """The method's."""
        return self.whole.setting_name(at)

    def head_flops(self, tokens: int) -> int | NDArray[np.int64]:
        """The method's."""
        return self.whole.head_flops(tokens)


def exits_in_int8(methods: Iterable[Method]) -> dict[str, Method]:
    """Those of the methods that are of exits, over int8 layers, by name."""
    return {named(m.name): _quantised(m) for m in methods if _has_exits(m)}


def _has_exits(method: Method) -> bool:
    return isinstance(method.on, type) and issubclass(method.on, ExitContender)


def _quantised(method: Method) -> Method:
    def made(task_run: TaskRun) -> ExitsInInt8:
        whole = method.on(task_run)
        assert isinstance(whole, ExitContender)
        return ExitsInInt8(whole)

    return Method(named(method.name), made, method.regression, unfit=of_the_cpu)
