from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.benchmarks import (
    Change,
    compare,
    latest_entry,
    machine_differences,
    read_entry,
    run_benchmarks,
)
from common.errors import UserError

SUITE = """
def test_sum(benchmark):
    benchmark.pedantic(sum, args=(range({turns}),), rounds=3, iterations=2)
"""


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-benchmark disables itself in a worker; the processes started here are none."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def suite_in(folder: Path, text: str) -> Path:
    path = folder / "suite" / "test_tiny_bench.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path.parent


def entry(medians: dict[str, float], **machine: Any) -> dict[str, Any]:
    benchmarks = [{"fullname": name, "stats": {"median": median}} for name, median in medians.items()]
    return {"machine_info": machine, "benchmarks": benchmarks}


def test_runs_are_saved_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    assert run_benchmarks(results, suite_in(tmp_path, SUITE.format(turns=1000))) == 0
    first = latest_entry(results / "benchmarks")
    assert first is not None
    assert first.name.startswith("0001_")
    assert "new" in capsys.readouterr().out

    text = first.read_text()
    saved = json.loads(text)
    [benchmark] = saved["benchmarks"]
    assert benchmark["stats"]["median"] > 0
    assert benchmark["stats"]["rounds"] == 3
    assert "data" not in benchmark["stats"]
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert len(text) < 10_000

    command = [sys.executable, "-m", "pytest_benchmark", f"--storage=file://{first.parent}", "compare"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "test_sum" in done.stdout, "pytest-benchmark itself can read it"

    benchmark["stats"]["median"] /= 1000
    saved["machine_info"]["cpu"] = "another CPU"
    first.write_text(json.dumps(saved))
    assert run_benchmarks(results, suite_in(tmp_path, SUITE.format(turns=1000))) == 0, "slower, and no failure"
    out = capsys.readouterr().out
    second = latest_entry(results / "benchmarks")
    assert second is not None
    assert second.name.startswith("0002_")
    assert "warning: not measured under the same conditions: cpu was another CPU" in out
    [change] = compare(read_entry(second), read_entry(first))
    assert change.ratio is not None
    assert change.ratio > 50
    assert f"{change.ratio:.2f}" in out


def test_error_in_a_benchmark_is_the_exit_status_and_saves_nothing(tmp_path: Path) -> None:
    suite = suite_in(tmp_path, "def test_bad(benchmark):\n    benchmark(lambda: 1 / 0)\n")
    assert run_benchmarks(tmp_path / "results", suite) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("text", ["", "def test_plain():\n    pass\n"])
def test_suite_without_benchmarks_is_a_user_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="no benchmarks found in"):
        run_benchmarks(tmp_path / "results", suite_in(tmp_path, text))


def test_missing_suite_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="in a checkout of the project"):
        run_benchmarks(tmp_path, tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", '{"benchmarks": [{"stats": {}}]}'])
def test_unreadable_history_is_a_user_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "0001_x.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"0001_x\.json is not a saved benchmark run"):
        read_entry(path)


def test_latest_entry_goes_by_number(tmp_path: Path) -> None:
    assert latest_entry(tmp_path / "nowhere") is None
    for name in ("0002_b.json", "10000_c.json", "0010_a.json", "notes.json", "9999_x.txt"):
        (tmp_path / name).touch()
    assert latest_entry(tmp_path) == tmp_path / "10000_c.json"


def test_compare_pairs_by_name() -> None:
    changes = compare(entry({"a": 2.0, "new": 1.0}), entry({"gone": 1.0, "a": 4.0}))
    assert changes == [Change("a", 2.0, 4.0), Change("new", 1.0, None)]
    assert [change.ratio for change in changes] == [0.5, None]
    assert compare(entry({"a": 2.0}), None) == [Change("a", 2.0, None)]


def test_machine_differences_are_named() -> None:
    assert machine_differences(entry({}, cpu="x"), None) == []
    assert machine_differences(entry({}, cpu="x"), entry({}, cpu="x")) == []
    assert machine_differences(entry({}, cpu="x", torch="2"), entry({}, cpu="y")) == [
        "cpu was y, is x",
        "torch was None, is 2",
    ]
