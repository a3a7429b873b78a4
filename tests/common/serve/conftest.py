"""A bag of words at home: it is trained in a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kit.toy_run import small_run, toy_task

from common.compare.rivals import Baseline, TfIdf
from common.methods import ONLY
from common.records.statistics import Interval
from common.serve import Measured, save
from common.task_run import TaskRun
from common.tasks.task import Example, Task

MEASURED = Measured(
    score=Interval(81.25, 75.0, 87.5, 64),
    gained=Interval(-1.5, -2.5, -0.5, 64),
    alone=Interval(2.0, 1.9, 2.1, 64),
    milliseconds=3.14159,
    on="the dev texts of toy (60), one seed",
    notes=("Nobody else was asked.",),
)


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> TfIdf:
    """Of a task on single texts."""
    task = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)
    return TfIdf(TaskRun.of(small_run(tmp_path_factory.mktemp("run"), task), "toy", 0))


@pytest.fixture(scope="session")
def pair_bag(tmp_path_factory: pytest.TempPathFactory) -> TfIdf:
    """Of a task on pairs."""
    single = toy_task("pairs", ("no", "yes"), lambda i: i % 3 > 0)
    splits = [
        tuple(Example(e.text_a, "film", e.label) for e in split)
        for split in (single.train, single.dev, single.test, single.tune)
    ]
    task = Task("pairs", single.labels, "accuracy", "builtin", *splits)
    return TfIdf(TaskRun.of(small_run(tmp_path_factory.mktemp("run"), task), "pairs", 0))


@pytest.fixture(scope="session")
def saved(bag: TfIdf, pair_bag: TfIdf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folders `single`, `pair` and `encoder`, the last of a fine-tuned encoder."""
    folder = tmp_path_factory.mktemp("saved")
    save(bag, ONLY, folder / "single", MEASURED)
    save(pair_bag, ONLY, folder / "pair")
    save(Baseline(bag.task_run), ONLY, folder / "encoder")
    return folder


@pytest.fixture
def home(saved: Path, tmp_path: Path) -> Path:
    """Of single texts, to be spoilt."""
    return shutil.copytree(saved / "single", tmp_path / "home")
