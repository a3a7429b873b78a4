"""From a measured claim to its verdict."""

from collections.abc import Callable

import pytest

from common.errors import UserError
from common.paper import Paper
from common.records.measurements import ClaimResult, Measurement
from common.reporting.verdicts import decide_claims

Measure = Callable[..., Measurement]


def decided(paper: Paper, *measurements: Measurement) -> dict[str, ClaimResult]:
    results = decide_claims(paper, measurements, "mini-files")
    assert [r.id for r in results] == ["saves", "keeps", "looks"]
    return {r.id: r for r in results}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.40, 0.44, "reproduced"), (0.30, 0.38, "contradicted"), (0.35, 0.44, "inconclusive")],
)
def test_the_interval_decides(paper: Paper, measure: Measure, low: float, high: float, verdict: str) -> None:
    claim = measure("m", (low + high) / 2, experiment="claims", system="saves", ci_low=low, ci_high=high, note="n")
    result = decided(paper, claim)["saves"]
    assert result.verdict == verdict
    assert (result.published, result.measured, result.ci_low, result.ci_high) == (0.39, (low + high) / 2, low, high)
    assert (result.run, result.kind, result.note) == ("mini-files", "efficiency", "n")


def test_what_was_not_measured_is_not_run_and_says_why(paper: Paper) -> None:
    results = decided(paper)
    assert {r.verdict for r in results.values()} == {"not-run"}
    assert results["saves"].note == "no measurement in this run"
    assert results["saves"].measured is None
    assert results["looks"].note == "for a reader to judge"


def test_a_value_without_an_interval_decides_nothing(paper: Paper, measure: Measure) -> None:
    result = decided(paper, measure("m", 0.9, experiment="claims", system="saves"))["saves"]
    assert (result.verdict, result.measured) == ("inconclusive", 0.9)
    assert "without an interval" in result.note


def test_quality_is_not_judged_where_the_encoder_is_untrained(paper: Paper, measure: Measure) -> None:
    fields = {"experiment": "claims", "ci_low": 0.5, "ci_high": 0.6}
    smoke = [measure("m", 0.55, system=name, scale="smoke", **fields) for name in ("saves", "keeps")]
    results = decided(paper, *smoke)
    assert (results["saves"].verdict, results["keeps"].verdict) == ("reproduced", "not-run")
    assert decided(paper, measure("m", 0.55, system="keeps", **fields))["keeps"].verdict == "reproduced"


def test_measurements_of_other_experiments_decide_nothing(paper: Paper, measure: Measure) -> None:
    other = measure("m", 0.5, experiment="table1", system="saves", ci_low=0.5, ci_high=0.5)
    assert decided(paper, other)["saves"].verdict == "not-run"


def test_records_that_do_not_fit_the_claims_are_refused(paper: Paper, measure: Measure) -> None:
    claim = measure("m", 0.5, experiment="claims", system="saves", ci_low=0.4, ci_high=0.6)
    with pytest.raises(UserError, match="'saves' was measured twice"):
        decided(paper, claim, claim)
    with pytest.raises(UserError, match="no claim 'svaes'"):
        decided(paper, claim.model_copy(update={"system": "svaes"}))
    with pytest.raises(UserError, match="expected ci_low <= ci_high"):
        decided(paper, claim.model_copy(update={"ci_low": 0.7}))
