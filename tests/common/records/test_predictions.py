"""The archive of predictions: what goes in comes out, small, whole and the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.records.measurements import SCHEMA_VERSION
from common.records.predictions import (
    Evidence,
    answers_name,
    compact,
    exits_name,
    read_predictions,
    seconds_name,
    write_predictions,
)


def evidence(task: str = "sst-2", seed: int = 0) -> Evidence:
    arrays = {
        "labels": np.array([0, 1, 1]),
        answers_name("DeeBERT", "threshold-1"): np.array([0, 1, 0]),
        exits_name("DeeBERT", "threshold-1"): np.array([1, 6, 2]),
        seconds_name("baseline"): np.array([0.01, 0.02]),
    }
    return Evidence(task, seed, "accuracy", 2, 6, arrays)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    write_predictions(path, [evidence(), evidence(seed=1), evidence("mrpc")])
    found = read_predictions(path)
    assert [(e.task, e.seed) for e in found] == [("sst-2", 0), ("sst-2", 1), ("mrpc", 0)]
    assert (found[0].metric, found[0].classes, found[0].layers) == ("accuracy", 2, 6)
    assert found[0].labels.tolist() == [0, 1, 1]
    assert found[0].answers("DeeBERT", "threshold-1").tolist() == [0, 1, 0]
    assert found[0].exits("DeeBERT", "threshold-1").tolist() == [1, 6, 2]
    np.testing.assert_allclose(found[0].seconds("baseline"), [0.01, 0.02])
    assert found[0].has_answers("DeeBERT", "threshold-1")
    assert not found[0].has_answers("DeeBERT")


def test_equal_evidence_gives_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.npz", "b.npz")]
    for path in paths:
        write_predictions(path, [evidence()])
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("values", "kind"),
    [([True, False], bool), ([0, 5], np.int8), ([0, 300], np.int16), ([0, 70_000], np.int32), ([0.5], np.float32)],
)
def test_values_take_the_smallest_type(values: list[float], kind: type) -> None:
    assert compact(values).dtype == kind
    assert compact(values).tolist() == values


def test_a_missing_array_names_what_there_is() -> None:
    with pytest.raises(KeyError, match=r"sst-2 seed 0 has no array 'PABEE/answers'; there are DeeBERT@threshold-1"):
        evidence().answers("PABEE")


@pytest.mark.parametrize("damage", ["missing", "cut", "pickled"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "predictions.npz"
    if damage == "cut":
        write_predictions(path, [evidence()])
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "pickled":
        np.savez(path, about=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match=r"cannot read .*predictions\.npz"):
        read_predictions(path)


def test_a_newer_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    about = json.dumps({"schema_version": SCHEMA_VERSION + 1, "evidence": []})
    np.savez(path, about=np.frombuffer(about.encode(), dtype=np.uint8))
    with pytest.raises(UserError, match="newer version"):
        read_predictions(path)


def test_two_entries_of_one_task_and_seed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one entry for each task and seed"):
        write_predictions(tmp_path / "p.npz", [evidence(), evidence()])
