"""A paper of fake steps, so that the command line and the run machinery are tested without training anything."""

from __future__ import annotations

import functools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import replications
from common import regress
from common.run import command, replication

SLUG = "fake_paper"

IMPORTED = (Path(__file__).parents[2], Path(__file__).parents[1])
"""Where a process of its own finds `common` and this package."""

PAPER = {
    "slug": SLUG,
    "name": "Fake Paper",
    "citation": {"title": "T", "authors": ["A. B."], "venue": "V", "year": 2020},
    "headline": "table1",
    "tables": [
        {
            "id": "table1",
            "label": "Table 1",
            "caption": "C",
            "provenance": "fulltext",
            "metrics": [{"metric": "layers", "header": "layers"}],
            "cells": [{"system": "S", "metric": "layers", "value": 12, "unit": "count"}],
        }
    ],
    "claims": [
        {
            "id": "fake-claim",
            "statement": "S",
            "type": "empirical",
            "subject": "efficiency",
            "metric": "m",
            "op": ">=",
            "value": 0.5,
            "no_effect": 0.0,
            "unit": "fraction",
            "scope": "all",
            "provenance": "fulltext",
        }
    ],
}

EXPERIMENTS = '''
"""Three steps that log their names, and do what trouble.json says: `interrupt`, `hang` or `fail`."""
import json
import time
from pathlib import Path
import numpy as np
from common.records.measurements import Measurement
from common.records.predictions import Evidence
from common.run.replication import Step

HERE = Path(__file__).parent

def trained_steps(run):
    for task in run.task_names:
        run.task(task)
    return [Step(name, 1.0, lambda name=name: measure(run, name)) for name in ("first", "second", "third")]

def shape_steps(run):
    return [Step("shapes", 1.0, lambda: measure(run, "shapes"))]

def measure(run, name):
    with (HERE / "calls.log").open("a") as log:
        log.write(f"{name}\\n")
    trouble = json.loads((HERE / "trouble.json").read_text()).get(name)
    if trouble == "interrupt":
        raise KeyboardInterrupt
    if trouble == "fail":
        raise RuntimeError("a defect")
    if trouble == "hang":
        (HERE / "hanging").touch()
        time.sleep(600)
    values = json.loads((HERE / "values.json").read_text())
    if name == "third":
        run.keep(Evidence("mood", 0, "accuracy", 2, 6, {"kept": np.full(10, 0.9)}))
    calls = len((HERE / "calls.log").read_text().split())
    common = {"experiment": "table1", "system": name}
    return [
        Measurement(metric="layers", value=values[name], unit="count", n=calls, **common),
        Measurement(metric="time", value=time.time(), unit="ms", timed=True, **common),
    ]
'''

CLAIMS = '''
"""The one claim, decided from what the steps kept."""
from common.records.claims import Cell, Decision
from common.records.effects import effect_of

def decide(record):
    if not record.evidence:
        return None
    kept = [(e["kept"],) for e in record.evidence]
    return Decision((Cell("all", effect_of("mood", kept, lambda a, axis=-1: a.mean(axis=axis)), "mood"),), note="kept")

DECIDERS = {"fake-claim": decide}
'''

MAIN = """
import os
import signal
import sys
from pathlib import Path
import pytest
signal.signal(signal.SIGINT, signal.default_int_handler)  # A suite in the background passes on that it is ignored.
sys.path[:0] = sys.argv[1].split(os.pathsep)
from kit.fake_paper import FakePaper, install
install(FakePaper(Path(sys.argv[2])), pytest.MonkeyPatch())
from common.cli import main
sys.exit(main(sys.argv[3:]))
"""


@dataclass(frozen=True)
class FakePaper:
    """A paper in a temporary folder, with results, tables and cache beside it."""

    root: Path

    @property
    def slug(self) -> str:
        return SLUG

    @property
    def folder(self) -> Path:
        return self.root / "replications" / SLUG

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def replication(self) -> replication.Replication:
        return replication.Replication(SLUG, self.folder)

    def run_folder(self, run: str = "smoke-builtin") -> Path:
        """Where the record of a run is."""
        return self.results / SLUG / run

    def own_folder(self, run: str = "smoke-builtin") -> Path:
        """Where a user's own results are."""
        return self.run_folder(f"{run}@local")

    def command(self, *arguments: str) -> list[str]:
        """The command line in a process of its own, with this paper alone."""
        return [sys.executable, "-c", MAIN, os.pathsep.join(map(str, IMPORTED)), str(self.root), *arguments]

    def calls(self) -> list[str]:
        """The steps begun so far."""
        log = self.folder / "calls.log"
        return log.read_text().split() if log.exists() else []

    def trouble(self, **steps: str) -> None:
        """From now on the named steps do that."""
        (self.folder / "trouble.json").write_text(json.dumps(steps))

    def measures(self, **values: float) -> None:
        """From now on the named steps measure these values; the others 1, 2, 3 and 4."""
        known = {"first": 1, "second": 2, "third": 3, "shapes": 4}
        (self.folder / "values.json").write_text(json.dumps({**known, **values}))

    def edit_paper(self, **changes: object) -> None:
        """Write paper.yaml with these keys changed."""
        (self.folder / "paper.yaml").write_text(yaml.safe_dump({**PAPER, **changes}))

    def journals(self) -> list[Path]:
        """What interrupted runs left to go on from."""
        return sorted((self.cache / "journal").glob("*"))

    def everything(self) -> dict[str, bytes]:
        """Every file under results and tables, hidden ones too."""
        folders = (self.results, self.root / "tables")
        return {str(p): p.read_bytes() for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()}


def make(root: Path, monkeypatch: pytest.MonkeyPatch) -> FakePaper:
    """The paper in a folder, installed as the only one."""
    paper = FakePaper(root)
    paper.folder.mkdir(parents=True)
    (paper.folder / "__init__.py").touch()
    (paper.folder / "experiments.py").write_text(EXPERIMENTS)
    (paper.folder / "claims.py").write_text(CLAIMS)
    paper.edit_paper()
    paper.trouble()
    paper.measures()
    install(paper, monkeypatch)
    return paper


def install(paper: FakePaper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the modules of the command line see `paper` and its folders in place of the project's."""
    for name in (f"replications.{SLUG}", f"replications.{SLUG}.experiments", f"replications.{SLUG}.claims"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(replications, "__path__", [str(paper.root / "replications")])
    monkeypatch.setattr(replication, "find_replications", lambda: (paper.replication,))
    monkeypatch.setattr(regress, "RESULTS", paper.results)
    monkeypatch.setattr(replication, "RESULTS", paper.results)
    tables = paper.root / "tables"
    monkeypatch.setattr(command, "reproduce", functools.partial(command.reproduce, results=paper.results))
    monkeypatch.setattr(command, "record", functools.partial(command.record, results=paper.results, tables=tables))
    monkeypatch.setenv("REPRODUCE_CACHE", str(paper.cache))
