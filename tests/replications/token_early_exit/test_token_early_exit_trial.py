"""What is trained, chosen, measured and kept on a toy task."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.toy_evidence import all_right, record_of
from kit.toy_run import picked, run_steps
from kit.toy_tagging import tagging_run, toy_tagging

from common.records.invariants import violations
from common.records.measurements import Measurement
from common.records.predictions import Evidence, static_name
from common.records.tagging import flops_name, sentence_counts
from common.tagging_run import TaggingRun
from common.training.loop import TrainingPlan
from replications.token_early_exit.claims import DECIDERS
from replications.token_early_exit.contender import (
    HEAD_RATE,
    SETTINGS,
    CopiedAfterNorm,
    ExitedSilent,
    Sentee,
    StageOneAlone,
    Tokee,
    trained_in_two,
)
from replications.token_early_exit.experiments import trained_steps
from replications.token_early_exit.method import AFTER_NORM as COPY_AFTER_NORM
from replications.token_early_exit.method import BEFORE_NORM, SentenceBelow, TokenExits, WindowBelow, joint_loss
from replications.token_early_exit.names import (
    AFTER_NORM,
    EXITED_SILENT,
    FULL_DEPTH,
    SENTEE,
    SPEEDS,
    STAGE_ONE,
    TOKEE,
    speed_name,
)
from replications.token_early_exit.systems import depth_at, points_at_speeds


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TaggingRun:
    return TaggingRun.of(tagging_run(tmp_path_factory.mktemp("run"), toy_tagging()), "toy", 0)


# -- Training ---------------------------------------------------------------------------------------------------------


def test_stage_two_begins_where_stage_one_ended(run: TaggingRun) -> None:
    first, second = Sentee(run), Tokee(run)
    assert first.folder() != second.folder()
    assert StageOneAlone(run).folder() == first.folder()
    assert ExitedSilent(run).folder() == second.folder()
    a, b = first.model(), second.model()
    assert not torch.equal(a.heads[0].classifier.weight, b.heads[0].classifier.weight)
    moved = (a.heads[0].classifier.weight - b.heads[0].classifier.weight).abs().mean()
    assert moved < a.heads[0].classifier.weight.abs().mean(), "stage 2 starts from stage 1"


def test_classifiers_can_begin_alone_on_a_frozen_encoder(run: TaggingRun) -> None:
    fresh = lambda: TokenExits.fresh(run.backbone.encoder, run.tags, 0)  # noqa: E731
    plan = run.plan
    folder = trained_in_two(run, "two", {}, fresh, lambda: run.batches, joint_loss, plan, frozen_epochs=1)
    alone = next(run.run.store.root.glob("objects/*/heads.safetensors"), None)
    assert alone is not None
    begun = [path for path in _folders(run) if "two-heads" in path.read_text()]
    assert len(begun) == 1
    heads = TokenExits.load(begun[0].parent)
    word = run.backbone.encoder.word_embeddings
    assert torch.equal(heads.encoder.word_embeddings, word)
    assert not torch.equal(TokenExits.load(folder).encoder.word_embeddings, word)


def _folders(run: TaggingRun) -> list[Path]:
    return list(run.run.store.root.glob("objects/*/manifest.json"))


@pytest.mark.parametrize("scale", ["smoke", "mini", "base"])
def test_below_the_papers_scale_stage_one_follows_the_baselines_epochs_on_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: str
) -> None:
    """UD at base has fewer than the others; a stage 1 that had more would be trained on other terms."""
    recipe = replace(SETTINGS["smoke"].recipe, epochs={"toy": 2})
    sentee = Sentee(TaggingRun.of(tagging_run(tmp_path, toy_tagging()), "toy", 3, recipe))
    sentee.settings = SETTINGS[scale]
    trained: list[TrainingPlan] = []
    monkeypatch.setattr(f"{Sentee.__module__}.trained_in_two", lambda *given: trained.append(given[6]) or tmp_path)
    sentee.folder()
    assert trained == [sentee.tagging_run.plan]
    assert (trained[0].epochs, trained[0].seed) == (2, 3)


# -- The official settings --------------------------------------------------------------------------------------------


def test_tokee_copies_before_the_norm_as_the_readme_sets_it(run: TaggingRun) -> None:
    """keep_norm_same=1: the published numbers were made so; the prose's copy is a variant with a stage 2 of its own."""
    tokee, variant = Tokee(run), CopiedAfterNorm(run)
    assert tokee.model().copy == BEFORE_NORM
    assert variant.model().copy == COPY_AFTER_NORM
    assert variant.folder() != tokee.folder()


def test_exited_words_count_in_tokees_windows(run: TaggingRun) -> None:
    """The line that should silence them has no effect in the official code; silent ones are a variant."""
    assert Tokee(run).rule(5, 0.1).exited_count
    assert StageOneAlone(run).rule(5, 0.1).exited_count
    assert not ExitedSilent(run).rule(5, 0.1).exited_count


def test_classifiers_learn_at_ten_times_the_encoders_rate() -> None:
    assert HEAD_RATE == 10
    stages = SETTINGS["paper"]
    assert stages.stage_one is not None
    rates = [HEAD_RATE * plan.learning_rate for plan in (stages.stage_one.plan, stages.stage_two.plan)]
    assert rates == pytest.approx([5e-5, 1e-4]), "the README's flags"


# -- What they answer -------------------------------------------------------------------------------------------------


def test_sentee_is_simulated_and_tokee_is_run(run: TaggingRun) -> None:
    sentee = Sentee(run)
    outcome = sentee.outcome("dev", SentenceBelow(0.0))
    assert (outcome.exits == 4).all()
    assert np.array_equal(outcome.answers, sentee.exits["dev"][:, -1].argmax(-1).numpy())
    assert (outcome.active == np.array(run.splits["dev"].lengths)[:, None]).all()
    full = StageOneAlone(run).outcome("dev", WindowBelow(1, 0.0))
    assert np.array_equal(full.answers, outcome.answers), "the same model at full depth"


def test_speed_is_a_ratio_of_summed_flops(run: TaggingRun) -> None:
    sentee = Sentee(run)
    rule = SentenceBelow(1.1)
    spent = sentee.flops("dev", rule)
    assert sentee.speed("dev", rule) == pytest.approx(run.static_flops("dev").sum() / spent.sum())
    assert sentee.speed("dev", rule) == pytest.approx(4, rel=0.02), "everyone leaves at layer 1 of 4"
    assert sentee.speed("dev", SentenceBelow(0.0)) < 1, "four classifiers for one"


def test_thresholds_are_chosen_on_tune(run: TaggingRun) -> None:
    for contender in (Sentee(run), Tokee(run)):
        for system, speed in zip(points_at_speeds(contender), SPEEDS, strict=True):
            assert system.setting == speed_name(speed)
            off = abs(np.log(system.speed("tune") / speed))
            tries = [
                contender.rule(system.rule.window if isinstance(system.rule, WindowBelow) else 1, d)
                for d in (0.01, 0.3, 1.0)
            ]
            assert off <= min(abs(np.log(contender.speed("tune", rule) / speed)) for rule in tries) + 0.02


def test_only_tune_is_asked_for_a_threshold(run: TaggingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for contender in (Sentee(run), Tokee(run)):
        monkeypatch.setattr(contender, "speed", lambda split, rule: asked.append(split) or 1.5)
        contender.threshold_at_speed(2, lambda d, contender=contender: contender.rule(5, d))
    assert set(asked) == {"tune"}


def test_points_at_speeds_ask_tune_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a fresh store, where nothing chosen earlier is found: dev is for the reported score."""
    fresh = TaggingRun.of(tagging_run(tmp_path, toy_tagging()), "toy", 0)
    for contender in (Sentee(fresh), Tokee(fresh)):
        asked: list[str] = []
        monkeypatch.setattr(contender, "folder", lambda: tmp_path)
        monkeypatch.setattr(contender, "flops", lambda split, rule, asked=asked: asked.append(split) or np.ones(1))
        points_at_speeds(contender)
        assert set(asked) == {"tune"}


def test_a_static_model_has_a_whole_number_of_layers() -> None:
    assert [depth_at(s, 12) for s in SPEEDS] == [6, 4, 3]
    assert [depth_at(s, 6) for s in SPEEDS] == [3, 2, None]


# -- The run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Measurement], list[Evidence]]:
    """Every step on the toy, and what is kept."""
    kept: list[Evidence] = []
    folder = tmp_path_factory.mktemp("whole")
    whole = tagging_run(folder, toy_tagging())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(whole), "keep", lambda self, evidence: kept.append(evidence))
        return run_steps(trained_steps(whole), whole, folder), kept


def test_every_table_and_figure_has_its_rows(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    rows, _ = measured
    main = picked(rows, experiment="main-results", metric="flops_speedup")
    for name in (SENTEE, TOKEE):
        assert [m.setting for m in main if m.system == name] == ["2x", "3x", "4x"]
    assert {static_name(k) for k in (1, 2, 3)} < {m.system for m in main}
    assert {m.system for m in picked(rows, experiment="stage-two")} == {TOKEE, STAGE_ONE, AFTER_NORM, EXITED_SILENT}
    for experiment, systems in (("curves", {SENTEE, TOKEE, "static ladder"}), ("layers", {SENTEE})):
        assert {m.system for m in picked(rows, experiment=experiment)} == systems
    assert {m.setting for m in picked(rows, experiment="kinds")} == {"LOC", "O", "PER"}
    assert {m.setting for m in picked(rows, experiment="difficulty")} == {"level 1", "level 2"}
    assert picked(rows, experiment="main-results", metric="throughput_ratio", system=TOKEE)


def test_the_record_holds_what_its_tables_show(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    """Scores are remade from stored answers alone, and break no rule of stored records."""
    rows, (kept,) = measured
    for m in picked(rows, metric="score", experiment="main-results") + picked(
        rows, metric="score", experiment="stage-two"
    ):
        if m.system != "constant answer" and (m.system, m.setting) != (STAGE_ONE, FULL_DEPTH):
            assert sentence_counts(kept, kept.answers(m.system, m.setting)).points == pytest.approx(m.value)
    last = picked(rows, metric="score", system=STAGE_ONE, setting=FULL_DEPTH)[0].value
    assert sentence_counts(kept, kept.answers(SENTEE, FULL_DEPTH)).points == pytest.approx(last)
    strict = picked(rows, metric="score_strict", system=TOKEE, setting="2x")[0].value
    assert sentence_counts(kept, kept.answers(TOKEE, "2x"), strict=True).points == pytest.approx(strict)
    assert flops_name(TOKEE, "3x") in kept and f"{TOKEE}@3x/seconds" in kept
    assert violations(record_of(kept, measurements=rows)) == []


def test_claims_read_what_a_run_keeps(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    _, kept = measured
    record = record_of(*(all_right(e) for e in kept))
    found = {claim: decide(record) for claim, decide in DECIDERS.items()}
    assert found["token-saves-66-75"] is not None
    for decide in DECIDERS.values():
        decide(record)


def test_the_copy_after_the_norm_is_trained_for_the_first_seed_alone_where_a_scale_spares(tmp_path: Path) -> None:
    names = [step.name for step in trained_steps(tagging_run(tmp_path, toy_tagging(), seeds=(0, 1)))]
    stage_two = [name for name in names if "self-sampling" in name]
    assert stage_two == [
        "toy seed 0: TOKEE, stage 2, self-sampling",
        "toy seed 0: TOKEE, copied after the norm, stage 2, self-sampling",
        "toy seed 1: TOKEE, stage 2, self-sampling",
    ]
