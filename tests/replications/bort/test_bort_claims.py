"""Bort's claims, on invented evidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kit.toy_evidence import Array, Judge, constant, decided, record_of, values, wrong_on

from common.records.claims import Check
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name
from common.records.runs import RunRecord
from replications.bort import claims
from replications.bort.claims import DECIDERS, EPS, ORDERED, fptas_bound, search_winner
from replications.bort.exact import MAXIMUM_POINTS, size_factor
from replications.bort.method import BORT, Architecture, Found, fptas, in_order
from replications.bort.names import (
    AGORA,
    ARMS,
    AS_COUNTED,
    BERT_BASE,
    BERT_LARGE,
    DISTILLED,
    MASKS,
    ONCE,
    PRETRAINING_EVIDENCE,
    RELEASED,
    ROBERTA_LARGE,
    SEARCH_EVIDENCE,
    SELF_SUPERVISED,
    STEPS,
    THETAS_OF_AGORA,
    by_row_name,
    errors_name,
    right_name,
    tried_name,
    workload,
)

JUDGE = Judge("bort")
SMALLEST = ORDERED[0]
SHAPES = [
    Measurement(experiment="cpu-speed", system="x", metric="x", value=1.0, unit="x", backbone=name)
    for name in ("bert-base", "bert-large", "roberta-large")
]

# -- Size --------------------------------------------------------------------------------------------------------------


def counted(metric: str, setting: str, value: float) -> Measurement:
    return Measurement(
        experiment="readme-architecture", system="Bort", metric=metric, value=value, unit="fraction", setting=setting
    )


@pytest.mark.parametrize(
    ("claim", "metric", "limit"),
    [("bort-effective-5-5", "effective_size", 0.0555), ("bort-net-16", "net_size", 0.165)],
)
def test_each_reading_of_the_size_is_judged_by_its_own_claim(claim: str, metric: str, limit: float) -> None:
    below, above = limit - 0.001, limit + 0.001
    fits = record_of(measurements=[counted(metric, AS_COUNTED, below), counted(metric, RELEASED, above)])
    swapped = record_of(measurements=[counted(metric, AS_COUNTED, above), counted(metric, RELEASED, below)])
    assert (JUDGE(claim, fits), JUDGE(f"{claim}-released", fits)) == ("holds", "direction only")
    assert (JUDGE(claim, swapped), JUDGE(f"{claim}-released", swapped)) == ("broken", "reproduced")
    assert DECIDERS[claim](record_of()) is None is DECIDERS[f"{claim}-released"](record_of())


# -- Speed -------------------------------------------------------------------------------------------------------------


def timed(faster: Mapping[str, float], name: str = workload(128, 1)) -> Evidence:
    """Bort takes 1 to 2 seconds a batch, rivals so many times as long; the reading as counted a quarter less."""
    own = np.linspace(1, 2, 6)
    arrays: dict[str, Array] = {seconds_name(ARMS[RELEASED]): own, seconds_name(ARMS[AS_COUNTED]): 0.75 * own}
    arrays |= {seconds_name(rival): times * own for rival, times in faster.items()}
    return Evidence(name, 0, "", 0, 0, arrays)


def test_each_speed_is_against_the_baseline_of_its_claim() -> None:
    e = timed({BERT_BASE: 3.6, BERT_LARGE: 12.8, ROBERTA_LARGE: 13.0})
    expected = {
        "bort-cpu-7-9x": 12.8,
        "bort-cpu-7-9x-bert-base": 3.6,
        "bort-cpu-20x": 12.8,
        "bort-cpu-20x-roberta-large": 13.0,
    }
    for claim, times in expected.items():
        found = values(decided(DECIDERS[claim](record_of(e))).cells)
        assert found == pytest.approx(
            {"Bort 1024/768, 128 tokens, batch 1": times, "Bort 768/1024, 128 tokens, batch 1": times / 0.75}
        )


def test_the_best_length_and_reading_counts_and_what_no_one_reaches_is_direction_only() -> None:
    slow = timed({BERT_BASE: 3.6, BERT_LARGE: 12.8, ROBERTA_LARGE: 13.0})
    fast = timed({BERT_BASE: 3.6, BERT_LARGE: 21.0, ROBERTA_LARGE: 13.0}, workload(32, 1))
    record = record_of(slow, fast, measurements=SHAPES)
    assert JUDGE("bort-cpu-7-9x", record, met=False) == "reproduced"
    assert JUDGE("bort-cpu-7-9x-bert-base", record, met=False) == "direction only"
    assert JUDGE("bort-cpu-20x", record, met=False) == "reproduced"
    assert JUDGE("bort-cpu-20x-roberta-large", record, met=False) == "direction only"
    slower = record_of(timed({BERT_BASE: 0.5, BERT_LARGE: 0.5, ROBERTA_LARGE: 0.5}), measurements=SHAPES)
    assert JUDGE("bort-cpu-20x", slower) == "contradicted"
    assert JUDGE("bort-cpu-20x", record_of(measurements=SHAPES)) == "not run"


# -- The search --------------------------------------------------------------------------------------------------------


def searched(others: Mapping[Architecture, float], *, seed: int = 0, other_theta: float = 50.0) -> Evidence:
    """All candidates at an error of 8 but for some; under a second theta everyone does worse."""
    masks, rng = np.full(32, 10), np.random.default_rng(seed)
    errors = np.array([others.get(xi, 8.0) for xi in ORDERED])
    noise = 1 + rng.normal(0, 0.001, (len(ORDERED), 32))
    arrays: dict[str, Array] = {MASKS: masks, tried_name(STEPS): np.arange(len(ORDERED))}
    for theta, factor in (("rate 0.1", other_theta), ("rate 1", 1.0)):
        arrays[errors_name(theta, STEPS)] = factor * errors
        arrays[by_row_name(theta, STEPS)] = factor * masks * errors[:, None] * noise
    return Evidence(SEARCH_EVIDENCE, seed, "", 0, 0, arrays)


def factor_over(rival: Architecture) -> float:
    """W of Bort over a rival's where their errors are alike."""
    top = MAXIMUM_POINTS["T: RoBERTa-large"]
    return size_factor(BORT, top) / size_factor(rival, top)


def three_seeds(others: Mapping[Architecture, float]) -> RunRecord:
    return record_of(*(searched(others, seed=seed) for seed in range(3)))


def test_bort_wins_only_if_its_error_makes_good_for_its_size() -> None:
    factor = factor_over(SMALLEST)
    (cell,) = decided(search_winner(record_of(searched({})))).cells
    assert cell.effect.value == pytest.approx(factor, rel=1e-2) and factor < 1
    behind, ahead = three_seeds({}), three_seeds({BORT: 0.9 * factor * 8.0})
    assert JUDGE("bort-fptas-winner", behind) == "contradicted"
    assert JUDGE("bort-fptas-winner", ahead) == "reproduced"
    assert JUDGE("bort-fptas-winner", behind, met=False) == "not seen here"
    assert JUDGE("bort-fptas-winner", record_of()) == "not run"


def test_bort_wins_only_if_no_third_candidate_does() -> None:
    """Ahead of the smallest candidate, which wins at equal errors, and behind another one: it is not what is picked."""
    third = Architecture(6, 12, 768, 512)
    bort = 0.9 * factor_over(SMALLEST) * 8.0
    level = bort / factor_over(third)
    behind, ahead = three_seeds({BORT: bort, third: 0.8 * level}), three_seeds({BORT: bort, third: 1.2 * level})
    (cell,) = decided(search_winner(behind)).cells
    assert cell.name == "4-8-1024-768 over 6-12-768-512"
    assert cell.effect.value == pytest.approx(0.8, rel=1e-2) and cell.effect.seeds == 3
    assert JUDGE("bort-fptas-winner", behind) == "contradicted"
    assert JUDGE("bort-fptas-winner", ahead) == "reproduced"


def test_each_candidate_has_its_best_theta() -> None:
    worse = decided(search_winner(record_of(searched({}, other_theta=0.5)))).cells[0].effect.value
    assert worse == pytest.approx(decided(search_winner(record_of(searched({})))).cells[0].effect.value, rel=0.02)
    alone = searched({})
    arrays = {**alone.arrays, by_row_name("rate 0.1", STEPS): alone[by_row_name("rate 1", STEPS)].copy()}
    arrays[by_row_name("rate 0.1", STEPS)][ORDERED.index(BORT)] *= 0.5
    other = decided(search_winner(record_of(replace(alone, arrays=arrays)))).cells[0].effect.value
    assert other == pytest.approx(2 * worse, rel=0.02), "Bort by one theta, its rival by the other"


def test_nothing_is_lost_at_eps_1_and_what_is_lost_is_what_the_algorithm_loses() -> None:
    bort = ORDERED.index(BORT)
    check = fptas_bound(record_of(searched({BORT: 1.0})))
    assert isinstance(check, Check) and check.holds and 0.1 < check.value < 1
    assert check.note == "28 searches, nothing lost at eps = 1"
    tops = [size_factor(xi, MAXIMUM_POINTS["T: RoBERTa-large"]) for xi in ORDERED]
    w = np.array(tops) / np.array([1.0 if xi == BORT else 8.0 for xi in ORDERED])
    lost = {eps: (1 - w[::eps].max() / w.max()) / (eps - 1) for eps in EPS if eps > 1}
    assert bort % 2, "passed over at every even eps"
    assert check.value == pytest.approx(max(lost.values()), abs=0.05)


Broken = Callable[..., Found[str]]


def passes_over_the_first(candidates: Sequence[Architecture], thetas: Sequence[str], error: Any, **how: Any) -> Any:
    return fptas(in_order(candidates)[1:], thetas, error, **{**how, "eps": max(1, how["eps"] - 1)})


def knows_one_theta(candidates: Sequence[Architecture], thetas: Sequence[str], error: Any, **how: Any) -> Any:
    return fptas(candidates, thetas[:1], error, **how)


def takes_the_lowest(candidates: Sequence[Architecture], thetas: Sequence[str], error: Any, **how: Any) -> Any:
    return fptas(candidates, thetas, lambda xi, theta: 1 / error(xi, theta), **how)


@pytest.mark.parametrize("broken", [passes_over_the_first, knows_one_theta, takes_the_lowest])
def test_an_algorithm_that_loses_the_best_is_broken(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(searched({SMALLEST: 1.0}))
    assert JUDGE("fptas-bound", record) == "holds"
    monkeypatch.setattr(claims, "fptas", broken)
    check = fptas_bound(record)
    assert isinstance(check, Check) and not check.holds and "something lost at eps = 1" in check.note
    assert JUDGE("fptas-bound", record) == "broken"


# -- Pre-training ------------------------------------------------------------------------------------------------------


def pretrained(distilled: float, alone: float, seed: int) -> Evidence:
    masks, rng = np.full(200, 10), np.random.default_rng(seed)
    arrays: dict[str, Array] = {
        MASKS: masks,
        right_name(DISTILLED): rng.binomial(10, distilled, 200),
        right_name(SELF_SUPERVISED): rng.binomial(10, alone, 200),
    }
    return Evidence(PRETRAINING_EVIDENCE, seed, "", 0, 0, arrays)


@pytest.mark.parametrize(
    ("distilled", "alone", "verdict"),
    [(0.5, 0.3, "seen here"), (0.3, 0.5, "not seen here"), (0.4, 0.4, "inconclusive")],
)
def test_distillation_is_compared_at_equal_steps(distilled: float, alone: float, verdict: str) -> None:
    record = record_of(*(pretrained(distilled, alone, seed) for seed in range(3)))
    claim = "bort-distilled-pretraining"
    assert JUDGE(claim, record, met=False) == verdict
    found = decided(DECIDERS[claim](record)).cells[0].effect
    assert found.value == pytest.approx(100 * (distilled - alone), abs=3) and found.seeds == 3
    assert JUDGE(claim, record_of()) == "not run"


# -- Agora -------------------------------------------------------------------------------------------------------------


def tuned(agora: float, once: float, *, thetas: int = 3, task: str = "sst-2", seed: int = 0) -> Evidence:
    labels = np.arange(400) % 2
    arrays: dict[str, Array] = {
        LABELS: labels,
        answers_name("baseline"): wrong_on(labels, 0.05),
        answers_name(AGORA): wrong_on(labels, agora),
        answers_name(ONCE): wrong_on(labels, once, first=0.3),
        THETAS_OF_AGORA: np.array([thetas]),
    }
    return Evidence(task, seed, "accuracy", 2, 6, arrays)


def test_agora_is_at_most_so_many_times_as_good_as_training_once() -> None:
    record = record_of(tuned(0.1, 0.2))
    (cell,) = decided(DECIDERS["agora-bound"](record)).cells
    assert cell.effect.value == pytest.approx(0.9 / 0.8 / (2 * (1 - 2**-3)))
    assert JUDGE("agora-bound", record) == "reproduced"
    beyond = record_of(tuned(0.1, 0.2, thetas=1))
    assert decided(DECIDERS["agora-bound"](beyond)).cells[0].effect.value == pytest.approx(0.9 / 0.8)
    assert JUDGE("agora-bound", beyond) == "contradicted"


def test_agora_against_training_once_and_picking() -> None:
    claim = "agora-not-below-once"
    better, worse = (record_of(*(tuned(*errors, seed=s) for s in range(3))) for errors in ((0.1, 0.2), (0.2, 0.1)))
    assert values(decided(DECIDERS[claim](better)).cells) == pytest.approx({"sst-2": 10.0})
    assert (JUDGE(claim, better), JUDGE(claim, worse)) == ("reproduced", "contradicted")


def test_a_task_that_the_student_did_not_learn_decides_nothing() -> None:
    record = record_of(constant(tuned(0.1, 0.2), ONCE))
    assert DECIDERS["agora-bound"](record) is None is DECIDERS["agora-not-below-once"](record)
    both = record_of(tuned(0.1, 0.2), constant(tuned(0.1, 0.2, task="mrpc"), ONCE))
    decision = decided(DECIDERS["agora-not-below-once"](both))
    assert [cell.task for cell in decision.cells] == ["sst-2"] and "mrpc" in decision.left_out[0]


def test_a_scale_at_which_quality_means_nothing_decides_nothing_on_quality() -> None:
    smoke = Measurement(experiment="x", system="x", metric="score", value=1.0, unit="points", scale="smoke")
    evidence = (tuned(0.1, 0.2), pretrained(0.5, 0.3, 0))
    for claim in ("agora-bound", "agora-not-below-once", "bort-distilled-pretraining"):
        assert DECIDERS[claim](record_of(*evidence, measurements=[smoke])) is None
