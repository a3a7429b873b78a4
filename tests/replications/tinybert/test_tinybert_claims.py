"""TinyBERT's claims, on invented evidence: shown, refuted, and not to be decided."""

from collections.abc import Mapping

import numpy as np
import pytest
from kit.toy_evidence import Array, Judge, constant, decided, record_of, values, wrong_on

from common.records.claims import Check, Undecided
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name
from replications.tinybert import claims
from replications.tinybert.names import (
    BERT_BASE,
    BERT_TINY,
    BERT_TINY_TD,
    BOTTOM,
    FOUR_LAYERS,
    NARROW,
    TEACHER,
    TINYBERT,
    TINYBERT_4,
    TOP,
    WIDE,
    WITHOUT_ATTN,
    WITHOUT_DA,
    WITHOUT_EMBD,
    WITHOUT_GD,
    WITHOUT_HIDN,
    WITHOUT_PRED,
    WITHOUT_TD,
    WITHOUT_TRM,
)

N = 400
judge = Judge("tinybert")

OF_LOSSES = (WITHOUT_EMBD, WITHOUT_PRED, WITHOUT_TRM, WITHOUT_ATTN, WITHOUT_HIDN)
ABLATIONS = (WITHOUT_GD, WITHOUT_TD, WITHOUT_DA, *OF_LOSSES, TOP, BOTTOM, BERT_TINY_TD)


def evidence(
    errors: Mapping[str, float] = {},
    *,
    task: str = "mrpc",
    seed: int = 0,
    metric: str = "accuracy",
    ablated: bool = True,
) -> Evidence:
    """A task in which each system is wrong on a share of dev; systems with the same share on the same examples."""
    labels = np.arange(N) % 2
    known = {TEACHER: 0.1, f"{TINYBERT}@{NARROW}": 0.12, f"{TINYBERT}@{WIDE}": 0.1, BERT_TINY: 0.2}
    if ablated:
        known |= {TINYBERT: 0.12, **dict.fromkeys(ABLATIONS, 0.2)}
    arrays: dict[str, Array] = {LABELS: labels}
    arrays |= {answers_name(name): wrong_on(labels, share) for name, share in {**known, **errors}.items()}
    return Evidence(task, seed, metric, 2, 12, arrays)


def seeds(errors: Mapping[str, float] = {}, *, task: str = "mrpc") -> list[Evidence]:
    return [evidence(errors, task=task, seed=seed) for seed in range(3)]


def times(**seconds: float) -> Evidence:
    """Full-size seconds of 24 texts, by architecture."""
    by_name = {BERT_BASE: 9.4, TINYBERT_4: 1.0, FOUR_LAYERS: 3.2} | {k.replace("_", "-"): v for k, v in seconds.items()}
    noise = 1 + 0.01 * np.sin(np.arange(24))
    arrays = {seconds_name(name): s * np.roll(noise, i) for i, (name, s) in enumerate(by_name.items())}
    return Evidence("full size", 0, "", 0, 12, arrays)


def sizes(**changes: float) -> list[Measurement]:
    counts = {BERT_BASE: 109_482_240.0, TINYBERT_4: 14_350_248.0, FOUR_LAYERS: 52_779_264.0}
    counts |= {k.replace("_", "-"): v for k, v in changes.items()}
    return [
        Measurement(experiment="sizes", system=n, metric="encoder_parameters", value=v, unit="count", backbone=n)
        for n, v in counts.items()
    ]


# -- Sizes and times --------------------------------------------------------------------------------------------------


def test_parameters_are_compared_in_closed_form() -> None:
    small = claims.smaller(record_of(measurements=sizes()))
    share = claims.share_of_four_layers(record_of(measurements=sizes()))
    assert isinstance(small, Check) and isinstance(share, Check)
    assert small.holds and small.value == pytest.approx(7.629, abs=0.001)
    assert share.holds and share.value == pytest.approx(0.272, abs=0.001)
    larger = record_of(measurements=sizes(tinybert_4=16e6))
    assert judge("tinybert4-smaller", larger) == "broken"
    assert judge("tinybert4-28-params", larger) == "broken"
    assert judge("tinybert4-smaller", record_of()) == "not run"


def test_speed_is_a_ratio_of_full_size_seconds() -> None:
    record = record_of(times())
    assert values(decided(claims.faster(record)).cells) == pytest.approx({"128 tokens, one by one": 9.4}, rel=1e-3)
    assert values(decided(claims.time_of_four_layers(record)).cells)["128 tokens, one by one"] == pytest.approx(1 / 3.2)
    assert judge("tinybert4-faster", record_of(times(bert_base=12.0))) == "reproduced"
    assert judge("tinybert4-faster", record_of(times(bert_base=5.0))) == "direction only"
    assert judge("tinybert4-faster", record_of(times(bert_base=0.5))) == "contradicted"
    assert judge("tinybert4-31-time", record) == "reproduced"
    assert judge("tinybert4-31-time", record_of(times(bert_base_4_layers=1.5))) == "direction only"
    assert claims.faster(record_of(evidence())) is None
    assert decided(claims.faster(record)).seeds == decided(claims.time_of_four_layers(record)).seeds == 0, "untrained"


# -- Table 1 ----------------------------------------------------------------------------------------------------------


def test_what_is_retained_is_a_ratio_of_mean_scores() -> None:
    record = record_of(*seeds({f"{TINYBERT}@{NARROW}": 0.2}), *seeds({f"{TINYBERT}@{NARROW}": 0.1}, task="cola"))
    decision = decided(claims.retained(record))
    assert values(decision.cells)["mean over tasks"] == pytest.approx((80 + 90) / (90 + 90))
    assert decision.tasks == ["mrpc", "cola"]
    assert decision.cells[0].effect.error > 0
    assert judge("tinybert4-retains-968", record) == "contradicted"
    assert judge("tinybert4-retains-968", record_of(*seeds({f"{TINYBERT}@{NARROW}": 0.101}))) == "reproduced"


def test_each_task_has_its_own_metric_in_what_is_retained() -> None:
    one, other = evidence(), evidence({f"{TINYBERT}@{NARROW}": 0.3}, task="cola", metric="matthews")
    found = values(decided(claims.retained(record_of(one, other))).cells)["mean over tasks"]
    matthews = [100 * (1 - 2 * share) for share in (0.3, 0.1)]
    assert found == pytest.approx((88 + matthews[0]) / (90 + matthews[1]), abs=0.01)


def test_the_rival_of_the_same_architecture_is_compared_where_it_learned() -> None:
    record = record_of(*seeds(), *seeds({BERT_TINY: 0.5}, task="cola"))
    decision = decided(claims.above_direct(record))
    assert values(decision.cells) == pytest.approx({"mrpc": 8.0})
    assert decision.left_out == ("cola: BERT-tiny did not learn it",)
    assert judge("tinybert4-beats-tiny", record_of(*seeds({BERT_TINY: 0.3}))) == "reproduced"
    assert judge("tinybert4-beats-tiny", record_of(*seeds({BERT_TINY: 0.02}))) == "contradicted"
    assert judge("tinybert4-beats-tiny", record_of(*(constant(e, BERT_TINY) for e in seeds()))) == "not run"


def test_the_wide_student_is_laid_beside_its_teacher() -> None:
    assert judge("tinybert6-on-par", record_of(*seeds())) == "reproduced"
    assert judge("tinybert6-on-par", record_of(*seeds({f"{TINYBERT}@{WIDE}": 0.3}))) == "contradicted"
    without = [
        Evidence(e.task, e.seed, e.metric, 2, 12, {k: v for k, v in e.arrays.items() if WIDE not in k}) for e in seeds()
    ]
    assert judge("tinybert6-on-par", record_of(*without)) == "not run"


def test_a_task_that_the_teacher_did_not_learn_decides_nothing() -> None:
    record = record_of(*seeds(), *seeds({TEACHER: 0.5}, task="rte"))
    decision = decided(claims.retained(record))
    assert decision.tasks == ["mrpc"]
    assert decision.left_out == ("rte: the teacher did not learn it",)


# -- Ablations --------------------------------------------------------------------------------------------------------

SHOWN = {
    "tinybert-all-stages-needed": {},
    "tinybert-task-stage-bigger": {WITHOUT_GD: 0.15},
    "tinybert-transformer-loss-key": {WITHOUT_TRM: 0.4},
    "tinybert-attn-over-hidn": {WITHOUT_ATTN: 0.25, WITHOUT_HIDN: 0.15},
    "tinybert-uniform-mapping": {},
    "tinybert-gd-better-init": {BERT_TINY_TD: 0.3},
}
REFUTED = {
    "tinybert-all-stages-needed": {WITHOUT_TD: 0.02},
    "tinybert-task-stage-bigger": {WITHOUT_GD: 0.4},
    "tinybert-transformer-loss-key": {WITHOUT_TRM: 0.02},
    "tinybert-attn-over-hidn": {WITHOUT_ATTN: 0.15, WITHOUT_HIDN: 0.25},
    "tinybert-uniform-mapping": {BOTTOM: 0.02},
    "tinybert-gd-better-init": {BERT_TINY_TD: 0.1},
}


@pytest.mark.parametrize("claim", SHOWN)
def test_an_ablation_is_shown_refuted_or_not_run(claim: str) -> None:
    two = [e for task in ("mrpc", "cola") for e in seeds(SHOWN[claim], task=task)]
    assert judge(claim, record_of(*two)) == "reproduced"
    assert judge(claim, record_of(*seeds(REFUTED[claim]))) == "contradicted"
    assert judge(claim, record_of(evidence(ablated=False))) == "not run"
    assert judge(claim, record_of(*two), met=False) in ("seen here", "not seen here")


def test_each_procedure_is_a_cell_of_its_own_and_a_mean_over_tasks() -> None:
    record = record_of(*seeds({WITHOUT_GD: 0.15}), *seeds({WITHOUT_GD: 0.17}, task="cola"))
    decision = decided(claims.every_stage(record))
    assert values(decision.cells) == pytest.approx({WITHOUT_GD: 4.0, WITHOUT_TD: 8.0, WITHOUT_DA: 8.0})
    assert decision.tasks == ["mrpc", "cola"]


def test_an_ablation_that_learns_nothing_counts_but_a_student_that_does_not_is_no_measure() -> None:
    nothing = decided(claims.transformer_loss(record_of(*(constant(e, WITHOUT_TRM) for e in seeds()))))
    assert list(values(nothing.cells).values()) == pytest.approx([38.0] * 4)
    record = record_of(*seeds(), *seeds({TINYBERT: 0.5}, task="cola"))
    decision = decided(claims.transformer_loss(record))
    assert decision.tasks == ["mrpc"]
    assert decision.left_out == ("cola: TinyBERT did not learn it",)


@pytest.mark.parametrize("other", [name for name in OF_LOSSES if name != WITHOUT_TRM])
def test_without_transformer_losses_is_the_worst_or_the_claim_fails_by_name(other: str) -> None:
    """However much they are worth: another row of Table 3 that is lower refutes it, and is named."""
    shown = decided(claims.transformer_loss(record_of(*seeds({WITHOUT_TRM: 0.4}))))
    assert values(shown.cells) == pytest.approx({f"beside {name}": 28.0 for name in OF_LOSSES if name != WITHOUT_TRM})
    assert shown.note.startswith("the worst is w/o Trm; points of w/o Trm above w/o Embd -20.0,")
    lower = record_of(*seeds({WITHOUT_TRM: 0.35, other: 0.45}))
    assert decided(claims.transformer_loss(lower)).note.startswith(f"the worst is {other};")
    assert judge("tinybert-transformer-loss-key", lower) == "contradicted"
    assert judge("tinybert-transformer-loss-key", record_of(*seeds({WITHOUT_TRM: 0.25}))) == "direction only"


def test_a_rival_that_distillation_did_not_teach_shows_no_better_start() -> None:
    nothing = [constant(e, BERT_TINY_TD) for e in seeds(task="cola")]
    decision = decided(claims.general_start(record_of(*seeds(), *nothing)))
    assert decision.tasks == ["mrpc"]
    assert decision.left_out == ("cola: BERT-tiny (+TD) did not learn it",)
    assert claims.general_start(record_of(*nothing)) == Undecided(("cola: BERT-tiny (+TD) did not learn it",))
    assert judge("tinybert-gd-better-init", record_of(*nothing)) == "not run"


def test_seeds_without_ablations_are_passed_over() -> None:
    record = record_of(evidence(), evidence(seed=1, ablated=False))
    assert decided(claims.every_stage(record)).seeds == 1
    assert decided(claims.retained(record)).seeds == 2


def test_an_effect_of_noise_is_inconclusive() -> None:
    labels = np.arange(N) % 2
    mixed = [
        Evidence(e.task, e.seed, e.metric, 2, 12, {**e.arrays, answers_name(TOP): wrong_on(labels, 0.12, first=0.5)})
        for e in seeds()
    ]
    assert judge("tinybert-uniform-mapping", record_of(*mixed)) == "inconclusive"
