"""Bort's model, its losses and its head, against formulas by hand and transformers' own modules."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, RobertaConfig
from transformers.models.roberta.modeling_roberta import RobertaClassificationHead

from common.costs.flops import EncoderShape
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier
from common.training.batches import Batch
from common.training.pretraining.batches import MaskedBatch
from replications.bort.distillation import (
    BortClassifier,
    distillation_loss,
    fresh_model,
    released_cross_entropy,
    teacher_cross_entropy,
)
from replications.bort.method import BORT, Architecture

SMALL = Architecture(2, 4, 32, 24)
VOCABULARY = 97


def batch(rows: int = 3, length: int = 8) -> MaskedBatch:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, VOCABULARY, (rows, length), generator=generator)
    places = torch.tensor([1, 6, 9, 18])
    return MaskedBatch(ids, None, None, None, places, ids.flatten()[places])


def logits(seed: int, rows: int = 4) -> Tensor:
    return 3 * torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed))


# -- Losses --------------------------------------------------------------------------------------------------------


def test_the_distillation_term_is_the_kl_at_temperature_2_summed_over_the_vocabulary() -> None:
    student, teacher = logits(0), logits(1)
    p, q = (torch.softmax(z.double() / 2, dim=-1) for z in (teacher, student))
    by_hand = 4 * (p * (p.log() - q.log())).sum() / 4
    torch.testing.assert_close(teacher_cross_entropy(student, teacher).double(), by_hand, rtol=1e-5, atol=1e-6)


def test_its_gradient_is_that_of_a_cross_entropy_with_one_softmax() -> None:
    """The trap of the released code: a second softmax on the student, and a mean over the vocabulary."""
    student, teacher = logits(0).requires_grad_(), logits(1)
    (ours,) = torch.autograd.grad(teacher_cross_entropy(student, teacher), student)
    expected = 2 * (torch.softmax(student / 2, -1) - torch.softmax(teacher / 2, -1)) / 4
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    (released,) = torch.autograd.grad(released_cross_entropy(student, teacher), student)
    assert released.norm() < ours.norm() / VOCABULARY
    assert F.cosine_similarity(released.flatten(), ours.flatten(), dim=0) < 0.9


def test_the_released_term_has_two_softmaxes_and_the_mean_over_the_vocabulary() -> None:
    student, teacher = logits(0), logits(1)
    p = torch.softmax(teacher / 2, -1)
    twice = torch.log_softmax(torch.softmax(student / 2, -1), -1)
    by_hand = 4 * (p * (p.log() - twice)).mean()
    torch.testing.assert_close(released_cross_entropy(student, teacher), by_hand, rtol=1e-4, atol=1e-6)


def test_a_student_that_answers_as_its_teacher_has_no_distillation_loss() -> None:
    torch.testing.assert_close(teacher_cross_entropy(logits(0), logits(0)), torch.zeros(()), rtol=0, atol=1e-6)


def test_the_loss_weighs_masked_tokens_with_a_tenth_and_the_teacher_with_a_half() -> None:
    student = fresh_model(SMALL, VOCABULARY, 0, seed=0).eval()
    answers, found = logits(2), batch()
    loss = distillation_loss(lambda _: answers)(student, found)
    own = student(found)
    expected = 0.1 * F.cross_entropy(own, found.targets) + 0.5 * teacher_cross_entropy(own, answers)
    torch.testing.assert_close(loss, expected)
    without = distillation_loss(lambda _: own.detach())(student, found)
    torch.testing.assert_close(without, 0.1 * F.cross_entropy(own, found.targets), rtol=1e-4, atol=1e-5)


def test_a_teacher_is_asked_without_gradients_and_a_teacher_of_other_words_is_refused() -> None:
    student = fresh_model(SMALL, VOCABULARY, 0, seed=0)
    teacher = fresh_model(Architecture(2, 4, 48, 24), VOCABULARY, 0, seed=1)
    distillation_loss(teacher)(student, batch()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert any(p.grad is not None for p in student.parameters())
    with pytest.raises(UserError, match="They need one vocabulary"):
        teacher_cross_entropy(logits(0), logits(1)[:, :50])


# -- The model -----------------------------------------------------------------------------------------------------


def test_bort_has_the_released_shapes() -> None:
    """75.1 million parameters, not the printed 56; no pooler, no token types, 50,265 words, 512 positions."""
    shape = EncoderShape.from_config(BORT.shape().config())
    assert (shape.layers, shape.heads, shape.hidden, shape.intermediate) == (4, 8, 1024, 768)
    encoder = random_encoder(BORT.shape(), device="meta")
    assert encoder.pooler_dense is None
    count = sum(p.numel() for p in encoder.parameters()) - 1024  # The module's one token type.
    assert round(count / 1e6, 2) == 75.11
    assert encoder.config.layer_norm_eps == 1e-5


def test_the_encoder_is_transformers_bert_on_the_same_weights() -> None:
    encoder = random_encoder(SMALL.shape(VOCABULARY, padding=0), seed=3)
    theirs = AutoModel.from_config(encoder.config, add_pooling_layer=False).eval()
    theirs.load_state_dict(encoder.model.state_dict())
    ids = torch.randint(5, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < torch.tensor([9, 6, 3])[:, None]).long()
    with torch.inference_mode():
        states = theirs(ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(encoder(ids, mask)[mask.bool()], states[mask.bool()], rtol=1e-5, atol=1e-5)


def texts() -> Batch:
    ids = torch.randint(5, VOCABULARY, (5, 7), generator=torch.Generator().manual_seed(0))
    return Batch(ids, torch.ones_like(ids), None, torch.zeros(5, dtype=torch.long), torch.arange(5))


def test_the_classifier_has_robertas_head_on_the_first_token() -> None:
    """Dropout, dense, tanh, dropout, dense: transformers has that head for RoBERTa."""
    encoder = random_encoder(SMALL.shape(VOCABULARY, padding=0), seed=3)
    model = BortClassifier.fresh(encoder, 3, seed=0, pooling="first token", spread=0.5).eval()
    head = RobertaClassificationHead(RobertaConfig(hidden_size=32, num_labels=3)).eval()
    head.dense.load_state_dict(model.head.pooler.state_dict())
    head.out_proj.load_state_dict(model.head.classifier.state_dict())
    found = texts()
    with torch.inference_mode():
        torch.testing.assert_close(model(found), head(encoder(found.input_ids, None)), rtol=1e-5, atol=1e-5)


def test_dropout_stands_before_the_tanh_layer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = random_encoder(SMALL.shape(VOCABULARY, padding=0), seed=3)
    model = BortClassifier.fresh(encoder, 2, seed=0, pooling="first token", spread=None).eval()
    asked: list[Tensor] = []
    monkeypatch.setattr(model.head.dropout, "forward", lambda x: asked.append(x) or x)
    model(texts())
    assert len(asked) == 2


def test_the_heads_tanh_layer_is_drawn_anew_even_if_the_encoder_has_a_pooler() -> None:
    """The released script asks for a pooler and gets none: nothing pretrained ends up in the head."""
    encoder = random_encoder("tiny", seed=0)
    assert encoder.pooler_dense is not None
    model = BortClassifier.fresh(encoder, 2, seed=0, pooling="first token", spread=0.5)
    assert not torch.equal(model.head.pooler.weight, encoder.pooler_dense.weight)
    for linear in (model.head.pooler, model.head.classifier):
        assert 0.4 < linear.weight.abs().max() <= 0.5
        assert abs(linear.weight.std().item() - 0.5 / 3**0.5) < 0.05
        assert not linear.bias.any()
    small = BortClassifier.fresh(encoder, 2, seed=0, pooling="first token", spread=None)
    assert small.head.pooler.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_the_same_seed_draws_the_same_head_and_the_encoder_is_a_copy() -> None:
    encoder = random_encoder("tiny", seed=0)
    one, same, other = (BortClassifier.fresh(encoder, 2, seed=seed, pooling="mean", spread=None) for seed in (0, 0, 1))
    assert torch.equal(one.head.pooler.weight, same.head.pooler.weight)
    assert not torch.equal(one.head.pooler.weight, other.head.pooler.weight)
    nn.init.zeros_(next(one.encoder.parameters()))
    assert next(encoder.parameters()).any()


def test_a_classifier_survives_saving(tmp_path: Path) -> None:
    encoder = random_encoder(SMALL.shape(VOCABULARY, padding=0), seed=3)
    model = BortClassifier.fresh(encoder, 2, seed=0, pooling="mean", spread=0.5).eval()
    model.save(tmp_path)
    loaded = EncoderClassifier.load(tmp_path)
    assert isinstance(loaded.encoder, LayeredEncoder) and loaded.encoder.pooler_dense is None
    with torch.inference_mode():
        torch.testing.assert_close(loaded(texts()), model(texts()), rtol=0, atol=0)


def test_equal_seeds_draw_equal_models_and_the_head_may_begin_with_word_counts() -> None:
    one, same, other = (fresh_model(SMALL, VOCABULARY, 0, seed=seed) for seed in (0, 0, 1))
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.table, other.table)
    counts = torch.arange(VOCABULARY)
    assert not one.head.bias.any()
    assert fresh_model(SMALL, VOCABULARY, 0, 0, counts).head.bias.argmax() == VOCABULARY - 1
