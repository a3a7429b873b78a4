"""Bort at a run's scale: the search on errors of small counterparts, two ways to pre-train, Agora.

Sizes and speeds at full size are in `shapes.py`. What is chosen is chosen on a held-back part of train (Agora's E);
scores are of dev, which no training and no choice sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from common.early_exit.systems import Scored
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Array, Evidence, answers_name
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from replications.bort.agora import ACCEPTABLE
from replications.bort.finetuning import FineTuning
from replications.bort.names import (
    MASKS,
    PRETRAINING_EVIDENCE,
    THETAS_OF_AGORA,
    right_name,
)
from replications.bort.search import Searched
from replications.bort.settings import SETTINGS
from replications.bort.shapes import shape_steps as shape_steps
from replications.bort.student import Pretraining
from replications.bort.surrogate import Surrogate

TASKS = {
    "builtin": ("sentiment",),
    "files": ("sst-2", "mrpc", "rte"),
    "hub": ("sst-2", "mrpc", "rte", "cola"),
}
"""Of the paper's GLUE tasks what is at hand; small ones, where its gains were largest."""


def trained_steps(run: Run) -> list[Step]:
    """Pre-train and search with every seed, then train and measure every task and seed."""
    pretraining, recipe = Pretraining.of(run), SETTINGS[run.scale.name].recipe
    steps = [step for seed in run.seeds for step in seed_steps(pretraining, seed)]
    for task in run.tasks_or(TASKS):
        for seed in run.seeds:
            steps += task_steps(TaskRun.of(run, task, seed, recipe))
    return steps


# -- Pre-training and the search -----------------------------------------------------------------------------------


def seed_steps(pretraining: Pretraining, seed: int) -> Iterator[Step]:
    """What needs no task."""
    surrogate = Surrogate(pretraining, seed)
    yield from pretraining.steps(seed, pretraining.arms(seed))
    yield Step(f"seed {seed}: scores on held-out text", 10.0, partial(pretraining_rows, pretraining, seed))
    yield from surrogate.steps()
    yield Step(f"seed {seed}: who wins the search", 5.0, partial(search_rows, surrogate))


def pretraining_rows(pretraining: Pretraining, seed: int) -> list[Measurement]:
    """Each arm, the teacher, and who knows word counts alone, on the same masks of held-out text."""
    row = Rows("", seed, pretraining.source.backbone, 0)
    measurements, arrays = [], dict[str, Array]()
    for arm in pretraining.arms(seed):
        found = pretraining.answers(pretraining.model(arm, seed))
        arrays |= {right_name(arm): found.right, MASKS: found.masks}
        n = int(found.masks.sum())
        measurements += [
            row("pretraining", arm, "masked_accuracy", found.accuracy, "fraction", n=n),
            row("pretraining", arm, "masked_loss", found.mean_loss, "nats", n=n),
            row("pretraining", arm, "step_seconds", pretraining.step_seconds(arm, seed), "s", timed=True),
        ]
    score = pretraining.reading.score(pretraining.teacher_model)
    for name, accuracy, loss in (
        ("teacher", score.accuracy, score.loss),
        ("word counts", score.unigram_accuracy, score.unigram_loss),
    ):
        measurements.append(row("pretraining", name, "masked_accuracy", accuracy, "fraction", n=score.n))
        measurements.append(row("pretraining", name, "masked_loss", loss, "nats", n=score.n))
    pretraining.run.keep(Evidence(PRETRAINING_EVIDENCE, seed, "", 0, 0, arrays))
    return measurements


def search_rows(surrogate: Surrogate) -> list[Measurement]:
    """Winners and Bort's place at every setting; the figure's points for the first seed."""
    searched, run = Searched.of(surrogate), surrogate.pretraining.run
    row = Rows("", surrogate.seed, surrogate.pretraining.source.backbone, searched.tokens)
    run.keep(searched.evidence())
    figure = searched.candidate_rows(row) if surrogate.seed == run.seeds[0] else ()
    return [*searched.rows(row), *figure]


# -- Agora ---------------------------------------------------------------------------------------------------------


def task_steps(task_run: TaskRun) -> Iterator[Step]:
    """The baseline, the three ways to fine-tune, the scores."""
    tuning = FineTuning(task_run)
    yield from task_run.static_steps(())
    yield from tuning.steps()
    yield Step(
        f"{task_run.label}: timing, tables and figures", 2 * task_run.scored_seconds, partial(agora_rows, tuning)
    )


def agora_rows(tuning: FineTuning) -> list[Measurement]:
    """Scores of the three ways beside the baseline, what each was chosen by, and what was spent."""
    run = tuning.task_run
    scored = Scored(run)
    row = Rows(run.task_name, run.seed, run.backbone.backbone, len(scored.labels))
    constant = [row("agora", "constant answer", "score", scored.points(scored.constant), "points")]
    right = tuning.acceptable_accuracy
    enough = "above" if right > ACCEPTABLE else "not above"
    acceptable = f"labels Agora's examples; {right:.1%} right on E, {enough} the two thirds that it should be"
    measurements = [row("agora", "baseline", "score", scored.score(scored.baseline), "points", note=acceptable)]
    arrays: dict[str, Array] = {LABELS: scored.labels, answers_name("baseline"): scored.baseline}
    for picked in tuning.picked:
        answers = tuning.classes(tuning.logits(picked.folder, run.splits["dev"]))
        arrays[answers_name(picked.name)] = answers
        values = {
            "chosen_accuracy": (picked.accuracy, "fraction"),
            "trainings": (float(picked.trainings), "trainings"),
            "examples_seen": (float(picked.examples_seen), "examples"),
            "generated": (float(picked.generated), "examples"),
        }
        measurements.append(row("agora", picked.name, "score", scored.score(answers), "points"))
        measurements += [row("agora", picked.name, metric, value, unit) for metric, (value, unit) in values.items()]
    arrays[THETAS_OF_AGORA] = np.array([len(tuning.settings.thetas)])
    layers, classes = run.num_layers, len(run.task.labels)
    run.run.keep(Evidence(run.task_name, run.seed, run.task.metric, classes, layers, arrays))
    return [*measurements, *constant]
