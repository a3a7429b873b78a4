"""FastBERT's classifier, losses and rule, and the traps in which paper and official code differ (card, section 6)."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_splits import split_of
from torch import Tensor
from torch.nn import functional as F

from common.early_exit.multi_exit import adamw_with_rate
from common.early_exit.rules import entropy
from common.early_exit.runtime import collect_logits, run_early_exit, simulate
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.training.batches import Batch
from common.training.loop import TrainingPlan, linear_schedule
from replications.fastbert.contender import SETTINGS
from replications.fastbert.method import (
    HEADS,
    WIDTH,
    EveryLayerClassified,
    ExitClassifier,
    Students,
    Teacher,
    UncertaintyAtMost,
    distilling_with_dropout,
    kl_from_student,
    kl_from_teacher,
    labels_loss,
    teacher_loss,
    uncertainty,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> LayeredEncoder:
    return random_encoder("tiny", seed=0).eval()


def fastbert(encoder: LayeredEncoder, classes: int = 2, seed: int = 1) -> EveryLayerClassified:
    teacher = Teacher.fresh(encoder, classes, seed)
    return EveryLayerClassified(teacher, Students.fresh(encoder, classes, seed)).eval()


@pytest.fixture
def model(encoder: LayeredEncoder) -> EveryLayerClassified:
    return fastbert(encoder)


def decisive(model: EveryLayerClassified) -> EveryLayerClassified:
    """With maps large enough that uncertainties differ between samples and between layers."""
    generator = torch.Generator().manual_seed(3)
    for classifier in model.classifiers:
        assert isinstance(classifier, ExitClassifier)
        for name in ("query", "key", "value", "attended", "dense"):
            getattr(classifier, name).weight.data *= 5
        last = classifier.classify.weight
        last.data = 4 * torch.randn(last.shape, generator=generator)
    return model


# -- The classifier ---------------------------------------------------------------------------------------------------


def all_rows(c: ExitClassifier, hidden: Tensor, present: Tensor) -> Tensor:
    """The official module: self-attention of all tokens on all tokens, then the first token is taken."""
    a = torch.tanh(c.narrow(hidden))
    size = WIDTH // HEADS
    rows = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        q, k, v = (m(a)[..., part] for m in (c.query, c.key, c.value))
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        rows.append(scores.masked_fill(~present[:, None, :], -1e9).softmax(-1) @ v)
    first = c.attended(torch.cat(rows, dim=-1))[:, 0]
    logits: Tensor = c.classify(torch.tanh(c.dense(first)))
    return logits


def test_one_query_gives_what_all_rows_give() -> None:
    classifier = ExitClassifier(64, 3).eval()
    hidden, present = torch.randn(5, 9, 64), torch.arange(9) < torch.tensor([[9], [4], [1], [7], [9]])
    with torch.inference_mode():
        ours = classifier(hidden, present[:, None, None, :])
        torch.testing.assert_close(ours, all_rows(classifier, hidden, present), rtol=1e-5, atol=1e-5)
        square = present[:, None, None, :].expand(-1, 1, 9, -1)
        torch.testing.assert_close(classifier(hidden, square), ours)


def test_padding_does_not_reach_the_answer() -> None:
    classifier = ExitClassifier(64, 2).eval()
    hidden = torch.randn(1, 6, 64)
    longer = torch.cat([hidden, 100 * torch.randn(1, 3, 64)], dim=1)
    mask = (torch.arange(9) < 6)[None, None, None, :]
    with torch.inference_mode():
        torch.testing.assert_close(classifier(longer, mask), classifier(hidden, None), rtol=1e-5, atol=1e-5)


def test_the_first_token_is_pooled_and_every_token_is_attended_to() -> None:
    """The official option `mean` averages over features; `first` takes the token. Others count through attention."""
    classifier = ExitClassifier(64, 2).eval()
    hidden = torch.randn(1, 6, 64)
    swapped, rotated = hidden[:, [0, 2, 1, 3, 4, 5]], hidden.roll(1, dims=1)
    changed = hidden.clone()
    changed[:, 4] += 1
    with torch.inference_mode():
        torch.testing.assert_close(classifier(swapped, None), classifier(hidden, None), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(classifier(rotated, None), classifier(hidden, None), atol=1e-4)
        assert not torch.allclose(classifier(changed, None), classifier(hidden, None), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_classifier_has_as_many_parameters_as_the_card_says(classes: int) -> None:
    with torch.device("meta"):
        classifier = ExitClassifier(768, classes)
    assert sum(p.numel() for p in classifier.parameters()) == 180_992 + 129 * classes


def test_dropout_of_the_attention_weights_is_on_in_training_alone() -> None:
    classifier, hidden = ExitClassifier(64, 2), torch.randn(4, 9, 64)
    torch.manual_seed(0)
    first, second = classifier.train()(hidden, None), classifier(hidden, None)
    assert not torch.equal(first, second)
    classifier.eval()
    assert torch.equal(classifier(hidden, None), classifier(hidden, None))


def test_every_layer_but_the_last_has_a_student_of_its_own(encoder: LayeredEncoder) -> None:
    weights = {tuple(student.narrow.weight[0, :3].tolist()) for student in Students.fresh(encoder, 2, 0)}
    assert len(weights) == encoder.num_layers - 1
    with pytest.raises(ValueError, match="one student less"):
        EveryLayerClassified(Teacher.fresh(encoder, 2, 0), Students(list(Students.fresh(encoder, 2, 0))[:-1]))


def test_a_model_survives_saving(model: EveryLayerClassified, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded, batch = EveryLayerClassified.load(tmp_path, tmp_path), split_of(5).batch(range(5))
    assert not loaded.training
    with torch.inference_mode():
        torch.testing.assert_close(loaded(batch), model(batch), rtol=0, atol=0)
        torch.testing.assert_close(Teacher.load(tmp_path)(batch), model(batch)[:, -1], rtol=1e-5, atol=1e-6)


# -- Losses -----------------------------------------------------------------------------------------------------------


def by_hand(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.log() - q.log())).sum(-1).mean()


def test_the_two_directions_of_kl() -> None:
    """The code computes KL(p_t || p_s), equation 5 prints KL(p_s || p_t)."""
    student, teacher = torch.randn(7, 3), torch.randn(7, 3)
    p_s, p_t = student.softmax(-1), teacher.softmax(-1)
    torch.testing.assert_close(kl_from_teacher(student, p_t.log()), by_hand(p_t, p_s))
    torch.testing.assert_close(kl_from_student(student, p_t.log()), by_hand(p_s, p_t))
    assert not torch.isclose(by_hand(p_t, p_s), by_hand(p_s, p_t))


def test_the_default_direction_is_soft_label_cross_entropy_up_to_a_constant() -> None:
    student, p_t = torch.randn(7, 3, requires_grad=True), torch.randn(7, 3).softmax(-1)
    (kl,) = torch.autograd.grad(kl_from_teacher(student, p_t.log()), student)
    (cross_entropy,) = torch.autograd.grad(F.cross_entropy(student, p_t), student)
    torch.testing.assert_close(kl, cross_entropy)


@pytest.mark.parametrize("direction", [kl_from_teacher, kl_from_student])
def test_a_certain_teacher_gives_a_finite_loss(direction: Callable[[Tensor, Tensor], Tensor]) -> None:
    log_p = torch.log_softmax(torch.tensor([[200.0, 0.0]]), dim=-1)
    assert direction(torch.tensor([[200.0, 0.0]]), log_p).item() == pytest.approx(0, abs=1e-6)
    assert math.isfinite(direction(torch.tensor([[0.0, 1.0]]), log_p).item())


def test_stage_2_runs_the_teacher_alone(encoder: LayeredEncoder) -> None:
    teacher = Teacher.fresh(encoder, 2, seed=0).eval()
    batch = split_of(6).batch(range(6))
    loss = teacher_loss(teacher, batch)
    torch.testing.assert_close(loss, F.cross_entropy(fastbert(encoder, seed=0)(batch)[:, -1], batch.labels))
    assert not any("student" in name for name, _ in teacher.named_parameters())


def test_stage_3_needs_no_labels_and_moves_students_alone(encoder: LayeredEncoder) -> None:
    teacher, students = Teacher.fresh(encoder, 2, 0), Students.fresh(encoder, 2, 0).eval()
    loss, batch = distilling_with_dropout(teacher), split_of(8).batch(range(8))
    relabelled = Batch(batch.input_ids, batch.attention_mask, None, 1 - batch.labels, batch.rows)
    values = []
    for labelled in (batch, relabelled):
        torch.manual_seed(0)
        values.append(loss(students, labelled).item())
    assert values[0] == values[1]
    loss(students, batch).backward()
    assert all(p.grad is not None for p in students.parameters())
    assert all(p.grad is None for p in teacher.parameters())


def test_stage_3_as_the_official_code_does_it_has_dropout_in_the_frozen_backbone(encoder: LayeredEncoder) -> None:
    """Handed over in evaluation mode, backbone and teacher are run in training mode."""
    students, batch = Students.fresh(encoder, 2, 0).eval(), split_of(8).batch(range(8))
    teacher = Teacher.fresh(encoder, 2, 0).eval()
    loss = distilling_with_dropout(teacher)
    assert loss(students, batch).item() != loss(students, batch).item()
    with torch.no_grad():
        states, mask = teacher.eval().states(batch)
        log_p = teacher.classifier(states[-1], mask).log_softmax(-1)
        expected = sum(kl_from_teacher(s(h, mask), log_p) for s, h in zip(students, states[:-1], strict=True))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(loss(students, batch), expected)


def test_without_self_distillation_every_part_learns_from_labels_unweighted(model: EveryLayerClassified) -> None:
    batch = split_of(8).batch(range(8))
    loss = labels_loss(model, batch)
    losses = [F.cross_entropy(logits, batch.labels) for logits in model(batch).unbind(1)]
    torch.testing.assert_close(loss, torch.stack(losses).sum())
    loss.backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert all("encoder.model.pooler" in name for name in without), "the encoder's own pooler is not used"


@pytest.mark.parametrize("part", ["teacher", "all"])
def test_classifiers_have_a_rate_of_their_own(encoder: LayeredEncoder, part: str) -> None:
    model = Teacher.fresh(encoder, 2, 0) if part == "teacher" else fastbert(encoder)
    classifiers = model.classifier if isinstance(model, Teacher) else model.classifiers
    backbone, quick = adamw_with_rate(1e-3, of="classifier")(model, TrainingPlan(2e-4, 1, 16, 0)).param_groups
    assert (backbone["lr"], quick["lr"]) == (2e-4, 1e-3)
    assert {id(p) for p in quick["params"]} == {id(p) for p in classifiers.parameters()}
    assert {id(p) for p in backbone["params"]} == {id(p) for p in model.encoder.parameters()}


# -- Hyper-parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", list(SETTINGS))
def test_stage_3_learns_to_its_last_epoch_without_decay_of_weights_or_clipping(scale: str) -> None:
    """The official schedule counts 3 epochs for 5, so that its rate is 0 from the fourth on."""
    plan = SETTINGS[scale].stage3
    factor = linear_schedule(plan, plan.epochs * 100)
    assert factor((plan.epochs - 1) * 100 + 50) > 0
    assert factor(plan.epochs * 100) == 0
    assert plan.weight_decay == 0
    assert plan.max_gradient_norm is None


def test_at_the_papers_scale_classifiers_learn_as_fast_as_the_backbone() -> None:
    settings = SETTINGS["paper"]
    assert settings.classifiers_rate == settings.stage2.whole.learning_rate


# -- Speed ------------------------------------------------------------------------------------------------------------


def test_uncertainty_is_entropy_over_its_largest_value() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    u = uncertainty(logits)
    assert u[0].item() == pytest.approx(1.0)
    assert u[1].item() == pytest.approx(0.0, abs=1e-6)
    assert u[2].item() == pytest.approx(entropy(logits[2]).item() / math.log(3))


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 9), st.integers(0, 1000), st.floats(0, 300))
def test_uncertainty_stays_between_0_and_1(classes: int, seed: int, scale: float) -> None:
    u = uncertainty(scale * torch.randn(20, classes, generator=torch.Generator().manual_seed(seed)))
    assert ((u >= 0) & (u <= 1)).all()


def test_equality_leaves() -> None:
    """`run_fastbert.py` keeps U > Speed; the pip package lets go of U < Speed alone."""
    logits = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    exactly = uncertainty(logits[:, 0]).item()
    assert simulate(logits, UncertaintyAtMost(exactly)).exit_layer.tolist() == [1]
    assert simulate(logits, UncertaintyAtMost(math.nextafter(exactly, 0) - 1e-6)).exit_layer.tolist() == [2]


def test_speed_0_runs_all_layers_and_speed_1_one() -> None:
    logits = torch.cat([torch.randn(50, 6, 4), torch.zeros(5, 6, 4), torch.ones(5, 6, 4) / 3])
    assert (simulate(logits, UncertaintyAtMost(0.0)).exit_layer == 6).all()
    assert (simulate(logits, UncertaintyAtMost(1.0)).exit_layer == 1).all()


def test_whoever_stays_takes_the_teachers_answer(model: EveryLayerClassified) -> None:
    batch = split_of(6).batch(range(6))
    with torch.inference_mode():
        teacher = model(batch)[:, -1]
    torch.testing.assert_close(run_early_exit(model, batch, UncertaintyAtMost(0.0)).logits, teacher)


# -- Batched = one by one = simulated ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "tiny-albert", "tiny-roberta", "tiny-mpnet"])
def test_any_batch_size_leaves_as_one_by_one_with_padding(name: str) -> None:
    split = split_of(40)
    model = decisive(fastbert(random_encoder(name, seed=0).eval()))
    assert len(set(split.lengths)) > 3
    logits = collect_logits(model, split.by_length(16), 40, CPU)
    u = uncertainty(logits)
    layers_seen = set()
    for quantile in (0.2, 0.5, 0.8):
        rule = UncertaintyAtMost(_between(u, quantile))
        simulated = simulate(logits, rule)
        batched = run_early_exit(model, split.batch(range(40)), rule)
        singles = [run_early_exit(model, split.batch([row]), rule) for row in range(40)]
        assert torch.equal(batched.exit_layer, torch.cat([s.exit_layer for s in singles]))
        assert torch.equal(batched.exit_layer, simulated.exit_layer)
        torch.testing.assert_close(batched.logits, simulated.logits, rtol=1e-4, atol=1e-3)
        layers_seen |= set(batched.exit_layer.tolist())
    assert len(layers_seen) > 2, "the test wants samples that leave at different layers"


def _between(u: Tensor, quantile: float) -> float:
    """A Speed in a gap between two uncertainties, so that rounding cannot move a sample across it."""
    ordered = u.flatten().sort().values
    start = int(quantile * (len(ordered) - 10))
    gaps = ordered[start : start + 10].diff()
    widest = start + int(gaps.argmax())
    return float((ordered[widest] + ordered[widest + 1]) / 2)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 5), st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
def test_more_speed_never_leaves_later(classes: int, seed: int, one: float, other: float) -> None:
    logits = 3 * torch.randn(40, 6, classes, generator=torch.Generator().manual_seed(seed))
    slow, fast = (simulate(logits, UncertaintyAtMost(speed)).exit_layer for speed in sorted((one, other)))
    assert (fast <= slow).all()


# -- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_speed_outside_0_to_1_is_refused(speed: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1; got"):
        UncertaintyAtMost(speed)


def test_a_regression_is_refused(encoder: LayeredEncoder) -> None:
    with pytest.raises(UserError, match="needs classes"):
        run_early_exit(fastbert(encoder, classes=1), split_of(3).batch(range(3)), UncertaintyAtMost(0.5))


def test_an_empty_batch_is_refused_and_a_batch_of_one_runs(model: EveryLayerClassified) -> None:
    nothing = torch.zeros(0, 4, dtype=torch.long)
    empty = Batch(nothing, nothing, None, torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    with pytest.raises(UserError, match="the batch is empty"):
        run_early_exit(model, empty, UncertaintyAtMost(0.5))
    assert run_early_exit(model, split_of(3).batch([1]), UncertaintyAtMost(0.5)).logits.shape == (1, 2)
