"""The papers as the tests meet them: found by folder, with their settings and what paper.yaml says about training."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.models.classifier import PooledClassifier
from common.paper import Paper
from common.run.replication import Replication, find_replications
from common.training.loop import TrainingPlan

PAPERS = find_replications()

each_paper = pytest.mark.parametrize("replication", PAPERS, ids=lambda replication: replication.slug)
"""Runs a test once for every folder under `replications/`, as the argument `replication`."""

FIELDS = {
    **{name: name for name in ("learning_rate", "epochs", "batch_size", "weight_decay", "adam_epsilon", "warmup")},
    **{"train_batch_size": "batch_size", "epochs_per_stage": "epochs", "max_seq_length": "max_length"},
    **{"weight_decay_dense": "weight_decay", "weight decay in effect": "weight_decay", "warmup_steps": "warmup"},
    **{"epsilon": "adam_epsilon"},
    **dict.fromkeys(("max_grad_norm", "max_gradient_norm", "gradient clipping"), "max_gradient_norm"),
}
"""Names of hyper-parameters in paper.yaml, and the field of a `TrainingPlan` that each is."""

Allowed = tuple[Any, ...]


@functools.cache
def paper_of(replication: Replication) -> Paper:
    """Its paper.yaml, read once: it takes a second."""
    return replication.paper


def settings_of(replication: Replication) -> Mapping[str, Any]:
    """The paper's `SETTINGS`, by scale, from the one module of its folder that assigns the name."""
    found = [path.stem for path in sorted(replication.folder.glob("*.py")) if "SETTINGS" in _assigned(path.read_text())]
    assert len(found) == 1, f"{replication.slug}: SETTINGS belongs in one module, and is in {found}"
    settings: Mapping[str, Any] = importlib.import_module(f"replications.{replication.slug}.{found[0]}").SETTINGS
    return settings


def _assigned(source: str) -> set[str]:
    """The names that a module assigns at its top."""
    nodes = [n for n in ast.parse(source).body if isinstance(n, ast.Assign | ast.AnnAssign)]
    targets = [t for node in nodes for t in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def parts_of(settings: object) -> Iterator[object]:
    """All that settings are made of: plans, names and numbers, of the dataclasses within too."""
    yield settings
    if is_dataclass(settings):
        for field in fields(settings):
            yield from parts_of(getattr(settings, field.name))


def plans_of(settings: object) -> list[TrainingPlan]:
    """Every plan within settings."""
    return [part for part in parts_of(settings) if isinstance(part, TrainingPlan)]


def published_stages(paper: Paper) -> dict[str, dict[str, Allowed]]:
    """What paper.yaml says of each stage of training: the values that a field of its plan may have.

    A stage is a hyper-parameter of several values by name (`fine-tuning: {learning_rate: ..., epochs: ...}`), or the
    first part of a name (`KD: batch_size`). What stands outside of any stage is said of each.
    """
    shared: dict[str, Allowed] = {}
    stages: dict[str, dict[str, Allowed]] = {}
    for fact in paper.hyperparameters:
        stage, _, name = fact.name.rpartition(": ")
        if name in FIELDS:
            (stages.setdefault(stage, {}) if stage else shared)[FIELDS[name]] = _allowed(fact.value)
        elif isinstance(fact.value, dict) and (known := {k: v for k, v in fact.value.items() if k in FIELDS}):
            stages[fact.name] = {FIELDS[k]: _allowed(v) for k, v in known.items()}
    return {stage: {**shared, **own} for stage, own in stages.items()} or {"": shared}


def _allowed(value: object) -> Allowed:
    """A list is a grid, of which one value was used; a mapping has one value a backbone; no clipping is printed so."""
    several = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
    return tuple(None if each == "none" else each for each in several)


def agrees(plan: TrainingPlan, published: Mapping[str, Allowed]) -> bool:
    """Whether a plan has the published values, as far as they are known; a norm of 0 is no clipping."""

    def same(name: str, value: object, allowed: Allowed) -> bool:
        return value in allowed or (name == "max_gradient_norm" and value is None and 0 in allowed)

    return all(same(name, getattr(plan, name), allowed) for name, allowed in published.items())


def deviations_in_the_readme(replication: Replication) -> list[int]:
    """The numbers of the list under README.md's heading on deviations."""
    text = (replication.folder / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Deviations\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"{replication.slug}: README.md has no section on deviations"
    return [int(number) for number in re.findall(r"^(\d+)\. ", section[1], re.MULTILINE)]


def classifier_size(encoder: LayeredEncoder, classes: int) -> int:
    """Parameters of the plain classifier on an encoder, counted module by module."""
    head = sum(p.numel() for p in PooledClassifier(encoder.hidden_size, classes).parameters())
    # transformers' encoder carries a pooler of its own; the plain classifier has one, in its head.
    unused = sum(p.numel() for p in encoder.pooler_dense.parameters()) if encoder.pooler_dense else 0
    return sum(p.numel() for p in encoder.parameters()) - unused + head


@functools.cache
def baseline_size(backbone: str, classes: int) -> int:
    """The same of a backbone at full size, counted once: building it takes seconds even without memory."""
    return classifier_size(random_encoder(backbone, device="meta"), classes)
