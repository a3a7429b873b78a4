"""Records of an invented paper and an invented comparison, one of whose tasks is called `<b>`, for the static page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from common.records.measurements import ClaimResult, Measurement, write_json, write_measurements
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name, write_predictions
from common.site.command import Records
from kit.fake_paper import PAPER, FakePaper

HOSTILE = "<b>"
TASKS = ("mood", HOSTILE)
CURRENCIES = {"time_speedup": 1.0, "throughput_ratio": 1.5, "layer_speedup": 2.0, "flops_speedup": 3.0}
"""Metrics with a factor that makes each one's numbers its own."""

METHODS = {
    ("static ladder", "1 of 2 layers"): (2.0, 85.0),
    ("DeeBERT", "2x"): (1.8, 88.0),
    ("DeeBERT", "3x"): (2.7, 80.0),
}
"""Speed and score by method and setting; the baseline scores 90."""

EXAMPLES = 200

TABLE = {
    **PAPER["tables"][0],  # type: ignore[index]
    "metrics": [
        {"metric": "score", "header": "score"},
        {"metric": "time_speedup", "header": "speed", "published_as": [{"metric": "speedup", "factor": 1.0}]},
    ],
    "cells": [
        {"system": "baseline", "task": "SST-2", "metric": "score", "value": 93.0, "unit": "points"},
        {"system": "DeeBERT", "setting": "fast", "task": "SST-2", "metric": "score", "value": 92.0, "unit": "points"},
        {"system": "DeeBERT", "setting": "fast", "task": "SST-2", "metric": "speedup", "value": 1.6, "unit": "ratio"},
    ],
}
FIGURE = {
    "id": "figure1",
    "label": "Figure <1>",
    "caption": "Score & speed",
    "experiment": "table1",
    "x": {"metric": "time_speedup", "label": "speed"},
    "y": {"metric": "score", "label": "score"},
}


def write_records(fake: FakePaper, *, compared: bool = True) -> Records:
    """A trained run of the fake paper with a verdict, a table and a figure; and a comparison, if asked for."""
    fake.edit_paper(tables=[TABLE], figures=[FIGURE], deviations=[{"id": 1, "what": "W < V", "why": "because"}])
    (fake.folder / "README.md").write_text("# Fake\n\n## Deviations\n\n1. W\n")
    (fake.root / "README.md").write_text("# Readme\n")
    run = fake.run_folder("mini-builtin")
    write_measurements(run / "measurements.jsonl", [*measured("table1", "mood", 0), *measured("table1", "mood", 1)])
    write_json(run / "claims.json", [finding().model_dump()])
    (run / "figures").mkdir()
    Image.new("RGB", (40, 30), "#336699").save(run / "figures" / "figure1.png")
    table = fake.root / "tables" / fake.slug / "table1.md"
    table.parent.mkdir(parents=True)
    table.write_text("<!-- Generated -->\n\n**Table 1.** C &lt;d>.\n\n| a | b |\n| --- | ---: |\n| x\\|y | 1.0 |\n")
    (fake.results / "ledger.md").write_text("# The ledger\n")
    if compared:
        write_comparison(fake.results / "compare" / "mini-builtin")
    return Records((fake.replication,), fake.results, fake.root / "tables", fake.root)


def write_comparison(folder: Path) -> None:
    """Two tasks and seeds, with what every method answered."""
    rows = [row for task in TASKS for seed in (0, 1) for row in measured("comparison", task, seed)]
    write_measurements(folder / "measurements.jsonl", rows)
    write_predictions(folder / "predictions.npz", [answered(task, seed) for task in TASKS for seed in (0, 1)])


def measured(experiment: str, task: str, seed: int) -> Iterator[Measurement]:
    """What one seed measured: the second is half a point better."""

    def row(system: str, metric: str, value: float, **fields: object) -> Measurement:
        place = {"experiment": experiment, "task": task, "seed": seed, "backbone": "MiniLM", "scale": "mini"}
        return Measurement(system=system, metric=metric, value=value, unit="points", **place, **fields)

    yield row("constant answer", "score", 50.0)
    yield row("baseline", "score", 90.0 + seed / 2, ci_low=86.0, ci_high=94.0)
    for (method, setting), (speed, score) in METHODS.items():
        yield row(method, "score", score + seed / 2, setting=setting, ci_low=score - 4, ci_high=score + 4)
        yield row(method, "score_delta", score - 90.0, setting=setting, ci_low=score - 93, ci_high=score - 87)
        for metric, factor in CURRENCIES.items():
            yield row(method, metric, speed * factor + seed / 10, setting=setting)


def answered(task: str, seed: int) -> Evidence:
    """Answers that score as `METHODS` says."""
    labels = np.arange(EXAMPLES) % 2
    arrays = {LABELS: labels}
    for (method, setting), (speed, score) in {("baseline", ""): (1.0, 90.0), **METHODS}.items():
        wrong = round((100 - score) / 100 * EXAMPLES)
        arrays[answers_name(method, setting)] = np.where(np.arange(EXAMPLES) < wrong, 1 - labels, labels)
        arrays[seconds_name(method, setting)] = np.full(8, 0.01 / speed)
    return Evidence(task, seed, "accuracy", 2, 2, arrays)


def finding(verdict: str = "seen here", note: str = "a note with <i> in it") -> ClaimResult:
    """What the run says of the fake paper's claim."""
    cell = {"ci_low": 0.4, "ci_high": 0.8, "n": EXAMPLES, "seeds": 2}
    return ClaimResult.model_validate(
        {
            "id": "fake-claim",
            "statement": "S",
            "type": "empirical",
            "subject": "efficiency",
            "over": "all",
            "op": ">=",
            "published": 0.5,
            "no_effect": 0.0,
            "unit": "fraction",
            "measured": 0.6,
            "ci_low": 0.4,
            "ci_high": 0.8,
            "seeds": 2,
            "cells": [{"name": task, "value": 0.6, **cell} for task in TASKS],
            "premise_met": False,
            "premise_lacks": ["12 layers"],
            "direction": "yes",
            "size": "unclear",
            "verdict": verdict,
            "run": "mini-builtin",
            "note": note,
        }
    )


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, its ids, links and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._script = False
        self.data = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.data += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All of it, with single spaces."""
        return " ".join(" ".join(self.words).split())

    @property
    def ids(self) -> list[str]:
        """In order; each should occur once."""
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def links(self) -> list[str]:
        """Whatever a browser follows or loads."""
        names = ("href", "src")
        return [attributes[name] for _, attributes in self.elements for name in names if name in attributes]

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def plot(self) -> dict:
        """The plot's data."""
        found: dict = json.loads(self.data)
        return found
