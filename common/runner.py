"""From a request on the command line to records on disk: builds the steps, executes them, writes and reports.

A command makes up to two runs: the trained one at the asked scale and data, and `shapes`, the paper's own
architectures at full size with random weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.artifacts import ArtifactStore, default_root
from common.environment import environment
from common.errors import UserError
from common.progress import RunProgress, duration
from common.records import Measurement, write_json, write_measurements
from common.replication import RESULTS, Journal, Replication, Run, Step, execute
from common.scales import Scale, find_scale
from common.tasks.catalogue import check_source

MOST_SEEDS = 100


@dataclass(frozen=True)
class Request:
    """What the user asked for, checked."""

    scale: Scale
    data: str
    data_dir: Path | None
    seeds: int
    tasks: tuple[str, ...]

    @staticmethod
    def parse(options: argparse.Namespace) -> Request:
        """Check the command line's options.

        Raises:
            UserError: an unknown scale, source or task, a seed count that is no positive number, or no data folder.
        """
        scale, data = find_scale(options.scale), options.data
        check_source(data)
        if not options.seeds.isdecimal() or not 1 <= int(options.seeds) <= MOST_SEEDS:
            raise UserError(f"SEEDS is how many seeds, 1 to {MOST_SEEDS}; got {options.seeds!r}. Type SEEDS=3")
        folder = Path(options.data_dir).expanduser() if options.data_dir else None
        if data == "files" and folder is None:
            raise UserError("DATA=files needs the folder of the data sets. Type DATA_DIR=path/to/data")
        if folder is not None and not folder.is_dir():
            raise UserError(f"DATA_DIR: there is no folder {folder}")
        tasks = tuple(name.strip() for name in options.tasks.split(",") if name.strip())
        return Request(scale, data, folder, int(options.seeds), tasks)

    @property
    def run_name(self) -> str:
        """Folder of the record, e.g. `mini-files`."""
        return f"{self.scale.name}-{self.data}"


@dataclass
class Relay:
    """Hands progress to whatever shows it at the moment; a run's steps exist before their display does."""

    target: RunProgress | None = field(default=None)

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` units of the current step are finished."""
        if self.target is not None:
            self.target(done, total)


def say(line: str) -> None:
    """Print one line at once; messages go to stderr, results to stdout."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Prepared:
    """A run ready to be executed or shown."""

    run: Run
    steps: list[Step]
    journal: Journal
    relay: Relay


def prepare(replication: Replication, request: Request, cache: Path) -> list[Prepared]:
    """The runs that `request` stands for."""
    experiments = replication.experiments()
    trained = _prepare_run(replication, request, request.run_name, cache)
    prepared = [replace(trained, steps=experiments.trained_steps(trained.run))]
    if request.scale.shapes:
        bare = replace(request, data="none", data_dir=None, tasks=(), seeds=1)
        shapes = _prepare_run(replication, bare, "shapes", cache)
        prepared.append(replace(shapes, steps=experiments.shape_steps(shapes.run)))
    return prepared


def _prepare_run(replication: Replication, request: Request, name: str, cache: Path) -> Prepared:
    identity = [replication.sources_fingerprint(), name, request.scale.name, request.data, str(request.data_dir)]
    identity += [list(request.tasks), request.seeds]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    journal, relay = Journal(cache / "journal" / f"{replication.slug}-{name}-{key}"), Relay()
    run = Run(
        name=name,
        scale=request.scale,
        data=request.data,
        data_dir=request.data_dir,
        task_names=request.tasks,
        seeds=tuple(range(request.seeds)),
        store=ArtifactStore(cache),
        scratch=journal.folder,
        progress=relay,
        say=say,
    )
    return Prepared(run, [], journal, relay)


def describe_plan(replication: Replication, request: Request) -> str:
    """What would run, with estimated cost, as text; data is read, nothing is trained or written."""
    lines, total = [f"{replication.slug}:"], 0.0
    for prepared in prepare(replication, request, default_root()):
        cost = sum(step.seconds for step in prepared.steps)
        total += cost
        lines.append(
            f"{prepared.run.name}: {len(prepared.steps)} steps, about {duration(cost)}"
        )
        lines += [f"  {duration(step.seconds):>12}  {step.name}" for step in prepared.steps]
    lines.append(f"in all about {duration(total)} on two CPU cores; models trained before are not trained again")
    return "\n".join(lines)


def reproduce(replication: Replication, request: Request, results: Path = RESULTS) -> None:
    """Execute a request: records under `results`, then tables, figures and verdicts from them."""
    from common.reporting.report import report_paper

    started = time.monotonic()
    for prepared in prepare(replication, request, default_root()):
        folder = results / replication.slug / prepared.run.name
        begun = time.monotonic()
        measurements = run_steps(prepared)
        write_run(folder, prepared.run, measurements, time.monotonic() - begun)
        prepared.journal.clear()
    for line in report_paper(replication, results):
        print(line)
    say(f"done in {duration(time.monotonic() - started)}")


def run_steps(prepared: Prepared) -> list[Measurement]:
    """Execute a prepared run with its progress shown."""
    names, costs = [s.name for s in prepared.steps], [s.seconds for s in prepared.steps]
    prepared.relay.target = RunProgress(names, costs, say)
    return execute(prepared.steps, prepared.journal, prepared.relay.target, prepared.run)


def write_run(folder: Path, run: Run, measurements: list[Measurement], seconds: float) -> None:
    """Write a run's record: measurements and environment."""
    about = {
        "run": run.name,
        "scale": run.scale.name,
        "data": run.data,
        "tasks": sorted({m.task for m in measurements if m.task}),
        "seeds": list(run.seeds),
        "seconds": round(seconds),
        **environment(),
    }
    write_measurements(folder / "measurements.jsonl", measurements)
    write_json(folder / "environment.json", about)
