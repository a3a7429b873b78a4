"""Verdicts in Markdown: the README's scoreboard, a paper's own claims, and why a claim was not run.

A verdict always belongs to a run. Where a claim has several, the scoreboard counts the one that says most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from common.paper import Claim
from common.records.measurements import NOT_MEASURED, NOTHING_TRAINED, ClaimResult, Verdict
from common.records.runs import RunRecord
from common.reporting.blocks import escape, pipe_row
from common.reporting.markup import MISSING, SIGNS, quantity_text
from common.reporting.overview import PaperRuns

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
COMPARISONS = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}", "==": "="}
"""How a claim is to be met, as it is printed."""

STRONG = ("reproduced", "contradicted", "broken")
"""Words for runs that meet the premise; they stand out."""

SAYS_MOST = (
    "broken",
    "contradicted",
    "reproduced",
    "direction only",
    "holds",
    "not seen here",
    "seen here",
    "inconclusive",
    "not run",
)
"""Of several runs' verdicts the first of these counts: a met premise before one that is not, bad news first."""


def scoreboard(entries: Sequence[PaperRuns]) -> str:
    """Papers by verdict, a row each with the number of claims, linked to the paper's own page.

    A word that no claim has is named below: as an empty column it would push the others off a page's edge.
    """
    counts = {
        entry.paper.slug: Counter(best_verdict(claim, entry.runs) for claim in entry.paper.claims) for entry in entries
    }
    total = sum(counts.values(), Counter[Verdict]())
    words = [verdict for verdict in VERDICTS if total[verdict]]
    rows = [pipe_row(["paper", *words]), pipe_row(["---"] + ["---:"] * len(words))]
    for entry in entries:
        name = f"[{escape(entry.paper.name)}](replications/{entry.paper.slug}/README.md#claims)"
        rows.append(pipe_row([name, *(_count(counts[entry.paper.slug][word]) for word in words)]))
    rows.append(pipe_row(["all", *(_count(total[word]) for word in words)]))
    absent = [verdict for verdict in VERDICTS if not total[verdict]]
    if absent:
        rows += ["", f"No claim so far is: {', '.join(absent)}."]
    return "\n".join(rows) + "\n"


def best_verdict(claim: Claim, runs: Iterable[RunRecord]) -> Verdict:
    """The verdict on a claim that says most, over the runs; `not run` where there is none."""
    found: list[Verdict] = [result.verdict for run in runs for result in run.claims if result.id == claim.id]
    return min(found, key=SAYS_MOST.index, default="not run")


def claims_markdown(entry: PaperRuns) -> str:
    """A paper's claims: what was printed, and each run's verdict with what it measured. Empty without claims."""
    if not entry.paper.claims:
        return ""
    header = ["claim", "printed", *(run.name for run in entry.runs)]
    rows = [pipe_row(header), pipe_row(["---"] * len(header))]
    for claim in entry.paper.claims:
        results = [_result_of(claim, run) for run in entry.runs]
        statement = f"{escape(claim.statement)} (`{claim.id}`)"
        rows.append(pipe_row([statement, escape(printed_text(claim)), *(_verdict_text(r) for r in results)]))
    return "\n".join(rows)


def reasons_markdown(entry: PaperRuns) -> str:
    """Why each decided verdict is what it is: a line for each claim and run."""
    decided = [(run, result) for run in entry.runs for result in run.claims if result.verdict != "not run"]
    return "\n".join(f"- `{r.id}`, {run.name}: {r.verdict}. {escape(reason_text(r))}" for run, r in decided)


def not_run_markdown(entries: Sequence[PaperRuns]) -> str:
    """The page of claims that no recorded run decides, with the reason of each."""
    parts = ["# Claims that no recorded run decides", ""]
    for entry in entries:
        undecided = [claim for claim in entry.paper.claims if best_verdict(claim, entry.runs) == "not run"]
        if undecided:
            parts += [f"## {escape(entry.paper.name)}", ""]
            parts += [
                f"- `{c.id}`: {escape(c.statement)}. *{escape(not_run_reason(c, entry.runs))}*" for c in undecided
            ]
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def printed_text(claim: Claim) -> str:
    """What was printed, e.g. `≥ 40 %, every cell`; a dash where only a reader can judge."""
    if claim.value is None:
        return MISSING
    over = {"one": "", "all": ", every cell", "any": ", some cell", "mean": ", on average"}[claim.over]
    return f"{COMPARISONS.get(claim.op, claim.op)} {quantity_text(claim.value, claim.unit)}{over}"


def measured_text(result: ClaimResult) -> str:
    """What was measured, with its unit and its 95 % interval; a dash where nothing was."""
    if result.measured is None:
        return MISSING
    if result.ci_low == result.ci_high:  # an exact number
        return quantity_text(result.measured, result.unit)
    return quantity_text(result.measured, result.unit, result.ci_low, result.ci_high)


def reason_text(result: ClaimResult) -> str:
    """The three answers, what the premise lacks, the cells, and the note."""
    parts = []
    if result.direction is not None:
        parts.append(f"direction {result.direction}, size {result.size}")
    if result.premise_lacks:
        parts.append(f"premise not met: {', '.join(result.premise_lacks)}")
    if result.seeds is not None:
        parts.append(_seeds_text(result.seeds))
    if len(result.cells) > 1:
        unit = result.unit if result.unit in SIGNS else ""  # a word would stand behind every cell
        cells = (f"{c.name} {quantity_text(c.value, unit, c.ci_low, c.ci_high)}" for c in result.cells)
        parts.append(", ".join(cells))
    return "; ".join([*parts, *([result.note] if result.note else [])])


def _seeds_text(seeds: int) -> str:
    return "1 seed, interval over the examples alone" if seeds == 1 else f"{seeds} seeds"


def _result_of(claim: Claim, run: RunRecord) -> ClaimResult | None:
    return next((result for result in run.claims if result.id == claim.id), None)


def _verdict_text(result: ClaimResult | None) -> str:
    if result is None or result.verdict == "not run":
        return MISSING
    word = f"**{result.verdict}**" if result.verdict in STRONG else result.verdict
    return f"{word} {measured_text(result)}"


def not_run_reason(claim: Claim, runs: Iterable[RunRecord]) -> str:
    """Why no run decides a claim; what one run in particular lacks goes before what is said of any."""
    runs = list(runs)
    reasons = [result.note for run in runs for result in run.claims if result.id == claim.id and result.note]
    own = [reason for reason in reasons if reason not in (NOT_MEASURED, NOTHING_TRAINED)]
    if own:
        return own[0]
    if not reasons:
        return "nothing was run yet"
    records = [run for run in runs if run.quality_counts]
    if not records or any(run.trained for run in records):
        return "no recorded run measures it"
    return f"waits for a recorded training (make record); recorded so far: {', '.join(run.name for run in records)}"


def _count(number: int) -> str:
    return str(number) if number else ""
