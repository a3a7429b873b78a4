"""DeFormer at a run's scale: reading tasks (tables 1 and 5, figures 2, 4, 5) and pair tasks (table 2).

Sizes, FLOPs, memory and latency at full size are in `shapes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.early_exit.systems import Scored, answers_of
from common.reading_run import ReadingRun
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Array, Evidence, answers_name
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.tasks.spans import is_span_task
from replications.deformer.findings import Findings
from replications.deformer.names import BASELINE, CONSTANT, DEFORMER, TEACHER, at_k
from replications.deformer.pairs import Pairs
from replications.deformer.readers import Readers
from replications.deformer.settings import SETTINGS, tasks_of
from replications.deformer.shapes import shape_steps as shape_steps


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed."""
    settings = SETTINGS[run.scale.name]
    steps: list[Step] = []
    for task in tasks_of(run):
        for seed in run.seeds:
            if is_span_task(task, run.data, run.data_dir):
                readers = Readers(ReadingRun.of(run, task, seed, settings.recipe), settings)
                steps += Findings(readers).steps()
            else:
                steps += _pair_steps(Pairs(TaskRun.of(run, task, seed, settings.recipe)))
    return steps


def _pair_steps(pairs: Pairs) -> Iterator[Step]:
    run = pairs.task_run
    yield from run.static_steps(())
    yield from pairs.steps()
    yield Step(f"{run.label}: tables", 5.0, lambda: list(pair_rows(pairs)))


def pair_rows(pairs: Pairs) -> Iterator[Measurement]:
    """Table 2, the evidence kept."""
    run, scored = pairs.task_run, Scored(pairs.task_run)
    row = Rows(run.task_name, run.seed, run.backbone.backbone, len(run.task.dev))
    names = {0: (TEACHER, ""), pairs.k: (DEFORMER, at_k(pairs.k))}
    answers = {names[k]: answers_of(pairs.logits(k), run) for k in pairs.depths}
    yield row("table2", CONSTANT, "score", scored.points(scored.constant), "points")
    yield row("table2", BASELINE, "score", scored.score(scored.baseline), "points")
    for (system, setting), found in answers.items():
        yield row("table2", system, "score", scored.score(found), "points", setting=setting)
        yield row("table2", system, "score_delta", scored.gain(found), "points", setting=setting)
    yield row("table2", DEFORMER, "flops_speedup", pairs.flops_speedup, "ratio", setting=at_k(pairs.k))
    arrays: dict[str, Array] = {LABELS: scored.labels, answers_name(BASELINE): scored.baseline}
    arrays |= {answers_name(*name): np.asarray(found) for name, found in answers.items()}
    run.run.keep(Evidence(run.task_name, run.seed, run.task.metric, len(run.task.labels), run.num_layers, arrays))
