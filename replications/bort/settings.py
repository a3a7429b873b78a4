"""How much of everything at each scale. At the paper's scale the published values, elsewhere ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from common.baselines import RECIPES, Recipe
from common.encoders.pooling import FIRST_TOKEN
from common.training.loop import TrainingPlan
from replications.bort.agora import Theta
from replications.bort.names import STEPS


@dataclass(frozen=True)
class Sweep:
    """Which candidates are trained, and after how many steps their error is taken.

    Attributes:
        every: every so many-th candidate in the order by parameters; Bort is always among them.
        steps: n, ascending; they share one training, whose rate is constant.
    """

    every: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class SearchPlan:
    """The error surrogate.

    Attributes:
        shrink: widths are divided by it before anything is trained; parameters and operations are not.
        rates: Theta: learning rates of SGD.
        sweeps: what is trained; an n stands in one of them.
        batch_size: rows in a step.
        held_back: rows on which the error is taken.
    """

    shrink: int
    rates: tuple[float, ...]
    sweeps: tuple[Sweep, ...]
    batch_size: int = 8
    held_back: int = 32


@dataclass(frozen=True)
class Settings:
    """A scale.

    Attributes:
        recipe: the baseline, which is Agora's acceptable model.
        shrink: Bort's widths are divided by it.
        words: of the corpus; None for all.
        length: tokens of a row in pre-training and in the search.
        search: the error surrogate.
        pretraining: both arms.
        fine_tuning: what Theta leaves open.
        thetas: Theta of Agora.
        head_spread: the classifier's weights are drawn from U(-spread, spread); None: from N(0, 0.02).
        from_counts: whether the masked-token head begins with how often words occur.
    """

    recipe: Recipe
    shrink: int
    words: int | None
    length: int
    search: SearchPlan
    pretraining: TrainingPlan
    fine_tuning: TrainingPlan
    thetas: tuple[Theta, ...]
    head_spread: float | None = None
    from_counts: bool = True


def _grid(
    rates: tuple[float, ...],
    decays: tuple[float, ...],
    warmups: tuple[float, ...],
    batches: tuple[int, ...],
    seeds: tuple[int, ...],
) -> tuple[Theta, ...]:
    """Every combination."""
    return tuple(Theta(r, d, w, b, s) for r, d, w, b, s in product(rates, decays, warmups, batches, seeds))


README_GRID = _grid((1e-4, 1e-5, 9e-6), (0.0, 10.0, 100.0, 350.0), (0.35, 0.40, 0.45, 0.50), (8, 16), (0, 1, 2, 3, 4))
"""480 sets."""

PAPER_PRETRAINING = TrainingPlan(
    learning_rate=1e-4,
    epochs=40,
    batch_size=64,
    seed=0,
    weight_decay=0.01,
    adam_epsilon=1e-6,
    warmup=0.01,
    max_length=512,
)
PAPER_FINE_TUNING = TrainingPlan(
    learning_rate=5e-5,
    epochs=50,
    batch_size=8,
    seed=0,
    weight_decay=110.0,
    adam_epsilon=1e-6,
    warmup=0.45,
    max_gradient_norm=1.0,
    max_length=512,
)

_SMALL = TrainingPlan(learning_rate=1e-3, epochs=1, batch_size=16, seed=0, warmup=0.1, adam_epsilon=1e-6)

SETTINGS: Mapping[str, Settings] = {
    "smoke": Settings(
        recipe=RECIPES["smoke"],
        shrink=16,
        words=9_000,
        length=32,
        search=SearchPlan(shrink=16, rates=(0.1, 1.0), sweeps=(Sweep(30, (1, STEPS)),), held_back=8),
        pretraining=replace(_SMALL, learning_rate=2e-3, max_length=32),
        fine_tuning=replace(_SMALL, epochs=3),
        thetas=(Theta(4e-3, 0.0, 0.1, 32, 0), Theta(2e-3, 10.0, 0.1, 32, 1)),
    ),
    "mini": Settings(
        recipe=RECIPES["mini"],
        shrink=4,
        words=80_000,
        length=64,
        search=SearchPlan(shrink=8, rates=(0.1, 1.0), sweeps=(Sweep(1, (1, STEPS)), Sweep(20, (10, 30)))),
        pretraining=replace(_SMALL, epochs=2, weight_decay=0.01, max_length=64),
        fine_tuning=replace(_SMALL, epochs=3),
        thetas=(Theta(5e-4, 0.0, 0.35, 16, 0), Theta(5e-4, 10.0, 0.45, 16, 1), Theta(1e-3, 10.0, 0.35, 16, 2)),
    ),
    "base": Settings(
        recipe=RECIPES["base"],
        shrink=2,
        words=4_000_000,
        length=128,
        search=SearchPlan(shrink=2, rates=(0.1, 1.0), sweeps=(Sweep(1, (1, STEPS)), Sweep(10, (10, 30)))),
        pretraining=replace(_SMALL, learning_rate=5e-4, epochs=4, batch_size=32, weight_decay=0.01, max_length=128),
        fine_tuning=replace(_SMALL, learning_rate=2e-4, epochs=6),
        thetas=_grid((2e-4, 5e-4), (0.0, 10.0), (0.35,), (16,), (0,)),
    ),
    "paper": Settings(
        recipe=Recipe(
            "FacebookAI/roberta-large", whole=PAPER_FINE_TUNING, shallow=PAPER_FINE_TUNING, pooling=FIRST_TOKEN
        ),
        shrink=1,
        words=None,
        length=512,
        search=SearchPlan(shrink=1, rates=(0.1, 1.0), sweeps=(Sweep(1, (1, STEPS, 10, 30)),)),
        pretraining=PAPER_PRETRAINING,
        fine_tuning=PAPER_FINE_TUNING,
        thetas=README_GRID,
        head_spread=0.5,
        from_counts=False,
    ),
}
