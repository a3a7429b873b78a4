"""DistilBERT's student and its classifier: which layers it gets, and what transformers computes with its weights."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from toy_teacher import language_model
from transformers import DistilBertConfig, DistilBertForMaskedLM, DistilBertForSequenceClassification

from common.encoders.layered import LayeredEncoder
from common.errors import UserError
from common.training.batches import Batch
from common.training.pretraining.batches import MaskedBatch
from common.training.pretraining.language_model import MaskedLanguageModel
from replications.distilbert.method import (
    StudentClassifier,
    TripleLoss,
    chosen_layers,
    random_student,
    sinusoids,
    student_of,
)

# -- Which layers -----------------------------------------------------------------------------------------------------


def test_the_copied_layers_are_those_of_the_authors_script() -> None:
    """Not a plain stride of two: the last layer is taken, and index 6 left out."""
    assert [layer - 1 for layer in chosen_layers(12, 6)] == [0, 2, 4, 7, 9, 11]
    assert chosen_layers(6, 3) == (1, 3, 6)
    assert chosen_layers(4, 2) == (1, 4)
    assert chosen_layers(2, 1) == (1,)


@given(st.integers(1, 48), st.integers(1, 48))
def test_chosen_layers_ascend_within_the_teacher(teacher: int, student: int) -> None:
    if student > teacher:
        with pytest.raises(
            UserError, match=f"student of {student} layers cannot be chosen from a teacher of {teacher}"
        ):
            chosen_layers(teacher, student)
        return
    found = chosen_layers(teacher, student)
    assert len(set(found)) == len(found) == student
    assert list(found) == sorted(found)
    assert found[0] >= 1 and found[-1] <= teacher
    if student > 1:
        assert (found[0], found[-1]) == (1, teacher)


def test_a_layer_that_the_teacher_has_not_is_refused(teacher: MaskedLanguageModel) -> None:
    with pytest.raises(UserError, match="teacher's layer 5: expected 1 to 4"):
        student_of(teacher, (1, 5), seed=0)


# -- The student ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["tiny", "tiny-roberta", "tiny-mpnet"])
def test_a_student_begins_as_its_teachers_tables_layers_and_output_bias(shape: str) -> None:
    teacher = language_model(shape)
    student = student_of(teacher, (1, 4), seed=0)
    ours, theirs = student.encoder, teacher.encoder
    assert torch.equal(student.table, teacher.table) and student.table is not teacher.table
    for name in ("position_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias"):
        assert torch.equal(ours.embeddings.get_parameter(name), theirs.embeddings.get_parameter(name))
    for mine, whose in ((1, 1), (2, 4)):
        for a, b in zip(ours.layer_module(mine).parameters(), theirs.layer_module(whose).parameters(), strict=True):
            assert torch.equal(a, b) and a is not b
    assert torch.equal(student.head.bias, teacher.head.bias)
    assert ours.pooler_dense is None


def test_the_heads_map_and_norm_are_copied_on_request_alone(teacher: MaskedLanguageModel) -> None:
    plain, copied = (student_of(teacher, (1, 4), seed=0, copy_transform=c) for c in (False, True))
    assert not torch.equal(plain.head.dense.weight, teacher.head.dense.weight)
    assert torch.equal(plain.head.norm.weight, torch.ones(64))
    assert torch.equal(copied.head.dense.weight, teacher.head.dense.weight)
    assert torch.equal(copied.head.norm.weight, teacher.head.norm.weight)


def test_segments_are_dropped_and_not_folded_into_the_positions(
    teacher: MaskedLanguageModel, student: MaskedLanguageModel
) -> None:
    """Whatever types a text has, the student computes the same; and its embedding is LayerNorm(word + position)."""
    ids = torch.tensor([[101, 2023, 2003, 102, 2008, 102]])
    with torch.no_grad():
        plain = student.encoder(ids, None)
        typed = student.encoder(ids, None, torch.tensor([[0, 0, 0, 0, 1, 1]]))
        embeddings = teacher.encoder.model.embeddings
        expected = embeddings.LayerNorm(embeddings.word_embeddings(ids) + embeddings.position_embeddings.weight[:6])
        found = student.encoder.embed(ids, None)[0]
    assert torch.equal(plain, typed)
    torch.testing.assert_close(found, expected)


def test_the_student_computes_what_transformers_distilbert_computes(
    student: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    theirs = DistilBertForMaskedLM(_config()).eval()
    missing = theirs.load_state_dict(_as_distilbert(student), strict=False).missing_keys
    assert set(missing) <= {"vocab_projector.weight"}, "tied to the word table"
    with torch.no_grad():
        expected = theirs(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        found = student(batch)
    torch.testing.assert_close(found, expected.flatten(0, 1)[batch.places], rtol=1e-5, atol=1e-5)


def _config(**more: int) -> DistilBertConfig:
    return DistilBertConfig(dim=64, n_layers=2, n_heads=4, hidden_dim=256, **more)


def _as_distilbert(model: MaskedLanguageModel) -> dict[str, Tensor]:
    """A student's weights under DistilBERT's names."""
    encoder, state = _encoder_as_distilbert(model.encoder), {}
    state.update({f"distilbert.{name}": tensor for name, tensor in encoder.items()})
    state.update({f"vocab_transform.{p}": getattr(model.head.dense, p) for p in ("weight", "bias")})
    state.update({f"vocab_layer_norm.{p}": getattr(model.head.norm, p) for p in ("weight", "bias")})
    return {**state, "vocab_projector.bias": model.head.bias, "vocab_projector.weight": model.table}


def _encoder_as_distilbert(encoder: LayeredEncoder) -> dict[str, Tensor]:
    names = {
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }
    state = {
        f"embeddings.{name}": tensor
        for name, tensor in encoder.embeddings.state_dict().items()
        if "token_type" not in name
    }
    for i in range(encoder.num_layers):
        weights = encoder.layer_module(i + 1).state_dict()
        for (ours, theirs), part in itertools.product(names.items(), ("weight", "bias")):
            state[f"transformer.layer.{i}.{theirs}.{part}"] = weights[f"{ours}.{part}"]
    return state


def test_positions_keep_the_teachers_values_in_pre_training_and_learn_in_fine_tuning(
    student: MaskedLanguageModel, batch: MaskedBatch, teacher: MaskedLanguageModel, tmp_path: Path
) -> None:
    student.train()
    TripleLoss(teacher)(student, batch).backward()
    moved = {name for name, p in student.named_parameters() if p.grad is not None and bool(p.grad.any())}
    fixed = {name for name, p in student.named_parameters() if not p.requires_grad}
    assert fixed == {f"encoder.model.embeddings.{t}_embeddings.weight" for t in ("position", "token_type")}
    assert moved | fixed == {name for name, _ in student.named_parameters()}
    student.save(tmp_path)
    loaded = LayeredEncoder.load(tmp_path / "encoder")
    classifier = StudentClassifier.fresh(loaded, 2, seed=0)
    assert classifier.encoder.model.embeddings.position_embeddings.weight.requires_grad


def test_a_random_student_has_the_same_architecture_and_nothing_of_the_teacher(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel
) -> None:
    random = random_student(student, seed=0)
    assert {n: p.shape for n, p in random.named_parameters()} == {n: p.shape for n, p in student.named_parameters()}
    assert not torch.equal(random.table, teacher.table)
    assert not random.head.bias.any()
    assert random.table.std().item() == pytest.approx(0.02, rel=0.05)
    positions = random.encoder.model.embeddings.position_embeddings.weight
    assert not positions.requires_grad
    assert torch.equal(positions, sinusoids(512, 64))
    again, other = random_student(student, seed=0), random_student(student, seed=1)
    assert torch.equal(again.table, random.table) and not torch.equal(other.table, random.table)


def test_sinusoids_are_those_of_transformers_distilbert() -> None:
    from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings

    expected = torch.empty(50, 64)
    create_sinusoidal_embeddings(50, 64, expected)
    torch.testing.assert_close(sinusoids(50, 64), expected)


# -- The classifier ---------------------------------------------------------------------------------------------------


def texts() -> Batch:
    ids = torch.randint(1000, 2000, (3, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return Batch(ids, mask, torch.ones_like(ids), torch.tensor([0, 1, 1]), torch.arange(3))


def test_the_classifier_is_transformers_own_with_relu_and_no_tanh(student: MaskedLanguageModel) -> None:
    ours = StudentClassifier.fresh(student.encoder, 3, seed=0).eval()
    theirs = DistilBertForSequenceClassification(_config(num_labels=3)).eval()
    state = {f"distilbert.{n}": t for n, t in _encoder_as_distilbert(ours.encoder).items()}
    for part in ("pre_classifier", "classifier"):
        state.update({f"{part}.{p}": getattr(getattr(ours, part), p) for p in ("weight", "bias")})
    theirs.load_state_dict(state)
    batch = texts()
    with torch.no_grad():
        expected = theirs(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        torch.testing.assert_close(ours(batch), expected, rtol=1e-5, atol=1e-5)
    assert ours.dropout.p == theirs.dropout.p == 0.2


def test_the_first_map_of_the_classifier_is_new(student: MaskedLanguageModel) -> None:
    """It replaces a pooler; it is not one."""
    head = StudentClassifier.fresh(student.encoder, 2, seed=0)
    assert head.pre_classifier.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not head.pre_classifier.bias.any()
    assert head.encoder is not student.encoder


def test_a_classifier_survives_saving(student: MaskedLanguageModel, tmp_path: Path) -> None:
    model = StudentClassifier.fresh(student.encoder, 2, seed=0, pooling="mean").eval()
    nn.init.normal_(model.classifier.weight)
    model.save(tmp_path)
    loaded = StudentClassifier.load(tmp_path)
    assert loaded.pooling == "mean" and not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(texts()), model(texts()))
