"""Stage 3 on states computed once: the same as training all students together, label-free, on a frozen backbone."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kit.toy_run import quiet
from kit.toy_splits import split_of
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.models.classifier import classifier_logits
from common.training.batches import BucketedBatches, EncodedSplit
from common.training.loop import TrainingPlan, fit, fused_adamw
from common.training.token_states import LayerStates, TokenBatches
from replications.fastbert.method import (
    Direction,
    EveryLayerClassified,
    Students,
    Teacher,
    distilling,
    kl_from_student,
    kl_from_teacher,
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


def fresh_students(encoder: LayeredEncoder) -> Students:
    """Without dropout."""
    fresh = Students.fresh(encoder, 3, seed=7)
    for student in fresh:
        student.dropout = 0.0
    return fresh


def one_by_one(
    direction: Direction, teacher: Teacher, split: EncodedSplit, folder: Path, plan: TrainingPlan = PLAN
) -> Students:
    learned = fresh_students(teacher.encoder)
    states = LayerStates(teacher.encoder, split, CPU)
    log_p = F.log_softmax(states.at(teacher.encoder.num_layers).answers(teacher.classifier, CPU), dim=-1)
    for layer, student in enumerate(learned, 1):
        batches = TokenBatches(states.at(layer), log_p, plan.batch_size, plan.seed)
        fit(student, batches, distilling(direction), plan, checkpoint=folder / "none", progress=quiet)
    return learned


def together(direction: Direction, teacher: Teacher, split: EncodedSplit) -> Students:
    """The textbook loop: every batch through the backbone, the sum of all students' losses, one optimiser."""
    learned = fresh_students(teacher.encoder)
    model = EveryLayerClassified(copy.deepcopy(teacher), learned).requires_grad_(False)
    learned.requires_grad_(True)
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
    return learned


@pytest.mark.parametrize("direction", [kl_from_teacher, kl_from_student])
def test_one_by_one_is_the_same_as_together(
    direction: Direction, in_double: None, encoder: LayeredEncoder, split: EncodedSplit, tmp_path: Path
) -> None:
    teacher = teacher_on(copy.deepcopy(encoder).double())
    separate, joint = one_by_one(direction, teacher, split, tmp_path), together(direction, teacher, split)
    for mine, other, fresh in zip(separate, joint, fresh_students(teacher.encoder), strict=True):
        for name, value in mine.named_parameters():
            torch.testing.assert_close(value, other.get_parameter(name), rtol=0, atol=1e-8)
        moved = mine.get_parameter("classify.weight") - fresh.get_parameter("classify.weight")
        assert moved.abs().max() > 1e-3, "nothing was learned"


def test_labels_are_not_used(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    unlabelled = EncodedSplit(split.input_ids, None, torch.zeros(len(split), dtype=torch.long), 0)
    one, other = (one_by_one(kl_from_teacher, teacher, texts, tmp_path) for texts in (split, unlabelled))
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine.get_parameter("classify.weight"), theirs.get_parameter("classify.weight"))


def test_the_backbone_and_the_teacher_stay_as_they_are(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    one_by_one(kl_from_teacher, teacher, split, tmp_path)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def test_students_come_nearer_to_the_teacher(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    log_p = F.log_softmax(classifier_logits(teacher, split, CPU), dim=-1)
    learned, batch = one_by_one(kl_from_teacher, teacher, split, tmp_path), split.batch(range(len(split)))
    with torch.inference_mode():
        before, after = (
            torch.stack([kl_from_teacher(z, log_p) for z in m(batch)[:, :-1].unbind(1)])
            for m in (EveryLayerClassified(teacher, s).eval() for s in (fresh_students(teacher.encoder), learned))
        )
    assert (after < 0.9 * before).all()


def test_the_rate_is_above_0_in_the_last_epoch(teacher: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    """The official run's last two epochs learn nothing: there one epoch more would leave the weights as they are."""
    plans = (replace(PLAN, warmup=0.0, epochs=epochs) for epochs in (2, 3))
    fewer, more = (one_by_one(kl_from_teacher, teacher, split, tmp_path, plan) for plan in plans)
    assert not torch.equal(fewer[0].get_parameter("dense.weight"), more[0].get_parameter("dense.weight"))
