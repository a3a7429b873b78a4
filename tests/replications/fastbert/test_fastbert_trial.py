"""What FastBERT trains and chooses on a toy task run, against the same done by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toy_run import quiet, small_run, toy_task
from torch.nn import functional as F

from common.early_exit.runtime import collect_logits
from common.methods import find_method
from common.task_run import TaskRun
from common.training.loop import FitReport, fit
from common.training.token_states import LayerStates, TokenBatches
from replications.fastbert.contender import FastBERT
from replications.fastbert.experiments import Findings
from replications.fastbert.method import (
    Direction,
    Students,
    Teacher,
    distilling,
    distilling_with_dropout,
    kl_from_student,
    kl_from_teacher,
)
from replications.fastbert.names import DROPOUT_ON, FASTBERT, FROM_LABELS, PRINTED_DIRECTION, UNDISTILLED

CPU = torch.device("cpu")
TOY = toy_task("sentiment", ("no", "yes"), lambda i: i % 3 > 0)


@pytest.fixture(scope="module")
def task_run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    return TaskRun.of(small_run(tmp_path_factory.mktemp("run"), TOY), "sentiment", 0)


@pytest.fixture(scope="module")
def fastbert(task_run: TaskRun) -> FastBERT:
    return FastBERT(task_run)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def students_of(contender: FastBERT) -> Students:
    return Students.load(contender.folder(), contender.task_run.num_layers - 1)


# -- Stage 2 ----------------------------------------------------------------------------------------------------------


def test_stage_2_starts_from_the_pretrained_backbone_with_a_rate_of_its_own_for_the_classifier(
    task_run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from the baseline: the teacher learns from labels together with the backbone, by the baseline's plan."""
    contender, seen = FastBERT(task_run), {}
    contender.classifiers_rate = 5 * task_run.plan.learning_rate
    monkeypatch.setattr(TaskRun, "trained", lambda self, kind, *given, **more: seen.update({kind: (given, more)}))
    contender.teacher_folder()
    ((_, fresh, batches, _, plan), more) = seen["fastbert-teacher"]
    assert (plan, batches()) == (task_run.plan, task_run.batches)
    assert torch.equal(fresh().encoder.word_embeddings, task_run.backbone.encoder.word_embeddings)
    backbone, classifier = more["make_optimizer"](fresh(), plan).param_groups
    assert (backbone["lr"], classifier["lr"]) == (plan.learning_rate, contender.classifiers_rate)
    assert len(classifier["params"]) == len(list(fresh().classifier.parameters()))


def test_students_stand_on_the_trained_backbone(fastbert: FastBERT) -> None:
    run, model, teacher = fastbert.task_run, fastbert.model(), fastbert.teacher()
    assert not torch.equal(model.encoder.word_embeddings, run.backbone.encoder.word_embeddings)
    assert torch.equal(model.encoder.word_embeddings, teacher.encoder.word_embeddings)
    assert same(model.classifiers[-1], teacher.classifier)
    assert not torch.equal(model.encoder.word_embeddings, run.classifier().encoder.word_embeddings)


# -- Stage 3 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "direction"), [(FASTBERT, kl_from_teacher), (PRINTED_DIRECTION, kl_from_student)])
def test_the_default_direction_is_the_official_codes(
    task_run: TaskRun, tmp_path: Path, variant: str, direction: Direction
) -> None:
    """FastBERT learns KL(p_t || p_s), as the code does it; the other way round, as printed, is the variant."""
    contender = FastBERT(task_run, variant)
    teacher, plan = contender.teacher(), contender.stage3
    states = LayerStates(teacher.encoder, task_run.encoded.train, CPU)
    log_p = F.log_softmax(states.at(task_run.num_layers).answers(teacher.classifier, CPU), dim=-1)
    fresh = Students.fresh(teacher.encoder, 2, task_run.seed)
    for layer, (mine, found) in enumerate(zip(fresh, students_of(contender), strict=True), 1):
        batches = TokenBatches(states.at(layer), log_p, plan.batch_size, plan.seed)
        fit(mine, batches, distilling(direction), plan, checkpoint=tmp_path / "none", progress=quiet)
        assert same(mine, found)


def test_with_dropout_on_students_learn_together_by_the_same_plan(task_run: TaskRun, tmp_path: Path) -> None:
    contender = FastBERT(task_run, DROPOUT_ON)
    contender.stage3 = replace(contender.stage3, batch_size=task_run.plan.batch_size // 2)
    students = Students.fresh(task_run.backbone.encoder, 2, task_run.seed)
    loss, plan = distilling_with_dropout(contender.teacher()), contender.stage3
    batches = replace(task_run.batches, batch_size=plan.batch_size)
    fit(students, batches, loss, plan, checkpoint=tmp_path / "none", progress=quiet)
    assert same(students, students_of(contender))
    assert not same(students, students_of(FastBERT(task_run)))


def test_before_self_distillation_stand_the_students_that_it_starts_from(task_run: TaskRun) -> None:
    untaught, model = FastBERT(task_run, UNDISTILLED), FastBERT(task_run, UNDISTILLED).model()
    assert same(students_of(untaught), Students.fresh(task_run.backbone.encoder, 2, task_run.seed))
    assert same(model.classifiers[-1], untaught.teacher().classifier)


def test_variants_share_the_teacher_but_for_labels(task_run: TaskRun) -> None:
    ours, printed, labels = (FastBERT(task_run, name).model() for name in (FASTBERT, PRINTED_DIRECTION, FROM_LABELS))
    assert same(ours.classifiers[-1], printed.classifiers[-1])
    assert not same(ours.classifiers[0], printed.classifiers[0])
    assert not same(ours.classifiers[-1], labels.classifiers[-1]), "its backbone is its own"
    assert not torch.equal(ours.encoder.word_embeddings, labels.encoder.word_embeddings)


def test_a_student_that_is_done_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contender = FastBERT(TaskRun.of(small_run(tmp_path, TOY), "sentiment", 0))
    contender.teacher_folder()
    calls: list[object] = []

    def failing(student: Any, *arguments: Any, **more: Any) -> FitReport:
        calls.append(student)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(student, *arguments, **more)

    monkeypatch.setattr("common.task_run.fit", failing)
    with pytest.raises(KeyboardInterrupt):
        contender.folder()
    contender.folder()
    assert len(calls) == 1 + 1 + (contender.task_run.num_layers - 2), "the first student was kept"


# -- Use --------------------------------------------------------------------------------------------------------------


def test_logits_are_those_of_their_split(fastbert: FastBERT) -> None:
    model, run = fastbert.model(), fastbert.task_run
    for name in ("tune", "dev", "test"):
        split = run.splits[name]
        torch.testing.assert_close(fastbert.exits(name), collect_logits(model, split.by_length(64), len(split), CPU))
    assert not torch.allclose(fastbert.exits("tune"), fastbert.exits("dev")), "the toy must tell them apart"


def test_speeds_are_chosen_on_tune_and_only_the_dev_tuned_ones_on_dev(task_run: TaskRun) -> None:
    """Rigged: on tune everyone is nearly sure at layer 1, on dev nearly uniform; the Speeds chosen differ."""
    findings = Findings(task_run)
    noise = {name: torch.randn(len(split), 4, 1) for name, split in task_run.splits.items()}
    shifted = {name: 3 + z if name == "tune" else z / 10 for name, z in noise.items()}
    findings.fastbert._exits = {name: torch.cat([z, torch.zeros_like(z)], dim=-1) for name, z in shifted.items()}
    chosen = {system.setting: system for system in (*findings.table.systems, *findings.equal)}
    for setting in ("2x", "2x (dev-tuned)", "as fast as 2L"):
        system, on_dev = chosen[setting], "dev-tuned" in setting
        assert (system.at > 0.8) == on_dev
    for setting, split in (("2x", "tune"), ("2x (dev-tuned)", "dev")):
        assert chosen[setting].outcome(split).layer_saving(4) == pytest.approx(0.5, abs=0.03)


def test_speeds_cover_0_to_1(fastbert: FastBERT) -> None:
    assert (fastbert.grid[0], fastbert.grid[-1]) == (0.0, 1.0)
    assert all(0 <= speed <= 1 for speed in fastbert.grid)
    assert len(fastbert.grid) > 100


def test_others_find_it_by_name(task_run: TaskRun) -> None:
    found = find_method("fastbert").on(task_run)
    assert isinstance(found, FastBERT)
    assert found.name == FASTBERT, "and get the one that learns as the official code has it"
    assert isinstance(found.teacher(), Teacher)
