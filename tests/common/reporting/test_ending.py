"""The last screen: what came out in words, what agrees with the record, where to look, what to type next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.paper import Paper, SameRow
from common.records.measurements import ClaimResult, Measurement
from common.records.runs import RunRecord
from common.reporting.ending import Number, ending

Measure = Callable[..., Measurement]


def rows(measure: Measure, score: float, saving: float, seed: int = 0) -> list[Measurement]:
    """A baseline and a fast system on one task, with intervals of a point and of a twentieth, and what is not shown."""
    at = {"seed": seed, "task": "sst-2", "scale": "mini"}
    ends = {"ci_low": score - 1, "ci_high": score + 1}
    return [
        measure("score", 93.0, system="baseline", **at),
        measure("score", score, setting="t_1", **ends, **at),
        measure("saving", saving, setting="t_1", ci_low=saving - 0.05, ci_high=saving + 0.05, timed=True, **at),
        measure("score", 99.9, setting="t_1 (dev-tuned)", **at),
        measure("saving", 0.01, system="A/A control", timed=True, **at),
        measure("saving", 0.6, system="only timed", timed=True, **at),
    ]


def screen(paper: Paper, own: list[Measurement], recorded: list[Measurement] | None, **fields: Any) -> str:
    about = {"seeds": [0], "seconds": 75, "data": "files", **fields.pop("environment", {})}
    mine = RunRecord("mini-files@local", tuple(own), environment=about, **fields)
    old = RunRecord("mini-files", tuple(recorded)) if recorded is not None else None
    return ending(paper, [(mine, old)], [Path("results/a-paper/mini-files@local")])


def line(text: str, start: str) -> str:
    (found,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return " ".join(found.split())


def test_three_groups_and_whether_they_agree(paper: Paper, measure: Measure) -> None:
    text = screen(paper, rows(measure, 92.5, 0.5), rows(measure, 92.0, 0.4))
    assert line(text, "sst-2") == "sst-2 yours | recorded | published"
    # Published: 93.0 points, and a change of -0.4 of the time, which is a saving of 40 %.
    assert line(text, "fast t_1") == "fast t_1 92.5 50 | 92.0 40 | 93.0 40 differs: time saved"
    assert line(text, "baseline") == "baseline 93.0 - | 93.0 - | - - agrees"
    assert "your run mini-files (1 seed, 1 min 15 s)" in text


def test_of_several_backbones_the_first_is_shown_by_name_and_settings_by_ours(paper: Paper, measure: Measure) -> None:
    (table,) = paper.tables
    cells = tuple(cell.model_copy(update={"backbone": "B12"}) for cell in table.cells)
    larger = tuple(cell.model_copy(update={"backbone": "B24", "value": 99.0}) for cell in table.cells)
    same = (SameRow(system="fast", setting="t_1", ours="t_2"),)
    fields = {"cells": (*cells, *larger), "same_rows": same}
    paper = paper.model_copy(update={"tables": (table.model_copy(update=fields),)})
    own = [m.model_copy(update={"setting": m.setting.replace("t_1", "t_2")}) for m in rows(measure, 92.5, 0.5)]
    text = screen(paper, own, None)
    assert line(text, "sst-2") == "sst-2 yours | published B12"
    assert line(text, "fast t_2") == "fast t_2 92.5 50 | 93.0 40"


def test_what_belongs_elsewhere_is_left_out(paper: Paper, measure: Measure) -> None:
    text = screen(paper, rows(measure, 92.5, 0.5), rows(measure, 92.0, 0.4))
    assert not any(name in text for name in ("dev-tuned", "A/A control", "only timed", "99.9"))


def test_seeds_that_both_have_are_compared(paper: Paper, measure: Measure) -> None:
    """Another seed is another model: the record's other seeds would make one and the same run differ."""
    recorded = [*rows(measure, 92.0, 0.4), *rows(measure, 80.0, 0.1, seed=1)]
    assert line(screen(paper, rows(measure, 92.0, 0.4), recorded), "fast t_1").endswith("| 92.0 40 | 93.0 40 agrees")
    other = rows(measure, 92.0, 0.4, seed=7)
    assert line(screen(paper, other, recorded), "fast t_1").startswith("fast t_1 92.0 40 | 86.0 25")


def test_without_a_record_and_on_another_task_it_says_so(paper: Paper, measure: Measure) -> None:
    own = [m.model_copy(update={"task": "mine"}) for m in rows(measure, 92.5, 0.5)]
    text = screen(paper, own, None)
    assert line(text, "mine") == "mine yours"
    assert "There is no record of mine to compare with." in text and "The paper prints nothing on mine." in text
    assert "Of all" not in text


def test_numbers_without_a_clock_are_counted(paper: Paper, measure: Measure) -> None:
    text = screen(paper, rows(measure, 95.0, 0.5), rows(measure, 92.0, 0.4))
    assert "Of all 3 numbers of this run that can be compared with the record's, times left out, 2 agree" in text


@pytest.mark.parametrize(
    ("other", "expected"),
    [(Number(1.01), True), (Number(1.9), True), (Number(2.2), False), (Number(0.4), False)],
)
def test_a_number_agrees_within_the_interval(other: Number, expected: bool) -> None:
    assert Number(1.0, 0.5, 2.0).holds(other, 1) is expected


def test_without_an_interval_only_likeness_can_be_said() -> None:
    assert Number(1.0).holds(Number(1.04), 1) is True
    assert Number(1.0).holds(Number(1.2), 1) is None


def timed(paper: Paper, metric: str) -> Paper:
    """The paper with a headline table whose time is `metric`."""
    (table,) = paper.tables
    columns = (table.metrics[0], table.metrics[1].model_copy(update={"metric": metric, "published_as": ()}))
    return paper.model_copy(update={"tables": (table.model_copy(update={"metrics": columns}),)})


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (92.5, "within a point of the baseline's 93.0, the fastest is fast t_1 with 92.5, at 2 times its speed."),
        (80.0, "nothing timed is within a point of the baseline's 93.0."),
    ],
)
def test_what_came_out_is_said_in_words(paper: Paper, measure: Measure, score: float, words: str) -> None:
    own = [
        m.model_copy(update={"metric": m.metric.replace("saving", "time_saving")}) for m in rows(measure, score, 0.5)
    ]
    assert f"In words: {words}" in screen(timed(paper, "time_saving"), own, None)


def test_smoke_says_nothing_of_quality_and_proposes_a_run_that_does(paper: Paper, measure: Measure) -> None:
    own = [m.model_copy(update={"scale": "smoke"}) for m in rows(measure, 92.5, 0.5)]
    text = screen(timed(paper, "saving"), own, None)
    assert "no score says anything" in text and "In words" not in text
    assert "make reproduce PAPER=a-paper  #" in text


@pytest.mark.parametrize(("load", "said"), [(0.4, False), (1.2, True)])
def test_a_busy_machine_makes_times_doubtful(paper: Paper, measure: Measure, load: float, said: bool) -> None:
    environment = {"timing": {"others_load_mean": 0.1, "others_load_max": load}}
    text = screen(paper, rows(measure, 92.5, 0.5), None, environment=environment)
    assert ("trust the scores, not the times" in text) == said


def test_claims_stand_with_yours_recorded_and_printed(paper: Paper, measure: Measure) -> None:
    base = {"statement": "statement of saves", "type": "empirical", "subject": "efficiency", "over": "one", "op": ">="}
    result = ClaimResult(id="saves", **base, published=0.39, no_effect=0.0, unit="share", verdict="seen here", run="r",
                         measured=0.41, ci_low=0.4, ci_high=0.42)  # fmt: skip
    silent = result.model_copy(update={"id": "keeps", "statement": "statement of keeps", "verdict": "not run"})
    text = screen(paper, rows(measure, 92.5, 0.5), None, claims=(result, silent))
    assert "  statement of saves\n    yours 0.41 share [0.4, 0.42], seen here; printed ≥ 0.39" in text
    assert "keeps" not in text and "not run" not in text


def test_where_to_look_and_what_to_try_next_come_last(paper: Paper, measure: Measure) -> None:
    last = screen(paper, rows(measure, 92.5, 0.5), None).partition("Where to look")[2]
    assert "results/a-paper/mini-files@local/" in last and "tables/a-paper/" in last
    assert "make reproduce PAPER=a-paper SEEDS=3" in last and "DATA=files DATA_DIR=data TASKS=mine" in last
    two = screen(paper, rows(measure, 92.5, 0.5), None, environment={"seeds": [0, 1, 2]})
    assert "SEEDS=3" not in two
