"""Self-distillation on features computed once: the same as training all students together, label-free, resumable."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toy_run import quiet
from kit.toy_splits import split_of
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.training.batches import BucketedBatches, EncodedSplit
from common.training.classifier import classifier_logits
from common.training.loop import FitReport, TrainingPlan, fit, fused_adamw
from replications.fastbert import distil
from replications.fastbert.distil import BackboneStates, Distillation, FeatureBatches, teacher_answers
from replications.fastbert.method import (
    Direction,
    ExitClassifier,
    FastBERT,
    Teacher,
    fresh_students,
    kl_from_student,
    kl_from_teacher,
    student_file,
)

CPU = torch.device("cpu")
PLAN = TrainingPlan(2e-3, epochs=3, batch_size=8, seed=5, warmup=0.1, max_gradient_norm=None)


@pytest.fixture(scope="module")
def encoder() -> LayeredEncoder:
    return random_encoder("tiny", seed=0).eval()


@pytest.fixture(scope="module")
def split() -> EncodedSplit:
    return split_of(36, classes=3)


@pytest.fixture
def in_double() -> Iterator[None]:
    """The gradient of a key's bias is 0 but for rounding, and Adam makes steps of any gradient above its epsilon."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def teacher(encoder: LayeredEncoder) -> Teacher:
    return teacher_on(encoder)


def teacher_on(encoder: LayeredEncoder) -> Teacher:
    teacher = Teacher.fresh(encoder, 3, seed=0).eval()
    nn.init.normal_(teacher.classifier.classify.weight)
    return teacher


def students(encoder: LayeredEncoder, dropout: float) -> list[ExitClassifier]:
    fresh = fresh_students(encoder, 3, seed=7)
    for student in fresh:
        student.dropout = dropout
    return fresh


def one_by_one(direction: Direction, teacher: Teacher, split: EncodedSplit, folder: Path) -> list[ExitClassifier]:
    learned = students(teacher.encoder, dropout=0.0)
    Distillation(direction, PLAN, CPU, quiet).run(teacher, split, learned, folder)
    return learned


def together(direction: Direction, teacher: Teacher, split: EncodedSplit) -> FastBERT:
    """The textbook loop: every batch through the backbone, the sum of all students' losses, one optimiser."""
    model = FastBERT(copy.deepcopy(teacher), students(teacher.encoder, dropout=0.0))
    model.requires_grad_(False).students.requires_grad_(True)
    optimizer = fused_adamw(model, PLAN)
    batches = BucketedBatches(split, PLAN.batch_size, PLAN.seed)
    total = PLAN.epochs * len(batches)
    rising, step = int(PLAN.warmup * total), 0
    for epoch in range(PLAN.epochs):
        for batch in batches.epoch(epoch):
            rate = step / rising if step < rising else (total - step) / (total - rising)
            optimizer.param_groups[0]["lr"] = PLAN.learning_rate * rate
            logits = model(batch)
            teacher_log_p = F.log_softmax(logits[:, -1], dim=-1)
            loss = sum(direction(student, teacher_log_p) for student in logits[:, :-1].unbind(1))
            assert isinstance(loss, Tensor)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return model


@pytest.mark.parametrize("direction", [kl_from_teacher, kl_from_student])
def test_one_by_one_is_the_same_as_together(
    direction: Direction, in_double: None, encoder: LayeredEncoder, split: EncodedSplit, tmp_path: Path
) -> None:
    teacher = teacher_on(copy.deepcopy(encoder).double())
    separate, joint = one_by_one(direction, teacher, split, tmp_path), together(direction, teacher, split)
    start = students(teacher.encoder, dropout=0.0)
    for mine, other, fresh in zip(separate, joint.students, start, strict=True):
        for name, value in mine.named_parameters():
            torch.testing.assert_close(value, other.get_parameter(name), rtol=0, atol=1e-8)
        assert (mine.classify.weight - fresh.classify.weight).abs().max() > 1e-3, "nothing was learned"


def test_states_advance_to_the_backbones_own_hidden_states(teacher: Teacher, split: EncodedSplit) -> None:
    batch = split.batch(range(len(split)))
    with torch.inference_mode():
        expected = teacher.encoder.hidden_states(batch.input_ids, batch.attention_mask)
    found = list(BackboneStates(teacher.encoder, split, CPU))
    assert len(found) == teacher.encoder.num_layers
    for layer, states in enumerate(found, 1):
        hidden, present = states.padded(range(len(split)))
        assert torch.equal(present, batch.attention_mask.bool())
        torch.testing.assert_close(hidden[present], expected[layer][present], rtol=1e-4, atol=1e-5)


def test_the_teachers_answers_are_those_to_the_texts(teacher: Teacher, split: EncodedSplit) -> None:
    *_, last = BackboneStates(teacher.encoder, split, CPU)
    expected = F.log_softmax(classifier_logits(teacher, split, CPU), dim=-1)
    torch.testing.assert_close(teacher_answers(teacher.classifier, last, CPU), expected, rtol=0, atol=1e-5)


def test_with_little_memory_the_backbone_passes_twice_and_students_learn_the_same(
    teacher: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    passes: list[int] = []
    embed = teacher.encoder.embed
    needed = BackboneStates(teacher.encoder, split, CPU).bytes
    assert needed == sum(s.states.nbytes for s in BackboneStates(teacher.encoder, split, CPU))
    teacher.encoder.embed = lambda *given: (passes.append(len(given[0])), embed(*given))[1]  # type: ignore[method-assign]
    roomy, tight = (students(teacher.encoder, dropout=0.0) for _ in range(2))
    for learned, memory in ((roomy, needed), (tight, needed - 1)):
        Distillation(kl_from_teacher, PLAN, CPU, quiet, memory).run(teacher, split, learned, tmp_path / str(memory))
    assert sum(passes) == (1 + 2) * len(split)
    for mine, theirs in zip(roomy, tight, strict=True):
        assert torch.equal(mine.dense.weight, theirs.dense.weight)


def test_labels_are_not_used(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    unlabelled = EncodedSplit(split.input_ids, None, torch.zeros(len(split), dtype=torch.long), 0)
    one = one_by_one(kl_from_teacher, teacher, split, tmp_path / "a")
    other = one_by_one(kl_from_teacher, teacher, unlabelled, tmp_path / "b")
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine.classify.weight, theirs.classify.weight)


def test_the_backbone_and_the_teacher_stay_as_they_are_and_without_dropout(
    teacher: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    """Handed over in training mode, they are still run in evaluation mode."""
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    expected = one_by_one(kl_from_teacher, teacher, split, tmp_path / "a")
    noisy = one_by_one(kl_from_teacher, teacher.train(), split, tmp_path / "b")
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    for mine, theirs in zip(expected, noisy, strict=True):
        assert torch.equal(mine.dense.weight, theirs.dense.weight)


def test_students_come_nearer_to_the_teacher(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    learned = FastBERT(teacher, one_by_one(kl_from_teacher, teacher, split, tmp_path)).eval()
    fresh = FastBERT(teacher, students(teacher.encoder, dropout=0.0)).eval()
    batch = split.batch(range(len(split)))
    with torch.inference_mode():
        log_p = F.log_softmax(classifier_logits(teacher, split, CPU), dim=-1)
        before, after = (
            torch.stack([kl_from_teacher(z, log_p) for z in m(batch)[:, :-1].unbind(1)]) for m in (fresh, learned)
        )
    assert (after < 0.9 * before).all()


def test_the_rate_is_above_0_in_the_last_epoch(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    """The official run's last two epochs learn nothing: there one epoch more would leave the weights as they are."""
    short = Distillation(kl_from_teacher, TrainingPlan(2e-3, 2, 8, 5, max_gradient_norm=None), CPU, quiet)
    plan = TrainingPlan(2e-3, 3, 8, 5, max_gradient_norm=None)
    moved = []

    def watch(done: int, total: int) -> None:
        moved.append((done, total))

    learned = students(teacher.encoder, dropout=0.0)
    Distillation(kl_from_teacher, plan, CPU, watch).run(teacher, split, learned, tmp_path / "long")
    fewer = students(teacher.encoder, dropout=0.0)
    short.run(teacher, split, fewer, tmp_path / "short")
    assert not torch.equal(learned[0].dense.weight, fewer[0].dense.weight)
    assert [done for done, _ in moved] == list(range(1, len(moved) + 1))
    assert moved[-1][0] == moved[-1][1] == len(learned) * 3 * 5


def test_a_student_that_is_done_is_not_trained_again(
    teacher: Teacher, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = one_by_one(kl_from_teacher, teacher, split, tmp_path / "whole")
    interrupted = tmp_path / "interrupted"
    interrupted.mkdir()
    calls: list[object] = []

    def failing(student: ExitClassifier, *arguments: Any, **more: Any) -> FitReport:
        calls.append(student)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(student, *arguments, **more)

    monkeypatch.setattr(distil, "fit", failing)
    with pytest.raises(KeyboardInterrupt):
        one_by_one(kl_from_teacher, teacher, split, interrupted)
    assert [student_file(interrupted, i).exists() for i in (1, 2, 3)] == [True, False, False]
    one_by_one(kl_from_teacher, teacher, split, interrupted)
    assert len(calls) == 1 + 1 + 2, "the first student was kept"
    for layer, student in enumerate(whole, 1):
        again = ExitClassifier.load(student_file(interrupted, layer))
        assert torch.equal(again.narrow.weight, student.narrow.weight)


def test_batches_are_those_of_the_texts(teacher: Teacher, split: EncodedSplit) -> None:
    states = next(iter(BackboneStates(teacher.encoder, split, CPU)))
    mine = FeatureBatches(states, torch.arange(36.0)[:, None], 8, 5)
    texts = BucketedBatches(split, 8, 5)
    assert len(mine) == len(texts)
    for features, batch in zip(mine.epoch(1), texts.epoch(1), strict=True):
        assert features.teacher_log_p[:, 0].long().tolist() == batch.rows.tolist()
        assert features.hidden.shape[:2] == batch.input_ids.shape
        assert (features.mask is None) == bool(batch.attention_mask.all())
