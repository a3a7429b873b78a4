"""Verdicts in Markdown: what is counted, what is shown, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.paper import Claim, Paper, load_paper
from common.records.measurements import (
    NOT_MEASURED,
    NOTHING_TRAINED,
    CellResult,
    ClaimResult,
    Measurement,
    Verdict,
)
from common.records.runs import RunRecord, find_runs
from common.reporting.blocks import markers
from common.reporting.overview import PaperRuns
from common.reporting.scoreboard import (
    best_verdict,
    claims_markdown,
    not_run_markdown,
    not_run_reason,
    printed_text,
    reason_text,
    reasons_markdown,
    scoreboard,
)

Measure = Callable[..., Measurement]
ROOT = Path(__file__).resolve().parents[3]
README_LINES = 200


def result(verdict: Verdict, claim: str = "saves", **fields: Any) -> ClaimResult:
    defaults: dict[str, Any] = {
        "id": claim,
        "statement": "s",
        "type": "empirical",
        "subject": "efficiency",
        "over": "one",
        "op": ">=",
        "published": 0.39,
        "no_effect": 0.0,
        "unit": "",
        "run": "mini-files",
    }
    return ClaimResult(**{**defaults, "verdict": verdict, **fields})


def of(paper: Paper, claim: str) -> Claim:
    return next(c for c in paper.claims if c.id == claim)


@pytest.mark.parametrize(
    ("verdicts", "counted"),
    [
        (["not run", "seen here"], "seen here"),
        (["seen here", "reproduced"], "reproduced"),
        (["reproduced", "contradicted"], "contradicted"),
        (["inconclusive", "not seen here"], "not seen here"),
        ([], "not run"),
    ],
)
def test_of_several_runs_the_verdict_that_says_most_counts(paper: Paper, verdicts: list[Verdict], counted: str) -> None:
    runs = [RunRecord(f"run-{i}", (), claims=(result(v),)) for i, v in enumerate(verdicts)]
    assert best_verdict(of(paper, "saves"), runs) == counted


def test_the_scoreboard_counts_every_claim_once(paper: Paper) -> None:
    runs = (RunRecord("a", (), claims=(result("seen here"), result("contradicted", "keeps"))),)
    lines = scoreboard([PaperRuns(paper, runs)]).splitlines()
    assert lines[0] == "| paper | seen here | contradicted | not run |"
    assert lines[2] == "| [A & B_1](replications/a-paper/README.md#claims) | 1 | 1 | 1 |"
    assert lines[3] == "| all | 1 | 1 | 1 |"


def test_a_word_that_no_claim_has_is_named_and_has_no_column(paper: Paper) -> None:
    lines = scoreboard([PaperRuns(paper, (RunRecord("a", (), claims=(result("holds"),)),))]).splitlines()
    assert lines[0] == "| paper | holds | not run |"
    assert lines[-1] == (
        "No claim so far is: broken, reproduced, direction only, seen here, not seen here, contradicted, inconclusive."
    )


def test_a_claim_shows_what_was_printed_and_measured(paper: Paper) -> None:
    shown = result("reproduced", measured=0.41, ci_low=0.39, ci_high=0.43)
    text = claims_markdown(PaperRuns(paper, (RunRecord("mini-files", (), claims=(shown,)),)))
    assert "| statement of saves (`saves`) | ≥ 0.39 | **reproduced** 0.41 [0.39, 0.43] |" in text
    assert "| statement of looks (`looks`) | \N{EM DASH} | \N{EM DASH} |" in text
    every = of(paper, "saves").model_copy(update={"over": "all", "unit": "fraction"})
    assert printed_text(every) == "≥ 39 %, every cell"


def test_who_is_not_run_waits_for_a_training_or_is_in_no_record(paper: Paper, measure: Measure) -> None:
    """A reason of the claim's own goes before what is said of any run; a smoke run is no record."""
    claim = of(paper, "saves")

    def run(name: str, note: str, **fields: Any) -> RunRecord:
        return RunRecord(name, (measure("m", 1.0, **fields),), claims=(result("not run", note=note),))

    shapes, smoke = run("shapes", NOT_MEASURED), run("smoke-builtin", NOTHING_TRAINED, scale="smoke", seed=0)
    waits = "waits for a recorded training (make record); recorded so far: shapes"
    assert not_run_reason(claim, [shapes, smoke]) == waits
    assert not_run_reason(claim, [shapes, run("mini-builtin", NOT_MEASURED, seed=0)]) == "no recorded run measures it"
    assert not_run_reason(claim, [shapes, run("mini-builtin", "nobody reaches 2x", seed=0)]) == "nobody reaches 2x"
    assert not_run_reason(claim, []) == "nothing was run yet"


def test_a_reason_names_questions_premise_seeds_and_cells() -> None:
    cells = [CellResult(name=n, value=0.5, ci_low=0.4, ci_high=0.6, n=9, seeds=1) for n in ("sst-2", "rte")]
    said = reason_text(
        result("seen here", direction="yes", size="no", premise_lacks=["3 layers"], seeds=1, cells=cells, note="why")
    )
    assert said == (
        "direction yes, size no; premise not met: 3 layers; 1 seed, interval over the examples alone; "
        "sst-2 0.5 [0.4, 0.6], rte 0.5 [0.4, 0.6]; why"
    )


def test_what_was_not_run_stands_on_a_page_of_its_own(paper: Paper) -> None:
    runs = (RunRecord("a", (), claims=(result("not run", note="needs a GPU"), result("seen here", "keeps"))),)
    page = not_run_markdown([PaperRuns(paper, runs)])
    assert "- `saves`: statement of saves. *needs a GPU*" in page
    assert "`keeps`" not in page
    assert "needs a GPU" not in reasons_markdown(PaperRuns(paper, runs))


# -- The committed front page -----------------------------------------------------------------------------------------


def test_the_readme_is_short_and_its_generated_part_is_what_the_records_give() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= README_LINES
    entries = []
    for path in sorted((ROOT / "replications").glob("*/paper.yaml")):
        paper = load_paper(path)
        runs = tuple(run for run in find_runs(ROOT / "results", paper.slug) if run.quality_counts)
        entries.append(PaperRuns(paper, runs))
        own = (path.parent / "README.md").read_text()
        assert claims_markdown(entries[-1]) in own, f"{paper.slug}: make tables"
    begin, end = markers("scoreboard")
    between = readme[readme.index(begin) + len(begin) : readme.index(end)]
    assert between.strip() == scoreboard(entries).strip(), "make tables"
    assert (ROOT / "tables" / "not-run.md").read_text() == not_run_markdown(entries), "make tables"
