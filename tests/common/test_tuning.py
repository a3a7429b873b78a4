"""The search behind the recipes: what is held back decides, for every kind of task, and the better one comes first."""

from dataclasses import replace
from pathlib import Path

import pytest
from kit.toy_run import WORDS, small_run, toy_task
from kit.toy_tagging import tagging_run, toy_tagging

from common import tuning
from common.errors import UserError
from common.run.replication import Run
from common.tasks.task import Task
from common.tuning import Candidate, Grid, kind_of, search, write_table

NEVER, WELL = 1e-7, 2e-3
"""Learning rates: at the first nothing is learned."""

GRID = Grid((NEVER, WELL), (8,), (WELL, NEVER), (8,), ("mean",))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Texts whose only word says what they are."""
    task = toy_task("toy", ("even", "odd"), lambda i: i % 2)
    return small_run(tmp_path, _told_apart(task))


def _told_apart(task: Task) -> Task:
    def told(split: tuple) -> tuple:
        return tuple(replace(e, text_a=WORDS[2 * (i % 4) + int(e.label)]) for i, e in enumerate(split))

    return replace(task, train=told(task.train), tune=told(task.tune), dev=told(task.dev), test=())


def test_the_better_recipe_comes_first_of_the_whole_and_of_the_half(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tuning.GRIDS, "smoke", GRID)
    for whole, found in zip((True, False), search(run, ("toy",)), strict=True):
        assert [t.candidate for t in found] == [Candidate(whole, "mean", rate, 8) for rate in (WELL, NEVER)]
        assert found[0].mean > 95 > found[1].mean


def test_dev_is_not_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tuning.GRIDS, "smoke", Grid((WELL,), (8,), (WELL,), (8,), ("mean",)))
    wrong = replace(run._tasks["toy"], dev=tuple(replace(e, label=1 - e.label) for e in run._tasks["toy"].dev))
    run._tasks["toy"] = wrong
    assert all(found[0].mean > 95 for found in search(run, ("toy",)))


def test_words_are_scored_by_their_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tagging_run(tmp_path, toy_tagging("entities"))
    monkeypatch.setitem(tuning.TAGGING_GRIDS, "smoke", GRID)
    first = next(iter(search(run, ("entities",))))
    assert [t.candidate.rate for t in first] == [WELL, NEVER]
    assert first[0].mean > first[1].mean


def test_each_kind_has_its_grid_and_kinds_are_not_mixed(run: Run) -> None:
    known = {tuning.WORDS: "entities", tuning.PASSAGES: "reading", tuning.TEXTS: "sentiment"}
    for kind, task in known.items():
        assert kind_of(run, (task,)) is tuning.KINDS[kind]
    with pytest.raises(UserError, match="one kind at a time"):
        kind_of(run, ("sentiment", "entities"))


def test_a_scale_without_a_grid_is_refused(run: Run) -> None:
    with pytest.raises(UserError, match="SCALE=paper"):
        kind_of(replace(run, scale=replace(run.scale, name="paper")), ("toy",))


def test_the_table_holds_every_candidate(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tuning.GRIDS, "smoke", GRID)
    write_table(tmp_path / "table.md", run, ("toy",), list(search(run, ("toy",))))
    text = (tmp_path / "table.md").read_text()
    assert text.count("| 0.002 | 8 | mean |") == 2
    assert text.count("| 1e-07 | 8 | mean |") == 2
