"""Fixtures of the shared layer's tests: a paper behind the command line, and a small paper with measurements of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.fake_paper import FakePaper, make

from common.paper import Paper
from common.records.measurements import Measurement

PAPER: dict[str, Any] = {
    "slug": "a-paper",
    "name": "A & B_1",
    "citation": {"title": "Title", "authors": ["A. B."], "venue": "ACL", "year": 2020},
    "headline": "table1",
    "tables": [
        {
            "id": "table1",
            "label": "Table 1",
            "caption": "Saves 40 %",
            "about": "test set",
            "provenance": "fulltext",
            "metrics": [
                {"metric": "score", "header": "score", "decimals": 1},
                {
                    "metric": "saving",
                    "header": "time saved",
                    "unit": "%",
                    "scale": 100,
                    "decimals": 0,
                    "published_as": [{"metric": "change", "factor": -1.0}],
                },
            ],
            "cells": [
                {"system": "base", "task": "SST-2", "metric": "score", "value": 93.6, "unit": "points"},
                {"system": "fast", "setting": "t_1", "task": "SST-2", "metric": "change", "value": -0.4, "unit": "1"},
                {
                    "system": "fast",
                    "setting": "t_1",
                    "task": "SST-2",
                    "metric": "score",
                    "value": 93.0,
                    "unit": "points",
                    "basis": "derived",
                },
                {
                    "system": "fast",
                    "setting": "t_1",
                    "task": "RTE",
                    "metric": "score",
                    "value": 70.0,
                    "unit": "points",
                    "provenance": "memory",
                },
            ],
        }
    ],
    "figures": [
        {
            "id": "figure1",
            "label": "Figure 1",
            "caption": "Trade-off",
            "experiment": "table1",
            "x": {
                "metric": "saving",
                "scale": 100,
                "label": "time saved (%)",
                "published_as": [{"metric": "change", "factor": -1.0}],
            },
            "y": {"metric": "score", "label": "score (points)"},
            "line_by": ["system"],
            "diagonal": True,
            "published": ["table1"],
        },
        {
            "id": "figure2",
            "label": "Figure 2",
            "caption": "Layers",
            "kind": "bar",
            "x": {"metric": "at", "label": "layer"},
            "y": {"metric": "share", "scale": 100, "label": "share (%)"},
            "line_by": ["setting"],
        },
    ],
    "claims": [
        {
            "id": claim,
            "statement": f"statement of {claim}",
            "type": "empirical",
            "subject": kind,
            "metric": "m",
            "op": op,
            "value": value,
            "scope": "all",
            "provenance": "fulltext",
        }
        for claim, kind, op, value in (
            ("saves", "efficiency", ">=", 0.39),
            ("keeps", "quality", "<=", 1.0),
            ("looks", "quality", "note", None),
        )
    ],
}

Measure = Callable[..., Measurement]


@pytest.fixture
def paper() -> Paper:
    return Paper.model_validate(PAPER, strict=False)


@pytest.fixture
def measure() -> Measure:
    """Make a measurement of `fast` on sst-2; keywords change it."""

    def make(metric: str, value: float, **fields: Any) -> Measurement:
        defaults = {
            "experiment": "table1",
            "system": "fast",
            "task": "sst-2",
            "unit": "1",
            "backbone": "MiniLM",
            "scale": "mini",
        }
        return Measurement(metric=metric, value=value, **(defaults | fields))

    return make


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePaper:
    """The only paper that the command line knows, writing nowhere but into the temporary folder."""
    return make(tmp_path, monkeypatch)
