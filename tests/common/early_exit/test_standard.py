"""An average over tasks needs the same tasks for every seed."""

from types import SimpleNamespace
from typing import Any

from common.early_exit.standard import with_all_tasks


def table(seed: int, task: str) -> Any:
    """As much of a table of one task and seed as tells whose it is."""
    backbone = SimpleNamespace(backbone="toy")
    return SimpleNamespace(scored=SimpleNamespace(task_run=SimpleNamespace(seed=seed, task=task, backbone=backbone)))


def averaged(*tables: tuple[int, str]) -> dict[int, list[str]]:
    """The tasks that each seed's average is of."""
    found = list(with_all_tasks(table(seed, task) for seed, task in tables))
    by_seed = {row.seed: [t.scored.task_run.task for t in of_seed] for row, of_seed in found}
    assert len(by_seed) == len(found), "one average for each seed"
    for row, of_seed in found:
        assert {t.scored.task_run.seed for t in of_seed} == {row.seed}
    return by_seed


def test_a_seed_that_left_a_task_out_has_no_average() -> None:
    assert averaged((0, "a"), (1, "a"), (0, "b"), (0, "c"), (2, "c"), (2, "a")) == {0: ["a", "b", "c"]}


def test_seeds_that_did_all_tasks_each_have_one() -> None:
    assert averaged((3, "a"), (4, "a"), (3, "b"), (4, "b")) == {3: ["a", "b"], 4: ["a", "b"]}


def test_one_task_has_no_average() -> None:
    assert averaged((0, "a"), (1, "a")) == {}
    assert averaged() == {}
