"""Guard the metrics: a fresh smoke run against the committed one.

Only quantities that do not depend on the clock are compared. Counts (parameters, FLOPs, layers) must be equal; trained
quantities may move a little, because another CPU rounds differently. The baseline of a paper is its committed record
`results/<paper>/smoke-builtin/`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.records.measurements import Measurement, read_measurements
from common.run.progress import say
from common.run.replication import RESULTS, ROOT, Replication, choose
from common.run.runner import Request, prepare, run_steps, write_run
from common.scales import find_scale
from common.timing.threads import usable_cores

SMOKE = Request(find_scale("smoke"), "builtin", None, 1, ())

COMMAND = (sys.executable, "-m", "common.cli")

MOST_AT_ONCE = 8
"""Papers, since each takes a gigabyte or two."""

TOLERANCES = {
    "points": 3.0,
    "percent": 3.0,
    "fraction": 0.05,
    "ratio": 0.1,
    "nats": 0.01,
    "mean square": 0.01,
    "layers": 0.3,
    "degrees": 0.5,
    "length": 0.05,
    "correlation": 0.0,
    "count": 0.0,
    "FLOP": 0.0,
    "byte": 0.0,
}
"""How far a value may move, by unit; the operating point (`at`) is not compared."""


@dataclass(frozen=True)
class Difference:
    """A guarded quantity that moved, appeared or vanished."""

    name: str
    before: float | None
    now: float | None

    def __str__(self) -> str:
        before = "absent" if self.before is None else f"{self.before:.6g}"
        return f"{self.name}: was {before}, now {'absent' if self.now is None else f'{self.now:.6g}'}"


def regress(*, update: bool = False, paper: str = "all") -> int:
    """Run every paper, or one, at the smoke scale and compare; 0 if nothing moved, else 1.

    With `update` the fresh records become the baselines. Several papers run side by side.

    Raises:
        UserError: a paper has no baseline yet, or there is no such paper.
    """
    replications = choose(paper)
    # All are read before the first run, so that a missing one shows at once.
    before = {} if update else {replication.slug: _read_baseline(replication) for replication in replications}
    if len(replications) > 1:
        return _side_by_side([replication.slug for replication in replications], update=update)
    (replication,) = replications
    if update:
        fresh_smoke(replication, keep_in=_baseline(replication))
        say(f"{replication.slug}: baseline written to {_baseline(replication)}")
        return 0
    return 1 if _report(replication.slug, before[replication.slug], fresh_smoke(replication, keep_in=None)) else 0


def _side_by_side(slugs: Sequence[str], *, update: bool) -> int:
    """A process with one thread for each paper, as many at once as there are cores; 1 if one of them ends otherwise.

    The models are so small that a second thread would wait more than it computes.
    """

    def measured(slug: str) -> subprocess.CompletedProcess[str]:
        say(f"{slug}: begun")
        command = [*COMMAND, "regress", "--paper", slug, *(["--update"] if update else [])]
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)

    failed = []
    with ThreadPoolExecutor(min(usable_cores(), MOST_AT_ONCE)) as pool:
        jobs = {pool.submit(measured, slug): slug for slug in slugs}
        for number, job in enumerate(as_completed(jobs), 1):
            done, slug = job.result(), jobs[job]
            print(done.stdout, end="", flush=True)
            if done.returncode:
                failed.append(slug)
                say(done.stderr.strip())
            say(f"[{number}/{len(slugs)}] {slug}: {'moved or failed' if done.returncode else 'as it was'}")
    say(f"moved or failed: {', '.join(failed)}" if failed else "nothing moved")
    return 1 if failed else 0


def _baseline(replication: Replication) -> Path:
    return RESULTS / replication.slug / SMOKE.run_name


def _read_baseline(replication: Replication) -> list[Measurement]:
    path = _baseline(replication) / "measurements.jsonl"
    if not path.exists():
        raise UserError(f"{replication.slug} has no baseline: expected {path}. Type make regress-update")
    return read_measurements(path)


def _report(slug: str, before: Sequence[Measurement], fresh: Sequence[Measurement]) -> int:
    differences = compare(before, fresh)
    print(f"{slug}: {len(_guarded(fresh))} guarded quantities, {len(differences)} moved")
    for difference in differences:
        print(f"  {difference}")
    return len(differences)


def fresh_smoke(replication: Replication, keep_in: Path | None) -> list[Measurement]:
    """Measure a paper at the smoke scale with an empty cache; optionally write the record to `keep_in`."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="regress-") as cache:
        # With an empty cache every model is trained, as it should be: nothing to tell.
        (prepared,) = prepare(replication, SMOKE, Path(cache), tell=lambda line: None)
        measurements = run_steps(prepared)
        if keep_in is not None:
            write_run(keep_in, prepared, measurements, time.monotonic() - begun)
    return measurements


def compare(before: Sequence[Measurement], now: Sequence[Measurement]) -> list[Difference]:
    """The guarded quantities of `before` and `now` that differ by more than their unit allows."""
    old, new = _guarded(before), _guarded(now)
    differences = [Difference(name, None, new[name].value) for name in new.keys() - old.keys()]
    for name, measurement in old.items():
        if name not in new:
            differences.append(Difference(name, measurement.value, None))
        elif not _close(new[name].value, measurement):
            differences.append(Difference(name, measurement.value, new[name].value))
    return sorted(differences, key=lambda d: d.name)


def _close(value: float, before: Measurement) -> bool:
    # The slack is relative, for counts beyond 2^53; NaN is close to nothing.
    slack = 1e-12 * abs(before.value) + 1e-9
    return abs(value - before.value) <= TOLERANCES.get(before.unit, 0.0) + slack


def _guarded(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    """By name; where several differ by their operating point alone (the layers of a histogram), in their order."""
    guarded: dict[str, Measurement] = {}
    seen: Counter[str] = Counter()
    for measurement in measurements:
        if not measurement.timed:
            name = _name(measurement)
            seen[name] += 1
            guarded[name if seen[name] == 1 else f"{name} / no. {seen[name]}"] = measurement
    return guarded


def _name(m: Measurement) -> str:
    parts = (
        m.experiment,
        m.system,
        m.backbone,
        m.task,
        m.setting,
        m.metric,
        "" if m.seed is None else f"seed {m.seed}",
    )
    return " / ".join(part for part in parts if part)
