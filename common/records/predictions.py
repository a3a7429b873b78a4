"""What every system answered, example by example: `predictions.npz` of a run.

A verdict is a statement about these arrays, so they are part of the record: whoever doubts an interval can compute
another, and verdicts, tables and figures are remade without training. An archive holds, for each task and seed, named
arrays in the smallest type that keeps their values (answers as int8, seconds as float32).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import UserError
from common.records.measurements import SCHEMA_VERSION, atomic_write, check_schema

Array = NDArray[Any]

ABOUT = "about"
LABELS = "labels"
TIMED = "timed/rows"
"""Places in dev of the texts that were timed, in the order of every system's seconds."""

SEPARATOR = "|"
"""Between task, seed and name in the archive; no task may hold it."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The arrays of one task and one seed; equal to itself alone, so that what was computed of it can be remembered.

    Attributes:
        task, seed: whose they are.
        metric: the task's headline metric (`common.tasks.metrics`).
        classes: how many; 0 for a regression.
        layers: of the backbone.
        arrays: by name. `labels` are those of dev; a system's are named by `answers_name` and its kin.
    """

    task: str
    seed: int
    metric: str
    classes: int
    layers: int
    arrays: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        """The array called `name`.

        Raises:
            KeyError: there is none; the message lists what there is.
        """
        if name not in self.arrays:
            known = ", ".join(sorted(self.arrays))
            raise KeyError(f"{self.task} seed {self.seed} has no array {name!r}; there are {known}")
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    @property
    def labels(self) -> Array:
        """(N,) of dev."""
        return self[LABELS]

    def answers(self, system: str, setting: str = "") -> Array:
        """(N,) a system's predictions on dev."""
        return self[answers_name(system, setting)]

    def exits(self, system: str, setting: str = "") -> Array:
        """(N,) the layers, 1..n, at which dev examples left."""
        return self[exits_name(system, setting)]

    def seconds(self, system: str, setting: str = "") -> Array:
        """(T,) a system's seconds for each timed text; systems are timed on the same texts."""
        return self[seconds_name(system, setting)]

    def has_answers(self, system: str, setting: str = "") -> bool:
        """Whether the system's predictions are there."""
        return answers_name(system, setting) in self.arrays


def static_name(layers: int) -> str:
    """How a rung of the static ladder is called, wherever a number of its is kept."""
    return f"truncated {layers}L"


def at_layer(layer: int) -> str:
    """Name of the setting at which everyone leaves at one layer."""
    return f"layer {layer}"


def answers_name(system: str, setting: str = "") -> str:
    """Name of a system's predictions on dev, e.g. `DeeBERT@threshold-2/answers`."""
    return f"{_system(system, setting)}/answers"


def exits_name(system: str, setting: str = "") -> str:
    """Name of the layers at which a system let dev examples go."""
    return f"{_system(system, setting)}/exits"


def seconds_name(system: str, setting: str = "") -> str:
    """Name of a system's seconds on the timed texts."""
    return f"{_system(system, setting)}/seconds"


def _system(system: str, setting: str) -> str:
    return f"{system}@{setting}" if setting else system


def compact(values: ArrayLike) -> Array:
    """The same values in the smallest type: bool as it is, whole numbers as int8, int16 or int32, others as float32."""
    array = np.asarray(values)
    if array.dtype == bool:
        return array
    if np.issubdtype(array.dtype, np.integer):
        for kind in (np.int8, np.int16, np.int32):
            if array.size == 0 or (np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max):
                return array.astype(kind)
        return array.astype(np.int64)
    return array.astype(np.float32)


def write_predictions(path: Path, evidence: Sequence[Evidence]) -> None:
    """Write an archive, whole or not at all; equal evidence gives equal bytes.

    Raises:
        UserError: the file cannot be written.
        ValueError: a task's name holds `SEPARATOR`, or two entries are of one task and seed.
    """
    places = [(e.task, e.seed) for e in evidence]
    if len(set(places)) < len(places) or any(SEPARATOR in task for task, _ in places):
        raise ValueError(f"predictions need one entry for each task and seed, without {SEPARATOR!r} in names: {places}")
    facts = [
        {"task": e.task, "seed": e.seed, "metric": e.metric, "classes": e.classes, "layers": e.layers} for e in evidence
    ]
    about = json.dumps({"schema_version": SCHEMA_VERSION, "evidence": facts}, ensure_ascii=True)
    arrays: dict[str, Any] = {ABOUT: np.frombuffer(about.encode(), dtype=np.uint8)}
    for e in evidence:
        for name in sorted(e.arrays):
            arrays[SEPARATOR.join((e.task, str(e.seed), name))] = compact(e.arrays[name])
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_predictions(path: Path) -> list[Evidence]:
    """Read an archive of this or an older schema version.

    Raises:
        UserError: the file is missing, damaged, or of a newer version.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(arrays.pop(ABOUT).tobytes())
        check_schema(path, about["schema_version"])
        return [_evidence(facts, arrays) for facts in about["evidence"]]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot read {path}: {error}. Record the run again: make record") from error


def _evidence(facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Evidence:
    start = SEPARATOR.join((facts["task"], str(facts["seed"]), ""))
    own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    return Evidence(facts["task"], facts["seed"], facts["metric"], facts["classes"], facts["layers"], own)
