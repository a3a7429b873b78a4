"""Hyper-parameters by scale: at the paper's scale the paper's own, else ours (see README, deviations)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.baselines import RECIPES, Recipe
from common.training.loop import TrainingPlan
from replications.sparse_distillation.design import Design


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        teacher: stage 1, which is the baseline.
        corpus_words: about how many words of unlabelled text are distilled on.
        max_words: the students read no more of a text, which is about what the teacher can read.
        design: the student.
        distil, from_scratch, finetune: the plans of stage 2, of training without a teacher, and of stage 3. Without a
            teacher there are only the labels: in stage 2's batches of 2048 they would give TREC 30 updates.
        token_students: the plan of the Bi-LSTM and the CNN; `lstm` is the LSTM's hidden width.
        ngram_dropout: share of n-grams dropped in training.
        grid: Table 8: for each budget (in table cells) its (|V|, d_e) pairs.
    """

    teacher: Recipe
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
    """The official script's optimiser: no clipping; 6 % warm-up, then linear decay; decay of dense weights 0.01.

    The precision is float32: hardly anything is multiplied, so that nothing could be saved.
    """
    return TrainingPlan(
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        seed=0,
        weight_decay=0.01,
        warmup=0.06,
        max_gradient_norm=None,
        precision="float32",
        **more,  # type: ignore[arg-type]
    )


_PAPERS_TEACHER = TrainingPlan(learning_rate=1e-5, epochs=10, batch_size=32, seed=0, max_length=512)

SETTINGS = {
    "smoke": Settings(
        teacher=RECIPES["smoke"],
        corpus_words=2_500,
        max_words=100,
        design=Design(2_000, 16, deviation=0.1),
        distil=dan_plan(1e-2, 5, 32),
        from_scratch=dan_plan(1e-2, 5, 32),
        finetune=dan_plan(1e-3, 2, 32),
        token_students=TrainingPlan(learning_rate=1e-3, epochs=1, batch_size=32, seed=0, precision="float32"),
        lstm=4,
        ngram_dropout=0.1,
        grid={"16K": ((500, 32), (1000, 16)), "32K": ((1000, 32), (2000, 16))},
    ),
    "mini": Settings(
        teacher=RECIPES["mini"],
        corpus_words=200_000,
        max_words=100,
        design=Design(100_000, 128, deviation=0.1),
        distil=dan_plan(3e-3, 6, 128),
        from_scratch=dan_plan(3e-3, 10, 32),
        finetune=dan_plan(3e-4, 5, 32),
        token_students=TrainingPlan(
            learning_rate=1e-3, epochs=2, batch_size=64, seed=0, warmup=0.1, precision="float32"
        ),
        lstm=64,
        ngram_dropout=0.1,
        grid={
            "1.6M": ((12_500, 128), (25_000, 64), (50_000, 32), (100_000, 16)),
            "6.4M": ((50_000, 128), (100_000, 64), (200_000, 32)),
        },
    ),
    "paper": Settings(
        teacher=Recipe("FacebookAI/roberta-large", whole=_PAPERS_TEACHER, shallow=_PAPERS_TEACHER),
        corpus_words=1_000_000_000,
        max_words=100_000,
        design=Design(1_000_000, 1000),
        distil=dan_plan(5e-4, 30, 2048, adam_epsilon=1e-6),
        from_scratch=dan_plan(3e-3, 10, 32, adam_epsilon=1e-6),
        finetune=dan_plan(1e-4, 10, 32, adam_epsilon=1e-6),
        token_students=TrainingPlan(
            learning_rate=5e-4, epochs=10, batch_size=256, seed=0, warmup=0.06, precision="float32"
        ),
        lstm=512,
        ngram_dropout=0.1,
        grid={
            "500M": ((1_000_000, 500), (2_000_000, 250), (4_000_000, 125)),
            "1B": ((1_000_000, 1000), (2_000_000, 500), (4_000_000, 250)),
        },
    ),
}
SETTINGS["base"] = replace(SETTINGS["mini"], teacher=RECIPES["base"], corpus_words=800_000)
"""Of a generated task's 24,000 texts 13,000 are left to distil on, of IMDB's reviews 14,000."""

SETTINGS["mini-builtin"] = replace(SETTINGS["mini"], corpus_words=80_000)
"""The texts of generated tasks are alike: less is enough."""


def settings_of(scale: str, data: str) -> Settings:
    """The settings of a scale, or those of a data source at that scale where it has its own."""
    return SETTINGS.get(f"{scale}-{data}", SETTINGS[scale])
