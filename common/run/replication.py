"""What a replication is, where they are found, and how one is run step by step.

A replication is a folder under `replications/` with a `paper.yaml` (the facts) and an `experiments.py` with two
functions, `trained_steps(run)` and `shape_steps(run)`, each a list of `Step`s. Running executes the steps, planning
prints them; a step that was finished is not done again when an interrupted command is repeated.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import quote

from common.errors import UserError, did_you_mean
from common.records.measurements import Measurement, read_measurements, write_json, write_measurements, write_text
from common.scales import Scale
from common.tasks.catalogue import SMOKE_TASKS

if TYPE_CHECKING:
    import torch

    from common.devices import TimingChoice
    from common.encoders.sources import PretrainedEncoder
    from common.paper import Paper
    from common.records.claims import Decide
    from common.records.facts import RunFacts
    from common.records.predictions import Evidence
    from common.run.artifacts import ArtifactStore
    from common.run.progress import RunProgress
    from common.tasks.description import DataSummary
    from common.tasks.spans import SpanTask
    from common.tasks.spans.limits import SpanSummary
    from common.tasks.tagging import TaggingTask
    from common.tasks.tagging_sources import TaggingSummary
    from common.tasks.task import Task
    from common.timing.quiet import Load

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
TABLES = ROOT / "tables"
README = ROOT / "README.md"

HELD_BACK = 8
"""At most one training example in so many is held back for choosing thresholds."""

RECORDED = "recorded-in.txt"
"""In a journal: the folder of the finished run's record."""

LEAST_TRAIN = 2 * HELD_BACK
LEAST_DEV = 2


@dataclass(frozen=True)
class Step:
    """A piece of a run: its name, its estimated seconds on two CPU cores, and what it measures."""

    name: str
    seconds: float
    measure: Callable[[], Sequence[Measurement]]

    @staticmethod
    def making(name: str, seconds: float, make: Callable[[], object]) -> Step:
        """A step that measures nothing: what `make` makes is kept, and later steps read it."""

        def measure() -> list[Measurement]:
            make()
            return []

        return Step(name, seconds, measure)


class Experiments(Protocol):
    """What `replications/<paper>/experiments.py` offers."""

    def trained_steps(self, run: Run) -> list[Step]:
        """Train and evaluate at the run's scale, on its data."""

    def shape_steps(self, run: Run) -> list[Step]:
        """Measure the paper's own architectures with random weights."""


@dataclass(frozen=True)
class Replication:
    """One paper's folder."""

    slug: str
    folder: Path

    @property
    def paper(self) -> Paper:
        """The facts in its paper.yaml."""
        from common.paper import load_paper

        return load_paper(self.folder / "paper.yaml")

    def experiments(self) -> Experiments:
        """Its experiments.py, imported."""
        return cast(Experiments, importlib.import_module(f"replications.{self.slug}.experiments"))

    def deciders(self) -> Mapping[str, Decide]:
        """What decides its claims, by claim: `DECIDERS` of its claims.py."""
        module = importlib.import_module(f"replications.{self.slug}.claims")
        return cast("Mapping[str, Decide]", module.DECIDERS)

    def sources_fingerprint(self) -> str:
        """SHA-256 over the code and facts that its numbers come from."""
        digest = hashlib.sha256()
        for folder in (ROOT / "common", self.folder):
            for path in sorted(p for p in folder.rglob("*") if p.suffix in {".py", ".yaml"}):
                digest.update(path.relative_to(folder.parent).as_posix().encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()


def find_replications(folder: Path = ROOT / "replications") -> tuple[Replication, ...]:
    """Every folder that holds a paper.yaml, by name."""
    return tuple(Replication(p.parent.name, p.parent) for p in sorted(folder.glob("*/paper.yaml")))


def choose(name: str) -> tuple[Replication, ...]:
    """The replication called `name` (any case, with or without - or _), or all of them for `all`.

    Raises:
        UserError: no such paper; the message suggests one.
    """
    known = {_plain(r.slug): r for r in find_replications()}
    names = ", ".join(r.slug for r in known.values())
    if not name.strip():
        raise UserError(f"which paper? Papers: {names} (or all). Type PAPER=deeBERT")
    if name.strip().lower() == "all":
        return tuple(known.values())
    if _plain(name) in known:
        return (known[_plain(name)],)
    raise UserError(f"unknown paper {name!r}{did_you_mean(_plain(name), known) or '.'} Papers: {names} (or all)")


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.lower())


@dataclass(frozen=True)
class Run:
    """What an experiment is given: how much, on which data, and where to keep things.

    Attributes:
        name: folder of the record, e.g. `mini-files` or `shapes`.
        task_names: chosen by the user; empty means the replication's own choice.
        seeds: training seeds, 0-based.
        store: trained models.
        scratch: a folder that lives until the run is complete, for what a later step of the same run needs.
        progress: told how far a step is.
        say: prints a line.
        backbone: the pretrained encoder that the user named; empty means each recipe's own.
        timing: where latency is measured: on the device of training (`auto`) or on the CPU.
    """

    name: str
    scale: Scale
    data: str
    data_dir: Path | None
    task_names: tuple[str, ...]
    seeds: tuple[int, ...]
    store: ArtifactStore
    scratch: Path
    progress: Callable[[int, int], None]
    say: Callable[[str], None]
    backbone: str = ""
    timing: TimingChoice = "auto"
    _tasks: dict[str, Task] = field(default_factory=dict)
    _encoders: dict[str, PretrainedEncoder] = field(default_factory=dict)
    _whole: dict[str, int] = field(default_factory=dict)
    _summaries: dict[str, DataSummary | TaggingSummary | SpanSummary] = field(default_factory=dict)
    _tagging: dict[str, TaggingTask] = field(default_factory=dict)
    _span_tasks: dict[str, SpanTask] = field(default_factory=dict)

    def task(self, name: str) -> Task:
        """The task `name` with a part of train held back as `tune`, cut to the run's scale if the project knows it.

        Data of the user's own are used whole: how much is cut off is theirs to say (`at_most` in task.yaml).

        Raises:
            UserError: there is no such task, its data are missing or malformed, or too few to hold a part back or to
                score by.
        """
        if name not in self._tasks:
            from common.tasks import load_task
            from common.tasks.description import summarise

            task = read = load_task(name, self.data, self.data_dir)
            if len(task.train) < LEAST_TRAIN:
                raise UserError(
                    f"{name}: {len(task.train)} training examples are too few: expected at least {LEAST_TRAIN}, "
                    "because a part is held back for choosing thresholds. Give more, or another task with TASKS="
                )
            if len(task.dev) < LEAST_DEV:
                raise UserError(
                    f"{name}: {len(task.dev)} evaluation example is too few: expected at least {LEAST_DEV}, because "
                    "every score comes with an interval over the examples. Give more, or another task with TASKS="
                )
            self._whole[name] = len(task.train)
            task = task.hold_back(min(self.scale.tune_examples, len(task.train) // HELD_BACK))
            limits = task.limits if task.is_own else (self.scale.train_examples, self.scale.dev_examples)
            self._tasks[name] = used = task.at_most(*limits)
            self._summaries[name] = summarise(read, used, "task.yaml" if task.is_own else f"SCALE={self.scale.name}")
        return self._tasks[name]

    def tagging(self, name: str) -> TaggingTask:
        """The tagging task `name` with sentences for choosing thresholds in `tune`, cut to the run's scale.

        Sentences are short: where the scale spares nothing, all of them are used.

        Raises:
            UserError: there is no such task, its data are missing or malformed, or too few.
        """
        if name not in self._tagging:
            from common.tasks.tagging_sources import TaggingSummary, load_tagging

            read = load_tagging(name, self.data, self.data_dir)
            if len(read.train) < LEAST_TRAIN or len(read.dev) < LEAST_DEV:
                raise UserError(
                    f"{name}: {len(read.train)} sentences to train on and {len(read.dev)} to score by are too few: "
                    f"expected at least {LEAST_TRAIN} and {LEAST_DEV}. Give more, or another task with TASKS="
                )
            held = min(self.scale.tune_examples, len(read.tune) or len(read.train) // HELD_BACK)
            limits = (self.scale.train_examples, self.scale.dev_examples)
            whole = read.is_own or not self.scale.spares
            used = read.hold_back(held).at_most(*((None, None) if whole else limits))
            self._whole[name], self._tagging[name] = len(read.train), used
            self._summaries[name] = TaggingSummary(read, used, f"SCALE={self.scale.name}")
        return self._tagging[name]

    def span_task(self, name: str) -> SpanTask:
        """The reading task `name`, a part of train held back as `tune`, cut to the run's scale if the project knows it.

        Raises:
            UserError: there is no such task, its data are missing or malformed, or too few.
        """
        if name not in self._span_tasks:
            from common.tasks.spans import load_span_task
            from common.tasks.spans.limits import SpanSummary, at_scale

            read = load_span_task(name, self.data, self.data_dir)
            self._whole[name], self._span_tasks[name] = len(read.train), at_scale(read, self.scale)
            self._summaries[name] = SpanSummary(len(read.train), self._span_tasks[name])
        return self._span_tasks[name]

    def describe_data(self) -> list[str]:
        """What was read of every task asked for so far and what is used of it, as lines of text with warnings."""
        return [line for summary in self._summaries.values() for line in summary.lines()]

    def tasks_or(self, own: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """The user's choice of tasks; else the smoke scale's, the same for every paper; else the paper's `own`."""
        if self.scale.name == "smoke" and self.data == "builtin":
            return self.task_names or SMOKE_TASKS
        return self.task_names or tuple(own[self.data])

    def encoder(self, name: str) -> PretrainedEncoder:
        """The pretrained encoder `name`, loaded once."""
        if name not in self._encoders:
            from common.encoders.sources import load_encoder

            self._encoders[name] = load_encoder(name)
        return self._encoders[name]

    @property
    def timing_device(self) -> torch.device:
        """The device that latency is measured on."""
        from common.devices import timing_device

        return timing_device(self.timing)

    @property
    def devices(self) -> dict[str, str]:
        """What this run trains and times on, for its record; a model made before says so in its training.json."""
        from common.devices import available_device, training_precision

        training = available_device()
        precision = "float32" if self.scale.float32 else training_precision(training)
        return {"training": training.type, "precision": precision, "timing": self.timing_device.type}

    @property
    def encoder_bytes(self) -> int:
        """Size of the largest encoder asked for so far; 0 without any."""
        return max(
            (sum(p.nbytes for p in source.encoder.parameters()) for source in self._encoders.values()), default=0
        )

    def keep(self, evidence: Evidence) -> None:
        """Keep what every system answered on one task and seed, for the record; kept twice, the later one counts."""
        from common.records.predictions import write_predictions

        write_predictions(self._kept / f"{quote(evidence.task, safe='')}-{evidence.seed:03d}.npz", [evidence])

    @property
    def evidence(self) -> list[Evidence]:
        """All that was kept, by task and seed."""
        from common.records.predictions import read_predictions

        return [evidence for path in sorted(self._kept.glob("*.npz")) for evidence in read_predictions(path)]

    @property
    def _kept(self) -> Path:
        return self.scratch / "predictions"

    @property
    def facts(self) -> RunFacts:
        """What the run has to work with: the encoders and the tasks that were asked for so far."""
        from common.records.facts import Backbone, RunFacts, TaskUse

        backbones = [
            Backbone(
                name=source.backbone,
                layers=source.encoder.num_layers,
                width=source.encoder.hidden_size,
                pretrained=not name.startswith("random:"),
            )
            for name, source in self._encoders.items()
        ]
        whole_texts: dict[str, Task | SpanTask] = {**self._tasks, **self._span_tasks}
        tasks = {
            name: TaskUse(train=len(task.train) + len(task.tune), train_whole=self._whole[name], dev=len(task.dev))
            for name, task in whole_texts.items()
        }
        tagging = {
            name: TaskUse(train=len(task.train) + task.held_back, train_whole=self._whole[name], dev=len(task.dev))
            for name, task in self._tagging.items()
        }
        return RunFacts(backbones=tuple(backbones), tasks={**tasks, **tagging})

    def seeds_of(self, task: str, first_seed_alone: Collection[str]) -> tuple[int, ...]:
        """The seeds to train `task` with: where the scale spares, the tasks listed, the costly ones, get the first."""
        spared = self.scale.spares and task in first_seed_alone
        return self.seeds[:1] if spared else self.seeds

    def data_fingerprints(self) -> dict[str, str]:
        """The content of every task asked for so far, by name."""
        tasks: dict[str, Task | TaggingTask | SpanTask] = {**self._tasks, **self._tagging, **self._span_tasks}
        return {name: task.fingerprint for name, task in tasks.items()}


@dataclass(frozen=True)
class Journal:
    """Keeps what each finished step measured until the run is complete, so that a repeated command goes on."""

    folder: Path

    def begin(self, data: Mapping[str, str]) -> None:
        """Start a run on this data (fingerprints by task) or go on; what was measured on other data is forgotten."""
        path, text = self.folder / "data.json", json.dumps(data, sort_keys=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            self.clear()
            write_text(path, text)

    def path(self, index: int) -> Path:
        """Where step `index` is kept."""
        return self.folder / f"{index:03d}.jsonl"

    def keep_loads(self, index: int, loads: Sequence[Load]) -> None:
        """Keep how busy others were while step `index` timed something."""
        write_json(self.folder / f"{index:03d}.loads.json", [astuple(load) for load in loads])

    @property
    def loads(self) -> list[Load]:
        """How busy others were in every timing of the run so far."""
        from common.timing.quiet import Load

        kept = [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.loads.json"))]
        return [Load(*load) for loads in kept for load in loads]

    def recorded_in(self, folder: Path) -> None:
        """All steps are done, and the record is in `folder`."""
        write_text(self.folder / RECORDED, str(folder))

    def is_recorded_in(self, folder: Path) -> bool:
        """Whether it is, and is still there."""
        note = self.folder / RECORDED
        return note.exists() and note.read_text(encoding="utf-8") == str(folder) and folder.is_dir()

    def clear(self) -> None:
        """Forget everything: the run is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


def execute(
    steps: Sequence[Step], journal: Journal, progress: RunProgress, run: Run, first: int = 0
) -> list[Measurement]:
    """Do the steps in order and return all measurements, labelled with the run's scale and data.

    Args:
        steps: of one run.
        journal: what was finished before is not done again.
        progress: of the whole command.
        run: what the steps work on.
        first: number of the first step within the command.
    """
    from common.devices import float32_training
    from common.timing.quiet import collected_loads

    measurements: list[Measurement] = []
    for index, step in enumerate(steps):
        progress.start(first + index)
        path = journal.path(index)
        found = path.exists()
        if not found:
            with collected_loads() as loads, float32_training() if run.scale.float32 else nullcontext():
                results = [m.model_copy(update={"scale": run.scale.name, "data": run.data}) for m in step.measure()]
            journal.keep_loads(index, loads)
            write_measurements(path, results)
        progress.finish(counted=not found)
        measurements.extend(read_measurements(path))
    return measurements
