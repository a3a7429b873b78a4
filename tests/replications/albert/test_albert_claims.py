"""ALBERT's claims, on invented evidence: shown, refuted, and undecidable."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from kit.toy_evidence import Array, Judge, constant, decided, record_of, values, wrong_on

from common.records.claims import Check, gain, system
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name
from replications.albert.claims import DECIDERS, mean_over_tasks
from replications.albert.names import (
    ALBERT,
    ALL,
    ATTENTION,
    DROPOUT,
    FEED_FORWARD,
    INTRINSIC,
    NARROW,
    NO_DROPOUT,
    NO_TASK,
    NONE,
    NSP,
    PAIR_HITS,
    SIXTH,
    SOP,
    STRATEGIES,
    WIDE,
    depth_setting,
    hits_name,
    width_setting,
)
from replications.albert.shapes import sizes

N = 2000
JUDGE = Judge("albert")
EMBEDDINGS = (NARROW, SIXTH, "E = H/3", WIDE)
Named = tuple[str, str]


def evidence(errors: Mapping[Named, float] = {}, *, task: str = "sst-2", seed: int = 0) -> Evidence:
    """A task on which every model is wrong on 20 % of dev, but for those that are named."""
    labels = np.arange(N) % 2
    names: list[Named] = [(s, e) for s in STRATEGIES for e in EMBEDDINGS]
    names += [(name, "") for name in (NO_TASK, NSP, SOP, DROPOUT, NO_DROPOUT)]
    names += [(ALBERT, depth_setting(n)) for n in (24, 48)] + [(ALBERT, width_setting(n)) for n in (4096, 6144)]
    arrays: dict[str, Array] = {LABELS: labels}
    for name in names:
        arrays[answers_name(*name)] = wrong_on(labels, errors.get(name, 0.2))
    return Evidence(task, seed, "accuracy", 2, 4, arrays)


def intrinsic(own: float, other: float, objective: str = SOP, *, n: int = 500, seed: int = 0) -> Evidence:
    """A model that is right on these shares of its own question's pairs and of the other one's."""
    theirs = NSP if objective == SOP else SOP
    shares = {PAIR_HITS[objective]: own, PAIR_HITS[theirs]: other}  # type: ignore[index]
    arrays = {hits_name(objective, "", name): np.arange(n) < share * n for name, share in shares.items()}
    return Evidence(INTRINSIC, seed, "", 0, 4, arrays)


def timed(name: str, seconds: float) -> Evidence:
    """Rounds of training, BERT-large's of a second."""
    noise = np.linspace(0.98, 1.02, 6)
    arrays = {seconds_name("BERT-large"): noise[::-1], seconds_name(name): seconds * noise}
    return Evidence(f"training {name}", 0, "", 0, 0, arrays)


GAPS: dict[str, tuple[tuple[Named, Named], ...]] = {
    "albert-e128-best-shared": tuple(((ALL, SIXTH), (ALL, e)) for e in EMBEDDINGS if e != SIXTH),
    "albert-e-bigger-better-unshared": (((NONE, WIDE), (NONE, NARROW)),),
    "albert-ffn-sharing-hurts": tuple(((ATTENTION, e), (FEED_FORWARD, e)) for e in (SIXTH, WIDE)),
    "albert-sop-downstream": (((SOP, ""), (NO_TASK, "")), ((SOP, ""), (NSP, ""))),
    "albert-no-dropout": (((NO_DROPOUT, ""), (DROPOUT, "")),),
    "albert-depth-saturates": (((ALBERT, depth_setting(24)), (ALBERT, depth_setting(48))),),
    "albert-width-saturates": (((ALBERT, width_setting(4096)), (ALBERT, width_setting(6144))),),
}
"""Of each claim: which model is to score above which."""


@pytest.mark.parametrize("claim", GAPS)
def test_a_gap_is_shown_refuted_or_too_small_to_say(claim: str) -> None:
    better = {second: 0.25 for _, second in GAPS[claim]}
    worse = {second: 0.15 for _, second in GAPS[claim]}
    assert JUDGE(claim, record_of(evidence(better))) == "reproduced"
    assert JUDGE(claim, record_of(evidence(worse))) == "contradicted"
    assert JUDGE(claim, record_of(evidence(better)), met=False) == "seen here"
    assert JUDGE(claim, record_of(evidence({second: 0.2005 for _, second in GAPS[claim]}))) == "inconclusive"


@pytest.mark.parametrize("claim", [claim for claim, pairs in GAPS.items() if len(pairs) > 1])
def test_of_several_gaps_all_have_to_be_there(claim: str) -> None:
    first, *rest = [second for _, second in GAPS[claim]]
    errors = {first: 0.15, **dict.fromkeys(rest, 0.25)}
    assert JUDGE(claim, record_of(evidence(errors))) == "contradicted"


@pytest.mark.parametrize("claim", GAPS)
def test_a_gap_is_a_mean_over_tasks_in_points(claim: str) -> None:
    big, small = ({second: share for _, second in GAPS[claim]} for share in (0.24, 0.22))
    record = record_of(evidence(big), evidence(small, task="rte"))
    decision = decided(DECIDERS[claim](record))
    assert list(values(decision.cells).values()) == pytest.approx([3.0] * len(GAPS[claim]))
    assert decision.tasks == ["sst-2", "rte"]


@pytest.mark.parametrize(
    ("claim", "setting", "most"), [("albert-share-cost-e128", SIXTH, 1.5), ("albert-share-cost-e768", WIDE, 2.5)]
)
def test_what_sharing_costs_is_bounded(claim: str, setting: str, most: float) -> None:
    def cost(points: float) -> Evidence:
        return evidence({(ALL, setting): 0.2 + points / 100, (NONE, setting): 0.2})

    assert JUDGE(claim, record_of(cost(most / 3))) == "reproduced"
    assert JUDGE(claim, record_of(cost(3 * most))) == "contradicted"
    assert values(decided(DECIDERS[claim](record_of(cost(3 * most)))).cells) == pytest.approx({setting: 3 * most})


@pytest.mark.parametrize("guesses", [(ATTENTION, SIXTH), (FEED_FORWARD, SIXTH)])
def test_a_task_that_one_of_a_pair_did_not_learn_does_not_count_for_it(guesses: Named) -> None:
    """Whoever answers a constant would be far behind, and whoever is compared with it far ahead."""
    guessing = constant(evidence({(FEED_FORWARD, WIDE): 0.3}, task="rte"), *guesses)
    record = record_of(guessing, evidence({(FEED_FORWARD, SIXTH): 0.22}))
    decision = decided(DECIDERS["albert-ffn-sharing-hurts"](record))
    assert values(decision.cells) == pytest.approx({SIXTH: 2.0, WIDE: 5.0})
    assert decision.left_out == (f"rte: {guesses[0]} {guesses[1]} did not learn it",)
    assert decision.tasks == ["sst-2", "rte"]
    alone = decided(DECIDERS["albert-ffn-sharing-hurts"](record_of(guessing)))
    assert values(alone.cells) == pytest.approx({WIDE: 10.0})


def test_a_claim_whose_models_learned_nothing_is_not_decided() -> None:
    guessing = constant(evidence(), NONE, WIDE)
    assert DECIDERS["albert-share-cost-e768"](record_of(guessing)) is None
    assert DECIDERS["albert-share-cost-e128"](record_of(guessing)) is not None


def test_a_run_without_the_models_decides_nothing() -> None:
    shallow = {n: a for n, a in evidence().arrays.items() if depth_setting(48) not in n}
    record = record_of(Evidence("sst-2", 0, "accuracy", 2, 4, shallow))
    assert DECIDERS["albert-depth-saturates"](record) is None
    assert DECIDERS["albert-width-saturates"](record) is not None


def test_only_seeds_that_trained_both_are_compared() -> None:
    """Where a scale spares, the first seed alone has the models of Table 5."""
    second = evidence(seed=1)
    kept = {n: a for n, a in second.arrays.items() if not n.startswith((NSP, NO_TASK))}
    record = record_of(evidence({(NO_TASK, ""): 0.3, (NSP, ""): 0.3}), Evidence("sst-2", 1, "accuracy", 2, 4, kept))
    decision = decided(DECIDERS["albert-sop-downstream"](record))
    assert decision.seeds == 1 and list(values(decision.cells).values()) == pytest.approx([10.0, 10.0])
    assert decided(DECIDERS["albert-share-cost-e128"](record)).seeds == 2


PAIR = ((ATTENTION, SIXTH), (FEED_FORWARD, SIXTH))


def by_seed(task: str, *gaps: float) -> list[Evidence]:
    """A seed for each gap, by which the second of the pair is behind."""
    return [evidence({PAIR[1]: 0.2 + gap}, task=task, seed=seed) for seed, gap in enumerate(gaps)]


def test_what_a_seed_does_to_all_tasks_does_not_average_out() -> None:
    """The tasks of a seed share a pre-trained model: two tasks that move together say no more of seeds than one."""
    one, same, against = (
        by_seed("sst-2", 0.02, 0.1, 0.18),
        by_seed("rte", 0.02, 0.1, 0.18),
        by_seed("rte", 0.18, 0.1, 0.02),
    )
    single, together, apart = (mean_over_tasks(tasks, PAIR) for tasks in ([one], [one, same], [one, against]))
    assert single.interval == pytest.approx(gain(one, system(*PAIR[0]), system(*PAIR[1])).interval)
    for effect in (single, together, apart):
        assert effect.value == pytest.approx(10.0) and effect.seeds == 3
    assert together.components[-1].estimate == pytest.approx(single.components[-1].estimate)
    assert together.components[-1].variance == pytest.approx(single.components[-1].variance, rel=0.05)
    assert apart.components[-1].estimate == pytest.approx(0.0)
    examples = [sum(c.variance for c in effect.components[:-1]) for effect in (single, together)]
    assert examples[1] == pytest.approx(examples[0] / 2, rel=0.1), "the examples of two tasks are other ones"


def test_with_one_seed_the_interval_is_over_the_examples_alone() -> None:
    tasks = [by_seed(task, 0.05) for task in ("sst-2", "rte")]
    effect = mean_over_tasks(tasks, PAIR)
    assert effect.seeds == 1 and len(effect.components) == 2 and effect.value == pytest.approx(5.0)


# -- Pairs of segments ------------------------------------------------------------------------------------------------


def test_next_sentence_leaves_order_at_chance_and_order_solves_next_sentence() -> None:
    assert JUDGE("albert-nsp-chance-on-sop", record_of(intrinsic(0.9, 0.5, NSP))) == "reproduced"
    assert JUDGE("albert-nsp-chance-on-sop", record_of(intrinsic(0.9, 0.65, NSP))) == "contradicted"
    assert JUDGE("albert-nsp-chance-on-sop", record_of(intrinsic(0.9, 0.55, NSP))) == "inconclusive"
    assert JUDGE("albert-sop-solves-nsp", record_of(intrinsic(0.9, 0.85, SOP))) == "reproduced"
    assert JUDGE("albert-sop-solves-nsp", record_of(intrinsic(0.9, 0.7, SOP))) == "direction only"
    assert JUDGE("albert-sop-solves-nsp", record_of(intrinsic(0.9, 0.4, SOP))) == "contradicted"
    found = decided(DECIDERS["albert-sop-solves-nsp"](record_of(intrinsic(0.9, 0.7, SOP))))
    assert values(found.cells) == pytest.approx({SOP: 70.0})
    assert "right in 90.0 %" in found.note


def test_a_model_that_did_not_learn_its_own_question_says_nothing_of_another() -> None:
    """At chance on everything it would be at chance on sentence order, too."""
    for objective, claim in ((NSP, "albert-nsp-chance-on-sop"), (SOP, "albert-sop-solves-nsp")):
        assert DECIDERS[claim](record_of(intrinsic(0.51, 0.5, objective))) is None


def test_a_model_near_chance_on_its_own_question_says_nothing_of_order() -> None:
    """55.4 % of 505 pairs is surely above 50, and not surely above what the claim itself calls chance."""
    assert DECIDERS["albert-nsp-chance-on-sop"](record_of(intrinsic(0.554, 0.5, NSP, n=505))) is None
    assert DECIDERS["albert-nsp-chance-on-sop"](record_of(intrinsic(0.61, 0.5, NSP, n=505))) is not None
    assert DECIDERS["albert-sop-solves-nsp"](record_of(intrinsic(0.554, 0.5, SOP, n=505))) is not None


# -- Sizes and speed --------------------------------------------------------------------------------------------------


def test_sizes_hold_by_the_closed_form() -> None:
    record = record_of(measurements=sizes())
    fewer, share = DECIDERS["albert-large-18x-fewer"](record), DECIDERS["albert-xxlarge-70pct-params"](record)
    assert isinstance(fewer, Check) and isinstance(share, Check)
    assert fewer.holds and fewer.value == pytest.approx(334_607_360 / 17_683_968)
    assert share.holds and share.value == pytest.approx(222_595_584 / 334_607_360)

    def sized(large: float, xxlarge: float) -> list[Measurement]:
        found = {"BERT-large": 334e6, "ALBERT-large": large, "ALBERT-xxlarge": xxlarge}
        return [
            Measurement(experiment="table1", system=n, metric="parameters", value=v, unit="count")
            for n, v in found.items()
        ]

    broken = record_of(measurements=sized(19e6, 250e6))
    for claim in ("albert-large-18x-fewer", "albert-xxlarge-70pct-params"):
        check = DECIDERS[claim](broken)
        assert isinstance(check, Check) and not check.holds
        assert DECIDERS[claim](record_of()) is None


def test_training_speed_is_bert_larges_seconds_over_the_models() -> None:
    claim = "albert-large-1-7x-training"
    assert JUDGE(claim, record_of(timed("ALBERT-large", 0.5))) == "reproduced"
    assert JUDGE(claim, record_of(timed("ALBERT-large", 0.8))) == "direction only"
    assert JUDGE(claim, record_of(timed("ALBERT-large", 1.3))) == "contradicted"
    assert JUDGE(claim, record_of(timed("ALBERT-large", 0.5)), met=False) == "seen here"
    assert DECIDERS[claim](record_of(timed("ALBERT-xxlarge", 0.5))) is None
    slower = "albert-xxlarge-slower"
    assert JUDGE(slower, record_of(timed("ALBERT-xxlarge", 4.0))) == "reproduced"
    assert JUDGE(slower, record_of(timed("ALBERT-xxlarge", 2.0))) == "direction only"
    assert JUDGE(slower, record_of(timed("ALBERT-xxlarge", 0.8))) == "contradicted"
    decision = decided(DECIDERS[slower](record_of(timed("ALBERT-xxlarge", 4.0))))
    assert decision.timed and values(decision.cells) == pytest.approx({"ALBERT-xxlarge": 0.25})


def test_the_note_says_what_the_ratio_is_without_the_optimiser() -> None:
    shares = {"BERT-large": 0.5, "ALBERT-large": 0.0}
    rows = [
        Measurement(experiment="table2-efficiency", system=n, metric="optimiser_share", value=v, unit="fraction")
        for n, v in shares.items()
    ]
    decision = decided(DECIDERS["albert-large-1-7x-training"](record_of(timed("ALBERT-large", 0.5), measurements=rows)))
    assert "LAMB takes 50% of BERT-large's, without it the ratio is 1.00" in decision.note


def test_a_decision_says_what_part_of_the_papers_budget_it_rests_on() -> None:
    rows = [
        Measurement(experiment="budget", system="pre-training", metric=metric, value=value, unit="count")
        for metric, value in (("tokens", 3e6), ("tokens_share", 1.144e-5))
    ]
    decision = decided(DECIDERS["albert-share-cost-e128"](record_of(evidence(), measurements=rows)))
    assert "pre-trained on at most 3 M tokens, 0.001 % of the paper's" in decision.note
