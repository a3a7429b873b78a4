"""Decides a paper's claims from a run's measurements.

The number that decides a claim is a measurement of the experiment `claims` whose system is the claim's id. Only
its interval counts: a value without one decides nothing. What was not measured is `not-run`, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import UserError
from common.paper import Claim, Paper
from common.records.measurements import ClaimResult, Measurement, Verdict
from common.records.statistics import Interval, judge
from common.scales import SCALES

CLAIMS = "claims"
"""The experiment whose measurements decide claims."""


def decide_claims(paper: Paper, measurements: Sequence[Measurement], run: str) -> list[ClaimResult]:
    """Return one verdict for each claim of the paper, in the paper's order.

    Raises:
        UserError: a claim was measured twice, or the records decide a claim that the paper does not have.
    """
    deciding: dict[str, Measurement] = {}
    for measurement in measurements:
        if measurement.experiment != CLAIMS:
            continue
        if measurement.system in deciding:
            raise UserError(f"run {run}: claim {measurement.system!r} was measured twice; expected once")
        deciding[measurement.system] = measurement
    unknown = set(deciding) - {claim.id for claim in paper.claims}
    if unknown:
        raise UserError(f"run {run}: no claim {min(unknown)!r} in the paper.yaml of {paper.slug}")
    return [_decide(claim, deciding.get(claim.id), run) for claim in paper.claims]


def _decide(claim: Claim, measurement: Measurement | None, run: str) -> ClaimResult:
    verdict, note = _verdict(claim, measurement)
    return ClaimResult(
        id=claim.id,
        statement=claim.statement,
        kind=claim.kind,
        published=claim.value,
        measured=measurement.value if measurement else None,
        ci_low=measurement.ci_low if measurement else None,
        ci_high=measurement.ci_high if measurement else None,
        verdict=verdict,
        run=run,
        note=note,
    )


def _verdict(claim: Claim, measurement: Measurement | None) -> tuple[Verdict, str]:
    if measurement is None:
        why = "for a reader to judge" if claim.op == "note" else "no measurement in this run"
        return "not-run", why
    if claim.op == "note":
        return "not-run", measurement.note or "for a reader to judge"
    if claim.kind == "quality" and not quality_counts(measurement.scale):
        return "not-run", f"quality means nothing at the scale {measurement.scale}: its encoder is untrained"
    if measurement.ci_low is None or measurement.ci_high is None:
        return "inconclusive", _join(measurement.note, "measured without an interval")
    if not measurement.ci_low <= measurement.ci_high:
        raise UserError(
            f"claim {claim.id}: expected ci_low <= ci_high, found {measurement.ci_low} > {measurement.ci_high}"
        )
    interval = Interval(measurement.value, measurement.ci_low, measurement.ci_high, measurement.n or 1)
    return judge(interval, claim.op, claim.value), measurement.note


def quality_counts(scale: str) -> bool:
    """Whether trained quality means anything at a scale; at one that is not ours it does."""
    return scale not in SCALES or SCALES[scale].quality_verdicts


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
