"""What a method of sequence labelling is, and which ones the folders offer: `TAGGING_METHODS` of a contender.py."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.run.replication import ROOT, Step
from common.tagging_run import TaggingRun
from common.training.word_pieces import TaggedBatch


@dataclass(frozen=True, eq=False)
class TaggingSystem:
    """A method at a setting that was chosen on tune, and what it does on dev.

    Attributes:
        method, setting: what it is called.
        at: the setting's number.
        answers, layers: (words,) tags, and after how many layers they were given.
        flops: (sentences,) unpadded.
        arm: does all the work on a batch.
    """

    method: str
    setting: str
    at: float
    answers: NDArray[np.int64]
    layers: NDArray[np.int64]
    flops: NDArray[np.float64]
    arm: Callable[[TaggedBatch], object]

    @property
    def name(self) -> str:
        """For the clock."""
        return f"{self.method} {self.setting}".strip()


class TaggingContender(ABC):
    """A method on a tagging run.

    Attributes:
        name: of the method, as tables show it.
    """

    name: str

    @abstractmethod
    def training_steps(self) -> Sequence[Step]:
        """What has to be made before it can answer, each with its cost; the baseline's steps are not among them."""

    @abstractmethod
    def systems(self) -> Sequence[TaggingSystem]:
        """The settings that it is compared at."""


@dataclass(frozen=True)
class TaggingMethod:
    """What a folder offers: a name, and how to make a contender of a tagging run; nothing is trained by asking."""

    name: str
    on: Callable[[TaggingRun], TaggingContender]


def find_tagging_methods(folder: Path = ROOT / "replications") -> Mapping[str, TaggingMethod]:
    """Every method that a paper folder offers, by name; a folder that cannot be imported is named by `find_methods`."""
    found: dict[str, TaggingMethod] = {}
    for path in sorted(folder.glob("*/contender.py")):
        try:
            module = importlib.import_module(f"{folder.name}.{path.parent.name}.contender")
        except Exception:  # Whatever a folder does wrong, the others can still be compared.
            continue
        found.update({method.name: method for method in getattr(module, "TAGGING_METHODS", ())})
    return found
