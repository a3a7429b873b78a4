"""What a caption and the notes say of a table's sides, seeds and means."""

from collections.abc import Callable

import pytest

from common.paper import Paper, Published, Table
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.captions import Kind, caption_text, marks_text
from common.reporting.grid import Sheet, main_sheets

Measure = Callable[..., Measurement]


@pytest.fixture
def table(paper: Paper) -> Table:
    return paper.tables[0]


def caption(table: Table, sheet: Sheet) -> str:
    return caption_text(table, sheet, Kind.MAIN, first=False)


def test_the_seeds_stand_in_the_caption_where_columns_agree(table: Table, measure: Measure) -> None:
    run = RunRecord("mini-files", tuple(measure("score", 80.0 + seed, seed=seed) for seed in range(3)))
    sheet = main_sheets(table, [run])[0]
    assert caption(table, sheet) == "Measured: run mini-files, MiniLM; mean ± standard deviation over 3 seeds."


def test_the_seeds_stand_over_the_columns_where_they_differ(table: Table, measure: Measure) -> None:
    three = [measure("score", 80.0 + seed, seed=seed) for seed in range(3)]
    run = RunRecord("mini-files", (*three, measure("score", 50.0, seed=0, task="rte")))
    sheet = main_sheets(table, [run])[0]
    assert caption(table, sheet).endswith("mean ± standard deviation over the seeds named over the columns.")
    assert "3 seeds" not in caption(table, sheet)


def test_one_seed_has_no_spread_and_no_training_no_seed(table: Table, measure: Measure) -> None:
    one, none = (main_sheets(table, [RunRecord("r", (measure("score", 1.0, seed=seed),))])[0] for seed in (0, None))
    assert caption(table, one) == "Measured: run r, MiniLM; 1 seed."
    assert caption(table, none) == "Measured: run r, MiniLM."


def test_what_was_not_measured_says_so(table: Table) -> None:
    assert caption(table, main_sheets(table, [])[0]) == "Published, not measured by any recorded run."


def test_means_over_tasks_of_both_sides_are_told_apart(table: Table, measure: Measure) -> None:
    cell = Published(system="fast", task="macro", metric="score", value=80.0, unit="points")
    run = RunRecord("r", (measure("score", 90.0, task="macro"),))
    both, ours = (main_sheets(table.model_copy(update={"cells": cells}), [run])[:1] for cells in ((cell,), ()))
    assert "macro: on each side the mean over its own tasks" in marks_text(both)
    assert "macro" not in marks_text(ours)
