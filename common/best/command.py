"""The command `best`: which system to take for a task, and its folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from common.best.limits import Limits
from common.compare.command import Comparison
from common.errors import UserError
from common.records.runs import LOCAL, RunRecord, read_run
from common.run.command import Part, carry_out, shown
from common.run.preflight import check_writable
from common.run.progress import say
from common.run.replication import RESULTS, Experiments, Run, Step
from common.run.runner import Request

if TYPE_CHECKING:
    from common.best.choice import Standing
    from common.best.judgement import Judged
    from common.best.search import Search
    from common.best.words import Words
    from common.methods import Contender, Setting
    from common.paper import Paper
    from common.serve import Measured

Save = Callable[["Contender", "Setting", Path, "Measured"], object]
"""Writes a system to a new folder."""


def predict() -> str:
    """What is typed to let a folder answer: the command beside the Python that runs this."""
    return f"{shown(Path(sys.executable).with_name('reproduce'))} predict"


@dataclass(frozen=True)
class Best(Comparison):
    """A comparison that looks for one system on one task.

    Attributes:
        limits: what the user allows.
        searches: what is tried, once the steps were asked for.
    """

    limits: Limits = field(default_factory=lambda: Limits(1.0))
    searches: list[Search] = field(default_factory=list)

    @property
    def paper(self) -> Paper:
        """Nothing is drawn: the layout alone."""
        from common.paper import load_paper

        return load_paper(self.folder / "comparison.yaml")

    def experiments(self) -> Experiments:
        """Those of the search."""
        return cast(Experiments, SimpleNamespace(trained_steps=self._steps, shape_steps=lambda run: []))

    def _steps(self, run: Run) -> list[Step]:
        from common.best.search import Search

        (task,) = run.task_names
        search = Search.of(run, task, self.limits, self.methods)
        self.searches.append(search)
        return search.steps()

    def sources_fingerprint(self) -> str:
        """Other limits are another search."""
        import hashlib

        return hashlib.sha256(f"{super().sources_fingerprint()} {self.limits}".encode()).hexdigest()


@dataclass(frozen=True)
class Wish:
    """What the command was asked for beside the run, checked.

    Attributes:
        task: the one task.
        folder: where the system goes.
    """

    task: str
    folder: Path

    @staticmethod
    def of(request: Request, to: str, results: Path = RESULTS) -> Wish:
        """The one task and a folder that nothing lies in.

        Raises:
            UserError: no task or several, several seeds, or a folder that something lies in or that cannot be written.
        """
        if len(request.tasks) != 1:
            given = ", ".join(request.tasks) or "none"
            raise UserError(f"a system is chosen for one task; got {given}. Type TASKS=mine")
        if request.seeds != 1:
            raise UserError(f"one model is taken home, so one is trained; got SEEDS={request.seeds}: leave it out")
        (task,) = request.tasks
        folder = Path(to).expanduser() if to.strip() else results / "best" / f"{quote(task, safe='')}{LOCAL}"
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UserError(
                f"something lies in {shown(folder)} already, and nothing is written over it. "
                "Type BEST_DIR=path/to/another, or remove it"
            )
        check_writable(folder)
        return Wish(task, folder)


def best(part: Part, wish: Wish, results: Path = RESULTS, save: Save | None = None) -> None:
    """Carry out the search, say in five lines which system to take, and write it to its folder.

    Raises:
        UserError: nothing meets the limits; the nearest is named, and no folder is written.
    """
    from common.best.words import Words

    (search,) = cast(Best, part.replication).searches
    for line in search.plan_lines(part.prepared[0].steps):
        say(line)
    (folder,) = carry_out(part, lambda name: results / "best" / f"{name}-{quote(wish.task, safe='')}{LOCAL}")
    run = read_run(folder)
    words = Words(run, judged(run, search))
    for line in words.contradicted():
        say(line)
    first = words.first
    (save or _save)(*search.system(first), wish.folder, measured(words, first))
    print("\n".join(words.lines(predict(), shown(wish.folder))))


def judged(run: RunRecord, search: Search) -> Judged:
    """The record of a search, by its limits."""
    from common.best.judgement import Judged

    (evidence,) = run.all_evidence
    return Judged(evidence, search.limits, search.batched)


def measured(words: Words, standing: Standing) -> Measured:
    """For the README of the folder."""
    from dataclasses import replace

    from common.best.judgement import arm_name
    from common.serve import Measured

    found, arm = words.judged, arm_name(standing.method, standing.setting)
    lost = found.loss(standing)
    return Measured(
        score=found.score(standing.method, standing.setting),
        gained=replace(lost, value=-lost.value, low=-lost.high, high=-lost.low),
        alone=found.alone.speedup(arm),
        batches=found.together.speedup(arm),
        milliseconds=found.alone.p50_ms(arm),
        per_second=1 / found.together.typical(arm),
        on=f"dev of {words.task} ({len(found.evidence.labels)} texts), one seed; times on {words.machine}{words.doubt}",
        notes=words.notes,
    )


def _save(contender: Contender, setting: Setting, folder: Path, found: Measured) -> None:
    from common.serve import save

    save(contender, setting, folder, found)
