"""How fast the parts are, now and last time: `reproduce bench`.

pytest-benchmark measures, saves into `results/benchmarks` and compares with the run saved last on this kind of machine.
This file chooses its options, and is loaded into pytest as a plugin for two things that no option does: a saved run
holds our fingerprint of the machine, which names no host, and what got slower is named but fails nothing. On shared
machines time is reported and never judged.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.session import PerformanceRegression
from pytest_benchmark.utils import get_machine_id

from common.environment import CHECKOUT, environment
from common.errors import UserError

SUITE = CHECKOUT / "tests" / "benchmarks"

SLOWER = "median:25%"
"""From where on a benchmark is named as slower."""


def run_benchmarks(results_dir: Path, suite: Path = SUITE) -> int:
    """Run the benchmark suite, compare with the history in `results_dir/benchmarks` and add to it.

    Args:
        results_dir: the folder of all results.
        suite: folder or file of pytest-benchmark tests.

    Returns:
        0, or pytest's exit status if a benchmark failed. Never non-zero for time.

    Raises:
        UserError: there is no suite, or no test in it.
    """
    if not suite.exists():
        raise UserError(f"expected the benchmarks in {suite}; run `make bench` in a checkout of the project")
    history = results_dir / "benchmarks"
    command = [
        sys.executable, "-m", "pytest", str(suite.resolve()), "-p", "common.benchmarks",
        "-o", "addopts=",  # the project's own options skip benchmarks
        "-q", "-p", "no:cacheprovider", "--benchmark-only", "--benchmark-disable-gc",
        f"--benchmark-storage=file://{history.resolve()}", f"--benchmark-save={datetime.now(UTC):%Y-%m-%d}",
        "--benchmark-group-by=fullname", "--benchmark-columns=median,iqr,rounds", "--benchmark-name=short",
    ]  # fmt: skip
    if any((history / get_machine_id()).glob("*.json")):
        command += ["--benchmark-compare", f"--benchmark-compare-fail={SLOWER}"]
    status = subprocess.run(command, cwd=CHECKOUT, check=False).returncode
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise UserError(f"no benchmarks found in {suite}: expected tests that use the `benchmark` fixture")
    return status


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """Hardware and versions, in place of pytest-benchmark's own, which names the host."""
    fingerprint = environment()
    return {**fingerprint["machine"], "python": fingerprint["python"], **fingerprint["libraries"]}


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_commit_info() -> dict[str, Any]:
    """The commit, without the names of folder and branch."""
    git = environment()["git"]
    return {"id": git["commit"], "dirty": git["dirty"]}


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Let the run pass although a benchmark got slower: pytest-benchmark has printed which, and by how much."""
    try:
        return (yield)
    except PerformanceRegression:
        terminalreporter.write_line(
            f"The benchmarks named above are slower than when last saved (more than {SLOWER}). It fails nothing: "
            "is the machine the same, and idle? Then measure again."
        )
        return None
