"""Finds what has been run: the record files of each run of a paper.

A run is a folder `results/<paper>/<run>/` with a `measurements.jsonl`; its predictions, its verdicts and the
description of the machine lie beside it and may be missing. `<run>@local` is a user's own result and no record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.records.facts import RunFacts, run_facts
from common.records.measurements import ClaimResult, Measurement, read_claims, read_measurements
from common.scales import SCALES
from common.tasks.catalogue import find_facts

if TYPE_CHECKING:
    from common.records.predictions import Evidence

LOCAL = "@local"
"""Ends the name of a folder with a user's own results."""


@dataclass(frozen=True)
class RunRecord:
    """The records of one run.

    Attributes:
        name: the run's folder, e.g. `mini-files`.
        measurements: in the order of the file.
        claims: verdicts; empty where none were written yet.
        environment: machine, versions and commit; empty where it was not written.
        folder: where the files are; None for a record that was never written.
    """

    name: str
    measurements: tuple[Measurement, ...]
    claims: tuple[ClaimResult, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @cached_property
    def all_evidence(self) -> tuple[Evidence, ...]:
        """What every system answered, example by example; empty where no predictions were stored.

        Raises:
            UserError: the file is damaged.
        """
        from common.records.predictions import read_predictions

        path = self.folder / "predictions.npz" if self.folder else None
        return tuple(read_predictions(path)) if path and path.exists() else ()

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The part that verdicts rest on: of tasks that the project knows. Nobody's own data judge a paper."""
        return tuple(e for e in self.all_evidence if not e.metric or find_facts(e.task) is not None)

    @cached_property
    def facts(self) -> RunFacts:
        """What the run had to work with."""
        return run_facts(self.environment)

    @property
    def quality_counts(self) -> bool:
        """Whether trained quality means anything at the run's scale; at one that is not ours it does."""
        scales = {m.scale for m in self.measurements}
        return all(scale not in SCALES or SCALES[scale].quality_verdicts for scale in scales)

    @property
    def trained(self) -> bool:
        """Whether anything was trained in it: not at full size, with random weights."""
        return bool(self.seeds)

    @property
    def commit(self) -> str:
        """The commit that the run was made from, shortened, with what it lacks said; `unknown` without one."""
        git = self.environment.get("git", {})
        commit = str(git.get("commit", "unknown"))[:12]
        return f"{commit} with changes" if git.get("dirty") is True else commit

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds that occur in the measurements."""
        return tuple(sorted({m.seed for m in self.measurements if m.seed is not None}))

    def of(self, experiment: str) -> tuple[Measurement, ...]:
        """Return the measurements of one experiment."""
        return tuple(m for m in self.measurements if m.experiment == experiment)


def find_folders(results_dir: Path, paper_slug: str) -> list[Path]:
    """The folders of the runs recorded for a paper, by name, without users' own; none where nothing has been run."""
    files = sorted((results_dir / paper_slug).glob("*/measurements.jsonl"))
    return [file.parent for file in files if not file.parent.name.endswith(LOCAL)]


def find_runs(results_dir: Path, paper_slug: str) -> list[RunRecord]:
    """Return the runs recorded for a paper, as `find_folders` finds them.

    Raises:
        UserError: a record file is malformed.
    """
    return [read_run(folder) for folder in find_folders(results_dir, paper_slug)]


def read_run(folder: Path) -> RunRecord:
    """Read one run's folder.

    Raises:
        UserError: measurements.jsonl is missing, or a record file is malformed.
    """
    claims = folder / "claims.json"
    environment = folder / "environment.json"
    return RunRecord(
        name=folder.name,
        measurements=tuple(read_measurements(folder / "measurements.jsonl")),
        claims=tuple(read_claims(claims)) if claims.exists() else (),
        environment=_read_environment(environment) if environment.exists() else {},
        folder=folder,
    )


def _read_environment(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("git", {}), dict):
        raise UserError(f"{path}: expected a JSON object with an object 'git', found {str(value)[:60]}")
    return value
