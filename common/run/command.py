"""The commands that run papers, one or several: a user's own results beside the record, or the record itself."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.records.measurements import read_claims
from common.records.runs import LOCAL, find_runs, read_run
from common.run.artifacts import default_root
from common.run.preflight import alone_at_work, check_room, check_writable, warn_if_busy
from common.run.progress import RunProgress, duration, say
from common.run.replication import RESULTS, ROOT, TABLES, Journal, Replication
from common.run.runner import Prepared, Request, names_and_seconds, prepare, run_steps, write_run


@dataclass(frozen=True)
class Part:
    """One paper's share of a command.

    Attributes:
        replication: the paper.
        prepared: its runs, in order; the list is emptied as they are carried out.
        progress: of the whole command.
        first: number of its first step within the command.
        journals: of the runs that are carried out. They are kept until the command ends: one that is interrupted later
            goes on behind them.
    """

    replication: Replication
    prepared: list[Prepared]
    progress: RunProgress
    first: int = 0
    journals: list[Journal] = field(default_factory=list)

    def forget(self) -> None:
        """The part is done, and so is the command: the same one measures afresh."""
        for journal in self.journals:
            journal.clear()


Finish = Callable[[Part], None]
"""Carries out a paper's part of a command and keeps what comes out."""


def run_command(replications: Sequence[Replication], request: Request, finish: Finish) -> int:
    """Carry out a request for one paper or several; of several, one that fails does not stop the others.

    Returns:
        The exit code: 0, or 1 if a paper of several failed.

    Raises:
        UserError: the only paper, or every one of several, refuses the request.
    """
    started = time.monotonic()
    if len(replications) == 1:
        prepared = prepare(replications[0], request, default_root())
        part = Part(replications[0], prepared, RunProgress.on_stderr(*names_and_seconds(prepared)))
        finish(part)
        part.forget()
        return 0
    failed = _run_several(replications, request, finish)
    say(f"done in {duration(time.monotonic() - started)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _run_several(replications: Sequence[Replication], request: Request, finish: Finish) -> list[str]:
    """The papers that failed, each after its message. What a paper refuses is said before the first begins."""
    names: list[str] = []
    seconds: list[float] = []
    begins: dict[str, int] = {}
    refusals: dict[str, UserError] = {}
    for number, replication in enumerate(replications, 1):
        try:
            own, costs = names_and_seconds(prepare(replication, request, default_root()))
        except UserError as error:
            refusals[replication.slug] = error
            continue
        begins[replication.slug] = len(names)
        names += [f"paper {number} of {len(replications)}, {replication.slug}: {name}" for name in own]
        seconds += costs
        # Many papers' data at once would not fit: each is prepared again when its turn comes.
        gc.collect()
    if not begins:
        raise next(iter(refusals.values()))
    for slug, refusal in refusals.items():
        say(f"reproduce: {slug}: {refusal}; the other papers go on")
    failed, progress = list(refusals), RunProgress.on_stderr(names, seconds)
    done: list[Part] = []
    for replication in replications:
        if replication.slug in begins:
            try:
                prepared = prepare(replication, request, default_root())
                part = Part(replication, prepared, progress, begins[replication.slug])
                finish(part)
                done.append(part)
            except UserError as error:
                say(f"reproduce: {replication.slug}: {error}; the other papers go on")
                failed.append(replication.slug)
            except Exception:
                say(f"{traceback.format_exc()}reproduce: {replication.slug}: a defect, see above; the others go on")
                failed.append(replication.slug)
    for part in done:
        part.forget()
    return failed


def reproduce(part: Part, results: Path = RESULTS) -> None:
    """Carry out a user's own run: its results go beside the record and are laid beside it and the paper's numbers.

    Nothing that is committed is written, and nothing that is written here feeds the paper's tables or verdicts.
    """
    from common.reporting.ending import ending
    from common.reporting.report import report_run

    replication, slug = part.replication, part.replication.slug
    # Read beforehand: what is wrong with a record is no news for the end of a run.
    recorded = {run.name: run for run in find_runs(results, slug)}
    folders = carry_out(part, lambda name: results / slug / f"{name}{LOCAL}")
    for own in folders:
        report_run(replication, own)
    runs = [(read_run(own), recorded.get(own.name.removesuffix(LOCAL))) for own in folders]
    print(ending(replication.paper, runs, [shown(own) for own in folders]))


def record(part: Part, results: Path = RESULTS, tables: Path = TABLES) -> None:
    """Carry out a run and write it to the committed record, then the paper's verdicts, figures and tables."""
    from common.reporting.made import Made
    from common.reporting.report import report_paper, verdict_lines

    slug = part.replication.slug
    find_runs(results, slug)
    check_writable(tables / slug)
    folders = carry_out(part, lambda name: results / slug / name)
    report_paper(part.replication, results, tables, Made.under(default_root()))
    for folder in folders:
        print(f"\n{slug}, run {folder.name}: {shown(folder)}")
        for line in verdict_lines(read_claims(folder / "claims.json")):
            print(f"  {line}")
    print(f"\ntables: {shown(tables / slug)}; for the README's scoreboard type: make tables")


def carry_out(part: Part, target: Callable[[str], Path]) -> list[Path]:
    """Execute a paper's runs; the record of each goes to the folder that `target` gives for its name.

    Returns:
        The folders, in order.

    Raises:
        UserError: a folder cannot be written, or the disk has no room for what would be trained.
    """
    cache, first = default_root(), part.first
    folders = [target(prepared.run.name) for prepared in part.prepared]
    for folder in (cache, *folders):
        check_writable(folder)
    for prepared in part.prepared:
        check_room(cache, prepared.run.encoder_bytes, len(prepared.steps))
        for line in prepared.run.describe_data():
            say(line)
    warn_if_busy()
    with alone_at_work(cache):
        for folder in folders:
            prepared = part.prepared.pop(0)
            first += _carry_out_one(prepared, folder, part.progress, first)
            part.journals.append(prepared.journal)
            del prepared
            # A finished run lets go of its data and models: the next one may need all of the memory.
            gc.collect()
    return folders


def _carry_out_one(prepared: Prepared, folder: Path, progress: RunProgress, first: int) -> int:
    """Execute one run and write its record, unless an interrupted command did; returns how many steps it had."""
    begun = time.monotonic()
    measurements = run_steps(prepared, progress, first)
    if not prepared.journal.is_recorded_in(folder):
        write_run(folder, prepared, measurements, time.monotonic() - begun)
        prepared.journal.recorded_in(folder)
    return len(prepared.steps)


def shown(path: Path) -> Path:
    """`path` as it is printed: within the checkout without the way there."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
