"""What is found on disk, and what a malformed record says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.records.measurements import Measurement, write_json, write_measurements
from common.records.predictions import Evidence, write_predictions
from common.records.runs import RunRecord, find_runs, read_run

Measure = Callable[..., Measurement]


def test_runs_are_found_by_name_with_what_lies_beside_them(tmp_path: Path, measure: Measure) -> None:
    for name in ("shapes", "mini-files"):
        write_measurements(tmp_path / "p" / name / "measurements.jsonl", [measure("score", 1.0, seed=3)])
    write_json(tmp_path / "p" / "shapes" / "environment.json", {"git": {"commit": "a" * 40, "dirty": False}})
    (tmp_path / "p" / "unfinished").mkdir()
    runs = find_runs(tmp_path, "p")
    assert [run.name for run in runs] == ["mini-files", "shapes"]
    assert [run.commit for run in runs] == ["unknown", "a" * 12]
    assert runs[0].of("table1") == runs[0].measurements
    assert runs[0].of("table2") == ()


def test_nothing_run_is_no_error(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "nowhere", "p") == []


def test_changed_code_is_said() -> None:
    record = RunRecord("r", (), environment={"git": {"commit": "b" * 40, "dirty": True}})
    assert record.commit == f"{'b' * 12} with changes"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("environment.json", "[]", r"environment\.json: expected a JSON object"),
        ("environment.json", '{"git": "abc"}', r"environment\.json: expected a JSON object with an object 'git'"),
        ("environment.json", "{", r"cannot read .*environment\.json"),
        ("claims.json", "{", r"cannot read .*claims\.json"),
        ("measurements.jsonl", "{}\n", r"measurements\.jsonl:1: "),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, measure: Measure, name: str, text: str, message: str) -> None:
    write_measurements(tmp_path / "measurements.jsonl", [measure("score", 1.0)])
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_run(tmp_path)


def test_nobodys_own_data_judge_a_paper(tmp_path: Path, measure: Measure) -> None:
    write_measurements(tmp_path / "measurements.jsonl", [measure("score", 1.0)])
    arrays = {"labels": np.zeros(3)}
    names = [("sst-2", "accuracy"), ("my-mails", "accuracy"), ("bert-base", "")]
    write_predictions(tmp_path / "predictions.npz", [Evidence(t, 0, metric, 2, 6, arrays) for t, metric in names])
    record = read_run(tmp_path)
    assert [e.task for e in record.all_evidence] == ["sst-2", "my-mails", "bert-base"]
    assert [e.task for e in record.evidence] == ["sst-2", "bert-base"]


def test_a_users_own_results_are_no_record(tmp_path: Path, measure: Measure) -> None:
    for name in ("mini-files", "mini-files@local"):
        write_measurements(tmp_path / "p" / name / "measurements.jsonl", [measure("score", 1.0)])
    assert [run.name for run in find_runs(tmp_path, "p")] == ["mini-files"]
