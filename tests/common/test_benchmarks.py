from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from common import benchmarks
from common.benchmarks import run_benchmarks
from common.environment import CHECKOUT
from common.errors import UserError

SUITE = """
def test_sum(benchmark):
    benchmark.pedantic(sum, args=(range(1000),), rounds=3, iterations=2)
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


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-benchmark wants its storage below the folder in which it runs."""
    monkeypatch.setattr(benchmarks, "CHECKOUT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def test_runs_are_saved_and_compared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    assert run_benchmarks(results, suite_in(tmp_path, SUITE)) == 0
    [first] = results.rglob("*.json")
    assert first.name.startswith("0001_")
    assert "regressed" not in "".join(capfd.readouterr())

    text = first.read_text()
    saved = json.loads(text)
    [benchmark] = saved["benchmarks"]
    assert benchmark["stats"]["median"] > 0
    assert benchmark["stats"]["rounds"] == 3
    assert "data" not in benchmark["stats"]
    assert saved["machine_info"]["cpu"]
    assert set(saved["commit_info"]) == {"id", "dirty"}
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert len(text) < 10_000

    benchmark["stats"]["median"] /= 1000
    saved["machine_info"]["cpu"] = "another CPU"
    first.write_text(json.dumps(saved))
    assert run_benchmarks(results, suite_in(tmp_path, SUITE)) == 0, "slower, and no failure"
    out = "".join(capfd.readouterr())
    assert "Performance has regressed" in out
    assert "sum (0001) - Field 'median'" in out
    assert "slower than when last saved" in out
    assert "machine_info is different" in out
    assert "another CPU" in out
    assert [path.name[:5] for path in sorted(results.rglob("*.json"))] == ["0001_", "0002_"]


def test_a_benchmark_that_fails_is_the_exit_status(tmp_path: Path) -> None:
    suite = suite_in(tmp_path, "def test_bad(benchmark):\n    benchmark(lambda: 1 / 0)\n")
    assert run_benchmarks(tmp_path / "results", suite) == 1
    assert not list(tmp_path.rglob("*.json")), "no time, nothing to save"


def test_suite_without_tests_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no benchmarks found in"):
        run_benchmarks(tmp_path / "results", suite_in(tmp_path, ""))


def test_missing_suite_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="in a checkout of the project"):
        run_benchmarks(tmp_path, tmp_path / "nowhere")
