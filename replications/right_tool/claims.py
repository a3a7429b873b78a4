"""The statistics that decide RightTool's claims, from what the runs kept.

No table of the paper could be had: its claims are sentences of the abstract and of others who read it. Thresholds were
chosen on examples that are not scored here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from common.records.claims import (
    Array,
    Cell,
    Check,
    Decide,
    Decision,
    Limit,
    gain,
    learned_tasks,
    speedup,
    system,
)
from common.records.effects import Effect, effect_of
from common.records.predictions import Evidence, at_layer, static_name
from common.records.runs import RunRecord
from common.tasks.metrics import points_along
from replications.right_tool.names import LOSSLESS, OPERATING_POINTS, RIGHT_TOOL

PRESERVED = 0.5
"""Points that "preserved accuracy" may lose; the paper gives no number."""

SHARE_LIMIT = 0.005
"""Percent of BERT-large's parameters."""


def five_times(record: RunRecord) -> Decision | None:
    """Times as fast as the baseline at the lossless threshold, with at most half a point lost on dev; any task."""
    tasks, left_out = learned_tasks(record)
    cells = []
    for task, seeds in tasks.items():
        lost = gain(seeds, system("baseline"), system(RIGHT_TOOL, LOSSLESS))
        cells.append(Cell(task, speedup(seeds, RIGHT_TOOL, LOSSLESS), task, Limit(lost, PRESERVED)))
    note = f"batch 1; at most {PRESERVED:g} points lost"
    return Decision(tuple(cells), note, timed=True, left_out=left_out) if cells else None


def top_point_drop(record: RunRecord) -> Decision | None:
    """Points of the baseline above the last classifier, which learned together with the others."""
    tasks, left_out = learned_tasks(record)
    cells = tuple(
        Cell(task, gain(seeds, system("baseline"), system(RIGHT_TOOL, at_layer(seeds[0].layers))), task)
        for task, seeds in tasks.items()
    )
    return Decision(cells, "everyone at the last classifier", left_out=left_out) if cells else None


def favourable(record: RunRecord) -> Decision | None:
    """Points above the line that joins the static models, mean over the operating points of a task."""
    tasks, left_out = learned_tasks(record)
    cells = tuple(Cell(task, above_static_line(seeds), task) for task, seeds in tasks.items())
    note = "static models joined by straight lines over layers executed"
    return Decision(cells, note, left_out=left_out) if cells else None


def above_static_line(seeds: Sequence[Evidence]) -> Effect:
    """Points above the line at as many layers; how many those are is redrawn with the examples, as the scores are."""
    layers, points = seeds[0].layers, points_along(seeds[0].metric)
    rungs = [k for k in range(1, layers) if all(e.has_answers(static_name(k)) for e in seeds)]
    statics = [*(system(static_name(k)) for k in rungs), system("baseline")]
    mine = [system(RIGHT_TOOL, point) for point in OPERATING_POINTS]

    def ahead(labels: Array, *arrays: Array, axis: int = -1) -> Array:
        scores = [points(answers, labels, axis=axis) for answers in arrays[: len(statics) + len(mine)]]
        depths = [exits.mean(axis=axis) for exits in arrays[len(scores) :]]
        line = [_line(depth, [*rungs, layers], scores[: len(statics)]) for depth in depths]
        return np.asarray(np.mean(scores[len(statics) :], axis=0) - np.mean(line, axis=0))

    def arrays_of(e: Evidence) -> list[Array]:
        exits = [e.exits(RIGHT_TOOL, point) for point in OPERATING_POINTS]
        return [e.labels, *(answers(e) for answers in (*statics, *mine)), *exits]

    return effect_of(seeds[0].task, [arrays_of(e) for e in seeds], ahead)


def _line(at: Array, knots: Sequence[int], values: Sequence[Array]) -> Array:
    """`values` at `knots`, joined by straight lines, at `at`; level outside."""
    line = values[0]
    for (left, right), (low, high) in zip(pairwise(knots), pairwise(values), strict=True):
        line = line + np.clip((at - left) / (right - left), 0, 1) * (high - low)
    return line


def parameter_overhead(record: RunRecord) -> Check | None:
    """Percent of BERT-large's parameters that the classifiers and mixes add, the most over numbers of classes."""
    shares = [
        100 * m.value for m in record.of("sizes") if m.metric == "exit_parameter_share" and m.backbone == "bert-large"
    ]
    if not shares:
        return None
    return Check(max(shares) < SHARE_LIMIT, max(shares), f"{len(shares)} numbers of classes, counted at full size")


DECIDERS: Mapping[str, Decide] = {
    "right-tool-5x": five_times,
    "right-tool-parameter-overhead": parameter_overhead,
    "right-tool-top-point-small-drop": top_point_drop,
    "right-tool-favourable-almost-all": favourable,
}
