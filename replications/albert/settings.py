"""How much of everything at each scale: sizes of the models, the budget of pre-training, fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from common.baselines import RECIPES, SMOKE_PLAN, Recipe
from common.training.loop import TrainingPlan
from replications.albert.method import INITIAL_DEVIATION, Shape
from replications.albert.names import ADAMW, LAMB, Optimiser

PAPER_TOKENS = 125_000 * 4096 * 512
"""Of the paper's pre-training: steps, sequences in a batch, tokens in a sequence (padding and short ones included)."""


@dataclass(frozen=True)
class Settings:
    """A scale.

    Attributes:
        recipe: of the common baseline, which stands beside.
        base: ALBERT at this scale: everything shared, E = H/6.
        embeddings: Table 3's E, ascending.
        depths: Table 11's models, shallow to deep.
        widths: Table 12's, narrow to wide, E the same in all.
        groups: into how many groups of layers sharing is tried; ours.
        dropouts: Table 8's, beside none.
        vocabulary: most pieces of the vocabulary.
        words: of the corpus that are read; None: all.
        pretraining: its plan.
        optimiser: of pre-training.
        other_rate: of the other one, LAMB or AdamW, where the two are compared.
        steps: of pre-training, the same for every model.
        most: tokens that are predicted in a row at most.
        finetuning: the plan for tasks without one in `by_task`.
        by_task: Table 14's.
        deviation: of the weights as they are drawn.
        tuning_dropout: of the encoder while it is fine-tuned.
        strategies_at: Table 4's E.
        left_to_several: tables whose rows a run of one seed leaves out.
    """

    recipe: Recipe
    base: Shape
    embeddings: tuple[int, ...]
    depths: tuple[Shape, ...]
    widths: tuple[Shape, ...]
    groups: tuple[int, ...]
    vocabulary: int
    words: int | None
    pretraining: TrainingPlan
    steps: int
    finetuning: TrainingPlan
    optimiser: Optimiser
    other_rate: float
    strategies_at: tuple[int, ...]
    deviation: float = INITIAL_DEVIATION
    tuning_dropout: float = 0.0
    dropouts: tuple[float, ...] = (0.1,)
    most: int | None = 20
    by_task: Mapping[str, TrainingPlan] = field(default_factory=dict)
    left_to_several: frozenset[str] = frozenset()

    @property
    def tokens(self) -> int:
        """Of one model's pre-training: steps, rows, tokens in a row at most."""
        return self.steps * self.pretraining.batch_size * self.pretraining.max_length

    @property
    def share(self) -> float:
        """Of the paper's tokens."""
        return self.tokens / PAPER_TOKENS

    def plan(self, task: str, seed: int) -> TrainingPlan:
        """Of fine-tuning."""
        return replace(self.by_task.get(task, self.finetuning), seed=seed)


def _deep(shape: Shape, *layers: int) -> tuple[Shape, ...]:
    return tuple(replace(shape, layers=count) for count in layers)


def _wide(shape: Shape, *widths: int) -> tuple[Shape, ...]:
    """Heads as wide as the shape's."""
    return tuple(replace(shape, hidden=width, heads=width * shape.heads // shape.hidden) for width in widths)


def _pretraining(rate: float, batch: int, length: int, warmup: float) -> TrainingPlan:
    """LAMB's decay, ε and clipping as in the official code; one pass of so many steps."""
    return TrainingPlan(
        learning_rate=rate,
        epochs=1,
        batch_size=batch,
        seed=0,
        weight_decay=0.01,
        adam_epsilon=1e-6,
        warmup=warmup,
        max_gradient_norm=1.0,
        max_length=length,
    )


def _finetuning(rate: float, epochs: int, batch: int, warmup: float = 0.1, length: int = 512) -> TrainingPlan:
    return TrainingPlan(
        learning_rate=rate,
        epochs=epochs,
        batch_size=batch,
        seed=0,
        weight_decay=0.01,
        adam_epsilon=1e-6,
        warmup=warmup,
        max_gradient_norm=1.0,
        max_length=length,
    )


TABLE_14 = MappingProxyType(
    {
        "cola": _finetuning(1e-5, 10, 16, 320 / 5336),
        "sts-b": _finetuning(2e-5, 10, 16, 214 / 3598),
        "sst-2": _finetuning(1e-5, 10, 32, 1256 / 20935),
        "mnli": _finetuning(3e-5, 3, 128, 1000 / 10000),
        "qnli": _finetuning(1e-5, 10, 32, 1986 / 33112),
        "qqp": _finetuning(5e-5, 5, 128, 1000 / 14000),
        "rte": _finetuning(3e-5, 10, 32, 200 / 800),
        "mrpc": _finetuning(2e-5, 7, 32, 200 / 800),
    }
)
"""The paper's steps as whole epochs of the tasks' training sets."""

WIDER = 0.06
"""The official 0.02 is of layers as wide as BERT-base's; products of narrow ones need a wider draw to count."""

SMOKE = Shape(layers=2, hidden=48, heads=2, embedding=8, positions=64)
MINI = Shape(layers=4, hidden=96, heads=3, embedding=16, positions=128)
MINI_REAL = Shape(layers=4, hidden=192, heads=3, embedding=32, positions=128)
BASE = Shape(layers=12, hidden=384, heads=6, embedding=64)
PAPER = Shape(layers=12, hidden=768, heads=12, embedding=128)
PAPER_LARGE = replace(PAPER, layers=24, hidden=1024, heads=16)

SETTINGS: Mapping[str, Settings] = {
    "smoke": Settings(
        recipe=RECIPES["smoke"],
        base=SMOKE,
        embeddings=(8, 48),
        strategies_at=(8,),
        deviation=WIDER,
        tuning_dropout=0.1,
        depths=(),
        widths=(),
        groups=(),
        dropouts=(),
        vocabulary=600,
        words=12_000,
        pretraining=replace(_pretraining(1e-3, 16, 48, 0.1), precision="float32"),
        steps=30,
        optimiser=ADAMW,
        other_rate=0.01,
        finetuning=replace(SMOKE_PLAN, epochs=9, max_length=64),
    ),
    "mini": Settings(
        recipe=RECIPES["mini"],
        base=MINI,
        embeddings=(8, 16, 32, 96),
        strategies_at=(96, 16),
        deviation=WIDER,
        tuning_dropout=0.1,
        depths=_deep(MINI, 2, 4),
        widths=_wide(MINI, 64, 96),
        groups=(2,),
        vocabulary=2_000,
        words=60_000,
        pretraining=_pretraining(1e-3, 16, 64, 0.1),
        steps=150,
        optimiser=ADAMW,
        other_rate=0.005,
        finetuning=_finetuning(1e-3, 4, 32, length=64),
        left_to_several=frozenset({"table8", "table12", "groups", "optimisers"}),
    ),
    "base": Settings(
        recipe=RECIPES["base"],
        base=BASE,
        embeddings=(32, 64, 128, 384),
        strategies_at=(384, 64),
        deviation=0.03,
        tuning_dropout=0.1,
        depths=_deep(BASE, 1, 3, 6, 12),
        widths=_wide(BASE, 192, 384, 768),
        groups=(2, 4),
        vocabulary=16_000,
        words=None,
        pretraining=_pretraining(0.00176, 128, 128, 0.05),
        steps=2_500,
        optimiser=LAMB,
        other_rate=5e-4,
        finetuning=_finetuning(1e-4, 3, 32, length=128),
    ),
    "paper": Settings(
        recipe=RECIPES["paper"],
        base=PAPER,
        embeddings=(64, 128, 256, 768),
        strategies_at=(768, 128),
        depths=_deep(PAPER_LARGE, 1, 3, 6, 12, 24, 48),
        widths=_wide(replace(PAPER_LARGE, layers=3), 1024, 2048, 4096, 6144),
        groups=(2, 4),
        vocabulary=30_000,
        words=None,
        pretraining=_pretraining(0.00176, 4096, 512, 3125 / 125_000),
        steps=125_000,
        optimiser=LAMB,
        other_rate=1e-4,
        finetuning=_finetuning(2e-5, 3, 32),
        by_task=TABLE_14,
    ),
}

REAL_TEXT_AT_MINI = replace(
    SETTINGS["mini"],
    base=MINI_REAL,
    embeddings=(16, 32, 64, 192),
    strategies_at=(192, 32),
    deviation=0.04,
    depths=_deep(MINI_REAL, 1, 2, 4, 8),
    widths=_wide(MINI_REAL, 64, 192, 384),
    groups=(2,),
    vocabulary=8_000,
    words=2_000_000,
    pretraining=_pretraining(1e-3, 16, 128, 0.1),
    steps=500,
    finetuning=_finetuning(5e-4, 3, 32, length=128),
)
"""Real text asks for more of everything than the generated one, whose vocabulary and grammar are small.

Rows of 128 tokens hold nine tenths of Wikipedia's sentences two by two, rows of 64 less than half.
"""


def settings_of(scale: str, data: str) -> Settings:
    """The settings of a scale on data of a source."""
    return REAL_TEXT_AT_MINI if scale == "mini" and data != "builtin" else SETTINGS[scale]
