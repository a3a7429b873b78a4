"""The search behind `common.baselines`: which learning rate, epochs and pooling serve several tasks best, held-back.

Every candidate is fine-tuned on each task and scored on the part of train that is held back for choosing; the dev sets,
which results are reported on, are not touched. The baseline is searched at full depth, the static ladder at half of it.
The outcome is a small table, results/baselines/<run>.md; whoever changes a recipe runs the search again (`make tune`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from common.baselines import RECIPES, Recipe
from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.models.classifier import classifier_logits, predictions
from common.records.measurements import write_text
from common.reporting.blocks import pipe_row
from common.run.replication import Run
from common.task_run import TaskRun
from common.tasks.metrics import score


@dataclass(frozen=True)
class Grid:
    """What is tried: every combination.

    Attributes:
        rates, epochs: of the baseline; shallow_rates, shallow_epochs: of the static ladder.
        poolings: of the baseline; the ladder is searched with the best one.
    """

    rates: tuple[float, ...]
    epochs: tuple[int, ...]
    shallow_rates: tuple[float, ...]
    shallow_epochs: tuple[int, ...]
    poolings: tuple[str, ...] = (MEAN, FIRST_TOKEN)


GRIDS = {
    "smoke": Grid((1e-3, 2e-3), (6,), (2e-3,), (6,)),
    "mini": Grid((5e-5, 1e-4, 2e-4), (1, 2), (1e-4, 2e-4, 4e-4), (2, 3)),
    "base": Grid((2e-5, 3e-5, 5e-5), (3, 6), (5e-5, 8e-5), (3, 6)),
}
"""By scale. At `mini` two epochs are what minutes on a laptop allow; half the depth has time for three."""


@dataclass(frozen=True)
class Candidate:
    """One way to fine-tune the whole backbone or its first half."""

    whole: bool
    pooling: str
    rate: float
    epochs: int

    def recipe(self, base: Recipe) -> Recipe:
        """`base` with this candidate in its place."""
        plan = replace(base.whole if self.whole else base.shallow, learning_rate=self.rate, epochs=self.epochs)
        changed = {"whole": plan} if self.whole else {"shallow": plan, "whole": replace(base.whole, epochs=1)}
        return replace(base, pooling=self.pooling, epochs={}, **changed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Tried:
    """A candidate and its held-back scores in points, a mean over seeds for each task."""

    candidate: Candidate
    points: dict[str, float]

    @property
    def mean(self) -> float:
        """Over tasks."""
        return float(np.mean(list(self.points.values())))


def search(run: Run, tasks: Sequence[str]) -> Iterator[list[Tried]]:
    """Try the baseline's candidates, then with the best pooling the static ladder's; each list best first."""
    grid, base = GRIDS[run.scale.name], RECIPES[run.scale.name]
    whole = [Candidate(True, *values) for values in product(grid.poolings, grid.rates, grid.epochs)]
    found = _ranked(run, tasks, base, whole)
    yield found
    pooling = found[0].candidate.pooling
    shallow = [Candidate(False, pooling, *values) for values in product(grid.shallow_rates, grid.shallow_epochs)]
    yield _ranked(run, tasks, base, shallow)


def _ranked(run: Run, tasks: Sequence[str], base: Recipe, candidates: Sequence[Candidate]) -> list[Tried]:
    tried = [
        Tried(c, {task: float(np.mean([_points(run, task, seed, base, c) for seed in run.seeds])) for task in tasks})
        for c in candidates
    ]
    return sorted(tried, key=lambda t: -t.mean)


def _points(run: Run, task: str, seed: int, base: Recipe, candidate: Candidate) -> float:
    task_run = TaskRun.of(run, task, seed, candidate.recipe(base))
    layers = task_run.num_layers if candidate.whole else task_run.half
    tune, regression = task_run.encoded.tune, task_run.task.is_regression
    logits = classifier_logits(task_run.classifier(layers), tune, task_run.device)
    answers = predictions(logits, regression=regression).numpy()
    points = 100 * score(task_run.task.metric, answers, tune.labels.numpy())
    run.say(f"{task} seed {seed}, {candidate}: {points:.1f}")
    return points


def write_table(path: Path, run: Run, tasks: Sequence[str], found: Sequence[Sequence[Tried]]) -> None:
    """Write every candidate with its scores, best first."""
    lines = [
        f"# How the recipe of `{run.scale.name}` was chosen",
        "",
        f"Points on the part of train that is held back; mean of {len(run.seeds)} seed(s). Made by `make tune`.",
    ]
    for part in found:
        title = (
            "The baseline, all layers" if part[0].candidate.whole else "The static ladder, searched at half the depth"
        )
        head = ["learning rate", "epochs", "reads", *tasks, "mean"]
        lines += ["", f"## {title}", "", pipe_row(head), pipe_row(["---"] * len(head))]
        for tried in part:
            c = tried.candidate
            scores = [f"{tried.points[task]:.1f}" for task in tasks]
            lines.append(pipe_row([f"{c.rate:g}", str(c.epochs), c.pooling, *scores, f"{tried.mean:.2f}"]))
    write_text(path, "\n".join(lines) + "\n")
