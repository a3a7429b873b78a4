"""What a run had to work with, and whether that is what a claim presupposes.

A claim about twelve pretrained layers and whole training sets is neither confirmed nor refuted by six layers and a
tenth of the data: its premise is not met, and the verdict says so. Premises stand in paper.yaml; facts are written by
the run; nobody judges by hand.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict


class Backbone(BaseModel):
    """A pretrained encoder, or one with random weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    layers: int
    width: int
    pretrained: bool


class TaskUse(BaseModel):
    """How much of a task was used: training examples, those that there are, and dev examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: int
    train_whole: int
    dev: int

    @property
    def share(self) -> float:
        """The share of the training data that was used (a part held back for tuning is not missing)."""
        return self.train / self.train_whole


class RunFacts(BaseModel):
    """What a run had: its encoders, how much of each task, and how busy others kept the machine while it timed.

    Attributes:
        others: the most cores that other processes kept busy during a timing; None where it was not recorded.
        accelerators: names of the machine's GPUs.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    backbones: tuple[Backbone, ...] = ()
    tasks: dict[str, TaskUse] = {}
    accelerators: tuple[str, ...] = ()
    others: float | None = None


class Premise(BaseModel):
    """What a claim presupposes; a field left out presupposes nothing.

    Attributes:
        layers, width: the backbone has at least so many, and is at least so wide.
        pretrained: its weights are pretrained.
        train_share: at least this share of each task's training data was used.
        seeds: at least so many training seeds on every task that decides.
        tasks: these tasks (or their builtin counterparts, if listed) are all among those that decide.
        some_tasks: at least so many tasks decide.
        encoders: these pretrained ones were used, by the names of their backbones.
        architectures: these shapes were measured.
        accelerator: the paper measured on a GPU.
        other: what no run here can meet, in words; it always counts as not met.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    layers: int = 0
    width: int = 0
    pretrained: bool = False
    train_share: float = 0.0
    seeds: int = 0
    tasks: tuple[str, ...] = ()
    some_tasks: int = 0
    encoders: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    accelerator: bool = False
    other: str = ""

    def unmet(self, facts: RunFacts, tasks: Collection[str], seeds: int, shapes: Collection[str]) -> list[str]:
        """What is missing, a clause each; empty where the premise is met.

        Args:
            facts: of the run.
            tasks: that decide the claim.
            seeds: the fewest that one of them had.
            shapes: architectures that the run measured.
        """
        layers = max((b.layers for b in facts.backbones), default=0)
        width = max((b.width for b in facts.backbones), default=0)
        missing = []
        if layers < self.layers:
            missing.append(f"the paper's encoder has {self.layers} layers, this one {layers}")
        if width < self.width:
            missing.append(f"the paper's encoder is {self.width} wide, this one {width}")
        if self.pretrained and not any(b.pretrained for b in facts.backbones):
            missing.append("no pretrained encoder")
        cut = [t for t in tasks if t in facts.tasks and facts.tasks[t].share < self.train_share]
        if cut:
            each = ", ".join(f"{t} {facts.tasks[t].share:.0%}" for t in sorted(cut))
            missing.append(f"not all of the training data was used ({each})")
        if seeds < self.seeds:
            missing.append(f"{seeds} seed{'s' if seeds != 1 else ''}, wanted {self.seeds}")
        used = {b.name for b in facts.backbones if b.pretrained}
        absent = [t for t in self.tasks if t not in tasks] + [name for name in self.encoders if name not in used]
        if absent:
            missing.append(f"without the paper's {', '.join(absent)}")
        if len(tasks) < self.some_tasks:
            missing.append(f"{len(tasks)} task{'s' if len(tasks) != 1 else ''}, wanted {self.some_tasks}")
        unmeasured = [shape for shape in self.architectures if shape not in shapes]
        if unmeasured:
            missing.append(f"{', '.join(unmeasured)} not measured")
        if self.accelerator and not facts.accelerators:
            missing.append("the paper measured on a GPU")
        return [*missing, *([self.other] if self.other else [])]


def run_facts(environment: dict[str, Any]) -> RunFacts:
    """The facts in a run's environment.json; empty where it has none (an older record)."""
    timing, machine = environment.get("timing") or {}, environment.get("machine") or {}
    facts = environment.get("facts") or {}
    accelerators = machine.get("accelerators") or ()
    return RunFacts.model_validate({**facts, "others": timing.get("others_load_max"), "accelerators": accelerators})
