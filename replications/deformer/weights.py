"""The three loss weights by Bayesian optimisation (section 3.2): a Gaussian process over [0.1, 2.0] each, in tenths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from replications.deformer.method import LossWeights

LOWEST, HIGHEST, STEP = 0.1, 2.0, 0.1
"""The paper's range; it rounds to one decimal."""

FIRST_PROBE = LossWeights(alpha=0.5, beta=0.2, gamma=0.3)
"""Official code, tools/explore_hp.py."""

RANDOM_PROBES, SEED = 2, 1
"""Before the process has anything to go by; the seed of all draws."""


@dataclass(frozen=True)
class Found:
    """The best trial of a search.

    Attributes:
        weights: of the losses.
        score: on the held-back part of train, in points.
        trials: how many there were.
    """

    weights: LossWeights
    score: float
    trials: int


def search_weights(
    score: Callable[[LossWeights], float],
    trials: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Found:
    """Maximise `score` over weights; the same function and number of trials give the same search.

    Args:
        score: on held-back questions, in points; called once a trial.
        trials: how many, the first probe among them.
        progress: told how far it is.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.GPSampler(seed=SEED, n_startup_trials=1 + RANDOM_PROBES)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({"alpha": FIRST_PROBE.alpha, "beta": FIRST_PROBE.beta, "gamma": FIRST_PROBE.gamma})

    def objective(trial: optuna.Trial) -> float:
        found = score(_suggested(trial))
        progress(trial.number + 1, trials)
        return found

    study.optimize(objective, n_trials=trials)
    best = study.best_trial
    return Found(LossWeights(**{k: round(v, 1) for k, v in best.params.items()}), float(best.value or 0.0), trials)


def _suggested(trial: object) -> LossWeights:
    values = {name: trial.suggest_float(name, LOWEST, HIGHEST, step=STEP) for name in ("alpha", "beta", "gamma")}  # type: ignore[attr-defined]
    return LossWeights(**{name: round(value, 1) for name, value in values.items()})
