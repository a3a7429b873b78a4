"""An average over tasks needs the same tasks for every seed."""

from dataclasses import dataclass
from typing import Any

from common.early_exit.baselines import seeds_with_all_tasks


@dataclass(frozen=True)
class OfTask:
    seed: int
    task: str

    @property
    def trial(self) -> Any:
        return self


def test_a_seed_that_left_a_task_out_has_no_average() -> None:
    found = [OfTask(0, "a"), OfTask(1, "a"), OfTask(0, "b"), OfTask(0, "c"), OfTask(2, "c"), OfTask(2, "a")]
    assert seeds_with_all_tasks(found) == {0: [OfTask(0, "a"), OfTask(0, "b"), OfTask(0, "c")]}


def test_seeds_that_did_all_tasks_each_have_one() -> None:
    found = [OfTask(seed, task) for task in ("a", "b") for seed in (3, 4)]
    assert list(seeds_with_all_tasks(found)) == [3, 4]


def test_one_task_has_no_average() -> None:
    assert seeds_with_all_tasks([OfTask(0, "a"), OfTask(1, "a")]) == {}
    assert seeds_with_all_tasks([]) == {}
