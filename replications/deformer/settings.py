"""How DeFormer is trained at each scale, at which depths, and how long its segments are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.baselines import RECIPES, Recipe
from common.run.replication import Run
from common.tasks.catalogue import SMOKE_SPANS
from common.training.loop import TrainingPlan
from common.training.segments import SegmentLayout
from replications.deformer.flops import PAPER_LENGTHS, Lengths
from replications.deformer.method import LossWeights
from replications.deformer.names import depth_of

TASKS: Mapping[str, tuple[str, ...]] = {
    "builtin": ("reading", "paraphrase"),
    "files": ("squad", "rte", "qqp-sample"),
    "hub": ("squad", "mnli", "qqp"),
}
"""The paper's that are to be had (RACE and BoolQ are not), and what comes nearest."""

SMOKE_TASKS = (*SMOKE_SPANS, "reply")

PUBLISHED_WEIGHTS = LossWeights(alpha=1.1, beta=0.5, gamma=0.7)
"""BERT-base on SQuAD (appendix)."""

PAPER_PLAN = TrainingPlan(
    learning_rate=5e-5,
    epochs=3,
    batch_size=32,
    seed=0,
    weight_decay=0.01,
    adam_epsilon=1e-6,
    warmup=0.15,
    max_gradient_norm=1.0,
)


@dataclass(frozen=True)
class Settings:
    """What a scale trains.

    Attributes:
        recipe: of the baseline and of every DeFormer.
        sweep: shares of the depth at which the plain DeFormer is tried too; the first seed alone where a scale spares.
        trials: of the search for loss weights, for the first seed of a reading task; 0: none.
        trial_share: of the training windows that a trial learns from.
        printed_kl: whether the divergence is tried in the printed direction, too.
        spares_one_seed: whether a run of one seed leaves out the sweep, DeFormer without LRS and the generated pairs.
    """

    recipe: Recipe
    sweep: tuple[float, ...]
    trials: int
    trial_share: float = 0.25
    printed_kl: bool = False
    spares_one_seed: bool = False

    def leaves_out(self, run: Run) -> bool:
        """Whether a run trains the reading task's main systems alone."""
        return self.spares_one_seed and len(run.seeds) == 1

    def sweep_depths(self, layers: int) -> tuple[int, ...]:
        """The depths of the sweep, that of the paper among them."""
        asked = {min(layers - 1, max(1, round(share * layers))) for share in self.sweep}
        return tuple(sorted(asked | {depth_of(layers)}))


SETTINGS: Mapping[str, Settings] = {
    "smoke": Settings(RECIPES["smoke"], sweep=(0.25, 1.0), trials=2),
    "mini": Settings(RECIPES["mini"], sweep=(1 / 6, 1 / 2, 1.0), trials=0, spares_one_seed=True),
    "base": Settings(RECIPES["base"], sweep=(1 / 4, 1.0), trials=0),
    "paper": Settings(
        Recipe("google-bert/bert-base-uncased", whole=PAPER_PLAN, shallow=PAPER_PLAN),
        sweep=tuple(k / 12 for k in range(1, 12)),
        trials=52,
        trial_share=1.0,
        printed_kl=True,
    ),
}
"""At the paper's scale the hyper-parameters are the official configuration's; else the common recipe."""


def tasks_of(run: Run) -> tuple[str, ...]:
    """The user's choice of tasks, the smoke scale's, or the paper's."""
    if run.scale.name == "smoke" and run.data == "builtin":
        return run.task_names or SMOKE_TASKS
    alone = run.data == "builtin" and SETTINGS[run.scale.name].leaves_out(run)
    return run.task_names or TASKS[run.data][: 1 if alone else None]


def _pair(max_seq: int, max_first: int, *, cached_first: bool) -> Lengths:
    layout = SegmentLayout(max_seq, max_first)
    return Lengths(layout, layout.second_slot if cached_first else layout.first_slot)


PAIR_LENGTHS: Mapping[str, Lengths] = {
    "mnli": PAPER_LENGTHS["mnli"],
    "qqp": PAPER_LENGTHS["qqp"],
    "qqp-sample": _pair(100, 40, cached_first=False),
    "rte": _pair(256, 200, cached_first=True),
    "paraphrase": _pair(48, 22, cached_first=False),
    "entailment": _pair(48, 22, cached_first=True),
    "reply": _pair(32, 14, cached_first=False),
}
"""Slots of pair tasks, and which segment is cached: premises, and one of two questions."""

OWN_PAIRS = _pair(128, 62, cached_first=False)
"""Slots of pair tasks of one's own."""


def pair_lengths(task: str, scale: str) -> Lengths:
    """The slots of a pair task at a scale."""
    lengths = PAIR_LENGTHS.get(task, OWN_PAIRS)
    return replace(lengths, layout=lengths.layout.at_scale(scale))
