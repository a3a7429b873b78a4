"""What decides CascadeBERT's claims, on invented evidence whose answer is known, and that a run keeps what it reads."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_evidence import Judge, constant, decided, record_of, values, wrong_on
from kit.toy_run import run_steps, small_run, toy_task

from common.records.claims import by_task
from common.records.ordering import dense_ranks
from common.records.predictions import Evidence, answers_name, exits_name
from replications.cascadebert import claims
from replications.cascadebert.difficulty import log_odds
from replications.cascadebert.experiments import trained_steps
from replications.cascadebert.names import (
    CASCADE,
    COMPARED,
    COMPLETE,
    DEEBERT,
    EMITTED,
    PABEE,
    TARGETS,
    TRUNCATED,
    label,
    layers,
    rank_name,
)

verdict = Judge("cascadebert")
N, LAYERS, DEPTH = 2000, 6, 1
SYSTEMS = (CASCADE, TRUNCATED, DEEBERT, PABEE)


def evidence(
    task: str = "sst-2",
    seed: int = 0,
    *,
    wrong: float = 0.1,
    lost: Mapping[str, float] | None = None,
    reached: Mapping[str, float] | None = None,
    ordered: Mapping[str, float] | None = None,
    emitted: float = 0.3,
    exit_wrong: float = 0.2,
    complete_wrong: float = 0.2,
) -> Evidence:
    """A big model that errs on `wrong`; at every speed a system errs on `lost` more and is `reached` times as fast.

    At one layer DeeBERT's exit and the complete model err on the first examples; the wrong ones are the least sure of
    all in a share `ordered` of them, the others the surest. DeeBERT lets the first `emitted` out there.
    """
    labels = np.arange(N) % 2
    arrays: dict[str, Any] = {
        "labels": labels,
        COMPARED: np.array([DEPTH]),
        answers_name("baseline"): wrong_on(labels, wrong),
        answers_name(DEEBERT, EMITTED): wrong_on(labels, wrong),
        exits_name(DEEBERT, EMITTED): np.where(np.arange(N) < emitted * N, DEPTH, LAYERS),
    }
    for speedup in TARGETS:
        for name in SYSTEMS:
            more = (lost or {}).get(name, 0.0)
            arrays[answers_name(name, label(speedup))] = wrong_on(labels, wrong + more)
            arrays[exits_name(name, label(speedup))] = executing(LAYERS / (reached or {}).get(name, speedup))
    for family, share in ((COMPLETE, complete_wrong), (DEEBERT, exit_wrong)):
        answers = wrong_on(labels, share)
        sure = np.where(np.arange(N) < (1 - (ordered or {}).get(family, 0.9)) * share * N, 2.0, 1.0)
        arrays[answers_name(family, layers(DEPTH))] = answers
        arrays[rank_name(family, DEPTH)] = dense_ranks(np.where(answers == labels, 1.5, sure) + 1e-6 * np.arange(N))
    return Evidence(task, seed, "accuracy", 2, LAYERS, arrays)


def executing(mean: float) -> Any:
    """Layers executed, 1 or 7 as a cascade's are, of this mean."""
    return np.where(np.arange(N) < N * (7 - mean) / 6, 1, 7)


def seeds(task: str = "sst-2", **how: Any) -> list[Evidence]:
    return [evidence(task, seed, **how) for seed in range(3)]


def behind(**lost: float) -> dict[str, float]:
    names = {"mine": CASCADE, "truncated": TRUNCATED, "deebert": DEEBERT, "pabee": PABEE}
    return {names[key]: value for key, value in lost.items()}


# -- Shown, refuted, left open ----------------------------------------------------------------------------------------

SHOWN, REFUTED = ("reproduced", "contradicted")
RIVALS_BEHIND = behind(truncated=0.1, deebert=0.1, pabee=0.1)


@pytest.mark.parametrize(
    ("claim", "how", "expected"),
    [
        ("4x-15pct", {"lost": behind(deebert=0.2)}, SHOWN),
        ("4x-15pct", {"lost": behind(deebert=0.05)}, "direction only"),
        ("4x-15pct", {"lost": behind(mine=0.05)}, REFUTED),
        ("best-avg-2x", {"lost": RIVALS_BEHIND}, SHOWN),
        ("best-avg-3x", {"lost": {**RIVALS_BEHIND, PABEE: 0.01}}, "direction only"),
        ("best-avg-3x", {"lost": {**RIVALS_BEHIND, PABEE: -0.05}}, REFUTED),
        ("best-avg-4x", {"lost": behind(mine=0.05)}, REFUTED),
        ("retention-2x", {"lost": behind(mine=0.005)}, SHOWN),
        ("retention-2x", {"lost": behind(mine=0.016)}, "inconclusive"),
        ("retention-2x", {"lost": behind(mine=0.05)}, REFUTED),
        ("dis-complete-over-deebert", {"ordered": {COMPLETE: 0.9, DEEBERT: 0.5}}, SHOWN),
        ("dis-complete-over-deebert", {"ordered": {COMPLETE: 0.9, DEEBERT: 0.87}}, "direction only"),
        ("dis-complete-over-deebert", {"ordered": {COMPLETE: 0.5, DEEBERT: 0.9}}, REFUTED),
    ],
)
def test_a_claim_gets_its_verdict(claim: str, how: dict[str, Any], expected: str) -> None:
    assert verdict(f"cascadebert-{claim}", record_of(*seeds(**how))) == expected


@pytest.mark.parametrize(
    ("exit_wrong", "complete_wrong", "expected"),
    [(0.3, 0.0, SHOWN), (0.3, 0.25, "direction only"), (0.2, 0.25, REFUTED), (0.2, 0.2, REFUTED)],
)
def test_shallow_layers_are_judged_where_deebert_left(exit_wrong: float, complete_wrong: float, expected: str) -> None:
    record = record_of(*seeds("mnli", exit_wrong=exit_wrong, complete_wrong=complete_wrong))
    assert verdict("cascadebert-shallow-representation", record) == expected


def test_small_models_that_are_not_the_papers_meet_no_premise() -> None:
    record = record_of(*seeds(lost=RIVALS_BEHIND))
    assert verdict("cascadebert-best-avg-2x", record, met=False) == "seen here"
    assert all(c.premise.encoders == ("bert_uncased_L-2_H-768_A-12",) for c in verdict.paper.claims)


# -- What is measured -------------------------------------------------------------------------------------------------


def test_each_rival_is_a_cell_of_averages() -> None:
    """87.5 against 72.5, 75 and 85: over tasks first, and no maximum over noisy rivals."""
    first = seeds(lost=behind(mine=0.0, truncated=0.01, deebert=0.15, pabee=0.05))
    second = seeds("mrpc", lost=behind(mine=0.05, truncated=0.34, deebert=0.15, pabee=0.05))
    found = decided(claims.best_average(record_of(*first, *second), 3.0))
    assert values(found.cells) == pytest.approx(
        {"above BERT-kL on sst-2, mrpc": 15.0, "above DeeBERT on sst-2, mrpc": 12.5, "above PABEE on sst-2, mrpc": 2.5}
    )
    assert found.tasks == ["sst-2", "mrpc"] and found.seeds == 3


def test_a_rival_that_is_slower_decides_nothing() -> None:
    """Of 6 layers there is no first 1.5: two are 3x, and no match for 4.1x."""
    how: dict[str, Any] = {"lost": {**RIVALS_BEHIND, TRUNCATED: -0.05}, "reached": {CASCADE: 4.1, TRUNCATED: 3.0}}
    found = decided(claims.best_average(record_of(*seeds(**how)), 4.0))
    assert [cell.name for cell in found.cells] == ["above DeeBERT on sst-2", "above PABEE on sst-2"]
    assert "BERT-kL on sst-2: not equally fast (4.1x and 3.0x)" in found.left_out
    assert "sst-2 4.10x" in found.note


def test_a_rival_without_a_row_decides_nothing() -> None:
    def slow(one: Evidence) -> Evidence:
        kept = {name: array for name, array in one.arrays.items() if not name.startswith(f"{PABEE}@4x/")}
        return replace(one, arrays=kept)

    found = decided(claims.best_average(record_of(*map(slow, seeds())), 4.0))
    assert len(found.cells) == 2
    assert "PABEE on sst-2: PABEE does not reach 4x" in found.left_out


def test_a_rival_that_did_not_learn_decides_nothing() -> None:
    collapsed = [constant(e, DEEBERT, "4x") for e in seeds()]
    found = decided(claims.best_average(record_of(*collapsed), 4.0))
    assert "DeeBERT on sst-2: DeeBERT did not learn it" in found.left_out
    assert claims.relative_to_deebert(record_of(*collapsed)) is None
    exits = [constant(e, DEEBERT, layers(DEPTH)) for e in seeds()]
    assert claims.knows_difficulty(record_of(*exits)) is None


def test_a_task_that_the_big_model_did_not_learn_decides_nothing() -> None:
    guessed = [constant(e, "baseline", "") for e in seeds("rte")]
    found = decided(claims.kept(record_of(*seeds(), *guessed)))
    assert found.tasks == ["sst-2"]
    assert found.left_out == ("rte: the big model did not learn it",)
    assert claims.kept(record_of(*guessed)) is None


def test_ratios_are_of_averages_over_the_papers_tasks() -> None:
    """CoLA is no part of the paper's average."""
    first, second = seeds(wrong=0.0, lost=behind(mine=0.05)), seeds("mrpc", wrong=0.1)
    other = seeds("cola", lost=behind(mine=0.3))
    found = decided(claims.kept(record_of(*first, *second, *other)))
    assert found.cells[0].effect.value == pytest.approx((95 + 90) / (100 + 90))
    assert found.cells[0].effect.error > 0
    relative = decided(claims.relative_to_deebert(record_of(*seeds(lost=behind(deebert=0.1)))))
    assert relative.cells[0].effect.value == pytest.approx(90 / 80 - 1)


def test_a_ratio_of_averages_varies_as_its_logarithm_does() -> None:
    """An independent oracle for the delta method: the spread of the ratio over resamples."""
    one = evidence(lost=behind(mine=0.05))
    effect = decided(claims.kept(record_of(one))).cells[0].effect
    right = [one.answers(*name) == one.labels for name in ((CASCADE, "2x"), ("baseline", ""))]
    drawn = np.random.default_rng(0).integers(N, size=(4000, N))
    spread = np.std(right[0][drawn].mean(axis=1) / right[1][drawn].mean(axis=1))
    assert effect.error == pytest.approx(spread, rel=0.05)


# -- Difficulty -------------------------------------------------------------------------------------------------------


def test_the_inversion_gap_is_that_of_ranks_that_do_not_saturate() -> None:
    """With margins of 20 to 40 float32's softmax is 1 for everyone; log-odds still order them perfectly."""
    one = evidence(exit_wrong=0.2, complete_wrong=0.2, ordered={DEEBERT: 0.5})
    answers = torch.tensor(one.answers(COMPLETE, layers(DEPTH)).astype(int))
    margin = torch.where(answers == torch.tensor(one.labels), 40.0, 20.0)
    logits = torch.nn.functional.one_hot(answers, 2) * margin[:, None]
    assert (logits.softmax(-1).amax(-1) == 1).all()
    one = replace(one, arrays={**one.arrays, rank_name(COMPLETE, DEPTH): dense_ranks(log_odds(logits))})
    found = decided(claims.knows_difficulty(record_of(one)))
    assert values(found.cells) == pytest.approx({"sst-2, 1 layer": 100 - 50})


def test_models_that_are_hardly_ever_wrong_are_not_compared() -> None:
    record = record_of(*seeds(complete_wrong=0.005), *seeds("rte"))
    found = decided(claims.knows_difficulty(record))
    assert found.tasks == ["rte"]
    assert found.left_out == ("sst-2, 1 layer: BERT-Complete has fewer than 20 right or wrong answers",)


def test_shallow_layers_are_judged_on_entailment_where_enough_leave() -> None:
    assert claims.shallow_layers_know_little(record_of(*seeds())) is None
    assert claims.shallow_layers_know_little(record_of(*seeds("rte", emitted=0.005))) is None
    unlearned = [constant(e, COMPLETE, layers(DEPTH)) for e in seeds("rte")]
    assert claims.shallow_layers_know_little(record_of(*unlearned)) is None
    found = decided(claims.shallow_layers_know_little(record_of(*seeds("rte", exit_wrong=0.15, complete_wrong=0.0))))
    assert values(found.cells) == pytest.approx({"rte": 50.0}), "half of those that left are wrong at the exit"
    beyond = decided(claims.shallow_layers_know_little(record_of(*seeds("rte", exit_wrong=0.4, complete_wrong=0.0))))
    assert values(beyond.cells) == pytest.approx({"rte": 100.0}), "who stays in does not count"


# -- A whole run ------------------------------------------------------------------------------------------------------


def test_a_run_keeps_what_every_claim_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a toy that nobody learns: so the test lets everybody count."""
    monkeypatch.setattr(claims, "learned_tasks", lambda record, *_: (by_task(record.evidence), ()))
    monkeypatch.setattr(claims, "has_learned", lambda seeds, answers: True)
    monkeypatch.setattr(claims, "ABOUT_EQUAL", 10.0)
    monkeypatch.setattr(claims, "ENOUGH", 0)
    run = small_run(tmp_path, toy_task("entailment", ("no", "yes"), lambda i: i % 2))
    run_steps(trained_steps(run), run, tmp_path / "journal")
    record = record_of(*run.evidence)
    assert [name for name, decide in claims.DECIDERS.items() if decide(record) is None] == []
    (one,) = run.evidence
    assert set(np.unique(one.exits(CASCADE, "2x"))) <= {1, 1 + one.layers}, "layers executed, not models asked"
