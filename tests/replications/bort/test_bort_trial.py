"""Bort pre-trains, searches and fine-tunes on a toy task run, and what the run keeps for its claims."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_evidence import decided, record_of
from kit.toy_run import picked, run_steps, small_run, toy_task

from common.costs.estimates import TRAINING_FLOPS_PER_SECOND, training_seconds
from common.costs.flops import EncoderShape, encoder_flops, linear_flops
from common.early_exit.systems import Scored
from common.errors import UserError
from common.methods import ONLY, find_method
from common.records.claims import Check
from common.records.measurements import Measurement
from common.records.predictions import Evidence
from common.run.replication import Run
from common.task_run import TaskRun
from common.training.decay import adamw_sparing_norms
from replications.bort import finetuning, student
from replications.bort import settings as settings_module
from replications.bort.agora import Theta
from replications.bort.claims import DECIDERS
from replications.bort.distillation import (
    CrossEntropy,
    distillation_loss,
    released_cross_entropy,
    teacher_cross_entropy,
)
from replications.bort.experiments import trained_steps
from replications.bort.finetuning import FineTuning
from replications.bort.method import BORT
from replications.bort.names import (
    AGORA,
    DISTILLED,
    ONCE,
    PLAIN,
    PRETRAINING_EVIDENCE,
    RELEASED_LOSS,
    SEARCH_EVIDENCE,
    SELF_SUPERVISED,
)
from replications.bort.settings import SETTINGS, Sweep
from replications.bort.student import Pretraining

TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)

SMOKE = SETTINGS["smoke"]
TOY_SETTINGS = replace(
    SMOKE,
    words=2_500,
    search=replace(SMOKE.search, sweeps=(Sweep(150, (1, 3)),), held_back=4),
    fine_tuning=replace(SMOKE.fine_tuning, epochs=1),
    thetas=(Theta(2e-3, 0.0, 0.1, 32, 0), Theta(1e-3, 1.0, 0.2, 16, 1)),
)


@pytest.fixture(scope="module", autouse=True)
def toy_settings() -> Iterator[None]:
    """Less of everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings_module, "SETTINGS", {"smoke": TOY_SETTINGS})
        patch.setattr(student, "SETTINGS", {"smoke": TOY_SETTINGS})
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("run"), TOY)


@pytest.fixture(scope="module")
def tuning(run: Run) -> FineTuning:
    return FineTuning(TaskRun.of(run, "toy", 0))


@pytest.fixture(scope="module")
def measured(run: Run) -> tuple[list[Measurement], list[Evidence]]:
    """Every step on the toy."""
    kept: list[Evidence] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run), "keep", lambda self, evidence: kept.append(evidence))
        return run_steps(trained_steps(run), run, run.scratch), kept


# -- Pre-training ------------------------------------------------------------------------------------------------------


def test_both_arms_start_from_one_draw_and_see_the_same_batches(run: Run) -> None:
    pretraining = Pretraining.of(run)
    one, other = (pretraining.fresh(pretraining.architecture, 0, from_counts=True) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    first, again = (next(pretraining.batches(0).epoch(0)) for _ in range(2))
    assert torch.equal(first.input_ids, again.input_ids) and torch.equal(first.places, again.places)
    assert not torch.equal(next(pretraining.batches(1).epoch(0)).input_ids, first.input_ids)


def test_arms_differ_in_their_loss_alone(run: Run) -> None:
    pretraining = Pretraining.of(run)
    tables = {arm: pretraining.model(arm, 0).table for arm in (DISTILLED, SELF_SUPERVISED, RELEASED_LOSS)}
    assert not torch.equal(tables[DISTILLED], tables[SELF_SUPERVISED])
    assert not torch.equal(tables[DISTILLED], tables[RELEASED_LOSS])
    batch = next(pretraining.batches(0).epoch(0))
    model = pretraining.fresh(pretraining.architecture, 0).eval()
    alone = pretraining._loss(SELF_SUPERVISED)(model, batch)
    torch.testing.assert_close(alone, torch.nn.functional.cross_entropy(model(batch), batch.targets))


def test_the_loss_as_released_is_for_the_first_seed_where_the_scale_spares(tmp_path: Path) -> None:
    pretraining = Pretraining.of(small_run(tmp_path, TOY, seeds=(0, 1)))
    assert pretraining.arms(0) == (DISTILLED, SELF_SUPERVISED, RELEASED_LOSS)
    assert pretraining.arms(1) == (DISTILLED, SELF_SUPERVISED)


def test_the_student_has_borts_depth_and_heads_at_the_scales_widths(run: Run) -> None:
    encoder = Pretraining.of(run).model(DISTILLED, 0).encoder
    assert (encoder.num_layers, encoder.config.num_attention_heads) == (4, 8)
    assert (encoder.hidden_size, encoder.config.intermediate_size) == (64, 48)


def test_without_plain_text_a_run_is_refused_and_a_contender_reads_the_tasks_own_texts(
    tmp_path: Path, run: Run
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    bare = replace(run, data="files", data_dir=data)
    with pytest.raises(UserError, match="no plain text to pre-train on in"):
        Pretraining.of(bare)
    pretraining = Pretraining.beside(TaskRun.of(bare, "toy", 0))
    assert pretraining.corpus is not None and pretraining.corpus.name == "train of toy"
    assert sum(1 for _ in pretraining.corpus.documents()) == len(TOY.train)
    assert "there is no plain text" in pretraining.steps(0, (DISTILLED,))[0].name
    (data / "corpus").mkdir()
    (data / "corpus" / "train.txt").write_text("One sentence. Another one.\n")
    assert Pretraining.beside(TaskRun.of(bare, "toy", 0)).corpus is None


@dataclass
class Handed:
    """What a training is handed: stands in for what trains and keeps models."""

    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *positional: object, **named: object) -> Path:
        self.positional, self.named = positional, named
        return Path()


def pretrained(pretraining: Pretraining, arm: str, monkeypatch: pytest.MonkeyPatch) -> Handed:
    """What the pre-training of an arm is handed."""
    handed = Handed()
    assert pretraining.teacher_model, "made before nothing is trained any more"
    with monkeypatch.context() as patch:
        patch.setattr(student.Pretrainer, "trained", handed)
        pretraining.folder(arm, 0)
    return handed


@pytest.mark.parametrize("arm", [DISTILLED, SELF_SUPERVISED, RELEASED_LOSS])
def test_pre_training_decays_neither_biases_nor_norms(run: Run, arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Card, 2.B: weight decay 0.01, not on layer norms and biases."""
    handed = pretrained(Pretraining.of(run), arm, monkeypatch)
    assert handed.named["make_optimizer"] is adamw_sparing_norms
    assert handed.positional[1]["not decayed"] == "biases and norms", "what was trained otherwise is not taken for it"


@pytest.mark.parametrize(("arm", "term"), [(DISTILLED, teacher_cross_entropy), (RELEASED_LOSS, released_cross_entropy)])
def test_the_loss_that_was_meant_and_the_one_as_released_are_not_swapped(
    run: Run, arm: str, term: CrossEntropy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap of the double softmax, where both losses are handed to the arms."""
    pretraining = Pretraining.of(run)
    handed = pretrained(pretraining, arm, monkeypatch)
    expected = distillation_loss(pretraining.teacher_model, term)
    model, batch = pretraining.fresh(pretraining.architecture, 0).eval(), next(pretraining.batches(0).epoch(0))
    torch.testing.assert_close(handed.positional[4](model, batch), expected(model, batch), rtol=0, atol=0)


def test_a_distilled_step_works_for_its_teacher_too_and_every_step_for_the_vocabulary(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretraining, works = Pretraining.of(run), {}
    for arm in (SELF_SUPERVISED, DISTILLED, RELEASED_LOSS):
        work = pretrained(pretraining, arm, monkeypatch).positional[6]
        works[arm] = work.flops_per_token
        assert work.shape.hidden == 64, "the student's"
    teacher = EncoderShape.from_config(pretraining.source.encoder.config)
    asked = encoder_flops(teacher, 32) / 32 + 0.15 * (
        linear_flops(teacher.hidden, teacher.hidden) + linear_flops(teacher.hidden, teacher.vocabulary)
    )
    assert works[DISTILLED] == works[RELEASED_LOSS] == pytest.approx(works[SELF_SUPERVISED] + asked)
    vocabulary = linear_flops(64, teacher.vocabulary)
    own = EncoderShape.from_config(BORT.shrunk(16).shape().config())
    expected = 3 * (encoder_flops(own, 32) / 32 + 0.15 * (linear_flops(64, 64) + vocabulary))
    assert works[SELF_SUPERVISED] == pytest.approx(expected)


def test_the_plan_of_pre_training_is_by_the_same_work(run: Run) -> None:
    pretraining = Pretraining.of(run)
    teacher, *arms = pretraining.steps(0, (DISTILLED, SELF_SUPERVISED))
    assert teacher.seconds > 2
    assert [step.seconds for step in arms] == [pretraining.seconds(arm) for arm in (DISTILLED, SELF_SUPERVISED)]
    tokens = student.WORDS_TO_TOKENS * TOY_SETTINGS.words
    more = tokens * (pretraining.flops_per_token(DISTILLED) - pretraining.flops_per_token(SELF_SUPERVISED))
    assert arms[0].seconds - arms[1].seconds == pytest.approx(more / TRAINING_FLOPS_PER_SECOND)


# -- Fine-tuning -------------------------------------------------------------------------------------------------------


def test_the_plan_of_fine_tuning_counts_layers_and_steps(tuning: FineTuning, monkeypatch: pytest.MonkeyPatch) -> None:
    size, tokens = len(TOY.train), tuning.task_run.tokens(TOY.train)
    layers = training_seconds(BORT.shrunk(16).parameters, tokens)
    steps = (size / 32 + size / 16) / 2
    assert tuning.training_seconds == pytest.approx(1 + layers + finetuning.STEP_SECONDS * steps)
    wider = FineTuning(tuning.task_run)
    wider.settings = replace(wider.settings, shrink=1)
    monkeypatch.setattr(wider, "pretraining", replace(wider.pretraining, settings=wider.settings))
    whole = training_seconds(BORT.parameters, tokens)
    assert wider.training_seconds - tuning.training_seconds == pytest.approx(whole - layers)


def test_fine_tuning_decays_neither_biases_nor_norms(tuning: FineTuning, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decay of 10 would leave next to nothing of a norm's scale."""
    handed = Handed()
    monkeypatch.setattr(tuning.task_run, "trained", handed)
    tuning.train((), TOY_SETTINGS.thetas[1])
    assert handed.named["make_optimizer"] is adamw_sparing_norms
    assert handed.positional[1]["not decayed"] == "biases and norms"


def test_agora_learns_from_the_part_held_back_and_the_baseline_labels(
    tuning: FineTuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, rounds = tuning.task_run.task, tuning.outcome.rounds
    assert rounds[0].wrong == round((1 - rounds[0].accuracies[rounds[0].best]) * len(task.tune))
    asked: list[object] = []
    monkeypatch.setattr(finetuning, "agora", lambda *arguments: asked.extend(arguments))
    assert FineTuning(tuning.task_run).outcome is None
    _, thetas, dev, tau, label = asked
    assert (thetas, dev) == (tuning.settings.thetas, task.tune)
    assert label(task.tune).tolist() == tuning.task_run.static_logits()["tune"].argmax(-1).tolist()  # type: ignore[operator]
    assert tau(task.tune) != tau(task.tune), "another draw in every round"  # type: ignore[operator]


def test_plain_fine_tuning_sees_as_many_examples_as_agora(tuning: FineTuning) -> None:
    ways = {picked.name: picked for picked in tuning.picked}
    size, thetas = len(tuning.task_run.task.train), len(tuning.settings.thetas)
    a_pass = size * thetas
    assert ways[ONCE].examples_seen == a_pass
    assert ways[AGORA].examples_seen > a_pass
    assert abs(ways[PLAIN].examples_seen - ways[AGORA].examples_seen) <= a_pass / 2
    assert ways[ONCE].folder == tuning.outcome.rounds[0].model, "the same trainings"
    assert ways[AGORA].accuracy == max(max(r.accuracies) for r in tuning.outcome.rounds)


def test_what_is_chosen_is_chosen_on_e(tuning: FineTuning) -> None:
    once, e = tuning.once(), tuning.task_run.task.tune
    folders = [tuning.trained((), tuning.plan(theta)) for theta in tuning.settings.thetas]
    truth = np.array([x.label for x in e])
    scores = [float((tuning.answers(folder, e) == truth).mean()) for folder in folders]
    assert once.accuracy == max(scores) and once.folder == folders[int(np.argmax(scores))]


def test_seeds_of_thetas_and_of_runs_do_not_meet(run: Run) -> None:
    seeds = {FineTuning(TaskRun.of(run, "toy", s)).plan(t).seed for s in range(3) for t in TOY_SETTINGS.thetas}
    assert len(seeds) == 3 * len(TOY_SETTINGS.thetas)


def test_a_regression_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path, toy_task("degrees", (), lambda i: i / 3, "spearman"))
    with pytest.raises(UserError, match="degrees is a regression. Drop it from TASKS"):
        trained_steps(run)


def test_others_find_it_by_name_and_it_answers_with_its_own_layers(run: Run, tuning: FineTuning) -> None:
    contender = find_method("bort").on(TaskRun.of(run, "toy", 0))
    outcome = contender.outcome("dev", ONLY)
    expected = tuning.logits(tuning.once().folder, tuning.task_run.splits["dev"])
    torch.testing.assert_close(outcome.logits, expected)
    assert not outcome.exit_layer.any()
    answered = contender.answer(ONLY)(tuning.task_run.task.dev[:5])
    torch.testing.assert_close(answered, expected[:5], rtol=1e-4, atol=1e-5)
    assert contender.flops("dev", ONLY).shape == (len(expected),)


# -- The run -----------------------------------------------------------------------------------------------------------


def test_every_table_has_its_rows(measured: tuple[list[Measurement], list[Evidence]], tuning: FineTuning) -> None:
    rows, _ = measured
    right = picked(rows, experiment="pretraining", metric="masked_accuracy")
    assert [m.system for m in right] == [DISTILLED, SELF_SUPERVISED, RELEASED_LOSS, "teacher", "word counts"]
    assert {m.setting for m in picked(rows, experiment="search", metric="rank")} >= {
        "n=3, eps=150 and Bort, T: RoBERTa-large",
        "n=1, eps=150 and Bort, T: RoBERTa-large",
        "n=3, eps=150 and Bort, T: largest candidate",
    }
    assert len(picked(rows, experiment="search-candidates")) == 3
    scores = {m.system: m.value for m in picked(rows, experiment="agora", metric="score")}
    assert set(scores) == {"baseline", AGORA, PLAIN, ONCE, "constant answer"}
    answers = tuning.classes(tuning.logits(tuning.once().folder, tuning.task_run.splits["dev"]))
    assert scores[ONCE] == pytest.approx(Scored(tuning.task_run).points(answers))


def test_claims_read_what_a_run_keeps(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    _, kept = measured
    assert {e.task for e in kept} == {"toy", SEARCH_EVIDENCE, PRETRAINING_EVIDENCE}
    learned = [
        Evidence(e.task, e.seed, e.metric, e.classes, e.layers, {**e.arrays, f"{ONCE}/answers": e.labels})
        if e.metric
        else e
        for e in kept
    ]
    record = record_of(*learned)
    for claim in ("bort-fptas-winner", "bort-distilled-pretraining", "agora-bound", "agora-not-below-once"):
        assert len(decided(DECIDERS[claim](record)).cells) == 1
    check = DECIDERS["fptas-bound"](record)
    assert isinstance(check, Check) and check.holds
