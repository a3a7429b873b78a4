"""DeFormer's claims, on invented evidence."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from kit.toy_evidence import Array, Judge, decided, record_of, values, wrong_on
from kit.toy_run import small_run

from common.reading_run import ReadingRun
from common.records.claims import Check
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name
from common.tasks.spans.scoring import ANSWER_F1
from replications.deformer.claims import (
    DECIDERS,
    aux_helps,
    base_speedup,
    early_split,
    large_cheaper,
    large_speedup,
    last_cliff,
    latency,
    lower_stable,
    lrs_helps,
    memory_reduction,
    pair_speedup,
    qa_drop,
    qa_speedup,
    retain_qqp,
    retain_squad,
)
from replications.deformer.names import (
    BASELINE,
    CONSTANT,
    DEFORMER,
    EXACT,
    F1,
    NO_LRS,
    PLAIN,
    TEACHER,
    at_k,
    marks_name,
    timed_shape,
    variance_name,
)
from replications.deformer.readers import Readers
from replications.deformer.settings import SETTINGS
from replications.deformer.shapes import memory, sizes

N, LAYERS, K = 400, 12, 9
JUDGE = Judge("deformer")
Score = Mapping[tuple[str, str], float]


NO_CHANGE: Score = MappingProxyType({})


@functools.cache
def counted() -> tuple[Measurement, ...]:
    """What is counted at full size, once: it takes seconds."""
    return (*sizes(), *memory())


def marks(score: float) -> Array:
    """F1 of N questions whose mean is `score`: the same questions are right for a higher score."""
    return (np.arange(N) < round(score * N)).astype(float)


def reading(
    scores: Score = NO_CHANGE, *, task: str = "squad", seed: int = 0, rise: float = 0.2, layers: int = LAYERS
) -> Evidence:
    """A reading task: F1 by system and setting, and the question's share of variance by layer."""
    found = {
        (CONSTANT, ""): 0.1,
        (BASELINE, ""): 0.8,
        (TEACHER, ""): 0.8,
        (DEFORMER, at_k(K)): 0.79,
        (NO_LRS, at_k(K)): 0.78,
        (PLAIN, at_k(K)): 0.77,
        **scores,
    }
    arrays: dict[str, Array] = {marks_name(*name, F1): marks(score) for name, score in found.items()}
    arrays[marks_name(BASELINE, "", EXACT)] = marks(0.7)
    spread = np.linspace(-0.02, 0.02, 50)
    for layer in range(1, layers + 1):
        arrays[variance_name(layer)] = 0.1 + rise * (layer > layers // 2) + spread
    return Evidence(task, seed, ANSWER_F1, 0, layers, arrays)


def pair(base: float, mine: float, task: str = "qqp-sample", *, teacher: float = 0.1) -> Evidence:
    """A task of pairs, by the shares on which baseline, DeFormer and the joint model in two segments are wrong."""
    labels = np.arange(N) % 2
    arrays = {
        LABELS: labels,
        answers_name(BASELINE): wrong_on(labels, base),
        answers_name(TEACHER): wrong_on(labels, teacher),
        answers_name(DEFORMER, at_k(K)): wrong_on(labels, mine),
    }
    return Evidence(task, 0, "accuracy", 2, LAYERS, arrays)


# -- Reading ----------------------------------------------------------------------------------------------------------


def test_f1_is_compared_question_by_question() -> None:
    record = record_of(reading(), reading(task="reading", scores={(DEFORMER, at_k(K)): 0.7}))
    assert values(decided(qa_drop(record)).cells) == pytest.approx({"squad": 1.0, "reading": 10.0})
    assert values(decided(retain_squad(record)).cells) == pytest.approx({"squad": 0.9875, "reading": 0.875})
    assert values(decided(aux_helps(record)).cells) == pytest.approx({"squad": 2.0, "reading": -7.0})
    assert values(decided(lrs_helps(record)).cells) == pytest.approx({"squad": 1.0, "reading": -8.0})


@pytest.mark.parametrize(
    ("claim", "good", "bad"),
    [
        ("deformer-qa-drop-1-8", {(DEFORMER, at_k(K)): 0.8}, {(DEFORMER, at_k(K)): 0.6}),
        ("deformer-retain-squad-98-4", {(DEFORMER, at_k(K)): 0.82}, {(DEFORMER, at_k(K)): 0.6}),
        ("deformer-aux-base", {(PLAIN, at_k(K)): 0.7}, {(PLAIN, at_k(K)): 0.9}),
        ("deformer-lrs-helps", {(NO_LRS, at_k(K)): 0.7}, {(NO_LRS, at_k(K)): 0.9}),
        (
            "deformer-early-split-free",
            {(PLAIN, at_k(k)): 0.85 for k in (1, 2, 3)},
            {(PLAIN, at_k(1)): 0.85, (PLAIN, at_k(3)): 0.6},
        ),
        ("deformer-last-layers-cliff", {(PLAIN, at_k(11)): 0.4}, {(PLAIN, at_k(11)): 0.9}),
    ],
)
def test_what_is_shown_and_what_is_refuted(claim: str, good: Score, bad: Score) -> None:
    assert JUDGE(claim, record_of(reading(good), reading(good, seed=1))) == "reproduced"
    assert JUDGE(claim, record_of(reading(bad), reading(bad, seed=1))) == "contradicted"
    assert JUDGE(claim, record_of(reading(good)), met=False) == "seen here", "three seeds of all SQuAD"
    nothing = reading({**good, (BASELINE, ""): 0.1})
    assert JUDGE(claim, record_of(nothing)) == "not run", "the baseline did not learn"


def test_a_task_that_the_joint_model_in_two_segments_did_not_learn_decides_nothing() -> None:
    """The baseline has 80 and the constant 10: four fifths of the 70 between them are 56."""
    lost, near = reading({(TEACHER, ""): 0.23}), reading({(TEACHER, ""): 0.67}, task="reading")
    found = decided(qa_drop(record_of(lost, near)))
    assert set(values(found.cells)) == {"reading"}
    assert found.left_out == ("squad: the joint model in two segments did not learn it",)
    for decide in (qa_drop, retain_squad, aux_helps, lrs_helps, lower_stable):
        assert decide(record_of(lost)) is None
    assert qa_drop(record_of(reading({(TEACHER, ""): 0.65}))) is None
    seeds = [reading(seed=0), reading(seed=1), reading({(TEACHER, ""): 0.1}, seed=2)]
    assert qa_drop(record_of(*seeds)) is None, "two thirds, on average over seeds"


def test_depths_that_only_the_first_seed_has_are_decided_by_it() -> None:
    swept = {(PLAIN, at_k(k)): 0.79 for k in (3, 11)}
    record = record_of(reading(swept), reading(seed=1))
    early = decided(early_split(record))
    assert values(early.cells) == pytest.approx({"squad, k=3": 1.0})
    assert early.seeds == 1 == decided(last_cliff(record)).seeds
    assert values(decided(last_cliff(record)).cells) == pytest.approx({"squad": -2.0})
    assert early_split(record_of(reading())) is None
    assert last_cliff(record_of(reading())) is None


def test_without_lrs_may_be_left_to_some_seeds_or_to_none() -> None:
    def without(e: Evidence) -> Evidence:
        return replace(e, arrays={name: a for name, a in e.arrays.items() if not name.startswith(NO_LRS)})

    assert lrs_helps(record_of(without(reading()))) is None
    found = decided(lrs_helps(record_of(reading(), without(reading({(DEFORMER, at_k(K)): 0.5}, seed=1)))))
    assert found.seeds == 1 and values(found.cells) == pytest.approx({"squad": 1.0})


def test_every_decider_survives_what_a_default_run_of_one_seed_keeps(tmp_path: Path) -> None:
    """At mini one seed trains neither the sweep nor DeFormer without LRS, and no pairs."""
    sparing = replace(SETTINGS["smoke"], trials=0, spares_one_seed=True)
    run = ReadingRun.of(small_run(tmp_path), "lookup", 0)
    trained = {(reader.system, reader.setting) for reader in Readers(run, sparing).readers}
    whole = reading({(system, setting): 0.78 for system, setting in trained}, layers=run.num_layers)
    marked = {marks_name(*name, F1) for name in trained | {(CONSTANT, ""), (BASELINE, "")}}
    kept = {name: a for name, a in whole.arrays.items() if name in marked or name.startswith("variance")}
    assert marked <= set(kept) and not any(name.startswith(NO_LRS) for name in kept)
    record = record_of(replace(whole, arrays=kept))
    found = {claim for claim, decide in DECIDERS.items() if decide(record) is not None}
    assert found == {
        "deformer-qa-drop-1-8", "deformer-retain-squad-98-4", "deformer-aux-base", "deformer-lower-layers-stable",
    }  # fmt: skip


def test_lower_layers_are_the_lower_half() -> None:
    assert values(decided(lower_stable(record_of(reading()))).cells) == pytest.approx({"squad": 0.2})
    assert JUDGE("deformer-lower-layers-stable", record_of(reading(), reading(seed=1))) == "reproduced"
    assert JUDGE("deformer-lower-layers-stable", record_of(reading(rise=-0.2))) == "contradicted"


def test_a_scale_at_which_quality_means_nothing_decides_nothing() -> None:
    smoke = Measurement(experiment="x", system="x", metric="score", value=1.0, unit="points", scale="smoke")
    assert qa_drop(record_of(reading(), measurements=[smoke])) is None


# -- Pairs ------------------------------------------------------------------------------------------------------------


def test_quality_kept_on_duplicates() -> None:
    record = record_of(pair(0.1, 0.1), pair(0.1, 0.19, "paraphrase"), pair(0.1, 0.3, "rte"))
    assert values(decided(retain_qqp(record)).cells) == pytest.approx({"qqp-sample": 1.0, "paraphrase": 0.9})
    assert JUDGE("deformer-retain-qqp-99-8", record_of(pair(0.1, 0.05))) == "reproduced"
    assert JUDGE("deformer-retain-qqp-99-8", record_of(pair(0.1, 0.3))) == "contradicted"
    assert retain_qqp(record_of(pair(0.5, 0.5))) is None
    lost = pair(0.1, 0.1, teacher=0.3)  # 20 points above the constant, which has 50; the baseline has 40.
    assert retain_qqp(record_of(lost)) is None
    found = decided(retain_qqp(record_of(lost, pair(0.1, 0.1, "paraphrase", teacher=0.17))))
    assert set(values(found.cells)) == {"paraphrase"}
    assert found.left_out == ("qqp-sample: the joint model in two segments did not learn it",)


# -- Counted and clocked ----------------------------------------------------------------------------------------------


def test_what_follows_from_the_closed_form_holds() -> None:
    record = record_of(measurements=counted())
    for decide, value in ((large_speedup, 4.277), (base_speedup, 3.231), (qa_speedup, 3.231), (large_cheaper, 1.223)):
        check = decide(record)
        assert isinstance(check, Check)
        assert check.holds and check.value == pytest.approx(value, abs=1e-3)
        assert decide(record_of()) is None


def test_a_closed_form_that_is_off_is_broken() -> None:
    rows = [m.model_copy(update={"value": m.value * (0.5 if m.system == BASELINE else 1)}) for m in sizes()]
    for decide in (large_speedup, large_cheaper):
        check = decide(record_of(measurements=rows))
        assert isinstance(check, Check) and not check.holds
    halved = [m.model_copy(update={"value": m.value / 2}) for m in sizes()]
    for decide in (base_speedup, qa_speedup):
        check = decide(record_of(measurements=halved))
        assert isinstance(check, Check) and not check.holds


def test_pairs_save_less_than_printed_and_memory_as_much() -> None:
    record = record_of(measurements=counted())
    assert values(decided(pair_speedup(record)).cells) == pytest.approx({"mnli": 2.21, "qqp": 1.78}, abs=0.01)
    assert JUDGE("deformer-pairs-2x", record) == "direction only"
    assert set(values(decided(memory_reduction(record)).cells)) == {"squad", "race", "boolq"}
    assert JUDGE("deformer-memory-65", record) == "reproduced"
    halved = [m.model_copy(update={"value": m.value / 2}) for m in counted()]
    assert JUDGE("deformer-memory-65", record_of(measurements=halved)) == "direction only"
    assert pair_speedup(record_of()) is None and memory_reduction(record_of()) is None


def seconds(count: int, faster: float) -> Evidence:
    full = np.linspace(1, 1.1, 20)
    arrays = {seconds_name(BASELINE): full, seconds_name(DEFORMER): full / faster}
    return Evidence(timed_shape("bert-base", "squad", count), 0, "", 0, 9, arrays)


def test_latency_counts_at_one_passage_and_at_eight() -> None:
    record = record_of(seconds(1, 3.5), seconds(8, 3.2))
    found = decided(latency(record))
    assert found.timed and sorted(values(found.cells).values()) == pytest.approx([3.2, 3.5])
    assert JUDGE("deformer-latency-3x", record) == "reproduced"
    assert JUDGE("deformer-latency-3x", record, met=False) == "seen here", "no GPU and no phone"
    assert JUDGE("deformer-latency-3x", record_of(seconds(1, 3.5), seconds(8, 0.5))) == "contradicted"
    assert latency(record_of()) is None


def test_every_decider_passes_over_a_run_that_has_nothing() -> None:
    assert {decide(record_of()) for decide in DECIDERS.values()} == {None}
