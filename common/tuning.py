"""The search behind the recipes of baselines: which learning rate, epochs and pooling serve several tasks best.

Every candidate is fine-tuned on each task and scored on the part of train that is held back for choosing; the dev sets,
which results are reported on, are not touched. The baseline is searched at full depth, the static ladder at half of it.
Tasks are of labelled texts, of tagged words or of questions on passages, each kind with a grid of its own. The outcome
is a small table, results/baselines/<run>.md (`-words`, `-passages`); whoever changes a recipe runs the search again
(`make tune`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from common.baselines import RECIPES, Recipe
from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.errors import UserError
from common.models.classifier import classifier_logits, predictions
from common.reading_run import ReadingRun
from common.records.measurements import write_text
from common.reporting.blocks import pipe_row
from common.run.replication import Run
from common.tagging_run import TAGGING_RECIPES, TaggingRun, labels_words
from common.task_run import TaskRun
from common.tasks.metrics import score
from common.tasks.spans import is_span_task


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
"""By scale, of labelled texts. At `mini` two epochs are what minutes on a laptop allow."""

TAGGING_GRIDS = {
    "smoke": Grid((2e-3,), (6,), (2e-3,), (6,), (FIRST_TOKEN,)),
    "mini": Grid((3e-4, 6e-4), (6, 10, 16), (4e-4,), (6, 10), (FIRST_TOKEN,)),
    "base": Grid((3e-5, 5e-5, 8e-5), (3, 4, 6), (5e-5, 8e-5), (4, 6), (FIRST_TOKEN,)),
}
"""By scale, of tagged words: each is read at its first piece."""

READING_GRIDS = {
    "smoke": Grid((2e-3,), (6,), (2e-3,), (6,), (FIRST_TOKEN,)),
    "mini": Grid((1e-4, 2e-4), (2, 4, 8), (2e-4,), (4, 8), (FIRST_TOKEN,)),
    "base": Grid((3e-5, 5e-5), (2, 3), (5e-5,), (3,), (FIRST_TOKEN,)),
}
"""By scale, of questions on passages: every token is read."""


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


Points = Callable[[Run, str, int, Recipe, bool], float]
"""Fine-tunes the whole backbone or, where the last is False, half of it on a task and a seed; its score, held-back."""


@dataclass(frozen=True)
class Kind:
    """What tasks of a kind are tuned by.

    Attributes:
        suffix: of the table's name.
        recipes: by scale, where the search begins.
        grids: by scale, what is tried.
        points: scores a recipe.
    """

    suffix: str
    recipes: Mapping[str, Recipe]
    grids: Mapping[str, Grid]
    points: Points


def kind_of(run: Run, tasks: Sequence[str]) -> Kind:
    """The kind that all of these tasks are of.

    Raises:
        UserError: they are of several kinds, or nothing is tuned at this scale.
    """
    kinds = {name: _kind_of_one(run, name) for name in tasks}
    if len(set(kinds.values())) > 1:
        raise UserError(
            f"tasks of different kinds have recipes of their own: {', '.join(kinds)}. Tune one kind at a time, TASKS="
        )
    found = KINDS[next(iter(kinds.values()), TEXTS)]
    if run.scale.name not in found.grids:
        raise UserError(f"nothing is tuned at SCALE={run.scale.name}; scales: {', '.join(found.grids)}")
    return found


def _kind_of_one(run: Run, task: str) -> str:
    if labels_words(run, task):
        return WORDS
    return PASSAGES if is_span_task(task, run.data, run.data_dir) else TEXTS


def search(run: Run, tasks: Sequence[str]) -> Iterator[list[Tried]]:
    """Try the baseline's candidates, then with the best pooling the static ladder's; each list best first.

    Raises:
        UserError: the tasks are of several kinds, or nothing is tuned at this scale.
    """
    kind = kind_of(run, tasks)
    grid = kind.grids[run.scale.name]
    whole = [Candidate(True, *values) for values in product(grid.poolings, grid.rates, grid.epochs)]
    found = _ranked(run, tasks, kind, whole)
    yield found
    pooling = found[0].candidate.pooling
    shallow = [Candidate(False, pooling, *values) for values in product(grid.shallow_rates, grid.shallow_epochs)]
    yield _ranked(run, tasks, kind, shallow)


def _ranked(run: Run, tasks: Sequence[str], kind: Kind, candidates: Sequence[Candidate]) -> list[Tried]:
    base = kind.recipes[run.scale.name]

    def tried(candidate: Candidate) -> Tried:
        recipe = candidate.recipe(base)
        points = {
            task: float(np.mean([kind.points(run, task, seed, recipe, candidate.whole) for seed in run.seeds]))
            for task in tasks
        }
        run.say(f"{candidate}: {', '.join(f'{task} {value:.1f}' for task, value in points.items())}")
        return Tried(candidate, points)

    return sorted(map(tried, candidates), key=lambda t: -t.mean)


def _points_of_texts(run: Run, task: str, seed: int, recipe: Recipe, whole: bool) -> float:
    task_run = TaskRun.of(run, task, seed, recipe)
    tune, regression = task_run.encoded.tune, task_run.task.is_regression
    model = task_run.classifier(task_run.num_layers if whole else task_run.half)
    answers = predictions(classifier_logits(model, tune, task_run.device), regression=regression).numpy()
    return 100 * score(task_run.task.metric, answers, tune.labels.numpy())


def _points_of_words(run: Run, task: str, seed: int, recipe: Recipe, whole: bool) -> float:
    tagging = TaggingRun.of(run, task, seed, recipe)
    logits = tagging.static_logits(tagging.num_layers if whole else tagging.half)["tune"]
    return tagging.counts("tune", logits.argmax(-1).numpy()).points


def _points_of_passages(run: Run, task: str, seed: int, recipe: Recipe, whole: bool) -> float:
    reading = ReadingRun.of(run, task, seed, recipe)
    answers = reading.reader_answers(reading.num_layers if whole else reading.half)
    return 100 * float(reading.marks(answers, "tune").f1.mean())


TEXTS, WORDS, PASSAGES = "texts", "words", "passages"

KINDS = {
    TEXTS: Kind("", RECIPES, GRIDS, _points_of_texts),
    WORDS: Kind("-words", TAGGING_RECIPES, TAGGING_GRIDS, _points_of_words),
    PASSAGES: Kind("-passages", RECIPES, READING_GRIDS, _points_of_passages),
}


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
