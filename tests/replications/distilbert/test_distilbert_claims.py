"""DistilBERT's claims, on invented evidence: shown, refuted and undecidable."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from kit.toy_evidence import Array, Judge, decided, record_of, values, wrong_on

from common.records.claims import Check
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name
from replications.distilbert.claims import (
    TIMED_SETTING,
    faster_by_60,
    imdb_gap,
    init_matters,
    mlm_little,
    ratio_of_scores,
    retains_97,
    smaller_by_40,
    squad_gap,
    squad_two_step,
    two_step_helps,
)
from replications.distilbert.names import (
    ABLATIONS,
    BASELINE,
    CONSTANT,
    DISTILBERT,
    EXACT,
    F1,
    NO_CE,
    NO_COS,
    NO_MLM,
    RANDOM,
    REFERENCE,
    TWICE,
    marks_name,
)

N = 400
judge = Judge("distilbert")

ORDERED = {DISTILBERT: 0.1, REFERENCE: 0.1, NO_MLM: 0.12, NO_COS: 0.2, NO_CE: 0.25, RANDOM: 0.35}
"""Shares of wrong answers in the paper's order."""


def evidence(
    wrong: Mapping[str, float] = {},
    *,
    task: str = "sst-2",
    seed: int = 0,
    baseline: float = 0.08,
    metric: str = "accuracy",
) -> Evidence:
    """A task in which each system is wrong on a share of dev."""
    labels = np.arange(N) % 2
    arrays: dict[str, Array] = {LABELS: labels, answers_name("baseline"): wrong_on(labels, baseline)}
    for name, share in {DISTILBERT: 0.1, **wrong}.items():
        arrays[answers_name(name)] = wrong_on(labels, share)
    return Evidence(task, seed, metric, 2, 12, arrays)


def seeds_of(tasks: Sequence[str], wrong: Mapping[str, float], **more: float) -> list[Evidence]:
    return [evidence(wrong, task=task, seed=seed, **more) for task in tasks for seed in range(3)]  # type: ignore[arg-type]


def test_what_is_kept_is_the_ratio_of_the_means_over_tasks_and_not_the_mean_of_ratios() -> None:
    one, two = evidence({DISTILBERT: 0.1}, baseline=0.0), evidence({DISTILBERT: 0.4}, task="rte", baseline=0.2)
    decision = decided(retains_97(record_of(one, two)))
    assert values(decision.cells) == {"macro": pytest.approx((90 + 60) / (100 + 80))}
    assert set(decision.tasks) == {"sst-2", "rte"}
    assert "sst-2 0.900" in decision.note and "rte 0.750" in decision.note


def test_the_interval_of_the_ratio_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=N)
    student, whole = (np.where(rng.random(N) < share, 1 - labels, labels) for share in (0.3, 0.2))
    arrays = {LABELS: labels, answers_name("baseline"): whole, answers_name(DISTILBERT): student}
    effect = ratio_of_scores({"sst-2": [Evidence("sst-2", 0, "accuracy", 2, 12, arrays)]})
    drawn = rng.integers(N, size=(4000, N))
    ratios = (student == labels)[drawn].mean(1) / (whole == labels)[drawn].mean(1)
    assert effect.error == pytest.approx(ratios.std(), rel=0.1)


def test_ninety_seven_percent_is_shown_refuted_and_undecided() -> None:
    claim, tasks = "distilbert-retains-97", ("sst-2", "rte")
    assert judge(claim, record_of(*seeds_of(tasks, {DISTILBERT: 0.05}, baseline=0.05))) == "reproduced"
    assert judge(claim, record_of(*seeds_of(tasks, {DISTILBERT: 0.3}, baseline=0.05))) == "contradicted"
    assert judge(claim, record_of(*seeds_of(tasks, {DISTILBERT: 0.3}, baseline=0.05)), met=False) == "not seen here"
    assert judge(claim, record_of()) == "not run"
    assert retains_97(record_of(*seeds_of(tasks, {}, baseline=0.5))) is None, "nobody learned anything"


def test_every_loss_has_to_matter_less_than_the_initialisation() -> None:
    claim, tasks = "distilbert-init-matters", ("sst-2", "rte")
    decision = decided(init_matters(record_of(*seeds_of(tasks, ORDERED))))
    assert values(decision.cells) == pytest.approx(
        {f"{NO_CE} above {RANDOM}": 10.0, f"{NO_COS} above {RANDOM}": 15.0, f"{NO_MLM} above {RANDOM}": 23.0}
    )
    assert judge(claim, record_of(*seeds_of(tasks, ORDERED))) == "reproduced"
    assert judge(claim, record_of(*seeds_of(tasks, {**ORDERED, NO_CE: 0.4}))) == "contradicted"
    assert judge(claim, record_of(*seeds_of(tasks, {}))) == "not run", "no ablation"


def test_the_masked_words_loss_has_to_matter_less_than_both_others() -> None:
    claim, tasks = "distilbert-mlm-little", ("sst-2", "rte")
    decision = decided(mlm_little(record_of(*seeds_of(tasks, ORDERED))))
    assert values(decision.cells) == pytest.approx({f"{NO_MLM} above {NO_CE}": 13.0, f"{NO_MLM} above {NO_COS}": 8.0})
    assert judge(claim, record_of(*seeds_of(tasks, ORDERED))) == "reproduced"
    assert judge(claim, record_of(*seeds_of(tasks, {**ORDERED, NO_MLM: 0.3}))) == "contradicted"
    assert judge(claim, record_of(*seeds_of(tasks, {**ORDERED, NO_COS: 0.1}))) == "contradicted", (
        "one of them is enough"
    )


def test_ablations_are_compared_with_the_triple_loss_on_as_much_text() -> None:
    """The student on more text is another system; a task without ablations, or not learned, decides nothing."""
    record = record_of(*seeds_of(("sst-2",), {**ORDERED, DISTILBERT: 0.0}), *seeds_of(("mrpc",), {}))
    decision = decided(init_matters(record))
    assert f"{RANDOM} -25.0" in decision.note
    assert set(decision.tasks) == {"sst-2"}
    lost = record_of(*seeds_of(("sst-2",), ORDERED), *seeds_of(("rte",), {**ORDERED, REFERENCE: 0.5}))
    assert decided(mlm_little(lost)).left_out == ("rte: the student did not learn it",)


def test_imdb_alone_decides_its_gap() -> None:
    record = record_of(*seeds_of(("imdb",), {DISTILBERT: 0.1}, baseline=0.08), *seeds_of(("sst-2",), {}))
    assert values(decided(imdb_gap(record)).cells) == pytest.approx({"imdb": 2.0})
    assert judge("distilbert-imdb-gap", record) == "inconclusive"
    assert judge("distilbert-imdb-gap", record_of(*seeds_of(("imdb",), {DISTILBERT: 0.2}))) == "contradicted"
    assert judge("distilbert-imdb-gap", record_of(*seeds_of(("imdb",), {DISTILBERT: 0.08}))) == "reproduced"
    assert imdb_gap(record_of(evidence())) is None


def test_parameters_are_compared_without_heads() -> None:
    def row(system: str, value: float, metric: str = "encoder_parameters") -> Measurement:
        return Measurement(experiment="table3", system=system, metric=metric, value=value, unit="count")

    rows = [row("baseline", 109_482_240), row(DISTILBERT, 66_362_880), row("baseline", 1, "classifier_parameters")]
    check = smaller_by_40(record_of(measurements=rows))
    assert isinstance(check, Check)
    assert check.holds and check.value == pytest.approx(0.3938, abs=1e-4)
    broken = smaller_by_40(record_of(measurements=[rows[0], row(DISTILBERT, 70_000_000)]))
    assert isinstance(broken, Check) and not broken.holds
    assert smaller_by_40(record_of()) is None


def clocked(task: str, faster: float) -> Evidence:
    seconds = np.linspace(1, 2, 16)
    return Evidence(task, 0, "", 0, 12, {seconds_name("baseline"): seconds, seconds_name(DISTILBERT): seconds / faster})


def test_the_clock_decides_at_batch_1_on_short_texts() -> None:
    other = clocked("bert-base, batch 32, 128 tokens", 9.0)
    record = record_of(clocked(TIMED_SETTING, 1.7), other)
    decision = decided(faster_by_60(record))
    assert values(decision.cells) == pytest.approx({TIMED_SETTING: 1.7})
    assert decision.timed and "batch 32, 128 tokens 9.00" in decision.note
    assert judge("distilbert-60-faster", record) == "reproduced"
    assert judge("distilbert-60-faster", record_of(clocked(TIMED_SETTING, 1.3))) == "direction only"
    assert judge("distilbert-60-faster", record_of(clocked(TIMED_SETTING, 0.8))) == "contradicted"
    assert faster_by_60(record_of(other)) is None


def test_what_cannot_be_measured_says_so() -> None:
    assert [c.id for c in judge.paper.claims if c.not_run] == ["distilbert-phone-71"]


def questions(wrong: Mapping[str, float], *, task: str = "squad", seed: int = 0) -> Evidence:
    """A reading task in which each system's marks are 0 on a share of dev, and 1 else."""
    arrays: dict[str, Array] = {}
    for name, share in {CONSTANT: 0.9, BASELINE: 0.1, **wrong}.items():
        for metric in (F1, EXACT):
            arrays[marks_name(name, metric)] = wrong_on(np.ones(N, dtype=int), share)
    return Evidence(task, seed, "answer_f1", 0, 12, arrays)


def read_by(student: float, twice: float, baseline: float = 0.1) -> list[Evidence]:
    return [questions({BASELINE: baseline, DISTILBERT: student, TWICE: twice}, seed=seed) for seed in range(3)]


def test_questions_decide_what_is_lost_once_and_twice_distilled() -> None:
    record = record_of(*read_by(0.13, 0.11))
    assert values(decided(squad_gap(record)).cells) == pytest.approx({"squad, f1": 3.0, "squad, em": 3.0})
    assert values(decided(squad_two_step(record)).cells) == pytest.approx({"squad, f1": 1.0, "squad, em": 1.0})
    assert values(decided(two_step_helps(record)).cells) == pytest.approx({"squad, f1": 2.0})
    words = {c: judge(f"distilbert-{c}", record_of(*read_by(0.1, 0.1))) for c in ("squad-gap", "squad-two-step")}
    assert words == {"squad-gap": "reproduced", "squad-two-step": "reproduced"}
    lost = record_of(*read_by(0.4, 0.5))
    for claim in ("squad-gap", "squad-two-step", "two-step-helps"):
        assert judge(f"distilbert-{claim}", lost) == "contradicted"
    assert judge("distilbert-two-step-helps", record_of(*read_by(0.5, 0.2))) == "reproduced"


def test_questions_that_the_baseline_did_not_learn_decide_nothing_and_neither_do_texts() -> None:
    assert squad_gap(record_of(*read_by(0.1, 0.1, baseline=0.9))) is None
    assert squad_gap(record_of(evidence())) is None
    both = record_of(*read_by(0.1, 0.1), *seeds_of(("sst-2",), {}))
    assert set(decided(retains_97(both)).tasks) == {"sst-2"}
    assert retains_97(record_of(*read_by(0.1, 0.1))) is None


def test_all_rows_of_table_4_are_ablations() -> None:
    (table,) = (t for t in judge.paper.tables if t.id == "table4")
    assert {cell.system for cell in table.cells} == set(ABLATIONS)
