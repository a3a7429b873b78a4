"""What a method is, and which ones the paper folders offer.

A paper folder offers its methods in `contender.py`: `METHODS`, a tuple of `Method`. Whoever compares with one (the
comparison of all, or another paper) asks for it by name; nothing has to be registered elsewhere.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.clock import Arm
from common.early_exit.runtime import Outcome
from common.errors import UserError, did_you_mean
from common.run.replication import ROOT, Run, Step
from common.task_run import TaskRun
from common.tasks.task import Example
from common.training.batches import encode


@dataclass(frozen=True)
class Setting:
    """Something that a method can be run at: a threshold, a patience, a depth; `at` is its number, if it has one."""

    name: str
    at: float


ONLY = Setting("", 0.0)
"""The setting of a method that has but one."""

Answer = Callable[[Sequence[Example]], Tensor]
"""(B, C) logits of B texts, everything from the text on included."""


class Contender(ABC):
    """A method on a task run: what is trained for it, at which settings it runs, what it answers, and what that costs.

    Attributes:
        name: of the method, as tables show it.
        task_run: what it is trained on.
        least_layers: so many of the backbone's first layers it computes for every text at every setting, in float32, so
            that it takes at least their time; 0 where nothing of the kind is known.
        settings_are_models: whether each setting is a model of its own, to be compared with all others whatever its
            speed; else some settings stand for all.
    """

    name: str
    least_layers: int = 0
    settings_are_models: bool = False

    def __init__(self, task_run: TaskRun) -> None:
        self.task_run = task_run

    @abstractmethod
    def training_steps(self) -> Sequence[Step]:
        """What has to be made before it can answer, each with its cost; the baseline's steps are not among them."""

    @property
    @abstractmethod
    def settings(self) -> Sequence[Setting]:
        """Everything that it can be run at."""

    @abstractmethod
    def outcome(self, split: str, setting: Setting) -> Outcome:
        """What it answers on `tune`, `dev` or `test`, and after how many of the backbone's layers."""

    @abstractmethod
    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """(N,) FLOPs spent on each text of a split, unpadded."""

    @abstractmethod
    def answer(self, setting: Setting) -> Answer:
        """The method at work: from texts to logits, for the clock."""

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """Write what the method needs to run at home into `folder`, as safetensors and JSON (see `common.serve.home`).

        Returns:
            What is needed beside the files, as JSON values.

        Raises:
            UserError: the method offers no way home.
        """
        raise UserError(f"{self.name} cannot be taken home: {type(self).__name__} has no save_parts of its own")


class EncoderContender(Contender):
    """A contender that reads what the backbone's tokenizer gives."""

    @abstractmethod
    def arm(self, setting: Setting) -> Arm:
        """The model at work on a batch of token ids; it returns (B, C) logits."""

    def answer(self, setting: Setting) -> Answer:
        """Tokenise, then run the arm."""
        run = self.task_run
        arm, tokenizer, regression, device = (
            self.arm(setting),
            run.backbone.tokenizer,
            run.task.is_regression,
            run.timing_device,
        )
        length = run.plan.max_length

        @torch.inference_mode()
        def from_text(examples: Sequence[Example]) -> Tensor:
            split = encode(tokenizer, examples, regression=regression, max_length=length)
            logits = arm(split.batch(range(len(examples))).to(device))
            assert isinstance(logits, Tensor)
            return logits

        return from_text

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """One model for all texts, which is the arm: what its `save` writes, and how many layers it stands for."""
        model = self.arm(setting)
        if not hasattr(model, "save"):
            return super().save_parts(setting, folder)
        model.save(folder)
        (layers,) = self.outcome("tune", setting).exit_layer.unique().tolist()
        return {"layers": layers}


@dataclass(frozen=True)
class Method:
    """What a paper folder offers: a name, and how to make a contender of a task run.

    Attributes:
        on: the contender of a task run; nothing is trained by asking.
        regression: whether it can learn values, too.
        unfit: why it cannot take part in a run here, and what to type; empty where it can.
    """

    name: str
    on: Callable[[TaskRun], Contender]
    regression: bool = False
    unfit: Callable[[Run], str] = lambda run: ""


def of_the_cpu(run: Run) -> str:
    """Why a method with kernels for a CPU alone cannot take part in a run."""
    return "" if run.timing_device.type == "cpu" else "it computes on a CPU alone; type TIMING_DEVICE=cpu"


@dataclass(frozen=True)
class Offered:
    """The methods that were found, and the folders whose offer is broken, with the reason."""

    methods: Mapping[str, Method]
    broken: Mapping[str, str]


def find_methods(folder: Path = ROOT / "replications") -> Offered:
    """Every method that a paper folder offers, by name; a folder that cannot be imported is named, the others go on."""
    methods: dict[str, Method] = {}
    broken: dict[str, str] = {}
    for path in sorted(folder.glob("*/contender.py")):
        slug = path.parent.name
        try:
            offered = importlib.import_module(f"{folder.name}.{slug}.contender").METHODS
            methods.update({method.name: method for method in offered})
        except Exception as error:  # Whatever a folder does wrong, the others can still be compared.
            broken[slug] = f"{type(error).__name__}: {error}"
    return Offered(methods, broken)


def find_method(name: str) -> Method:
    """The method called `name` (any case).

    Raises:
        UserError: no folder offers it; the message suggests one.
    """
    offered = find_methods()
    plain = {known.lower(): method for known, method in offered.methods.items()}
    if name.lower() in plain:
        return plain[name.lower()]
    near = did_you_mean(name.lower(), plain) or "."
    broken = "".join(f" replications/{slug} offers none: {why}." for slug, why in offered.broken.items())
    raise UserError(f"unknown method {name!r}{near} Methods: {', '.join(offered.methods)}.{broken}")
