"""From effects to verdicts: three questions, the quantifiers, and what a noisy clock may not decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from common.paper import Claim, Paper
from common.records.claims import Cell, Check, Decision, Limit, Undecided
from common.records.effects import Component, Effect
from common.records.facts import Premise, RunFacts
from common.records.measurements import ClaimResult, Measurement
from common.records.runs import RunRecord
from common.records.verdicts import ask, decide_claims, word

Measure = Callable[..., Measurement]


def claim(**fields: Any) -> Claim:
    defaults = {
        "id": "saves",
        "statement": "it saves",
        "type": "empirical",
        "subject": "efficiency",
        "metric": "m",
        "op": ">=",
        "value": 0.4,
        "no_effect": 0.0,
        "over": "one",
        "scope": "all",
        "provenance": "fulltext",
    }
    return Claim(**(defaults | fields))


def effect(value: float, error: float = 0.0) -> Effect:
    return Effect(value, (Component(error**2, error**2, 1e9),) if error else (), 100, 3)


def cells(*effects: Effect) -> tuple[Cell, ...]:
    return tuple(Cell(f"cell {i}", e, f"task-{i}") for i, e in enumerate(effects))


def judged(one: Claim, decision: Decision | Check | Undecided | None, record: RunRecord | None = None) -> ClaimResult:
    base = {"slug": "p", "name": "P", "citation": {"title": "T", "authors": ("A",), "venue": "V", "year": 2020}}
    paper = Paper(**base, claims=(one,))  # type: ignore[arg-type]
    (result,) = decide_claims(paper, record or RunRecord("mini-files", ()), {one.id: lambda _: decision})
    return result


@pytest.mark.parametrize(
    ("premise", "direction", "size", "verdict"),
    [
        (True, "yes", "yes", "reproduced"),
        (True, "yes", "no", "direction only"),
        (True, "yes", "unclear", "direction only"),
        (True, "no", "no", "contradicted"),
        (False, "yes", "yes", "seen here"),
        (False, "yes", "no", "seen here"),
        (False, "no", "no", "not seen here"),
        (True, "unclear", "unclear", "inconclusive"),
        (False, "unclear", "no", "inconclusive"),
    ],
)
def test_the_table_of_verdicts(premise: bool, direction: Any, size: Any, verdict: str) -> None:
    assert word(premise, direction, size) == verdict


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (0.5, 0.01, "reproduced"),
        (0.3, 0.01, "direction only"),
        (0.41, 0.1, "direction only"),
        (-0.3, 0.01, "contradicted"),
        (0.1, 0.1, "inconclusive"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_gets_its_verdict_on_either_side(value: float, error: float, verdict: str, sign: int) -> None:
    one = claim() if sign == 1 else claim(op="<=", value=-0.4)
    result = judged(one, Decision(cells(effect(sign * value, error))))
    assert result.verdict == verdict
    assert result.measured == pytest.approx(sign * value)


@pytest.mark.parametrize("op", [">=", "<="])
def test_an_effect_of_exactly_nothing_has_no_direction(op: str) -> None:
    """Two systems that give the same answers: the gain is known to be 0, and 0 is no gain."""
    assert (
        judged(claim(op=op, value=0.4 if op == ">=" else -0.4), Decision(cells(effect(0.0)))).verdict == "contradicted"
    )


def test_a_premise_that_is_not_met_takes_the_strong_words_away() -> None:
    one = claim(premise=Premise(layers=12))
    good, bad = (judged(one, Decision(cells(effect(v, 0.01)))) for v in (0.5, -0.5))
    assert (good.verdict, bad.verdict) == ("seen here", "not seen here")
    assert good.premise_met is False
    assert good.premise_lacks == ["the paper's encoder has 12 layers, this one 0"]


def test_a_bound_has_no_direction_of_its_own() -> None:
    bound = claim(op="<=", value=3.0, no_effect=None)
    assert judged(bound, Decision(cells(effect(2.0, 0.1)))).verdict == "reproduced"
    assert judged(bound, Decision(cells(effect(4.0, 0.1)))).verdict == "contradicted"
    assert judged(bound, Decision(cells(effect(3.0, 0.1)))).verdict == "inconclusive"


# -- Quantifiers ------------------------------------------------------------------------------------------------------


def test_all_needs_each_and_falls_with_one() -> None:
    every = claim(over="all")
    good, bad, vague = effect(0.5, 0.01), effect(-0.5, 0.01), effect(0.4, 0.2)
    assert ask(every, Decision(cells(good, good)), 0.4) == "yes"
    assert ask(every, Decision(cells(good, vague)), 0.4) == "unclear"
    assert ask(every, Decision(cells(good, bad)), 0.4) == "no"


def test_any_is_its_mirror_image() -> None:
    some = claim(over="any")
    good, bad, vague = effect(0.5, 0.01), effect(-0.5, 0.01), effect(0.4, 0.2)
    assert ask(some, Decision(cells(bad, good)), 0.4) == "yes"
    assert ask(some, Decision(cells(bad, vague)), 0.4) == "unclear"
    assert ask(some, Decision(cells(bad, bad)), 0.4) == "no"


def test_the_mean_is_one_number() -> None:
    mean = claim(over="mean")
    assert ask(mean, Decision(cells(effect(0.1, 0.01), effect(0.9, 0.01))), 0.4) == "yes"
    with pytest.raises(UserError, match="of one cell, but 2 were measured"):
        ask(claim(over="one"), Decision(cells(effect(1.0), effect(1.0))), 0.4)


def test_a_limit_has_to_be_kept_as_surely_as_the_claim() -> None:
    """A saving that costs little: both have to be shown, and either can fail."""
    some, saved = claim(over="any"), effect(0.5, 0.01)
    kept, broken, vague = Limit(effect(0.2, 0.1), 1.0), Limit(effect(3.0, 0.1), 1.0), Limit(effect(0.9, 0.5), 1.0)
    answers = [ask(some, Decision((Cell("c", saved, "t", limit),)), 0.4) for limit in (kept, broken, vague)]
    assert answers == ["yes", "no", "unclear"]
    assert ask(some, Decision((Cell("c", effect(0.1, 0.01), "t", kept),)), 0.4) == "no"
    both = Decision((Cell("c", saved, "t", kept), Cell("d", saved, "u", broken)))
    assert [ask(claim(over=over), both, 0.4) for over in ("any", "all", "mean")] == ["yes", "no", "no"]


def test_a_limit_that_is_broken_by_chance_counts_double() -> None:
    """Two ways to fail are two chances to seem to: a loss 2.1 standard errors above the limit is not enough."""
    over_by = Limit(effect(1.21, 0.1), 1.0)
    assert ask(claim(), Decision((Cell("c", effect(0.5, 0.01), "t", over_by),)), 0.4) == "unclear"
    assert ask(claim(), Decision((Cell("c", effect(0.5, 0.01), "t", Limit(effect(1.24, 0.1), 1.0)),)), 0.4) == "no"


def test_a_mean_is_of_cells_with_one_limit() -> None:
    mixed = Decision((Cell("c", effect(0.5), limit=Limit(effect(0.1), 1.0)), Cell("d", effect(0.5))))
    with pytest.raises(ValueError, match="one limit for all"):
        ask(claim(over="mean"), mixed, 0.4)


def test_a_true_claim_over_many_noisy_cells_is_hardly_ever_refuted() -> None:
    """19 comparisons, truly ahead by 0.29 with a standard error of 0.8: a minimum would refute it every time."""
    rng = np.random.default_rng(3)
    every = claim(over="all", value=0.0)
    answers = []
    for _ in range(300):
        drawn = Decision(cells(*(effect(float(v), 0.8) for v in rng.normal(0.29, 0.8, size=19))))
        answers.append(ask(every, drawn, 0.0))
    assert answers.count("no") / 300 <= 0.05
    assert answers.count("yes") == 0, "19 such cells cannot show it either"


def test_a_false_claim_over_many_cells_is_refuted() -> None:
    every = claim(over="all", value=0.0)
    drawn = Decision(cells(*(effect(1.0, 0.5) for _ in range(18)), effect(-4.0, 0.5)))
    assert ask(every, drawn, 0.0) == "no"


def test_the_shown_number_is_the_cell_nearest_to_failing() -> None:
    decision = Decision(cells(effect(0.9, 0.1), effect(0.5, 0.1), effect(0.7, 0.1)))
    assert judged(claim(over="all"), decision).measured == 0.5
    assert judged(claim(over="any"), decision).measured == 0.9
    assert judged(claim(over="mean"), decision).measured == pytest.approx(0.7)
    assert [c.value for c in judged(claim(over="all"), decision).cells] == [0.9, 0.5, 0.7]


def test_of_any_the_surest_cell_is_shown_and_not_the_noisiest() -> None:
    noisy, sure = Cell("two rounds", effect(0.9, 0.6)), Cell("many", effect(0.7, 0.01))
    assert judged(claim(over="any"), Decision((noisy, sure))).measured == 0.7
    assert judged(claim(op="<=", over="any"), Decision((Cell("two", effect(-0.9, 0.9)), sure))).measured == 0.7


# -- Kinds ------------------------------------------------------------------------------------------------------------


def test_what_holds_by_construction_is_checked() -> None:
    one = claim(type="by-construction", op="==", value=12.0)
    assert judged(one, Check(True, 12.0, "counted")).verdict == "holds"
    assert judged(one, Check(False, 11.0)).verdict == "broken"
    assert judged(one, Decision(cells(effect(12.0)))).verdict == "holds"
    assert judged(one, Decision(cells(effect(12.0), effect(11.0)))).verdict != "holds"
    with pytest.raises(UserError, match="only what holds by construction can be checked"):
        judged(claim(), Check(True, 1.0))


def test_what_cannot_be_decided_is_not_run_and_says_why() -> None:
    assert judged(claim(), None).verdict == "not run"
    assert judged(claim(not_run="needs a GPU"), None).note == "needs a GPU"
    assert judged(claim(op="note", value=None), None).note == "for a reader to judge"


def test_an_old_record_says_what_it_lacks(measure: Measure) -> None:
    old = RunRecord("mini-builtin", (measure("m", 1.0, schema_version=1),))
    assert judged(claim(), None, old).note == "the record is older than stored predictions: make record"
    assert judged(claim(), None, RunRecord("r", (measure("m", 1.0),))).note == "this run does not measure it"


def test_quality_is_not_judged_where_nothing_is_learned(measure: Measure) -> None:
    smoke = RunRecord("smoke-builtin", (measure("m", 1.0, scale="smoke"),))
    decision = Decision(cells(effect(0.5)))
    assert judged(claim(subject="quality"), decision, smoke).verdict == "not run"
    assert judged(claim(), decision, smoke).verdict == "reproduced"


def test_an_unknown_claim_is_refused(paper: Paper) -> None:
    with pytest.raises(UserError, match="'svaes', which is no claim"):
        decide_claims(paper, RunRecord("r", ()), {"svaes": lambda _: None})


# -- The clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("others", "verdict"), [(0.1, "reproduced"), (0.9, "inconclusive"), (None, "inconclusive")])
def test_a_busy_machine_decides_nothing_that_was_timed(others: float | None, verdict: str) -> None:
    record = RunRecord("r", (), environment={"timing": {"others_load_max": others}})
    assert judged(claim(), Decision(cells(effect(0.5)), timed=True), record).verdict == verdict
    assert judged(claim(), Decision(cells(effect(0.5))), record).verdict == "reproduced"
    assert RunFacts().others is None


@pytest.mark.parametrize(
    ("value", "unit", "verdict"),
    [
        (0.01, "fraction", "reproduced"),
        (-0.05, "fraction", "inconclusive"),
        (1.02, "ratio", "reproduced"),
        (0.9, "ratio", "inconclusive"),
    ],
)
def test_a_control_that_is_off_decides_nothing(measure: Measure, value: float, unit: str, verdict: str) -> None:
    control = measure("time_saving", value, system="A/A control", unit=unit, timed=True)
    record = RunRecord("r", (control,), environment={"timing": {"others_load_max": 0.0}})
    result = judged(claim(), Decision(cells(effect(0.5)), timed=True), record)
    assert result.verdict == verdict
    assert ("control is off" in result.note) is (verdict == "inconclusive")


def test_one_of_many_controls_may_be_off_by_chance(measure: Measure) -> None:
    values = [0.04, -0.03, -0.02, 0.01]
    controls = [measure("time_saving", v, system="A/A control", unit="fraction", seed=i) for i, v in enumerate(values)]
    quiet = {"timing": {"others_load_max": 0.0}}
    decision = Decision(cells(effect(0.5)), timed=True)
    assert judged(claim(), decision, RunRecord("r", tuple(controls), environment=quiet)).verdict == "reproduced"
    slow = tuple(c.model_copy(update={"value": c.value + 0.05}) for c in controls)
    assert judged(claim(), decision, RunRecord("r", slow, environment=quiet)).verdict == "inconclusive"


def test_reasons_reach_the_reader() -> None:
    decision = Decision(cells(effect(0.5)), note="at half the depth", left_out=("rte: the baseline did not learn it",))
    assert judged(claim(), decision).note == "at half the depth; left out: rte: the baseline did not learn it"
    assert not math.isnan(judged(claim(), decision).ci_low or math.nan)


def test_what_cannot_be_decided_says_why() -> None:
    result = judged(claim(), Undecided(("sst-2: too slow", "rte: not learned")))
    assert (result.verdict, result.note) == ("not run", "left out: sst-2: too slow; left out: rte: not learned")
    assert judged(claim(), None).note == "this run does not measure it"
