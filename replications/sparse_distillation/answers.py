"""What every system of a table or figure answers on dev, and the evidence that the record keeps of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.records.predictions import LABELS, Evidence, answers_name
from replications.sparse_distillation.design import VARIANTS, Design
from replications.sparse_distillation.distillation import KD
from replications.sparse_distillation.findings import Findings, Predictions
from replications.sparse_distillation.names import (
    FROM_ALL,
    FROM_TRAIN,
    STUDENT,
    grid_setting,
    grid_system,
    kept_setting,
    longest_setting,
    table_shape_name,
)
from replications.sparse_distillation.transfer import transfer_answers, transfer_setting

DOCUMENT_TASKS = frozenset({"imdb", "sentiment", "mood"})
"""Where the paper's studies on IMDB are run."""

PRUNED_TASKS = frozenset({"imdb", "ag-news", "sentiment", "mood"})
"""Figure 5 and Table 10."""

KEPT = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of V that Figure 5 keeps."""


def variant_answers(f: Findings) -> Iterator[tuple[str, str, Predictions]]:
    """Table 5: each group, variant, and the predictions of the distilled student."""
    for group, variants in VARIANTS.items():
        for name, variant in variants.items():
            yield group, name, f.students.answers((KD,), variant(f.students.design))


def grid_answers(f: Findings) -> Iterator[tuple[str, int, int, Predictions]]:
    """Each cell of Table 8: budget, |V|, d_e, and the student's predictions."""
    for budget, cells in f.students.settings.grid.items():
        for size, dimension in cells:
            yield budget, size, dimension, f.students.answers((KD,), grid_design(f, size, dimension))


def grid_design(f: Findings, size: int, dimension: int) -> Design:
    """The main student with another table."""
    return replace(f.students.design, vocabulary_size=size, dimension=dimension)


def shortened_answers(f: Findings) -> Iterator[tuple[int, int, Predictions]]:
    """Table 10: the longest n that is kept, how many n-grams are left, and the student's predictions."""
    for longest in range(1, 5):
        keep = f.vocabulary.n <= longest
        yield longest, int(keep.sum()), f.pruned(keep)


def pruned_answers(f: Findings) -> Iterator[tuple[str, float, Predictions]]:
    """Figure 5: where frequencies are from, the share of V that is kept, and the student's predictions."""
    for source, counts in ((FROM_ALL, f.vocabulary.counts), (FROM_TRAIN, f.train_counts)):
        for share in KEPT:
            yield source, share, f.pruned(f.most_frequent(share, counts))


def keep_evidence(f: Findings, source: Findings | None) -> None:
    """Keep all that the task run's systems answered; `source` are those of the other domain (Table 6), if any."""
    run, task = f.task_run, f.students.task
    arrays: dict[str, NDArray[Any]] = {LABELS: f.labels, "coverage": f.coverage, "cross_entropy": f.cross_entropy}
    if any(e.difficulty for e in task.dev):
        arrays["difficulty"] = np.array([e.difficulty or 0 for e in task.dev])
    arrays |= {answers_name(system): predictions for system, predictions in f.predictions.items()}
    if task.name in PRUNED_TASKS:
        arrays |= {answers_name(STUDENT, longest_setting(n)): p for n, _, p in shortened_answers(f)}
        arrays |= {answers_name(STUDENT, kept_setting(share, by)): p for by, share, p in pruned_answers(f)}
    if task.name in DOCUMENT_TASKS:
        arrays |= {answers_name(group, name): p for group, name, p in variant_answers(f)}
        arrays |= _grid_arrays(f)
    if source is not None:
        setting = transfer_setting(source, f)
        arrays |= {answers_name(system, setting): p for system, p in transfer_answers(source, f).items()}
    run.run.keep(Evidence(task.name, run.seed, f.students.metric, len(task.labels), run.num_layers, arrays))


def _grid_arrays(f: Findings) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    shapes: dict[str, list[tuple[int, int, int]]] = {}
    for budget, size, dimension, predictions in grid_answers(f):
        arrays[answers_name(grid_system(budget), grid_setting(size))] = predictions
        there = len(f.students.vocabulary(size))
        shapes.setdefault(budget, []).append((size, there, dimension))
    return arrays | {table_shape_name(budget): np.array(cells) for budget, cells in shapes.items()}
