"""What decides FastBERT's claims, on invented evidence whose answer is known, and that a run keeps what it reads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit.toy_evidence import Judge, constant, decided, record_of, values, wrong_on
from kit.toy_run import run_steps, small_run, toy_task

from common.records.claims import by_task
from common.records.predictions import Evidence, answers_name, at_layer, exits_name, static_name
from replications.fastbert import claims
from replications.fastbert.experiments import trained_steps
from replications.fastbert.flops import PrintedCount
from replications.fastbert.names import (
    COUNT,
    FASTBERT,
    FROM_LABELS,
    TEACHER,
    UNDISTILLED,
    as_deep_as,
    as_fast_as,
    speed_setting,
    uncertainty_at,
)
from replications.fastbert.shapes import closed_forms

verdict = Judge("fastbert")
N, LAYERS = 2000, 6
MINILM = PrintedCount(layers=LAYERS, hidden=384, intermediate=1536)


def evidence(
    task: str = "sst-2",
    seed: int = 0,
    *,
    wrong: float = 0.1,
    lost: float = 0.0,
    early: float = 0.9,
    before: float = 0.0,
    labels_lost: float = 0.0,
    fixed_lost: float = 0.0,
    rivals: dict[int, float] | None = None,
    depth: float = 2.0,
    certain: float = 1.0,
) -> Evidence:
    """A teacher that errs on `wrong`; FastBERT errs on `lost` more, and a share `early` leaves at layer 1 of 6.

    Before distilling a share `before` leaves there. From labels it errs on `labels_lost` more than FastBERT, everyone
    at a fixed layer on `fixed_lost` more than the teacher, and an encoder of d layers on `rivals[d]` more; at equal
    cost FastBERT executes `depth` layers. Wrong answers are less certain than right ones in a share `certain` of dev.
    """
    labels = np.arange(N) % 2
    mine, teacher = wrong_on(labels, wrong + lost), wrong_on(labels, wrong)
    fixed = wrong_on(labels, wrong + fixed_lost)
    arrays: dict[str, Any] = {
        "labels": labels,
        COUNT: np.array([MINILM.baseline, MINILM.layer + MINILM.classifier]),
        answers_name("baseline"): teacher,
        answers_name(TEACHER): teacher,
        answers_name(FROM_LABELS, at_layer(LAYERS)): teacher,
        answers_name(UNDISTILLED, speed_setting(0.5)): teacher,
        exits_name(UNDISTILLED, speed_setting(0.5)): leaving(before),
    }
    for speed in (0.1, 0.2, 0.5, 0.7, 0.8):
        arrays[answers_name(FASTBERT, speed_setting(speed))] = mine
        arrays[exits_name(FASTBERT, speed_setting(speed))] = leaving(early)
    for speed in (0.2, 0.7):
        arrays[answers_name(FROM_LABELS, speed_setting(speed))] = wrong_on(labels, wrong + lost + labels_lost)
        arrays[exits_name(FROM_LABELS, speed_setting(speed))] = leaving(early)
    for setting in (as_deep_as(2), as_fast_as(2)):
        arrays[answers_name(FASTBERT, setting)] = mine
        arrays[exits_name(FASTBERT, setting)] = np.full(N, round(depth))
    for rival, more in (rivals or {}).items():
        arrays[answers_name(static_name(rival))] = wrong_on(labels, wrong + more)
    for layer in range(1, LAYERS + 1):
        arrays[answers_name(FASTBERT, at_layer(layer))] = fixed
        ordered = np.arange(N) < certain * N
        # Wrong answers come first in `wrong_on`: falling uncertainty orders them.
        arrays[uncertainty_at(layer)] = np.where(ordered, 1e-3 * np.linspace(1, 0, N), 1e-3 * np.linspace(0, 1, N))
    return Evidence(task, seed, "accuracy", 2, LAYERS, arrays)


def leaving(share: float) -> Any:
    """Exit layers: a share at 1, the others at the end."""
    return np.where(np.arange(N) < share * N, 1, LAYERS)


def seeds(task: str = "sst-2", **how: Any) -> list[Evidence]:
    return [evidence(task, seed, **how) for seed in range(3)]


def share_of(early: float) -> float:
    """The possible saving of a share `early` at layer 1, by the Speedups themselves."""
    speedup = MINILM.speedup(early + LAYERS * (1 - early))
    return (1 - 1 / speedup) / (1 - 1 / MINILM.speedup(1))


# -- Shown, refuted, left open ----------------------------------------------------------------------------------------

SHOWN, REFUTED = ("reproduced", "contradicted")


@pytest.mark.parametrize(
    ("claim", "how", "expected"),
    [
        ("speed01-lossless", {"lost": 0.0}, SHOWN),
        ("speed01-lossless", {"lost": 0.02}, REFUTED),
        ("speed01-lossless", {"lost": 0.001}, "inconclusive"),
        ("speed01-2x", {"early": 0.7}, SHOWN),
        ("speed01-2x", {"early": 0.3}, "direction only"),
        ("speed01-2x", {"early": 0.0}, REFUTED),
        ("7-to-11", {"early": 0.99}, SHOWN),
        ("7-to-11", {"early": 0.99, "lost": 0.05}, SHOWN),
        ("7-to-11", {"early": 0.8}, "direction only"),
        ("7-to-11", {"early": 0.99, "lost": 0.15}, REFUTED),
        ("distill-cuts-flops", {"early": 0.9}, SHOWN),
        ("distill-cuts-flops", {"early": 0.9, "before": 0.5}, "direction only"),
        ("distill-cuts-flops", {"early": 0.5, "before": 0.9}, REFUTED),
        ("distill-cuts-flops", {"early": 0.9, "lost": 0.05}, REFUTED),
        ("distill-cuts-flops", {"early": 0.9, "lost": 0.01}, "inconclusive"),
        ("first-exit-61", {"early": 0.7}, SHOWN),
        ("first-exit-61", {"early": 0.5}, REFUTED),
        ("first-exit-61", {"early": 0.61}, "inconclusive"),
        ("ablation-distill", {"labels_lost": 0.02}, SHOWN),
        ("ablation-distill", {"labels_lost": 0.005}, "direction only"),
        ("ablation-distill", {"lost": 0.05, "labels_lost": -0.05}, REFUTED),
        ("ablation-distill", {"labels_lost": 0.0}, REFUTED),
        ("ablation-adaptive", {"fixed_lost": 0.05}, SHOWN),
        ("ablation-adaptive", {"fixed_lost": 0.02}, "direction only"),
        ("ablation-adaptive", {"lost": 0.02}, REFUTED),
        ("beats-distilbert-3", {"rivals": {2: 0.05}}, SHOWN),
        ("beats-distilbert-3", {"rivals": {2: -0.05}}, REFUTED),
        ("beats-distilbert-1", {"rivals": {1: 0.05}}, SHOWN),
        ("beats-distilbert-1", {"rivals": {1: 0.01}}, "direction only"),
        ("beats-distilbert-1", {"rivals": {1: -0.05}}, REFUTED),
        ("luha", {"certain": 1.0}, SHOWN),
        ("luha", {"certain": 0.0}, REFUTED),
    ],
)
def test_a_claim_gets_its_verdict(claim: str, how: dict[str, Any], expected: str) -> None:
    assert verdict(f"fastbert-{claim}", record_of(*seeds(**how))) == expected


def test_an_effect_of_exactly_nothing_is_on_the_other_side() -> None:
    """Where no answer differs the gain is known to be 0, and 0 is no gain."""
    found = decided(claims.distillation_gain(record_of(*seeds())))
    assert values(found.cells) == {"sst-2": 0.0}
    assert found.cells[0].effect.error == 0


def test_six_layers_and_a_cut_rival_meet_no_premise() -> None:
    """However good the numbers are: 6 layers say `seen here`, and a rival that was not distilled always does."""
    shown = {
        "speed01-2x": "seen here",
        "7-to-11": "seen here",
        "beats-distilbert-3": "seen here",
        "luha": "seen here",
        "first-exit-61": "seen here",
    }
    record = record_of(*seeds(early=0.99, rivals={2: 0.05}))
    assert {name: verdict(f"fastbert-{name}", record, met=False) for name in shown} == shown
    premise = next(c.premise for c in verdict.paper.claims if c.id == "fastbert-beats-distilbert-3")
    assert "distilled" in premise.other


# -- What is measured -------------------------------------------------------------------------------------------------


def test_speed_is_a_share_of_what_the_depth_allows() -> None:
    """1 is everyone at layer 1, 0 the teacher's own cost, less than 0 all layers with every classifier."""
    for early in (0.0, 0.4, 1.0):
        found = decided(claims.twice_as_fast(record_of(*seeds(early=early))))
        assert found.cells[0].effect.value == pytest.approx(share_of(early))
    assert share_of(1.0) == pytest.approx(1) and share_of(0.0) < 0
    assert "sst-2 0.95x of at most 5.70x" in decided(claims.twice_as_fast(record_of(*seeds(early=0.0)))).note


def test_what_distilling_saves_is_counted_from_before_it() -> None:
    found = decided(claims.cuts_flops(record_of(*seeds(early=0.9, before=0.2))))
    assert found.cells[0].effect.value == pytest.approx(share_of(0.9) - share_of(0.2))
    assert "before self-distillation sst-2 1.14x" in found.note
    assert claims.cuts_flops(record_of(*seeds("trec"))) is None, "the claim is on two-class sentiment"


def test_losses_are_against_the_teacher_and_each_task_is_a_cell() -> None:
    record = record_of(*seeds(lost=0.01), *seeds("trec", lost=-0.02))
    assert values(decided(claims.lossless(record)).cells) == pytest.approx({"sst-2": 1.0, "trec": -2.0})


def test_the_two_speeds_of_the_ablation_are_one_cell() -> None:
    one = evidence(labels_lost=0.02)
    slower = answers_name(FROM_LABELS, speed_setting(0.2))
    one = replace(one, arrays={**one.arrays, slower: one.answers(FASTBERT, speed_setting(0.2))})
    assert values(decided(claims.distillation_gain(record_of(one))).cells) == pytest.approx({"sst-2": 1.0})


# -- What decides nothing ---------------------------------------------------------------------------------------------


def test_a_task_that_the_teacher_did_not_learn_decides_nothing() -> None:
    unlearned = [constant(e, TEACHER) for e in seeds("rte")]
    found = decided(claims.twice_as_fast(record_of(*seeds(), *unlearned)))
    assert found.tasks == ["sst-2"]
    assert found.left_out == ("rte: the teacher did not learn it",)
    assert claims.twice_as_fast(record_of(*unlearned)) is None


def test_a_rival_that_did_not_learn_decides_nothing() -> None:
    """An encoder of one layer that answers a constant is 67 points behind on QQP, which says nothing of FastBERT."""
    collapsed = [constant(e, static_name(1)) for e in seeds("qqp-sample", rivals={1: 0.0})]
    good = seeds(rivals={1: 0.05})
    found = decided(claims.beats_one_layer(record_of(*good, *collapsed)))
    assert found.tasks == ["sst-2"]
    assert found.left_out == ("qqp-sample: truncated 1L did not learn it",)
    assert claims.beats_one_layer(record_of(*collapsed)) is None
    unlearned = [constant(e, FROM_LABELS, at_layer(LAYERS)) for e in seeds(labels_lost=0.05)]
    assert claims.distillation_gain(record_of(*unlearned)) is None


def test_rivals_are_compared_on_the_seeds_that_have_them_and_at_equal_cost() -> None:
    first, *others = seeds()
    alone = evidence(rivals={2: 0.05})
    found = decided(claims.beats_quarter(record_of(alone, *others)))
    assert found.seeds == 1
    assert claims.beats_quarter(record_of(first, *others)) is None
    assert claims.beats_quarter(record_of(evidence(rivals={2: 0.05}, depth=4))) is None, "twice as deep"
    assert claims.adaptive_gain(record_of(evidence(fixed_lost=0.05, depth=4))) is None


def test_a_teacher_whose_certainty_lies_in_one_bin_is_judged_by_its_order() -> None:
    """All uncertainties are below 0.001 here: tenths would hold one bin, and have nothing to order."""
    assert max(float(e[uncertainty_at(LAYERS)].max()) for e in seeds()) < 0.01
    assert min(values(decided(claims.luha(record_of(*seeds()))).cells).values()) == 1.0


def test_a_classifier_that_is_hardly_ever_wrong_is_not_judged() -> None:
    found = claims.luha(record_of(*seeds(wrong=0.002)))
    assert found is None
    both = decided(claims.luha(record_of(*seeds(wrong=0.002), *seeds("trec"))))
    assert both.tasks == ["trec"]
    assert "sst-2, teacher: fewer than 10 answers are wrong, or right" in both.left_out


# -- By construction, and a whole run ---------------------------------------------------------------------------------


def test_the_architecture_decides_what_follows_from_it() -> None:
    rows = closed_forms()
    record = record_of(measurements=[r.model_copy(update={"scale": "shapes"}) for r in rows])
    assert verdict("fastbert-flops-classifier-share", record) == "holds"
    assert verdict("fastbert-range-12x", record) == "holds"
    share, best = decided(claims.classifier_share(record)), decided(claims.widest_range(record))
    assert share.cells[0].effect.value == pytest.approx(0.02546, abs=1e-5)
    assert best.cells[0].effect.value == pytest.approx(11.751, abs=1e-3)
    assert "0.979x" in best.note
    assert claims.classifier_share(record_of()) is None and claims.widest_range(record_of()) is None


def test_a_run_keeps_what_every_claim_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a toy that nobody learns: so the test lets everybody count."""
    monkeypatch.setattr(claims, "learned_tasks", lambda record, *_: (by_task(record.evidence), ()))
    monkeypatch.setattr(claims, "learned", lambda tasks, answers, who: (dict(tasks), ()))
    monkeypatch.setattr(claims, "has_learned", lambda seeds, answers: True)
    monkeypatch.setattr(claims, "ABOUT_EQUAL", 1.0)
    monkeypatch.setattr(claims, "LEAST_ERRORS", 1)
    run = small_run(tmp_path, toy_task("sentiment", ("no", "yes"), lambda i: i % 2))
    run_steps(trained_steps(run), run, tmp_path / "journal")
    record = record_of(*run.evidence)
    found = {name: decide(record) for name, decide in claims.DECIDERS.items()}
    assert {name for name, one in found.items() if one is None} == {
        "fastbert-flops-classifier-share",
        "fastbert-range-12x",
    }
    (one,) = run.evidence
    assert float(np.mean(one.exits(UNDISTILLED, speed_setting(0.5)))) == one.layers, "nobody is certain before"
    assert one.answers(UNDISTILLED, speed_setting(0.5)).tolist() == one.answers(TEACHER).tolist()
