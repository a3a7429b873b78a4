"""The command `doctor`: the machine and what was asked of it, then every stored run that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from common.baselines import RECIPES
from common.devices import Precision, available_device, training_precision
from common.doctor import backbone, machine, recorded
from common.doctor.findings import Check, Examined, Finding, counted, examine
from common.doctor.recorded import Stored
from common.encoders.sources import PretrainedEncoder
from common.errors import UserError
from common.records.runs import read_run
from common.reporting.looks import ROLES
from common.run.artifacts import default_root
from common.run.preflight import check_writable, someone_at_work
from common.run.replication import RESULTS, Replication, find_replications
from common.run.runner import Request, bare_run, prepare
from common.timing.quiet import busy_now


def doctor(replications: Sequence[Replication], request: Request, results: Path = RESULTS) -> int:
    """Print why numbers of these papers may be off, before a run and in the stored ones.

    Args:
        replications: whose runs are looked at; without any the stored runs of all, the comparison's too.
        request: what would be run.
        results: where runs are stored.

    Returns:
        The exit code: 1 if something is broken (`common.doctor.findings` says what that is), else 0.
    """
    tested, examined = machine.tested_versions(), list[Examined]()
    records, damaged = stored_runs(results)
    before = _before(replications, request, results, records)
    for one in (*before, *damaged, *_after(replications, records, tested)):
        print("\n".join(one.lines()), flush=True)
        examined.append(one)
    print(counted(examined))
    return 1 if any(one.is_broken for one in examined) else 0


def stored_runs(results: Path) -> tuple[list[Stored], list[Examined]]:
    """Every run that lies there, records and users' own, by paper and name; and those whose files cannot be read."""
    records: list[Stored] = []
    damaged: list[Examined] = []
    for path in sorted(results.glob("*/*/measurements.jsonl")):
        paper, folder = path.parents[1].name, path.parent
        try:
            records.append(Stored(paper, read_run(folder)))
        except UserError as error:
            finding = Finding("broken", f"{error}.", "Restore the file, or run the same command again")
            damaged.append(Examined(f"results/{paper}/{folder.name}", (("files", finding),), ()))
    return records, damaged


# -- Before -----------------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """What one paper's run would need, found out by the first check that wants to know.

    Attributes:
        model_bytes: of its largest encoder; 0 where it has none.
        steps: how many it has.
    """

    model_bytes: int = 0
    steps: int = 0

    def prepare(self, replication: Replication, request: Request) -> Iterator[Finding]:
        """Read data and backbone as a run would, and remember the sizes; what is amiss with the data is said."""
        for part in prepare(replication, request, default_root(), tell=lambda line: None):
            self.model_bytes = max(self.model_bytes, part.run.encoder_bytes)
            self.steps += len(part.steps)
            for line in part.run.describe_data():
                if "warning" in line:
                    yield Finding("doubtful", line.strip())


def _before(
    replications: Sequence[Replication], request: Request, results: Path, records: Sequence[Stored]
) -> Iterator[Examined]:
    cache = default_root()
    yield examine(
        "this machine",
        {
            "Python": machine.python_version,
            "versions": lambda: machine.versions_off(
                machine.installed_versions(), machine.tested_versions(), machine.needed_libraries()
            ),
            "load of others": lambda: machine.load_of_others(busy_now()),
            "other runs": lambda: machine.other_run(someone_at_work(cache)),
            "writing": partial(_writable, (cache, results)),
        },
    )
    yield _backbone(request, records)
    for replication in replications:
        asked = Asked()
        yield examine(
            f"{replication.slug}, before the run {request.run_name}",
            {
                "data and weights": partial(asked.prepare, replication, request),
                "disk": lambda asked=asked: machine.disk(cache, asked.model_bytes, asked.steps),  # type: ignore[misc]
                "memory": lambda asked=asked: machine.memory(  # type: ignore[misc]
                    psutil.virtual_memory().available, asked.model_bytes
                ),
            },
        )


def _writable(folders: Sequence[Path]) -> list[Finding]:
    """Nothing; what cannot be written is refused with a message."""
    for folder in folders:
        check_writable(folder)
    return []


def _backbone(request: Request, records: Sequence[Stored]) -> Examined:
    name = request.encoder or RECIPES[request.scale.name].backbone
    try:
        source = bare_run(request, tell=lambda line: None).encoder(name)
    except UserError as error:
        return Examined(f"the backbone {name}", (("weights", Finding("broken", str(error))),), ())
    return examine(f"the backbone {source.backbone}", backbone_checks(source, request, records))


def backbone_checks(source: PretrainedEncoder, request: Request, records: Sequence[Stored]) -> Mapping[str, Check]:
    """By name."""
    here: Precision = "float32" if request.scale.float32 else training_precision(available_device())
    known = (r.run.environment.get("devices", {}) for r in records if r.run.name == request.run_name)
    then = next((devices["precision"] for devices in known if "precision" in devices), None)
    return {
        "precision of training": partial(backbone.precision_of_training, here, then, request.run_name),
        "precision of timing": partial(backbone.precision_of_timing, source.encoder),
        "attention": partial(backbone.attention, source.encoder),
        "padding": partial(backbone.padding, source),
    }


# -- After ------------------------------------------------------------------------------------------------------------


def _after(
    replications: Sequence[Replication], records: Sequence[Stored], tested: machine.Versions
) -> Iterator[Examined]:
    papers = {replication.slug for replication in replications}
    chosen = [stored for stored in records if not papers or stored.paper in papers]
    for stored in chosen:
        yield examine(stored.place, stored_checks(stored, records, tested))
    for slug in sorted(papers - {stored.paper for stored in chosen}):
        yield Examined(f"results/{slug}", (("stored runs", Finding("unknown", "nothing has been run yet.")),), ())


def stored_checks(stored: Stored, records: Sequence[Stored], tested: machine.Versions) -> Mapping[str, Check]:
    """By name."""
    run, static = stored.run, static_systems(stored.paper)
    return {
        "stored answers": partial(recorded.stored_answers, run),
        "predictions": partial(recorded.nothing_to_look_at, run),
        "baseline": partial(recorded.baseline_beside, stored, records),
        "label order": partial(recorded.label_order, run),
        "exits": partial(recorded.one_exit, run, static),
        "thresholds": partial(recorded.tuned_on_reported, run, static),
        "load of others": partial(recorded.load_then, run),
        "versions": partial(recorded.versions_then, run, tested),
        "device and precision": partial(recorded.precision_then, stored, records),
    }


def static_systems(slug: str) -> set[str]:
    """What a paper declares to be the baseline or a static ladder under a name of its own."""
    papers = [replication.paper for replication in find_replications() if replication.slug == slug]
    return {name for paper in papers for name, look in paper.systems.items() if look in ROLES}
