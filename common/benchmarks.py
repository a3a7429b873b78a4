"""How fast the parts are, now and last time: `reproduce bench`.

It runs the pytest-benchmark suite, prints each median beside the one of the last saved run, and saves the new run
into the history under `results/benchmarks`. Time is reported and never judged: on shared machines a few per cent
either way mean nothing, so nothing fails for being slower. The files are pytest-benchmark's own (its `compare`
command reads them), without the raw rounds and with our fingerprint of the machine, which names no host.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.environment import CHECKOUT, environment
from common.errors import UserError
from common.records.measurements import write_json

SUITE = CHECKOUT / "tests" / "benchmarks"

NO_TESTS_COLLECTED = 5
"""Exit status of pytest when there was nothing to run."""


@dataclass(frozen=True, slots=True)
class Change:
    """Median seconds of one benchmark now and in the last saved run (None: it is new)."""

    name: str
    now: float
    before: float | None

    @property
    def ratio(self) -> float | None:
        """Time now relative to before: below 1 is faster."""
        return None if self.before is None else self.now / self.before


def run_benchmarks(results_dir: Path, suite: Path = SUITE) -> int:
    """Run the benchmark suite, compare with the history in `results_dir/benchmarks` and add to it.

    Args:
        results_dir: the folder of all results.
        suite: folder or file of pytest-benchmark tests.

    Returns:
        0, or pytest's exit status if a benchmark raised an error; then nothing is saved. Never non-zero for time.

    Raises:
        UserError: there is no suite, no benchmark in it, or the last saved run cannot be read.
    """
    if not suite.exists():
        raise UserError(f"expected the benchmarks in {suite}; run `make bench` in a checkout of the project")
    history = results_dir / "benchmarks"
    previous = latest_entry(history)
    before = None if previous is None else read_entry(previous)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        status = _run_pytest(suite, report)
        if status not in (0, NO_TESTS_COLLECTED):
            return status
        if not report.exists():
            raise UserError(f"no benchmarks found in {suite}: expected tests that use the `benchmark` fixture")
        entry = slim(json.loads(report.read_text(encoding="utf-8")), environment())
    saved = history / _next_name(previous)
    write_json(saved, entry)
    _print_changes(compare(entry, before), previous)
    for line in machine_differences(entry, before):
        print(f"warning: not measured under the same conditions: {line}")
    print(f"saved {saved}")
    return 0


def latest_entry(history: Path) -> Path | None:
    """The saved run with the highest number in `history`; None if there is none."""
    entries = [path for path in history.glob("*.json") if re.match(r"\d{4,}_", path.name)]
    return max(entries, key=_number, default=None)


def read_entry(path: Path) -> dict[str, Any]:
    """Read a saved run.

    Raises:
        UserError: it is not a run of pytest-benchmark.
    """
    try:
        entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for benchmark in entry["benchmarks"]:
            float(benchmark["stats"]["median"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a saved benchmark run ({error!r}); delete it and run again") from error
    return entry


def slim(report: dict[str, Any], fingerprint: dict[str, Any]) -> dict[str, Any]:
    """Keep the statistics of a pytest-benchmark report; drop raw rounds and whatever names host or branch."""
    benchmarks = [
        {**benchmark, "stats": {key: value for key, value in benchmark["stats"].items() if key != "data"}}
        for benchmark in report["benchmarks"]
    ]
    machine = {**fingerprint["machine"], "python": fingerprint["python"], **fingerprint["libraries"]}
    return {
        "machine_info": machine,
        "commit_info": {"id": fingerprint["git"]["commit"], "dirty": fingerprint["git"]["dirty"]},
        "benchmarks": benchmarks,
        "datetime": fingerprint["date"],
        "version": report["version"],
    }


def compare(entry: dict[str, Any], before: dict[str, Any] | None) -> list[Change]:
    """Pair each benchmark of `entry` with the one of the same name in `before`."""
    medians = {} if before is None else _medians(before)
    return [Change(name, now, medians.get(name)) for name, now in _medians(entry).items()]


def machine_differences(entry: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
    """What differs in machine and versions between two runs, one line each; empty without an earlier run."""
    if before is None:
        return []
    now, then = entry["machine_info"], before.get("machine_info", {})
    keys = sorted(now.keys() | then.keys())
    return [f"{key} was {then.get(key)}, is {now.get(key)}" for key in keys if now.get(key) != then.get(key)]


def _run_pytest(suite: Path, report: Path) -> int:
    command = [
        sys.executable, "-m", "pytest", str(suite.resolve()),
        "-o", "addopts=",  # the project's own options skip benchmarks
        "-q", "-p", "no:cacheprovider",
        "--benchmark-only", "--benchmark-disable-gc", "--benchmark-quiet", f"--benchmark-json={report}",
    ]  # fmt: skip
    return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


def _medians(entry: dict[str, Any]) -> dict[str, float]:
    return {benchmark["fullname"]: benchmark["stats"]["median"] for benchmark in entry["benchmarks"]}


def _number(path: Path) -> int:
    return int(path.name.split("_")[0])


def _next_name(previous: Path | None) -> str:
    number = 1 if previous is None else _number(previous) + 1
    return f"{number:04}_{datetime.now(UTC):%Y-%m-%d}.json"


def _print_changes(changes: Sequence[Change], previous: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    last = "no earlier run" if previous is None else f"before: {previous.stem}"
    table = Table(title=f"Medians ({last}). Time never fails a run.", title_justify="left")
    table.add_column("benchmark", overflow="fold")
    for heading in ("now", "before", "now / before"):
        table.add_column(heading, justify="right", no_wrap=True)
    for change in changes:
        before = "" if change.before is None else _duration(change.before)
        ratio = "new" if change.ratio is None else f"{change.ratio:.2f}"
        table.add_row(change.name.split("::", 1)[-1], _duration(change.now), before, ratio)
    Console().print(table)


def _duration(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
