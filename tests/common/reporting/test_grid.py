"""Where each number stands in a table."""

import statistics
from collections.abc import Callable

import pytest

from common.errors import UserError
from common.paper import Paper
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.grid import MAX_COLUMNS, Entry, Panel, build_panels

Measure = Callable[..., Measurement]


def cells(panel: Panel) -> dict[tuple[str, str, str, str, str], Entry | None]:
    """Every entry by (block, system, setting, task, metric)."""
    return {
        (block.title, line.system, line.setting, task, column.metric): entry
        for block in panel.blocks
        for line in block.lines
        for (task, column), entry in zip(panel.columns, line.entries, strict=True)
    }


def test_published_and_measured_share_columns_where_tasks_meet(paper: Paper, measure: Measure) -> None:
    values = [80.0, 82.0, 87.0]
    run = RunRecord("mini-files", tuple(measure("score", v, seed=i, setting="t_1") for i, v in enumerate(values)))
    shared, published_only = build_panels(paper.tables[0], [run])
    title = "measured, run mini-files, MiniLM, 3 seeds"
    assert [block.title for block in shared.blocks] == ["published", title]
    found = cells(shared)
    assert found["published", "base", "", "SST-2", "score"] == Entry(93.6)
    assert found["published", "fast", "t_1", "SST-2", "score"] == Entry(93.0, derived=True)
    assert found["published", "fast", "t_1", "SST-2", "saving"] == Entry(40.0)
    assert found[title, "fast", "t_1", "SST-2", "score"] == Entry(83.0, sd=statistics.stdev(values))
    assert found[title, "fast", "t_1", "SST-2", "saving"] is None
    assert cells(published_only) == {("published", "fast", "t_1", "RTE", "score"): Entry(70.0, unverified=True)}


def test_a_single_number_keeps_its_interval_on_the_column_s_scale(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", (measure("saving", 0.2, seed=0, ci_low=0.1, ci_high=0.25),))
    entry = cells(build_panels(paper.tables[0], [run])[0])[
        "measured, run r, MiniLM, 1 seed", "fast", "", "SST-2", "saving"
    ]
    assert entry is not None
    assert (entry.value, entry.low, entry.high, entry.sd) == (pytest.approx(20), pytest.approx(10), 25, None)


def test_seeds_go_before_a_pooled_number(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", tuple(measure("score", v, seed=s) for v, s in ((1.0, 0), (3.0, 1), (99.0, None))))
    found = cells(build_panels(paper.tables[0], [run])[0])
    entry = found["measured, run r, MiniLM, 2 seeds", "fast", "", "SST-2", "score"]
    assert entry is not None
    assert entry.value == 2.0


def test_two_numbers_for_one_cell_are_refused(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", (measure("score", 1.0, seed=1), measure("score", 2.0, seed=1)))
    with pytest.raises(UserError, match=r"run r: table1 has two numbers for fast / sst-2 / score, seed 1"):
        build_panels(paper.tables[0], [run])


def test_tasks_of_our_own_stand_apart_by_run(paper: Paper, measure: Measure) -> None:
    runs = [RunRecord(f"run{i}", (measure("score", 1.0, task=task),)) for i, task in enumerate(("mine", "yours"))]
    panels = build_panels(paper.tables[0], runs)
    assert [[task for task, _ in panel.columns] for panel in panels] == [["SST-2", "SST-2", "RTE"], ["mine"], ["yours"]]


def test_a_wide_table_is_cut_between_tasks(paper: Paper, measure: Measure) -> None:
    tasks = [f"task{i}" for i in range(10)]
    run = RunRecord("r", tuple(measure(m, 1.0, task=t) for t in tasks for m in ("score", "saving")))
    panels = build_panels(paper.tables[0].model_copy(update={"cells": ()}), [run])
    assert [len(panel.columns) for panel in panels] == [MAX_COLUMNS, 8]
    assert [task for panel in panels for task, span in panel.task_spans if span == 2] == tasks


def test_measurements_of_other_experiments_stay_out(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", (measure("score", 1.0, experiment="figure2"), measure("other", 1.0)))
    assert build_panels(paper.tables[0], [run]) == build_panels(paper.tables[0], [])


def test_a_table_shows_the_tasks_that_it_names(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", tuple(measure("score", 1.0, task=task) for task in ("sst-2", "mine")))
    named = paper.tables[0].model_copy(update={"cells": (), "tasks": ("SST-2",)})
    assert [task for panel in build_panels(named, [run]) for task, _ in panel.columns] == ["sst-2"]
