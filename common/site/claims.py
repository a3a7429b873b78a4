"""A paper's claims as its page shows them: what was printed, what each run found, and by which statistic."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from common.paper import Claim
from common.records.measurements import ClaimResult, Verdict
from common.records.runs import RunRecord
from common.reporting.overview import PaperRuns
from common.reporting.scoreboard import (
    VERDICTS,
    best_verdict,
    measured_text,
    not_run_reason,
    printed_text,
)

PREMISES = {True: "met", False: "not met", None: ""}


@dataclass(frozen=True)
class Finding:
    """What one run found: the record's own words and numbers, ready to be shown."""

    run: RunRecord
    result: ClaimResult

    @property
    def measured(self) -> str:
        """With the interval and the unit."""
        return measured_text(self.result)

    @property
    def premise(self) -> str:
        """The first of the three questions; empty for what holds by construction."""
        return PREMISES[self.result.premise_met]

    @property
    def answers(self) -> str:
        """The second and the third; empty for what holds by construction."""
        if self.result.direction is None:
            return ""
        return f"direction {self.result.direction}, size {self.result.size}"

    @property
    def seeds(self) -> str:
        """How many training seeds stand behind it, and what that means for the interval."""
        if self.result.seeds is None:
            return "no training involved"
        if self.result.seeds == 1:
            return "1, the interval is over the examples alone"
        return f"{self.result.seeds}, the interval is over examples and seeds"


@dataclass(frozen=True)
class Entry:
    """A claim with what became of it.

    Attributes:
        claim: as in paper.yaml.
        verdict: the one that says most, over the runs.
        printed: the published value, with how it is to be met.
        statistic: what decides it, in the words of the code that does; empty where none is written.
        findings: of the runs that decide it.
        why_not: the reason where none does.
    """

    claim: Claim
    verdict: Verdict
    printed: str
    statistic: str
    findings: tuple[Finding, ...]
    why_not: str


def entries_by_verdict(runs: PaperRuns, deciders: Mapping[str, Any]) -> dict[Verdict, list[Entry]]:
    """Every claim of a paper under the word that counts for it, the words in their order; words without one left out.

    Args:
        runs: the paper and its runs.
        deciders: what decides its claims, by claim.
    """
    entries = [entry_of(claim, runs.runs, deciders.get(claim.id)) for claim in runs.paper.claims]
    groups = {verdict: [entry for entry in entries if entry.verdict == verdict] for verdict in VERDICTS}
    return {verdict: group for verdict, group in groups.items() if group}


def entry_of(claim: Claim, runs: Iterable[RunRecord], decider: object) -> Entry:
    """One claim."""
    runs = tuple(runs)
    found = [
        Finding(run, result)
        for run in runs
        for result in run.claims
        if result.id == claim.id and result.verdict != "not run"
    ]
    return Entry(
        claim=claim,
        verdict=best_verdict(claim, runs),
        printed=printed_text(claim),
        statistic=statistic_text(decider),
        findings=tuple(found),
        why_not="" if found else not_run_reason(claim, runs),
    )


def statistic_text(decider: object) -> str:
    """The first paragraph of what a decider says of itself; of one that was made by a function, what that says."""
    while isinstance(decider, partial):
        decider = decider.func
    text = inspect.getdoc(decider) if inspect.isfunction(decider) else None
    if text is None and inspect.isfunction(decider):
        maker = decider.__qualname__.partition(".<locals>")[0]
        text = inspect.getdoc(vars(sys.modules[decider.__module__]).get(maker))
    return " ".join((text or "").partition("\n\n")[0].split())
