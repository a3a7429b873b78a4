"""Where each number stands in a table."""

import statistics
from collections.abc import Callable, Sequence

import pytest

from common.errors import UserError
from common.paper import Paper, Published, SameRow, Table
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.cells import Entry
from common.reporting.grid import (
    MAX_CHARACTERS,
    MAX_COLUMNS,
    MAX_LINES,
    Sheet,
    interval_sheets,
    main_sheets,
    tuned_sheets,
)

Measure = Callable[..., Measurement]


@pytest.fixture
def table(paper: Paper) -> Table:
    return paper.tables[0]


def run_of(*measurements: Measurement, name: str = "r") -> RunRecord:
    return RunRecord(name, measurements)


def cells(sheet: Sheet) -> dict[tuple[str, ...], Entry]:
    """Every number by (metric, names of the row, task, published or measured)."""
    names = slice(int(sheet.heads[0] == "Quantity"), None)
    return {
        (line.metric.metric, *line.labels[names], column.task, "measured" if column.measured else "published"): entry
        for line in sheet.lines
        for column, entry in zip(sheet.columns, line.entries, strict=True)
        if entry is not None
    }


def tasks(sheets: Sequence[Sheet]) -> list[list[str]]:
    return [[column.task for column in sheet.columns] for sheet in sheets]


def test_published_and_measured_stand_side_by_side_where_tasks_meet(table: Table, measure: Measure) -> None:
    values = [80.0, 82.0, 87.0]
    run = run_of(*(measure("score", v, seed=i, setting="t_1") for i, v in enumerate(values)), name="mini-files")
    shared, published_only = main_sheets(table, [run])
    assert shared.run == "mini-files"
    assert [(c.task, c.measured, c.backbone) for c in shared.columns] == [
        ("SST-2", False, ""),
        ("SST-2", True, "MiniLM"),
    ]
    assert cells(shared) == {
        ("score", "base", "", "SST-2", "published"): Entry(93.6),
        ("score", "fast", "t_1", "SST-2", "published"): Entry(93.0, derived=True),
        ("saving", "fast", "t_1", "SST-2", "published"): Entry(40.0),
        ("score", "fast", "t_1", "SST-2", "measured"): Entry(83.0, 3, sd=statistics.stdev(values)),
    }
    assert published_only.run == ""
    assert cells(published_only) == {("score", "fast", "t_1", "RTE", "published"): Entry(70.0, unverified=True)}


def test_a_panel_is_one_metric(table: Table, measure: Measure) -> None:
    rows = [measure(m, 1.0, seed=0, setting=f"t_{i}") for m in ("score", "saving") for i in range(3)]
    sheet = main_sheets(table, [run_of(*rows)])[0]
    assert [panel.title for panel in sheet.panels] == ["Score", "Time saved (%)"]
    assert [{line.metric.metric for line in panel.lines} for panel in sheet.panels] == [{"score"}, {"saving"}]


def test_panels_of_a_row_or_two_become_rows(table: Table, measure: Measure) -> None:
    run = run_of(measure("score", 1.0), measure("saving", 0.1))
    (sheet,) = main_sheets(table.model_copy(update={"cells": ()}), [run])
    assert sheet.heads == ("Quantity", "System")
    assert [(panel.title, [line.labels for line in panel.lines]) for panel in sheet.panels] == [
        ("", [("Score", "fast"), ("Time saved (%)", "fast")])
    ]


def test_rows_of_ours_follow_what_they_follow_in_the_run(table: Table, measure: Measure) -> None:
    names = ["constant", "base", "truncated", "fast"]
    run = run_of(*(measure("score", 1.0, system=s, setting="t_1" if s == "fast" else "") for s in names))
    sheet = main_sheets(table, [run])[0]
    assert [line.labels[0] for line in sheet.panels[0].lines] == names


def test_what_every_seed_gave_has_no_spread_but_its_seeds(table: Table, measure: Measure) -> None:
    run = run_of(*(measure("score", 0.1 + 0.2, seed=seed) for seed in range(3)))
    entry = cells(main_sheets(table, [run])[0])["score", "fast", "", "SST-2", "measured"]
    assert (entry.sd, entry.seeds) == (None, 3)


def test_a_column_has_the_seeds_of_most_of_its_numbers(table: Table, measure: Measure) -> None:
    three = [measure("score", float(seed), seed=seed, system=s) for s in ("a", "b") for seed in range(3)]
    one = [measure("score", 1.0, seed=0, system="c"), measure("score", 1.0, seed=0, task="rte")]
    (sheet,) = main_sheets(table, [run_of(*three, *one)])
    assert dict(zip(sheet.columns, sheet.seeds, strict=True)) == {
        c: None if not c.measured else 3 if c.task == "SST-2" else 1 for c in sheet.columns
    }
    assert [sheet.detail(i) for i in range(4)] == ["", "3 seeds", "", "1 seed"]
    assert cells(sheet)["score", "c", "", "SST-2", "measured"].seeds == 1


def test_seeds_go_before_a_pooled_number(table: Table, measure: Measure) -> None:
    run = run_of(*(measure("score", v, seed=s) for s, v in ((0, 1.0), (1, 3.0), (None, 99.0))))
    entry = cells(main_sheets(table, [run])[0])["score", "fast", "", "SST-2", "measured"]
    assert (entry.value, entry.seeds) == (2.0, 2)


def test_two_numbers_for_one_cell_are_refused(table: Table, measure: Measure) -> None:
    run = run_of(measure("score", 1.0, seed=1), measure("score", 2.0, seed=1))
    with pytest.raises(UserError, match=r"run r: table1 has two numbers for fast / sst-2 / score, seed 1"):
        main_sheets(table, [run])


def test_tasks_of_our_own_stand_apart_by_run(table: Table, measure: Measure) -> None:
    runs = [run_of(measure("score", 1.0, task=task), name=f"run-{task}") for task in ("mine", "yours", "rte")]
    sheets = main_sheets(table, runs)
    assert tasks(sheets) == [["RTE", "RTE"], ["SST-2"], ["mine"], ["yours"]]
    assert [sheet.run for sheet in sheets] == ["run-rte", "", "run-mine", "run-yours"]


def test_backbones_are_columns_of_their_own(table: Table, measure: Measure) -> None:
    run = run_of(*(measure("score", 1.0, backbone=backbone) for backbone in ("small", "large")))
    sheet = main_sheets(table, [run])[0]
    assert [sheet.detail(i) for i in range(3)] == ["", "small", "large"]


def test_cells_without_a_backbone_stand_with_the_others_unless_they_meet(table: Table) -> None:
    def sheet(first: str) -> Sheet:
        named = [("large", first, 96.0), ("", "student", 90.0)]
        made = tuple(
            Published(backbone=b, system=s, task="SST-2", metric="score", value=v, unit="points") for b, s, v in named
        )
        return main_sheets(table.model_copy(update={"cells": made}), [])[0]

    assert [column.backbone for column in sheet("teacher").columns] == [""]
    assert [column.backbone for column in sheet("student").columns] == ["large", ""]


def test_a_wide_table_is_cut_between_tasks(table: Table, measure: Measure) -> None:
    names = [f"task{i}" for i in range(5)]
    made = tuple(Published(system="base", task=t, metric="score", value=1.0, unit="points") for t in names)
    run = run_of(*(measure("score", 1.0, system="base", task=t, seed=0) for t in names))
    sheets = main_sheets(table.model_copy(update={"cells": made}), [run])
    assert tasks(sheets) == [["task0", "task0", "task1", "task1", "task2", "task2"], ["task3"] * 2 + ["task4"] * 2]
    assert all(len(sheet.heads) + len(sheet.columns) <= MAX_COLUMNS for sheet in sheets)


def test_a_task_of_many_backbones_is_cut_too(table: Table, measure: Measure) -> None:
    run = run_of(*(measure("score", 1.0, backbone=f"b{i}") for i in range(10)))
    sheets = main_sheets(table.model_copy(update={"cells": ()}), [run])
    assert [len(sheet.columns) for sheet in sheets] == [7, 3]


def test_a_sheet_is_no_wider_than_its_text_allows(table: Table, measure: Measure) -> None:
    long = "a system with a long name, its variant and more"
    run = run_of(*(measure("score", 1234.5, system=long, task="a long task " * 2 + str(i)) for i in range(4)))
    sheets = main_sheets(table.model_copy(update={"cells": ()}), [run])
    assert [len(sheet.columns) for sheet in sheets] == [2, 2]
    assert len(long) + 2 + 2 * (25 + 2) <= MAX_CHARACTERS < len(long) + 2 + 3 * (25 + 2)


def test_a_long_table_is_cut_at_a_page(table: Table, measure: Measure) -> None:
    run = run_of(*(measure("score", 1.0, system=f"s{i}") for i in range(MAX_LINES + 4)))
    sheets = main_sheets(table.model_copy(update={"cells": ()}), [run])
    assert [len(sheet.lines) for sheet in sheets] == [MAX_LINES - 1, 5]


def test_what_was_tuned_on_dev_stands_in_the_appendix(table: Table, measure: Measure) -> None:
    settings = ("t_1", "t_1 (dev-tuned)")
    run = run_of(*(measure("score", 80.0 + s, seed=s, setting=t) for s in range(2) for t in settings))
    assert {line.labels[-1] for line in main_sheets(table, [run])[0].lines} == {"", "t_1"}
    (sheet,) = tuned_sheets(table, [run])
    assert list(cells(sheet)) == [("score", "fast", "t_1 (dev-tuned)", "sst-2", "measured")]


def test_intervals_stand_in_the_appendix_seed_by_seed(table: Table, measure: Measure) -> None:
    of_sst = [measure("saving", 0.2, seed=s, ci_low=0.1, ci_high=0.25, system=n) for n in "ab" for s in (2, 10)]
    of_rte = [measure("saving", 0.3, seed=0, ci_low=0.1, ci_high=0.5, task="rte", system="a")]
    without = measure("score", 80.0, seed=0)
    run = run_of(*of_sst, *of_rte, without)
    assert all(e.low is None for sheet in main_sheets(table, [run]) for e in sheet.entries)
    (sheet,) = interval_sheets(table, [run])
    assert [line.labels for line in sheet.lines] == [("a", "0"), ("a", "2"), ("a", "10"), ("b", "2"), ("b", "10")]
    entry = cells(sheet)["saving", "a", "0", "rte", "measured"]
    assert (entry.value, entry.low, entry.high, entry.sd) == (30.0, 10.0, 50.0, None)


def test_few_rounds_are_a_range(table: Table, measure: Measure) -> None:
    run = run_of(measure("saving", 0.2, ci_low=0.1, ci_high=0.3, n=2, note="range of 2 rounds"))
    assert [e.rounds for e in interval_sheets(table, [run])[0].entries] == [2]


def test_measurements_of_other_experiments_stay_out(table: Table, measure: Measure) -> None:
    run = run_of(measure("score", 1.0, experiment="figure2"), measure("other", 1.0))
    assert main_sheets(table, [run]) == main_sheets(table, [])


def test_a_table_shows_the_tasks_that_it_names(table: Table, measure: Measure) -> None:
    run = run_of(*(measure("score", 1.0, task=task) for task in ("sst-2", "mine")))
    named = table.model_copy(update={"cells": (), "tasks": ("SST-2",)})
    assert tasks(main_sheets(named, [run])) == [["sst-2"]]


def test_a_setting_of_ours_stands_in_the_published_row_that_it_belongs_to(table: Table, measure: Measure) -> None:
    same = SameRow(system="fast", setting="t_1", ours="t_2")
    named = table.model_copy(update={"same_rows": (same,)})
    assert main_sheets(named, []) == main_sheets(table, [])
    run = run_of(measure("score", 88.0, seed=0, setting="t_2"))
    entries = cells(main_sheets(named, [run])[0])
    assert entries["score", "fast", "t_1, ours t_2", "SST-2", "measured"].value == 88.0
    assert entries["score", "fast", "t_1, ours t_2", "SST-2", "published"].value == 93.0
    both = run_of(*(measure("score", 88.0, seed=0, setting=f"t_{i}") for i in (1, 2)))
    assert cells(main_sheets(named, [both])[0]) == cells(main_sheets(table, [both])[0])
