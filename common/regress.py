"""Guard the metrics: a fresh smoke run against the committed one.

Only quantities that do not depend on the clock are compared. Counts (parameters, FLOPs, layers) must be equal; trained
quantities may move a little, because another CPU rounds differently. The baseline of a paper is its committed record
`results/<paper>/smoke-builtin/`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.records import Measurement, read_measurements
from common.replication import RESULTS, Replication, find_replications
from common.runner import Request, prepare, run_steps, say, write_run
from common.scales import find_scale

SMOKE = Request(find_scale("smoke"), "builtin", None, 1, ())

TOLERANCES = {
    "points": 3.0,
    "fraction": 0.05,
    "layers": 0.3,
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


def regress(*, update: bool = False) -> int:
    """Run every paper at the smoke scale and compare; 0 if nothing moved, else 1.

    With `update` the fresh records become the baselines.

    Raises:
        UserError: a paper has no baseline yet.
    """
    moved = 0
    for replication in find_replications():
        folder = RESULTS / replication.slug / SMOKE.run_name
        if not update and not (folder / "measurements.jsonl").exists():
            raise UserError(f"{replication.slug} has no baseline in {folder}. Type make regress-update")
        fresh = fresh_smoke(replication, folder if update else None)
        if update:
            say(f"{replication.slug}: baseline written to {folder}")
            continue
        differences = compare(read_measurements(folder / "measurements.jsonl"), fresh)
        guarded = sum(not m.timed for m in fresh)
        print(f"{replication.slug}: {guarded} guarded quantities, {len(differences)} moved")
        for difference in differences:
            print(f"  {difference}")
        moved += len(differences)
    return 1 if moved else 0


def fresh_smoke(replication: Replication, keep_in: Path | None) -> list[Measurement]:
    """Measure a paper at the smoke scale with an empty cache; optionally write the record to `keep_in`."""
    with tempfile.TemporaryDirectory(prefix="regress-") as cache:
        (prepared,) = prepare(replication, SMOKE, Path(cache))
        measurements = run_steps(prepared)
        if keep_in is not None:
            write_run(keep_in, prepared.run, measurements, 0.0)
    return measurements


def compare(before: Sequence[Measurement], now: Sequence[Measurement]) -> list[Difference]:
    """The guarded quantities of `before` and `now` that differ by more than their unit allows."""
    old, new = _guarded(before), _guarded(now)
    differences = [Difference(name, None, new[name].value) for name in new.keys() - old.keys()]
    for name, measurement in old.items():
        if name not in new:
            differences.append(Difference(name, measurement.value, None))
        elif abs(new[name].value - measurement.value) > TOLERANCES.get(measurement.unit, 0.0) + 1e-9:
            differences.append(Difference(name, measurement.value, new[name].value))
    return sorted(differences, key=lambda d: d.name)


def _guarded(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    return {_name(m): m for m in measurements if not m.timed}


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
