"""Generated toy tasks, and a whole run on them in seconds, for the tests of every paper."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from common.records.measurements import Measurement
from common.records.predictions import Evidence
from common.run.artifacts import ArtifactStore
from common.run.replication import Journal, Run, Step, execute
from common.scales import SCALES
from common.tasks.task import Example, Task

WORDS = ("good", "bad", "film", "plot", "slow", "fine", "dull", "warm", "cold", "long")


def toy_task(name: str, labels: tuple[str, ...], label: Callable[[int], float], metric: str = "accuracy") -> Task:
    """A few short texts a split, of three difficulties; `label` says what example i is."""
    parts = [_examples(count, label, offset) for offset, count in enumerate((64, 60, 30, 60))]
    return Task(name, labels, metric, "builtin", parts[0], parts[1], test=parts[2], tune=parts[3])


def _examples(count: int, label: Callable[[int], float], offset: int) -> tuple[Example, ...]:
    def text(i: int) -> str:
        return " ".join(WORDS[(i * k + offset) % 10] for k in range(1, 3 + i % 5))

    return tuple(Example(text(i), None, label(i), difficulty=1 + i % 3) for i in range(count))


def small_run(folder: Path, *tasks: Task, seeds: tuple[int, ...] = (0,)) -> Run:
    """A run of these tasks at the smoke scale, which keeps what it trains in `folder`."""
    scale = replace(SCALES["smoke"], timing_examples=4)
    names = tuple(task.name for task in tasks)
    run = Run("r", scale, "builtin", None, names, seeds, ArtifactStore(folder), folder, quiet, lambda line: None)
    run._tasks.update({task.name: task for task in tasks})
    return run


def shapes_run(keep: Callable[[Evidence], None] = lambda evidence: None) -> Any:
    """As much of a run as measuring at full size asks for: one seed, and `keep` for what is kept."""
    return SimpleNamespace(progress=quiet, seeds=(0,), keep=keep)


def quiet(done: int, total: int) -> None:
    """Progress that nobody wants to see."""


def run_steps(steps: list[Step], run: Run, folder: Path) -> list[Measurement]:
    """What the steps measure; `folder` keeps the journal."""
    return execute(steps, Journal(folder), _Silent(), run)  # type: ignore[arg-type]


def picked(rows: list[Measurement], **wanted: object) -> list[Measurement]:
    """The rows whose fields have these values."""
    return [m for m in rows if all(getattr(m, k) == v for k, v in wanted.items())]


class _Silent:
    def start(self, index: int) -> None:
        pass

    def finish(self, *, counted: bool) -> None:
        pass
