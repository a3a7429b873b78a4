"""Sparse Distillation's own architectures at full size, with random weights: sizes, speed, ceiling, memory and disk.

What a model holds, and how long it takes relative to another, does not depend on what its weights are. The billion
numbers of the student's table are drawn once, when the first step needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from common.records.measurements import Measurement
from common.run.replication import Run, Step
from replications.sparse_distillation.shapes_memory import check_memory, footprint_rows
from replications.sparse_distillation.shapes_roofline import ceiling_rows
from replications.sparse_distillation.shapes_speed import (
    IMDB,
    SHORTER,
    Workload,
    round_seconds,
    system_arms,
    timed_passes,
    workload_rows,
)
from replications.sparse_distillation.shapes_systems import PAPER, STUDENT, TEACHER, Drawn, Systems
from replications.sparse_distillation.shapes_text import end_to_end_rows, prepare_reading

FLOPS_PER_SECOND = 1.5e11
"""Of two CPU cores, for the estimates alone."""

PREPARING = 25.0
"""Seconds to draw every system, and to make a vocabulary and tokenizers."""

FOOTPRINTS = (TEACHER, "DistilBERT", "LSTM (2l-64d)", "CNN (1l-256d)", STUDENT)
"""Those of Table 11 that there are. Its LSTM is labelled 128d, a size that no other table has."""


def shape_steps(run: Run) -> list[Step]:
    """Sizes, then everything with a clock or a gauge."""
    drawn = Drawn(PAPER)
    reviews, shorter = IMDB.for_seeds(run.seeds), [workload.for_seeds(run.seeds) for workload in SHORTER]
    others = ", ".join(task for workload in shorter for task in workload.tasks)
    return [
        Step("sizes: parameters, sparse and dense", 1.0, sizes),
        Step(
            "speed at IMDB's length, with and without reading",
            PREPARING + seconds_of(reviews),
            partial(imdb, run, drawn, reviews),
        ),
        Step(
            f"speed at the length of {others}",
            sum(map(seconds_of, shorter)),
            partial(other_lengths, run, drawn, shorter),
        ),
        Step("the student against the memory's bandwidth", 15.0, partial(bandwidth, run, drawn)),
        Step("memory and disk", 40.0, partial(footprint_rows, run, drawn, FOOTPRINTS)),
    ]


def seconds_of(workload: Workload) -> float:
    """Expected seconds of a workload on two CPU cores."""
    return workload.flops(PAPER) / FLOPS_PER_SECOND


# -- Sizes (closed forms) ---------------------------------------------------------------------------------------------


def sizes(systems: Systems = PAPER) -> list[Measurement]:
    """Table 4's parameters."""
    rows = []
    for name in systems.names:
        count = systems.count(name)
        for part, value in (("total", count.total), ("sparse", count.sparse), ("dense", count.dense)):
            rows.append(
                Measurement(
                    experiment="table4",
                    system=name,
                    task="imdb",
                    metric=f"parameters_{part}",
                    value=float(value),
                    unit="count",
                    note="sparse: the table of word or n-gram embeddings; classifier included",
                )
            )
    return rows


# -- The clock --------------------------------------------------------------------------------------------------------


def imdb(run: Run, drawn: Drawn, workload: Workload = IMDB) -> list[Measurement]:
    """Every system at IMDB's length, reading in between.

    Raises:
        UserError: the memory lacks room.
    """
    check_memory(drawn, workload.systems(drawn.systems))
    reading = prepare_reading(run, drawn.systems.ngrams)
    arms = {**system_arms(drawn, workload), **reading.arms()}
    timings = timed_passes(arms, STUDENT, workload.rounds, Rounds(run, workload.rounds).advance)
    run.keep(round_seconds("imdb", timings))
    rows = workload_rows(workload, timings, drawn.systems)
    return [*rows, *end_to_end_rows(timings, drawn.systems, reading)]


def other_lengths(run: Run, drawn: Drawn, workloads: Sequence[Workload] = SHORTER) -> list[Measurement]:
    """Every other task.

    Raises:
        UserError: the memory lacks room.
    """
    check_memory(drawn, drawn.systems.names)
    rows, rounds = [], Rounds(run, sum(w.rounds for w in workloads))
    for workload in workloads:
        timings = timed_passes(system_arms(drawn, workload), STUDENT, workload.rounds, rounds.advance)
        rows += workload_rows(workload, timings, drawn.systems)
        for task in workload.tasks:
            run.keep(round_seconds(task, timings))
    return rows


def bandwidth(run: Run, drawn: Drawn, workloads: Sequence[Workload] = (IMDB, *SHORTER)) -> list[Measurement]:
    """The student's share of what the memory's bandwidth allows, for every task.

    Raises:
        UserError: the memory lacks room.
    """
    check_memory(drawn, (STUDENT,))
    rows = []
    for number, workload in enumerate(workloads, 1):
        rows += ceiling_rows(drawn, workload)
        run.progress(number, len(workloads))
    return rows


@dataclass
class Rounds:
    """Tells the run's progress how many rounds are done."""

    run: Run
    total: int
    done: int = 0

    def advance(self) -> None:
        """One more."""
        self.done += 1
        self.run.progress(self.done, self.total)
