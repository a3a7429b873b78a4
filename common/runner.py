"""From a request on the command line to records on disk: builds the steps, executes them, writes and reports.

A command makes up to two runs: the trained one at the asked scale and data, and `shapes`, the paper's own
architectures at full size with random weights.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.artifacts import ArtifactStore, default_root
from common.environment import environment
from common.errors import UserError
from common.progress import RunProgress, duration
from common.records.measurements import Measurement, read_claims, write_json, write_measurements
from common.records.predictions import write_predictions
from common.replication import RESULTS, ROOT, TABLES, Journal, Replication, Run, Step, execute
from common.scales import Scale, find_scale
from common.tasks import canonical_names
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
        seeds = _seed_count(options.seeds)
        data_dir = _data_folder(data, options.data_dir)
        return Request(scale, data, data_dir, seeds, _task_names(options.tasks, data, data_dir))

    @property
    def run_name(self) -> str:
        """Folder of the record, e.g. `mini-files`."""
        return f"{self.scale.name}-{self.data}"


def _seed_count(text: str) -> int:
    # The length is looked at first: int() refuses thousands of digits in its own way.
    if text.isdecimal() and len(text) <= len(str(MOST_SEEDS)) and 1 <= int(text) <= MOST_SEEDS:
        return int(text)
    raise UserError(f"SEEDS is how many seeds, 1 to {MOST_SEEDS}; got {text[:20]!r}. Type SEEDS=3")


def _data_folder(data: str, text: str) -> Path | None:
    if not text:
        if data == "files":
            raise UserError("DATA=files needs the folder of the data sets. Type DATA_DIR=path/to/data")
        return None
    try:
        folder = Path(text).expanduser()
    except RuntimeError as error:  # ~ of an unknown user.
        raise UserError(f"DATA_DIR: {text}: {error}. Type DATA_DIR=path/to/data") from error
    if not folder.is_dir():
        raise UserError(f"DATA_DIR: there is no folder {folder}. Type DATA_DIR=path/to/data")
    return folder


def _task_names(text: str, data: str, data_dir: Path | None) -> tuple[str, ...]:
    """The names in a comma-separated list, each once, in their canonical spelling, as records need it."""
    return canonical_names((name.strip() for name in text.split(",") if name.strip()), data, data_dir)


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


def prepare(
    replication: Replication, request: Request, cache: Path, tell: Callable[[str], None] = say
) -> list[Prepared]:
    """The runs that `request` stands for. Facts and data are read, so that what is wrong with them shows here.

    `tell` is given a line for every model that is trained.

    Raises:
        UserError: a malformed paper.yaml, an unknown task, missing or malformed data, a missing encoder.
    """
    _ = replication.paper
    experiments = replication.experiments()
    trained = _prepare_run(replication, request, request.run_name, cache, tell)
    prepared = [replace(trained, steps=experiments.trained_steps(trained.run))]
    if request.scale.shapes:
        bare = replace(request, data="none", data_dir=None, tasks=(), seeds=1)
        shapes = _prepare_run(replication, bare, "shapes", cache, tell)
        prepared.append(replace(shapes, steps=experiments.shape_steps(shapes.run)))
    return prepared


def _prepare_run(
    replication: Replication, request: Request, name: str, cache: Path, tell: Callable[[str], None]
) -> Prepared:
    asked = [name, request.scale.name, request.data, str(request.data_dir), request.tasks, request.seeds]
    identity = [replication.sources_fingerprint(), asked]
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
        say=tell,
    )
    return Prepared(run, [], journal, relay)


def check(replication: Replication, request: Request) -> None:
    """Raise what `reproduce` would raise before its first step; nothing is kept in memory."""
    prepare(replication, request, default_root())


def describe_plan(replication: Replication, request: Request) -> str:
    """What would run, with estimated cost, as text; data is read, nothing is trained or written."""
    lines, total = [f"{replication.slug}:"], 0.0
    for prepared in prepare(replication, request, default_root()):
        cost = sum(step.seconds for step in prepared.steps)
        total += cost
        lines.append(f"{prepared.run.name}: {len(prepared.steps)} steps, about {duration(cost)}")
        lines += [f"  {duration(step.seconds):>12}  {step.name}" for step in prepared.steps]
    lines.append(f"in all about {duration(total)} on two CPU cores; models trained before are not trained again")
    return "\n".join(lines)


def reproduce(replication: Replication, request: Request, results: Path = RESULTS, tables: Path = TABLES) -> None:
    """Execute a request: records under `results`, then tables, figures and verdicts from them."""
    from common.reporting.report import report_paper, verdict_lines

    started = time.monotonic()
    folders = []
    prepared_runs = prepare(replication, request, default_root())
    while prepared_runs:
        folders.append(_carry_out(prepared_runs.pop(0), results / replication.slug))
        # A finished run lets go of its data and models: the next one may need all of the memory.
        gc.collect()
    report_paper(replication, results, tables)
    for folder in folders:
        print(f"\n{replication.slug}, run {folder.name}: {shown(folder)}")
        for line in verdict_lines(read_claims(folder / "claims.json")):
            print(f"  {line}")
    print(f"\ntables: {shown(tables / replication.slug)}; for the README's summary type: make tables")
    say(f"done in {duration(time.monotonic() - started)}")


def _carry_out(prepared: Prepared, results: Path) -> Path:
    """Execute one run and keep its records; the folder that they are in."""
    folder, begun = results / prepared.run.name, time.monotonic()
    measurements = run_steps(prepared)
    write_run(folder, prepared.run, measurements, time.monotonic() - begun)
    prepared.journal.clear()
    return folder


def shown(path: Path) -> Path:
    """`path` as it is printed: within the checkout without the way there."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def run_steps(prepared: Prepared) -> list[Measurement]:
    """Execute a prepared run with its progress shown."""
    names, costs = [s.name for s in prepared.steps], [s.seconds for s in prepared.steps]
    prepared.relay.target = RunProgress(names, costs, say)
    prepared.journal.begin(prepared.run.data_fingerprints())
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
        "facts": run.facts.model_dump(include={"backbones", "tasks"}),
        **environment(),
    }
    write_measurements(folder / "measurements.jsonl", measurements)
    write_predictions(folder / "predictions.npz", run.evidence)
    write_json(folder / "environment.json", about)
