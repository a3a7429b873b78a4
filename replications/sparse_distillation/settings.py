"""Hyper-parameters by scale: at the paper's scale the paper's own, else ours (see README, deviations)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional as F

from common.training.loop import TrainingPlan
from common.training.recipes import SMOKE_ENCODER, SMOKE_PLAN
from replications.sparse_distillation.method import (
    DAN,
    Activation,
    AttentivePooling,
    MaxPooling,
    MeanPooling,
    SumPooling,
)

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({"relu": F.relu, "tanh": torch.tanh})


@dataclass(frozen=True)
class Design:
    """A DAN to be built: |V| asked for, d_e, and the choices of Table 5.

    `hidden` are the hidden widths (empty: one of width d_e); `initialisation` is `random` or `teacher`, `deviation`
    the standard deviation of the table's first values.
    """

    vocabulary_size: int
    dimension: int
    pooling: str = "mean"
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    dropout: float = 0.1
    initialisation: str = "random"
    deviation: float = 1.0

    def build(self, vocabulary_size: int, outputs: int, *, pair: bool) -> DAN:
        """The untrained student over `vocabulary_size` n-grams (the corpus may have fewer than were asked for)."""
        return DAN(
            vocabulary_size,
            self.dimension,
            outputs,
            pair=pair,
            hidden=self.hidden or None,
            pooling=self._pooling(),
            activation=ACTIVATIONS[self.activation],
            dropout=self.dropout,
            deviation=self.deviation,
        )

    def _pooling(self) -> nn.Module:
        if self.pooling == "attentive":
            return AttentivePooling(self.dimension)
        return {"mean": MeanPooling, "sum": SumPooling, "max": MaxPooling}[self.pooling]()

    def recipe(self) -> dict[str, object]:
        """As JSON, for an artifact's key."""
        return {**asdict(self), "hidden": list(self.hidden)}


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        teacher: the pretrained encoder; teacher_plan: its fine-tuning, `epochs` being the most.
        teacher_tokens: about how many tokens the fine-tuning may read.
        corpus_words: about how many words of unlabelled text are distilled on.
        max_words: longer texts are cut, for the teacher and the students alike (about what the teacher can read).
        design: the student.
        distil, from_scratch, finetune: the plans of stage 2, of training without a teacher, and of stage 3. Without a
            teacher there are only the labels: in stage 2's batches of 2048 they would give TREC 30 updates.
        token_students: the plan of the Bi-LSTM and the CNN; `lstm` is the LSTM's hidden width.
        ngram_dropout: share of n-grams dropped in training.
        grid: Table 8: for each budget (in table cells) its (|V|, d_e) pairs.
    """

    teacher: str
    teacher_plan: TrainingPlan
    teacher_tokens: float
    corpus_words: int
    max_words: int
    design: Design
    distil: TrainingPlan
    from_scratch: TrainingPlan
    finetune: TrainingPlan
    token_students: TrainingPlan
    lstm: int
    ngram_dropout: float
    grid: Mapping[str, tuple[tuple[int, int], ...]]


def dan_plan(learning_rate: float, epochs: int, batch_size: int, **more: float) -> TrainingPlan:
    """The official script's optimiser: no clipping; 6 % warm-up, then linear decay; decay of dense weights 0.01."""
    return TrainingPlan(
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        seed=0,
        weight_decay=0.01,
        warmup=0.06,
        max_gradient_norm=None,
        **more,  # type: ignore[arg-type]
    )


SETTINGS = {
    "smoke": Settings(
        teacher=SMOKE_ENCODER,
        teacher_plan=SMOKE_PLAN,
        teacher_tokens=float("inf"),
        corpus_words=2_500,
        max_words=100,
        design=Design(2_000, 16, deviation=0.1),
        distil=dan_plan(1e-2, 5, 32),
        from_scratch=dan_plan(1e-2, 5, 32),
        finetune=dan_plan(1e-3, 2, 32),
        token_students=TrainingPlan(learning_rate=1e-3, epochs=1, batch_size=32, seed=0),
        lstm=4,
        ngram_dropout=0.1,
        grid={"16K": ((500, 32), (1000, 16)), "32K": ((1000, 32), (2000, 16))},
    ),
    "mini": Settings(
        teacher="minilm",
        teacher_plan=TrainingPlan(learning_rate=2e-4, epochs=4, batch_size=16, seed=0, warmup=0.1),
        teacher_tokens=100_000,
        corpus_words=200_000,
        max_words=100,
        design=Design(100_000, 128, deviation=0.1),
        distil=dan_plan(3e-3, 6, 128),
        from_scratch=dan_plan(3e-3, 10, 32),
        finetune=dan_plan(3e-4, 5, 32),
        token_students=TrainingPlan(learning_rate=1e-3, epochs=2, batch_size=64, seed=0, warmup=0.1),
        lstm=64,
        ngram_dropout=0.1,
        grid={
            "1.6M": ((12_500, 128), (25_000, 64), (50_000, 32), (100_000, 16)),
            "6.4M": ((50_000, 128), (100_000, 64), (200_000, 32)),
        },
    ),
    "paper": Settings(
        teacher="FacebookAI/roberta-large",
        teacher_plan=TrainingPlan(learning_rate=1e-5, epochs=10, batch_size=32, seed=0, max_length=512),
        teacher_tokens=float("inf"),
        corpus_words=1_000_000_000,
        max_words=100_000,
        design=Design(1_000_000, 1000),
        distil=dan_plan(5e-4, 30, 2048, adam_epsilon=1e-6),
        from_scratch=dan_plan(3e-3, 10, 32, adam_epsilon=1e-6),
        finetune=dan_plan(1e-4, 10, 32, adam_epsilon=1e-6),
        token_students=TrainingPlan(learning_rate=5e-4, epochs=10, batch_size=256, seed=0, warmup=0.06),
        lstm=512,
        ngram_dropout=0.1,
        grid={
            "500M": ((1_000_000, 500), (2_000_000, 250), (4_000_000, 125)),
            "1B": ((1_000_000, 1000), (2_000_000, 500), (4_000_000, 250)),
        },
    ),
}
SETTINGS["base"] = replace(SETTINGS["mini"], teacher_tokens=float("inf"), corpus_words=800_000)
"""All labelled data, so that IMDB and the generated tasks have no text left to distil on; the others have theirs."""

SETTINGS["mini-builtin"] = replace(SETTINGS["mini"], teacher_tokens=40_000, corpus_words=80_000)
"""Generated tasks are learned in one epoch, and their texts are alike: less is enough."""


def settings_of(scale: str, data: str) -> Settings:
    """The settings of a scale, or those of a data source at that scale where it has its own."""
    return SETTINGS.get(f"{scale}-{data}", SETTINGS[scale])
