"""DistilBERT's student, losses, masking and classifier, and the traps in which paper, code and habit differ."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_text import documents, text_of, words
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DistilBertConfig, DistilBertForMaskedLM, DistilBertForSequenceClassification

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.training.batches import Batch
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel
from common.training.pretraining.masking import Uniform
from common.training.pretraining.rows import PackedRows, SegmentPairs
from common.training.segments import Segment, TwoSegmentBatch
from replications.distilbert.method import (
    TEMPERATURE,
    SecondDistillation,
    SmoothedByFrequency,
    StudentClassifier,
    TripleLoss,
    Weights,
    chosen_layers,
    cosine_loss,
    random_student,
    sinusoids,
    soft_target_loss,
    student_of,
)


def language_model(shape: str = "tiny") -> MaskedLanguageModel:
    """A teacher with weights that differ from any default, norms and biases too."""
    encoder = random_encoder(shape, seed=4)
    model = MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, 5))
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        for name, table in model.encoder.model.embeddings.named_parameters():
            if "token_type" in name:
                table += 0.5 * torch.randn(table.shape, generator=generator)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> MaskedBatch:
    """Rows of unequal length, so that there is padding."""
    text = text_of(tmp_path_factory.mktemp("text"), documents(20))
    found = next(MaskedBatches(SegmentPairs(text, words(), 48), words(), Uniform(), batch_size=6, seed=0).epoch(0))
    assert not found.present.all()
    return found


@pytest.fixture
def teacher() -> MaskedLanguageModel:
    return language_model()


@pytest.fixture
def student(teacher: MaskedLanguageModel) -> MaskedLanguageModel:
    return student_of(teacher, (1, 4), seed=0).eval()


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


# -- The losses -------------------------------------------------------------------------------------------------------


def by_hand(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """T^2 / N sum_n sum_i p_i (log p_i - log q_i)."""
    p, q = (torch.softmax(x.double() / temperature, dim=-1) for x in (teacher, student))
    return (temperature**2 * (p * (p.log() - q.log())).sum() / len(p)).item()


@settings(deadline=None)
@given(temperature=st.sampled_from([1.0, 2.0, 5.0]), seed=st.integers(0, 100))
def test_soft_targets_are_the_mean_over_positions_times_the_temperature_squared(temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = torch.randn(7, 30, generator=generator), 3 * torch.randn(7, 30, generator=generator)
    found = soft_target_loss(ours, theirs, temperature).item()
    assert found == pytest.approx(by_hand(ours, theirs, temperature), rel=1e-4)
    assert found >= 0
    assert soft_target_loss(theirs, theirs, temperature).item() == pytest.approx(0.0, abs=1e-5)


def test_the_gradient_does_not_shrink_with_the_temperature() -> None:
    """What T^2 is for: at a high temperature the gradient stays of the order of (s - t) / V."""
    theirs = torch.randn(5, 20, generator=torch.Generator().manual_seed(0))
    sizes = []
    for temperature in (20.0, 40.0):
        ours = torch.zeros(5, 20, requires_grad=True)
        soft_target_loss(ours, theirs, temperature).backward()
        assert ours.grad is not None
        sizes.append(ours.grad.norm().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_cosine_compares_directions_alone() -> None:
    states = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    assert cosine_loss(3 * states, states).item() == pytest.approx(0.0, abs=1e-6)
    assert cosine_loss(-states, states).item() == pytest.approx(2.0)


def expected_parts(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> tuple[float, float, float]:
    """The card's equations, position by position."""
    with torch.no_grad():
        h, t = student.states(batch), teacher.states(batch)
        present = batch.present
        s_logits, t_logits = (m.head(x[present], m.table) for m, x in ((student, h), (teacher, t)))
        ce = by_hand(s_logits, t_logits, 2.0)
        mlm = F.cross_entropy(student(batch), batch.targets).item()
        cosines = [1 - F.cosine_similarity(a, b, dim=0).item() for a, b in zip(h[present], t[present], strict=True)]
    return ce, mlm, sum(cosines) / len(cosines)


def test_the_three_losses_are_over_all_tokens_over_masked_ones_and_over_last_states(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    found = TripleLoss(teacher).parts(student, batch)
    assert [weight for weight, _ in found] == [5.0, 2.0, 1.0]
    assert TEMPERATURE == 2.0
    assert [value.item() for _, value in found] == pytest.approx(expected_parts(student, teacher, batch), rel=1e-3)
    ce, mlm, cos = expected_parts(student, teacher, batch)
    assert TripleLoss(teacher)(student, batch).item() == pytest.approx(5 * ce + 2 * mlm + cos, rel=1e-3)


def test_padding_teaches_nothing(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    ids = batch.input_ids.clone()
    ids[~batch.present] = 2999
    other = replace(batch, input_ids=ids)
    with torch.no_grad():
        ours, theirs = (TripleLoss(teacher)(student, b) for b in (batch, other))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("left_out", ["ce", "mlm", "cos"])
def test_a_loss_of_weight_zero_is_not_computed(
    left_out: str, student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    weights = Weights(**{left_out: 0.0})
    found = TripleLoss(teacher, weights).parts(student, batch)
    kept = [w for name, w in (("ce", 5.0), ("mlm", 2.0), ("cos", 1.0)) if name != left_out]
    assert [weight for weight, _ in found] == kept


def test_the_teacher_is_asked_without_dropout_and_without_gradient(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    student.train()
    TripleLoss(teacher)(student, batch).backward()
    assert not teacher.training and not any(m.training for m in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())
    with torch.no_grad():
        first, second = teacher.states(batch), teacher.states(batch)
        ours = [student.states(batch) for _ in range(2)]
    assert torch.equal(first, second) and not torch.equal(ours[0], ours[1])


def test_a_random_part_of_the_positions_has_the_same_mean(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    torch.manual_seed(0)
    only_ce = Weights(mlm=0, cos=0)
    with torch.no_grad():
        whole = TripleLoss(teacher, only_ce)(student, batch).item()
        parts = [TripleLoss(teacher, only_ce, share=0.25)(student, batch).item() for _ in range(60)]
    assert len(set(parts)) > 50
    assert sum(parts) / len(parts) == pytest.approx(whole, rel=0.05)


def test_both_read_the_same_masked_text(teacher: MaskedLanguageModel, batch: MaskedBatch) -> None:
    read: list[Tensor] = []

    class Spy(MaskedLanguageModel):
        def states(self, batch: MaskedBatch) -> Tensor:
            read.append(batch.input_ids)
            return super().states(batch)

    spied = Spy(teacher.encoder, teacher.head)
    TripleLoss(spied)(Spy(teacher.encoder, teacher.head), batch)
    assert len(read) == 2 and torch.equal(read[0], read[1])
    assert (read[0] == words().mask).any()


# -- The second distillation ------------------------------------------------------------------------------------------


def test_a_second_distillation_is_half_soft_targets_over_positions_and_half_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = two_segments()
    ours, theirs = (torch.randn(3, 9, 2, generator=generator) for _ in range(2))
    found = SecondDistillation(Fixed(theirs))(Fixed(ours), pairs).item()
    expected = 0.0
    for side in (0, 1):
        for row, present in enumerate(pairs.attention_mask.bool()):
            expected += 0.25 * by_hand(ours[row, present, side][None], theirs[row, present, side][None], 2.0) / 3
        expected += 0.25 * F.cross_entropy(ours[..., side], pairs.labels[:, side]).item()
    assert found == pytest.approx(expected, rel=1e-4)


class Fixed(nn.Module):
    """Always the same logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, batch: TwoSegmentBatch) -> Tensor:
        return self.logits


def two_segments() -> TwoSegmentBatch:
    mask = torch.ones(3, 5, dtype=torch.long)
    mask[1, 3:] = 0
    ids = torch.full((3, 5), 2003)
    first, second = Segment(ids[:, :4], torch.ones(3, 4, dtype=torch.long), 0), Segment(ids, mask, 1)
    return TwoSegmentBatch(first, second, torch.tensor([[4, 5], [5, 6], [6, 7]]), torch.arange(3))


# -- Masking ----------------------------------------------------------------------------------------------------------


def counted() -> Tensor:
    counts = torch.ones(words().size, dtype=torch.long)
    counts[2000:2010] = 10_000
    return counts


def test_rare_tokens_are_masked_more_often_by_the_power_of_their_count() -> None:
    """Of two words, one 10,000 times as frequent, the frequent one is drawn with odds of 10,000^-0.7."""
    ids = torch.where(torch.rand(40, 500, generator=torch.Generator().manual_seed(1)) < 0.98, 2005, 3000)
    maskable = torch.ones_like(ids, dtype=torch.bool)
    masking = SmoothedByFrequency(counted(), padding=0, share=0.001)
    frequent = rare = 0
    for seed in range(40):
        chosen = masking(ids, maskable, torch.Generator().manual_seed(seed))
        frequent += int((ids[chosen] == 2005).sum())
        rare += int((ids[chosen] == 3000).sum())
    odds = 0.98 * 10_000**-0.7 / 0.02
    assert frequent / (frequent + rare) == pytest.approx(odds / (1 + odds), abs=0.04)


@settings(deadline=None, max_examples=50)
@given(share=st.floats(0.01, 0.9), seed=st.integers(0, 1000), rows=st.integers(1, 8))
def test_so_many_of_the_whole_batch_are_masked_rounded_up_and_no_special_one(
    share: float, seed: int, rows: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, 2000, (rows, 20), generator=generator)
    ids[:, 0], ids[:, -1] = 101, 0
    maskable = words().maskable(ids) & (ids != 0)
    chosen = SmoothedByFrequency(counted(), padding=0, share=share)(ids, maskable, generator)
    tokens = rows * 19
    assert chosen.sum() == min(math.ceil(share * tokens), int(maskable.sum()))
    assert not (chosen & ~maskable).any()


def test_rows_may_have_more_and_fewer_masked_tokens(tmp_path: Path) -> None:
    text = text_of(tmp_path, documents(40))
    masking = SmoothedByFrequency(torch.from_numpy(text.counts), words().padding)
    found = next(MaskedBatches(PackedRows(text, words(), 32), words(), masking, batch_size=8, seed=0).epoch(0))
    per_row = torch.bincount(found.places // 32, minlength=8)
    assert len(per_row.unique()) > 1 and per_row.sum() == 39, "ceil(0.15 x 8 x 32)"


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
