"""From a request on the command line to records on disk: builds the steps, executes them, writes what they measured.

A command makes up to two runs: the trained one at the asked scale and data, and `shapes`, the paper's own
architectures at full size with random weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from common.environment import environment
from common.errors import UserError
from common.records.measurements import Measurement, write_json, write_measurements
from common.records.predictions import write_predictions
from common.run.artifacts import ArtifactStore, default_root
from common.run.progress import RunProgress, duration, say
from common.run.replication import Journal, Replication, Run, Step, execute
from common.scales import Scale, find_scale
from common.tasks import canonical_names
from common.tasks.catalogue import check_source, find_facts
from common.timing.quiet import timing_facts

if TYPE_CHECKING:
    from common.devices import TimingChoice

MOST_SEEDS = 100


@dataclass(frozen=True)
class Request:
    """What the user asked for, checked."""

    scale: Scale
    data: str
    data_dir: Path | None
    seeds: int
    tasks: tuple[str, ...]
    timing: TimingChoice = "auto"
    encoder: str = ""

    @staticmethod
    def parse(options: argparse.Namespace) -> Request:
        """Check the command line's options.

        Raises:
            UserError: an unknown scale, source, task or timing device, a seed count that is no positive number, or no
                data folder.
        """
        scale, data = find_scale(options.scale), options.data
        check_source(data)
        seeds = _seed_count(options.seeds)
        data_dir = _data_folder(data, options.data_dir)
        tasks, timing = _task_names(options.tasks, data, data_dir), _timing_choice(options.timing_device)
        return Request(scale, data, data_dir, seeds, tasks, timing, options.encoder.strip())

    @property
    def run_name(self) -> str:
        """Folder of the record, e.g. `mini-files`."""
        return f"{self.scale.name}-{self.data}"

    @property
    def own_tasks(self) -> tuple[str, ...]:
        """The tasks that the project does not know: the user's own."""
        return tuple(name for name in self.tasks if find_facts(name) is None)

    def for_the_record(self) -> Request:
        """This request, if its results may become a committed record.

        Raises:
            UserError: it names a task of the user's own, or the smoke scale, whose record is a baseline.
        """
        if self.own_tasks:
            raise UserError(
                f"a record is of the papers' tasks, and {', '.join(self.own_tasks)} is your own: it is measured by "
                "make reproduce, with the same options"
            )
        if self.scale.name == "smoke":
            raise UserError(
                "the record of SCALE=smoke is the baseline of make regress. Type make regress-update, or another SCALE"
            )
        return self


def _seed_count(text: str) -> int:
    # The length is looked at first: int() refuses thousands of digits in its own way.
    if text.isdecimal() and len(text) <= len(str(MOST_SEEDS)) and 1 <= int(text) <= MOST_SEEDS:
        return int(text)
    raise UserError(f"SEEDS is how many seeds, 1 to {MOST_SEEDS}; got {text[:20]!r}. Type SEEDS=3")


def _timing_choice(text: str) -> TimingChoice:
    if text in ("auto", "cpu"):
        return cast("TimingChoice", text)
    raise UserError(
        f"TIMING_DEVICE is where latency is measured: auto (the device of training) or cpu; got {text[:20]!r}. "
        "Type TIMING_DEVICE=cpu"
    )


def _data_folder(data: str, text: str) -> Path | None:
    if not text:
        if data == "files":
            raise UserError("DATA=files needs the folder of the data sets. Type DATA_DIR=path/to/data")
        return None
    if data != "files":
        raise UserError(f"DATA_DIR={text} is read with DATA=files alone, and this is DATA={data}. Type DATA=files")
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
    if request.scale.shapes and not request.own_tasks:
        bare = replace(request, data="none", data_dir=None, tasks=(), seeds=1)
        shapes = _prepare_run(replication, bare, "shapes", cache, tell)
        steps = experiments.shape_steps(shapes.run)
        prepared += [replace(shapes, steps=steps)] if steps else []
    return prepared


def bare_run(request: Request, tell: Callable[[str], None] = say) -> Run:
    """A run of no paper: no steps, nothing kept but what is trained."""
    cache = default_root()
    return _run(request, request.run_name, cache, cache / "scratch", Relay(), tell)


def _prepare_run(
    replication: Replication, request: Request, name: str, cache: Path, tell: Callable[[str], None]
) -> Prepared:
    asked = [
        name,
        request.scale.name,
        request.data,
        str(request.data_dir),
        request.tasks,
        request.seeds,
        request.timing,
        request.encoder,
    ]
    identity = [replication.sources_fingerprint(), asked]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    journal, relay = Journal(cache / "journal" / f"{replication.slug}-{name}-{key}"), Relay()
    return Prepared(_run(request, name, cache, journal.folder, relay, tell), [], journal, relay)


def _run(request: Request, name: str, cache: Path, scratch: Path, relay: Relay, tell: Callable[[str], None]) -> Run:
    return Run(
        name=name,
        scale=request.scale,
        data=request.data,
        data_dir=request.data_dir,
        task_names=request.tasks,
        seeds=tuple(range(request.seeds)),
        store=ArtifactStore(cache),
        scratch=scratch,
        progress=relay,
        say=tell,
        timing=request.timing,
        backbone=request.encoder,
    )


def names_and_seconds(prepared: Iterable[Prepared]) -> tuple[list[str], list[float]]:
    """Names and estimated costs of all steps of these runs, in order."""
    steps = [step for part in prepared for step in part.steps]
    return [step.name for step in steps], [step.seconds for step in steps]


def describe_plan(replication: Replication, request: Request) -> str:
    """What would run, with estimated cost, as text; data is read, nothing is trained or written."""
    lines, total = [f"{replication.slug}:"], 0.0
    for prepared in prepare(replication, request, default_root()):
        cost = sum(step.seconds for step in prepared.steps)
        total += cost
        lines.append(f"{prepared.run.name}: {len(prepared.steps)} steps, about {duration(cost)}")
        lines += [f"  {duration(step.seconds):>12}  {step.name}" for step in prepared.steps]
        lines += prepared.run.describe_data()
    lines.append(f"in all about {duration(total)} on two CPU cores{_here(total)}; what was trained before is not again")
    return "\n".join(lines)


def _here(seconds: float) -> str:
    """The same for the machine at hand, if it trains on its CPU."""
    from common.costs.estimates import slowness
    from common.devices import available_device, training_precision

    device = available_device()
    if device.type != "cpu":
        return ""
    return f", {duration(seconds * slowness(training_precision(device)))} on this machine as busy as it is"


def run_steps(prepared: Prepared, progress: RunProgress | None = None, first: int = 0) -> list[Measurement]:
    """Execute a prepared run with its progress shown, as part of a longer command or by itself."""
    prepared.relay.target = progress or RunProgress.on_stderr(*names_and_seconds([prepared]))
    prepared.journal.begin(prepared.run.data_fingerprints())
    return execute(prepared.steps, prepared.journal, prepared.relay.target, prepared.run, first)


def write_run(folder: Path, prepared: Prepared, measurements: list[Measurement], seconds: float) -> None:
    """Write a run's record: measurements, predictions and environment."""
    run = prepared.run
    about = {
        "run": run.name,
        "scale": run.scale.name,
        "data": run.data,
        "tasks": sorted({m.task for m in measurements if m.task}),
        "seeds": list(run.seeds),
        "seconds": round(seconds),
        "facts": run.facts.model_dump(include={"backbones", "tasks"}),
        "devices": run.devices,
        "timing": timing_facts(prepared.journal.loads),
        **environment(),
    }
    write_measurements(folder / "measurements.jsonl", measurements)
    write_predictions(folder / "predictions.npz", run.evidence)
    write_json(folder / "environment.json", about)
