"""What a run leaves behind: measurements, claims and the environment, one folder per run.

`results/<paper>/<run>/measurements.jsonl` holds one `Measurement` per line, `claims.json` the verdicts and
`environment.json` the machine and the versions. Files are written whole or not at all.
"""

from __future__ import annotations

import glob
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from common.errors import UserError

SCHEMA_VERSION = 2
"""2: verdicts on three questions, predictions beside measurements."""

Verdict = Literal[
    "holds",
    "broken",
    "reproduced",
    "direction only",
    "seen here",
    "not seen here",
    "contradicted",
    "inconclusive",
    "not run",
]
NOT_MEASURED = "this run does not measure it"
NOTHING_TRAINED = "nothing that a verdict on quality could rest on is trained at this scale"
"""Why a claim was not run, where the run in question is like any other of its kind."""

Answer = Literal["yes", "no", "unclear"]
Quantifier = Literal["one", "all", "any", "mean"]


class Measurement(BaseModel):
    """One measured number.

    Attributes:
        experiment: the table or figure that it belongs to (`table1`, `figure2`), or `claims` for the number
            that decides a claim (then `system` is the claim's id).
        system: what was measured, e.g. `DeeBERT`, `baseline`.
        task: canonical task name; empty where no task is involved.
        metric: e.g. `score`, `score_delta`, `time_saving`, `layer_saving`, `flops`, `parameters`.
        value, unit: the number and its unit (`points`, `fraction`, `FLOP`, `ms`, `count`, ...).
        setting: the operating point as a label, e.g. `threshold-2`, `S=0.05`, `layer 3`.
        at: the operating point as a number (a threshold, a layer), for the axis of a figure.
        seed: training seed; None where several seeds were pooled or none is involved.
        n: how many observations stand behind the value (examples, timed pairs).
        ci_low, ci_high: 95 % interval.
        backbone: encoder or shape, e.g. `MiniLM-L6-H384`, `bert-base`.
        timed: whether the value depends on the clock (only the others are guarded by `make regress`).
        scale, data: the run's scale and data source; filled in by the runner.
        note: anything a reader of this one number must know.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    experiment: str
    system: str
    task: str = ""
    metric: str
    value: FiniteFloat
    unit: str
    setting: str = ""
    at: FiniteFloat | None = None
    seed: int | None = None
    n: int | None = None
    ci_low: FiniteFloat | None = None
    ci_high: FiniteFloat | None = None
    backbone: str = ""
    timed: bool = False
    scale: str = ""
    data: str = ""
    note: str = ""


class CellResult(BaseModel):
    """One task and setting of a claim: its effect with the 95 % interval, the examples and seeds behind it."""

    name: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    seeds: int


class ClaimResult(BaseModel):
    """An entry of claims.json: what a paper claims, what the named run found, and the verdict.

    Attributes:
        id, statement, type, subject, over, op, published, no_effect, unit: as in paper.yaml.
        measured, ci_low, ci_high: the effect; of the cell least (`all`) or most (`any`) on the claim's side.
        seeds: how many training seeds stand behind it; None where no training is involved.
        cells: every cell.
        premise_met, premise_lacks: the first question, and what is missing.
        direction, size: the second and the third.
        verdict, run, note: the verdict for this run, and what a reader must know of it.
    """

    schema_version: int = SCHEMA_VERSION
    id: str
    statement: str
    type: Literal["by-construction", "empirical"]
    subject: Literal["efficiency", "quality"]
    over: Quantifier
    op: str
    published: float | None
    no_effect: float | None
    unit: str
    measured: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    seeds: int | None = None
    cells: list[CellResult] = []
    premise_met: bool | None = None
    premise_lacks: list[str] = []
    direction: Answer | None = None
    size: Answer | None = None
    verdict: Verdict
    run: str
    note: str = ""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` only if the block ends without an exception.

    A process that is killed inside the block leaves the temporary file; whoever writes `path` next removes it.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        prefix = f".{path.name}.{os.getpid()}."
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}. Nothing was changed there.") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}. Nothing was changed there.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose process is gone."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        process = leftover.name.removeprefix(f".{path.name}.").partition(".")[0]
        if process.isdecimal() and not _is_alive(int(process)):
            leftover.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write `value` as indented JSON with a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_measurements(path: Path, measurements: Iterable[Measurement]) -> None:
    """Write one JSON object per line; unset fields are left out."""
    write_text(
        path,
        "".join(m.model_dump_json(exclude_none=True, exclude_defaults=False) + "\n" for m in measurements),
    )


def read_measurements(path: Path) -> list[Measurement]:
    """Read a measurements.jsonl of this or an older schema version.

    Raises:
        UserError: the file is missing, of a newer schema, or a line is not a measurement (the message names the line).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    measurements = []
    for number, line in enumerate(lines, 1):
        try:
            measurements.append(Measurement.model_validate_json(line))
            check_schema(path, measurements[-1].schema_version)
        except ValidationError as error:
            check_schema(path, _schema_version(line))
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise UserError(f"{path}:{number}: {where}: {first['msg']}") from error
    return measurements


def _schema_version(line: str) -> int:
    """The version that a line states, which may have fields that are not known here; 0 where it states none."""
    try:
        return int(json.loads(line)["schema_version"])
    except (ValueError, TypeError, KeyError):
        return 0


def check_schema(path: Path, version: int) -> None:
    """Refuse a record of a newer schema than this code knows; older ones are read.

    Raises:
        UserError: the version is newer.
    """
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path}: written by a newer version of this project (schema {version}, known up to {SCHEMA_VERSION}): "
            "update the checkout"
        )


def read_claims(path: Path) -> list[ClaimResult]:
    """Read a claims.json; one of an older schema was judged by other rules and counts as none.

    Raises:
        UserError: the file is missing, not a list of claims, or of a newer schema.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        versions = [int(entry["schema_version"]) for entry in entries]
        for version in versions:
            check_schema(path, version)
        return [ClaimResult.model_validate(e) for e in entries if e["schema_version"] == SCHEMA_VERSION]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
