"""TinyBERT's student and its head, and the traps in which paper and official code differ."""

import copy
from pathlib import Path

import pytest
import torch
from kit.toy_splits import split_of
from tiny_pair import SIZE
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.training.loop import TrainingPlan
from replications.tinybert.distillation import batch_texts
from replications.tinybert.method import (
    Objective,
    ReluHead,
    Student,
    Students,
    StudentSize,
    TinyClassifier,
    check_pair,
    imitation_loss,
)
from replications.tinybert.names import TOP

PLAN = TrainingPlan(1e-3, 2, 8, seed=0, weight_decay=0.01, max_gradient_norm=None)


# -- The student ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [32, 64])
def test_one_map_with_a_bias_serves_embeddings_and_all_layers(teacher: LayeredEncoder, hidden: int) -> None:
    """Also where the student is as wide as the teacher."""
    student = Student.fresh(StudentSize(2, hidden, 64).shape(teacher.config), teacher.hidden_size, seed=0)
    assert student.projection.weight.shape == (64, hidden)
    assert student.projection.bias is not None
    others = [
        m
        for m in student.modules()
        if isinstance(m, nn.Linear) and m.out_features == 64 and m is not student.projection
    ]
    assert len([m for m in others if m.in_features == hidden and hidden != 64]) == (2 if hidden == 32 else 0), (
        "two feed-forward maps"
    )
    calls: list[Tensor] = []
    student.projection.register_forward_hook(lambda _m, inputs, _o: calls.append(inputs[0]))
    imitation_loss(teacher, {"one": Objective()}, batch_texts)(Students({"one": student}), split_of(2).batch([0, 1]))
    assert len(calls) == 3


def test_a_student_is_drawn_with_deviation_0_02_and_differs_by_seed(teacher: LayeredEncoder) -> None:
    shape = SIZE.shape(teacher.config)
    one, same, other = (Student.fresh(shape, 64, seed) for seed in (0, 0, 1))
    for p, q, r in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
        if p.ndim == 2:
            assert not torch.equal(p, r)
            assert p.std().item() == pytest.approx(0.02, rel=0.15)
    assert not one.projection.bias.any()


def test_a_student_has_the_teachers_heads_and_vocabulary_and_no_pooler(teacher: LayeredEncoder) -> None:
    student = Student.fresh(SIZE.shape(teacher.config), 64, seed=0)
    assert student.encoder.config.num_attention_heads == teacher.config.num_attention_heads
    assert len(student.encoder.word_embeddings) == len(teacher.word_embeddings)
    assert student.encoder.config.hidden_act == "gelu"
    assert student.encoder.pooler_dense is None


def test_a_width_that_the_heads_do_not_divide_is_refused(teacher: LayeredEncoder) -> None:
    with pytest.raises(UserError, match="30 wide cannot have the teacher's 4 attention heads"):
        StudentSize(2, 30, 64).shape(teacher.config)


def test_pairs_that_do_not_fit_are_refused(teacher: LayeredEncoder) -> None:
    from dataclasses import replace

    shape = SIZE.shape(teacher.config)
    check_pair(random_encoder(shape), teacher, Objective())
    with pytest.raises(UserError, match="a vocabulary of 100 and the teacher one of 30522"):
        check_pair(random_encoder(replace(shape, vocab=100)), teacher, Objective())
    two_heads = random_encoder(replace(shape, heads=2))
    with pytest.raises(UserError, match="2 attention heads and the teacher 4"):
        check_pair(two_heads, teacher, Objective())
    check_pair(two_heads, teacher, Objective(attention=False))
    with pytest.raises(UserError, match="a student of 5 layers"):
        check_pair(random_encoder(replace(shape, layers=5)), teacher, Objective(mapping=TOP))


def test_a_student_survives_saving(student: Student, tmp_path: Path) -> None:
    Students({"a-b": student}).save(tmp_path)
    loaded = Student.load(tmp_path / "a-b")
    assert not loaded.training
    for (name, p), (again, q) in zip(student.named_parameters(), loaded.named_parameters(), strict=True):
        assert name == again
        assert torch.equal(p, q)


# -- The head ---------------------------------------------------------------------------------------------------------


def test_logits_are_a_linear_map_of_relu_of_the_pooled_first_token(teacher: LayeredEncoder) -> None:
    """On transformers' own encoder and weights; without dropout, in training mode too."""
    config = copy.deepcopy(teacher.config)
    config.num_labels = 3
    theirs = BertForSequenceClassification(config).eval()
    theirs.bert.load_state_dict(teacher.model.state_dict())
    ours = TinyClassifier.fresh(teacher, 3, seed=0)
    ours.head.classifier.load_state_dict(theirs.classifier.state_dict())
    batch = split_of(5, segments=True).batch(range(5))
    with torch.no_grad():
        pooled = theirs.bert(batch.input_ids, batch.attention_mask, batch.token_type_ids).pooler_output
        torch.testing.assert_close(ours.eval()(batch), theirs.classifier(torch.relu(pooled)), rtol=0, atol=1e-5)
        usual = theirs(batch.input_ids, batch.attention_mask, batch.token_type_ids).logits
        assert (ours(batch) - usual).abs().max() > 1e-3, "the usual head gives other logits"
        assert torch.equal(ours.head.train()(pooled), ours.head.eval()(pooled))


def test_a_teacher_with_the_usual_head_is_refused(teacher: LayeredEncoder, tmp_path: Path) -> None:
    """Its weights would fit the class, and the logits would be wrong without a word."""
    EncoderClassifier(teacher, PooledClassifier(64, 2)).save(tmp_path / "usual")
    with pytest.raises(UserError, match="no classifier with TinyBERT's head"):
        TinyClassifier.load(tmp_path / "usual")
    TinyClassifier.fresh(teacher, 2, seed=0).save(tmp_path / "relu")
    with pytest.raises(FileNotFoundError):
        EncoderClassifier.load(tmp_path / "relu")


def test_a_classifier_survives_saving(teacher: LayeredEncoder, tmp_path: Path) -> None:
    model = TinyClassifier.fresh(teacher, 2, seed=3, pooling="mean").eval()
    model.save(tmp_path)
    batch = split_of(3).batch(range(3))
    with torch.no_grad():
        assert torch.equal(TinyClassifier.load(tmp_path)(batch), model(batch))


def test_a_classifier_starts_with_the_pretrained_pooler_where_there_is_one(
    teacher: LayeredEncoder, student: Student
) -> None:
    assert teacher.pooler_dense is not None
    assert torch.equal(TinyClassifier.fresh(teacher, 2, 0).head.pooler.weight, teacher.pooler_dense.weight)
    drawn = TinyClassifier.fresh(student.encoder, 2, 0).head
    assert isinstance(drawn, ReluHead)
    assert drawn.pooler.weight.std().item() == pytest.approx(0.02, rel=0.15)
