"""From what a run found on a claim to the verdict that a careful researcher would sign.

By construction: `holds` or `broken`. Empirical, three questions:

    premise   does the run meet what the claim presupposes (`common.records.facts`)?
    direction is the effect on the claim's side of no effect?
    size      is it at least what was printed?

A claim over cells states its quantifier. *All*: shown when each cell is, refuted when a cell is after Holm's
correction. *Any*: the mirror image. *Mean*: of independent cells. No minimum or maximum is ever tested as if it were
one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Literal

from common.errors import UserError
from common.paper import Claim, Paper
from common.records.claims import SURE, Cell, Check, Decide, Decision, Limit, Undecided
from common.records.effects import Effect, holm, mean_effect
from common.records.measurements import NOT_MEASURED, NOTHING_TRAINED, CellResult, ClaimResult, Verdict
from common.records.runs import RunRecord
from common.timing.quiet import QUIET

Answer = Literal["yes", "no", "unclear"]

CONTROL_MAY_BE_OFF = 0.03
"""How far the A/A controls may lie from 1 on average."""

CONTROL = "A/A control"

ABOVE = (">=", ">")

WITH_PREDICTIONS = 2
"""The first schema version whose records hold predictions."""


def decide_claims(paper: Paper, record: RunRecord, deciders: Mapping[str, Decide]) -> list[ClaimResult]:
    """One verdict for each claim of the paper, in the paper's order.

    Args:
        paper: its claims.
        record: the run that is judged.
        deciders: the paper's functions by claim.

    Raises:
        UserError: a function decides a claim that the paper does not have.
    """
    unknown = set(deciders) - {claim.id for claim in paper.claims}
    if unknown:
        raise UserError(f"{paper.slug}: claims.py decides {min(unknown)!r}, which is no claim in paper.yaml")
    return [_result(claim, record, deciders.get(claim.id)) for claim in paper.claims]


def _result(claim: Claim, record: RunRecord, decide: Decide | None) -> ClaimResult:
    if claim.op == "note":
        return _not_run(claim, record, "for a reader to judge")
    if claim.subject == "quality" and claim.type == "empirical" and not record.quality_counts:
        return _not_run(claim, record, NOTHING_TRAINED)
    decision = decide(record) if decide is not None else None
    if decision is None:
        return _not_run(claim, record, claim.not_run or _why_undecided(record))
    if isinstance(decision, Undecided):
        return _not_run(claim, record, _without("", decision.left_out))
    if isinstance(decision, Check):
        return _checked(claim, record, decision)
    return _judged(claim, record, decision)


def _not_run(claim: Claim, record: RunRecord, why: str) -> ClaimResult:
    return _filled(claim, record, verdict="not run", note=why)


def _why_undecided(record: RunRecord) -> str:
    if record.measurements and all(m.schema_version < WITH_PREDICTIONS for m in record.measurements):
        return "the record is older than stored predictions: make record"
    return NOT_MEASURED


def _checked(claim: Claim, record: RunRecord, check: Check) -> ClaimResult:
    if claim.type != "by-construction":
        raise UserError(f"claim {claim.id}: only what holds by construction can be checked; it is {claim.type}")
    verdict: Verdict = "holds" if check.holds else "broken"
    return _filled(claim, record, verdict=verdict, measured=check.value, note=check.note)


def _judged(claim: Claim, record: RunRecord, decision: Decision) -> ClaimResult:
    assert claim.value is not None, "paper.yaml gives every claim but a note a value"
    if claim.type == "by-construction":
        holds = all(compare(cell.effect.value, claim.op, claim.value) for cell in decision.cells)
        verdict: Verdict = "holds" if holds else "broken"
        return _filled(claim, record, verdict=verdict, **_shown(claim, decision), note=_note(decision))
    size = ask(claim, decision, claim.value)
    # A claim with no neutral value is a bound: its direction is the bound itself.
    direction = size if claim.no_effect is None else ask(_strictly(claim), decision, claim.no_effect)
    shapes = {m.backbone for m in record.measurements if m.backbone}
    unmet = claim.premise.unmet(record.facts, decision.tasks, decision.seeds, shapes)
    noise = noise_of(record) if decision.timed else None
    verdict = "inconclusive" if noise else word(not unmet, direction, size)
    return _filled(
        claim,
        record,
        verdict=verdict,
        premise_met=not unmet,
        premise_lacks=unmet,
        direction=direction,
        size=size,
        **_shown(claim, decision),
        note="; ".join(filter(None, (noise, _note(decision)))),
    )


def _strictly(claim: Claim) -> Claim:
    """An effect of exactly nothing (two systems that answer alike) has no direction."""
    return claim.model_copy(update={"op": {">=": ">", "<=": "<"}.get(claim.op, claim.op)})


def word(premise_met: bool, direction: Answer, size: Answer) -> Verdict:
    """The verdict for three answers."""
    if direction == "unclear":
        return "inconclusive"
    if not premise_met:
        return "seen here" if direction == "yes" else "not seen here"
    if direction == "no":
        return "contradicted"
    return "reproduced" if size == "yes" else "direction only"


def ask(claim: Claim, decision: Decision, target: float) -> Answer:
    """Whether the cells lie on the claim's side of `target`, by the claim's quantifier."""
    cells = decision.cells
    if claim.over in ("mean", "one"):
        if claim.over == "one" and len(cells) > 1:
            raise UserError(f"claim {claim.id} is of one cell, but {len(cells)} were measured; say how they combine")
        cells = (_mean_cell(cells),)
    for_it = [_p_for(cell, claim.op, target) for cell in cells]
    against = [_p_against(cell, claim.op, target) for cell in cells]
    if claim.over == "any":
        return _answer(any(holm(for_it, SURE)), all(p <= SURE for p in against))
    return _answer(all(p <= SURE for p in for_it), any(holm(against, SURE)))


def _mean_cell(cells: Sequence[Cell]) -> Cell:
    """The mean of independent cells; of their limits too, which must then be one."""
    limits = [cell.limit for cell in cells if cell.limit is not None]
    limit = Limit(mean_effect([one.effect for one in limits]), limits[0].value) if limits else None
    if limits and (len(limits) < len(cells) or len({one.value for one in limits}) > 1):
        raise ValueError("cells whose mean is judged need one limit for all of them, or none")
    return Cell("mean", mean_effect([cell.effect for cell in cells]), limit=limit)


def _p_for(cell: Cell, op: str, target: float) -> float:
    """P against "the effect is not on this side, or the limit not kept": both have to be refuted."""
    kept = 0.0 if cell.limit is None else _p(cell.limit.effect, "<=", cell.limit.value)
    return max(_p(cell.effect, op, target), kept)


def _p_against(cell: Cell, op: str, target: float) -> float:
    """P against "the effect is on this side and the limit kept": one of two suffices, so each counts double."""
    other_side = _p(cell.effect, _opposite(op), target)
    if cell.limit is None:
        return other_side
    return min(1.0, 2 * min(other_side, _p(cell.limit.effect, ">", cell.limit.value)))


def _answer(shown: bool, refuted: bool) -> Answer:
    return "yes" if shown else "no" if refuted else "unclear"


def _p(effect: Effect, op: str, target: float) -> float:
    """One-sided p against "the effect is not on this side of `target`"; a number known exactly is compared."""
    if effect.error == 0:
        return 0.0 if compare(effect.value, op, target) else 1.0
    return effect.p_above(target) if op in ABOVE else effect.p_below(target)


def _opposite(op: str) -> str:
    return {">=": "<", ">": "<=", "<=": ">", "<": ">="}[op]


def compare(value: float, op: str, target: float) -> bool:
    """`value op target` for numbers that are known exactly, up to rounding."""
    slack = 1e-9 * max(1.0, abs(target))
    sides: dict[str, Callable[[], bool]] = {
        ">=": lambda: value >= target - slack,
        ">": lambda: value > target + slack,
        "<=": lambda: value <= target + slack,
        "<": lambda: value < target - slack,
        "==": lambda: abs(value - target) <= slack,
    }
    return sides[op]()


def noise_of(record: RunRecord) -> str | None:
    """Why this run's clock decides nothing; None where it was quiet enough."""
    others = record.facts.others
    if others is None:
        return "how busy the machine was is not on record"
    if others > QUIET:
        return f"others kept {others:.1f} cores busy while it was timed (at most {QUIET} allowed)"
    off = max(_controls_off(record), default=0.0)
    return f"the A/A control is off by {off:.1%}" if off > CONTROL_MAY_BE_OFF else None


def _controls_off(record: RunRecord) -> list[float]:
    """How far the controls of each timed quantity lie from 1 on average; the largest of many single ones is chance."""
    apart: dict[tuple[str, str], list[float]] = {}
    for m in record.measurements:
        if m.system == CONTROL and m.unit in ("ratio", "fraction"):
            apart.setdefault((m.experiment, m.metric), []).append(m.value - (m.unit == "ratio"))
    return [abs(fmean(values)) for values in apart.values()]


def _shown(claim: Claim, decision: Decision) -> dict[str, object]:
    """The number that stands for the cells, and every cell."""
    cells = [_cell_result(cell) for cell in decision.cells]
    effects = [cell.effect for cell in decision.cells]
    one = mean_effect(effects) if claim.over in ("mean", "one") else _extreme(claim, effects)
    low, high = one.interval
    return {"measured": one.value, "ci_low": low, "ci_high": high, "seeds": one.seeds or None, "cells": cells}


def _extreme(claim: Claim, effects: Sequence[Effect]) -> Effect:
    """The cell to be read, not to be tested: for `all` the least on the claim's side, for `any` the surest to be there.

    The largest of noisy cells would be the noisiest: two rounds of a clock give the widest intervals.
    """
    if claim.op in ABOVE:
        return max(effects, key=lambda e: e.interval[0]) if claim.over == "any" else min(effects, key=lambda e: e.value)
    return min(effects, key=lambda e: e.interval[1]) if claim.over == "any" else max(effects, key=lambda e: e.value)


def _cell_result(cell: Cell) -> CellResult:
    low, high = cell.effect.interval
    e = cell.effect
    return CellResult(name=cell.name, value=e.value, ci_low=low, ci_high=high, n=e.n, seeds=e.seeds)


def _note(decision: Decision) -> str:
    return _without(decision.note, decision.left_out)


def _without(note: str, left_out: Sequence[str]) -> str:
    return "; ".join(filter(None, (note, *(f"left out: {reason}" for reason in left_out))))


def _filled(claim: Claim, record: RunRecord, *, verdict: Verdict, **found: object) -> ClaimResult:
    facts = {
        "id": claim.id,
        "statement": claim.statement,
        "type": claim.type,
        "subject": claim.subject,
        "over": claim.over,
        "op": claim.op,
        "published": claim.value,
        "no_effect": claim.no_effect,
        "unit": claim.unit,
        "run": record.name,
    }
    return ClaimResult.model_validate({**facts, "verdict": verdict, **found})
