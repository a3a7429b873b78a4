"""DeFormer's model and losses, and the traps in which paper and official code differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from kit.toy_run import quiet
from torch import Tensor, nn
from torch.nn import functional as F
from toy_pairs import LAYOUT, RUNS_ON, batch_of, split_of

from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import MEAN, POOLINGS
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.models.span_reader import SpanHead, SpanReader
from common.training.batches import Batch, BucketedBatches, padded_ids
from common.training.loop import TrainingPlan, fit
from common.training.segments import SegmentLayout, TwoSegmentBatch, padded
from replications.deformer.method import (
    DeFormer,
    Joint,
    LossWeights,
    check_k,
    distillation_loss,
    plain_loss,
    similarity_loss,
    taught_loss,
)

KINDS = ("tiny", "tiny-mpnet")
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=KINDS)
def encoder(request: pytest.FixtureRequest) -> LayeredEncoder:
    return random_encoder(request.param, seed=0).eval()


def reader(encoder: LayeredEncoder, k: int) -> DeFormer:
    return DeFormer.reader(encoder, k, seed=0).eval()


def in_a_row(encoder: LayeredEncoder, batch: TwoSegmentBatch) -> dict[str, Tensor]:
    """The arguments with which transformers' own model sees both segments, each at its own positions."""
    ids, begin = torch.cat([batch.first.input_ids, batch.second.input_ids], dim=1), batch.second.first_position
    if encoder.config.model_type == "mpnet":
        # Counted from 2, padding not counted.
        def counted(ids: Tensor, begin: int) -> Tensor:
            real = ids.ne(1).long()
            return (real.cumsum(1) + begin) * real + 1

        places = torch.cat([counted(batch.first.input_ids, 0), counted(batch.second.input_ids, begin)], dim=1)
        return {"input_ids": ids, "attention_mask": batch.attention_mask, "position_ids": places}
    lengths = [s.input_ids.shape[1] for s in (batch.first, batch.second)]
    places = torch.cat([torch.arange(lengths[0]), torch.arange(begin, begin + lengths[1])])
    types = torch.cat([batch.first.token_type_ids, batch.second.token_type_ids], dim=1)
    return {
        "input_ids": ids,
        "attention_mask": batch.attention_mask,
        "position_ids": places[None].expand(len(ids), -1),
        "token_type_ids": types,
    }


# -- Architecture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "begin"), [(LAYOUT, 0), (RUNS_ON, 8)])
def test_k_0_is_the_full_model_with_that_layout(encoder: LayeredEncoder, layout: SegmentLayout, begin: int) -> None:
    """Trap: where positions begin, token type 1 on the second segment's padding too, a padded slot for the first."""
    model, batch = reader(encoder, 0), batch_of(6, layout=layout)
    assert batch.second.first_position == begin
    with torch.inference_mode():
        states = encoder.model(**in_a_row(encoder, batch)).last_hidden_state
        torch.testing.assert_close(model(batch), model.head(states), rtol=0, atol=1e-5)


def test_k_0_is_the_plain_reader_where_positions_run_on_behind_the_question_itself(encoder: LayeredEncoder) -> None:
    """Where they begin anew it is another model: nothing else parts the two."""
    model, split = reader(encoder, 0), split_of(6)
    plain = SpanReader(encoder, cast(SpanHead, model.head)).eval()
    for row, question in enumerate(split.first_ids):
        batch = split.batch([row])
        if encoder.config.model_type == "mpnet":
            # Its relative positions count the padding of the slot.
            batch = replace(batch, first=padded([question], 0, 0, 0))
        behind = replace(batch, second=replace(batch.second, first_position=len(question)))
        real = batch.attention_mask.bool()
        with torch.inference_mode():
            torch.testing.assert_close(model(behind)[real], plain(batch)[real], rtol=0, atol=1e-5)
            assert not torch.allclose(model(batch)[real], plain(batch)[real], rtol=0, atol=1e-3)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_k_0_is_the_plain_classifier_where_positions_run_on_behind_the_first_text_itself(pooling: str) -> None:
    encoder, split = random_encoder("tiny").eval(), split_of(6, classes=3)
    model = DeFormer.classifier(encoder, 0, 3, seed=0, pooling=pooling).eval()
    plain = EncoderClassifier(encoder, cast(PooledClassifier, model.head), pooling).eval()
    for row, (first, second) in enumerate(zip(split.first_ids, split.second_ids, strict=True)):
        ids, mask = padded_ids([first + second], 0)
        types = torch.tensor([[0] * len(first) + [1] * len(second)])
        batch = split.batch([row])
        behind = replace(batch, second=replace(batch.second, first_position=len(first)))
        with torch.inference_mode():
            expected = plain(Batch(ids, mask, types, batch.labels, batch.rows))
            torch.testing.assert_close(model(behind), expected, rtol=0, atol=1e-5)


def test_positions_of_the_second_segment_restart_whatever_the_first(encoder: LayeredEncoder) -> None:
    """With positions that ran on, a passage would look different under a longer question's slot."""
    model, batch = reader(encoder, 2), batch_of(3)
    longer = split_of(3, layout=SegmentLayout(40, 20)).batch(range(3))
    longer = TwoSegmentBatch(longer.first, batch.second, batch.labels, batch.rows)
    with torch.inference_mode():
        assert torch.equal(model.lower(batch.second), model.lower(longer.second))
        states = model.joint(TwoSegmentBatch(batch.second, batch.second, batch.labels, batch.rows)).states
    assert torch.isfinite(states[-1]).all()


def test_positions_of_the_second_segment_run_on_behind_the_slot_whatever_the_question(encoder: LayeredEncoder) -> None:
    """Below scale paper: behind the slot, which a layout fixes; behind the question they would change with it."""
    model, split = reader(encoder, 2), split_of(3, layout=RUNS_ON)
    anew, wider = (split_of(3, layout=layout) for layout in (LAYOUT, replace(RUNS_ON, max_seq=38, max_first=20)))
    with torch.inference_mode():
        apart = model.lower(split.batch([0]).second)
        for question in split.first_ids:
            asked = replace(split, first_ids=(question,) * 3).batch([0])
            assert torch.equal(model.lower(asked.second), apart)
        for other in (anew, replace(wider, second_ids=split.second_ids)):
            moved = other.batch([0]).second
            assert torch.equal(moved.input_ids, split.batch([0]).second.input_ids)
            assert not torch.allclose(model.lower(moved), apart, rtol=0, atol=1e-3)


def entering(model: DeFormer, batch: TwoSegmentBatch) -> Tensor:
    """The states of both segments as the first joint layer is given them."""
    seen: list[Tensor] = []
    layer = model.encoder.layer_module(model.k + 1)
    with layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])):
        model.joint(batch)
    return seen[0]


@pytest.mark.parametrize("layout", [LAYOUT, RUNS_ON], ids=["anew", "running on"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_no_information_crosses_below_k_and_it_does_above(
    encoder: LayeredEncoder, k: int, layout: SegmentLayout
) -> None:
    model, batch = reader(encoder, k), batch_of(4, layout=layout)
    other = split_of(4, layout=layout, seed=1).batch(range(4)).first
    changed = TwoSegmentBatch(other, batch.second, batch.labels, batch.rows)
    with torch.inference_mode():
        first, second = model.joint(batch), model.joint(changed)
        before, after = (entering(model, each) for each in (batch, changed))
    slot = LAYOUT.first_slot
    assert torch.equal(before[:, slot:], after[:, slot:]), "what enters layer k + 1 of the passage"
    assert not torch.equal(before[:, :slot], after[:, :slot])
    text = batch.second_text[:, slot:]
    for u, v in zip(first.states, second.states, strict=True):
        assert (u[:, slot:] - v[:, slot:]).abs().amax(-1)[text].min() > 1e-6, "every joint layer sees the question"
    assert len(first.states) == encoder.num_layers - k


@pytest.mark.parametrize("k", [0, 2])
def test_padding_between_and_behind_changes_nothing(encoder: LayeredEncoder, k: int) -> None:
    """Of a batch each row is what it is alone, in slots filled wholly or only to the longest."""
    model, split = reader(encoder, k), split_of(5)
    whole = split_of(5, layout=SegmentLayout(LAYOUT.max_seq, LAYOUT.max_first, whole_slots=True))
    with torch.inference_mode():
        together, wide = model(split.batch(range(5))), model(whole.batch(range(5)))
        for row in range(5):
            alone = split.batch([row])
            tokens = alone.attention_mask[0].bool().nonzero()[:, 0]
            torch.testing.assert_close(together[row, tokens], model(alone)[0, tokens], rtol=0, atol=1e-5)
            torch.testing.assert_close(wide[row, tokens], model(alone)[0, tokens], rtol=0, atol=1e-5)


def test_the_same_layers_see_both_segments_and_nothing_is_added(encoder: LayeredEncoder) -> None:
    counts = {sum(p.numel() for p in reader(encoder, k).parameters()) for k in range(4)}
    own = sum(p.numel() for p in encoder.parameters()) + 2 * encoder.hidden_size + 2
    assert counts == {own}


@pytest.mark.parametrize("k", [-1, 4, 5])
def test_k_leaves_a_layer_apart_and_one_joint(encoder: LayeredEncoder, k: int) -> None:
    with pytest.raises(UserError, match=f"expected 1 to 3, got {k}"):
        DeFormer.reader(encoder, k, seed=0)
    with pytest.raises(UserError, match="got 0"):
        check_k(0, 4)


def test_a_classifier_reads_the_first_segments_cls_through_the_pooler() -> None:
    encoder = random_encoder("tiny").eval()
    model, batch = DeFormer.classifier(encoder, 2, 3, seed=0).eval(), batch_of(4, classes=3)
    assert encoder.pooler_dense is not None
    assert torch.equal(model.head.pooler.weight, encoder.pooler_dense.weight)
    with torch.inference_mode():
        found = model.joint(batch)
        torch.testing.assert_close(found.pooled, torch.tanh(encoder.pooler_dense(found.states[-1][:, 0])))
        torch.testing.assert_close(found.logits, model.head.classifier(found.pooled))
        mean = DeFormer.classifier(encoder, 2, 3, seed=0, pooling=MEAN).eval().joint(batch)
        present = batch.attention_mask[..., None].float()
        read = (mean.states[-1] * present).sum(1) / present.sum(1)
        torch.testing.assert_close(mean.pooled, torch.tanh(encoder.pooler_dense(read)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["reader", "classifier"])
def test_a_model_survives_saving(encoder: LayeredEncoder, tmp_path: Path, kind: str) -> None:
    if kind == "reader":
        model, batch = reader(encoder, 2), batch_of(3)
    else:
        model, batch = DeFormer.classifier(encoder, 2, 3, seed=0, pooling=MEAN).eval(), batch_of(3, classes=3)
    model.save(tmp_path)
    loaded = DeFormer.load(tmp_path)
    assert (loaded.k, loaded.pooling, loaded.training) == (2, model.pooling, False)
    with torch.inference_mode():
        assert torch.equal(loaded(batch), model(batch))


# -- Losses -----------------------------------------------------------------------------------------------------------


def test_without_auxiliary_losses_a_readers_loss_is_a_sum_and_with_them_a_mean() -> None:
    """Trap: plain readers sum begin and end, the taught one halves."""
    encoder = random_encoder("tiny").eval()
    model, teacher, batch = reader(encoder, 2), reader(random_encoder("tiny", seed=1).eval(), 0), batch_of(4)
    logits = model(batch)
    parts = [F.cross_entropy(logits[..., side], batch.labels[:, side]) for side in (0, 1)]
    torch.testing.assert_close(plain_loss(model, batch), parts[0] + parts[1])
    alone = taught_loss(teacher, LossWeights(0.0, 0.0, 3.0))
    torch.testing.assert_close(alone(model, batch), 3 * (parts[0] + parts[1]) / 2)


def test_training_looks_at_every_position_and_decoding_at_the_passage_alone() -> None:
    """Trap: logits on question and padding are in the softmax of the loss."""
    encoder = random_encoder("tiny").eval()
    model, batch = reader(encoder, 2), batch_of(4)
    logits = model(batch).detach().requires_grad_()
    for loss in (
        F.cross_entropy(logits[..., 0], batch.labels[:, 0]),
        distillation_loss(logits, torch.randn(logits.shape)),
    ):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient[..., 0] != 0).all(), "question and padding positions, too"
    assert not batch.second_text[:, : LAYOUT.first_slot].any()


def test_kd_is_from_teacher_to_student_at_temperature_2_times_4() -> None:
    """Trap: the paper prints the other direction and no temperature."""
    u, v = torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[1.0, -1.0, 0.5]])
    p, q = (v / 2).softmax(-1), (u / 2).softmax(-1)
    code = 4 * (p * (p / q).log()).sum()
    printed = 4 * (q * (q / p).log()).sum()
    torch.testing.assert_close(distillation_loss(u, v), code)
    torch.testing.assert_close(distillation_loss(u, v, "paper"), printed)
    assert not torch.isclose(code, printed, rtol=1e-2)


def test_kd_of_a_reader_averages_begin_and_end_over_the_batch() -> None:
    u, v = torch.randn(3, 7, 2), torch.randn(3, 7, 2)
    each = [distillation_loss(u[..., side], v[..., side]) for side in (0, 1)]
    torch.testing.assert_close(distillation_loss(u, v), (each[0] + each[1]) / 2)
    rows = [distillation_loss(u[i : i + 1], v[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(distillation_loss(u, v), torch.stack(rows).mean())


def test_lrs_is_a_mean_over_elements_of_the_layers_above_k_alone() -> None:
    """Trap: no sum of norms (768 times as large at BERT's width), no layer k; padding and the pooled vector count."""
    teacher = Joint(torch.zeros(0), [torch.full((2, 5, 3), float(i)) for i in (9, 9, 1, 2)], None)
    student = Joint(torch.zeros(0), [torch.zeros(2, 5, 3), torch.zeros(2, 5, 3)], None)
    assert similarity_loss(student, teacher).item() == pytest.approx((1 + 4) / 2)
    pooled = similarity_loss(
        student._replace(pooled=torch.zeros(2, 3)), teacher._replace(pooled=torch.full((2, 3), 4.0))
    )
    assert pooled.item() == pytest.approx((1 + 4 + 16) / 3)
    one_token = [s.clone() for s in student.states]
    one_token[0][0, 4] = 1.0  # The other nine tokens of the layer differ by 1 still.
    assert similarity_loss(student._replace(states=one_token), teacher).item() == pytest.approx((0.9 + 4) / 2)


@pytest.mark.parametrize("classes", [0, 3])
def test_the_whole_loss_has_the_three_weights(classes: int) -> None:
    encoder = random_encoder("tiny").eval()
    if classes:
        model = DeFormer.classifier(encoder, 2, classes, seed=0).eval()
        teacher = DeFormer.classifier(random_encoder("tiny", seed=1).eval(), 0, classes, seed=1).eval()
    else:
        model, teacher = reader(encoder, 2), reader(random_encoder("tiny", seed=1).eval(), 0)
    batch = batch_of(4, classes=classes)
    mine, taught = model.joint(batch), teacher.joint(batch)
    task = plain_loss(model, batch) / (1 if classes else 2)
    kd, lrs = distillation_loss(mine.logits, taught.logits), similarity_loss(mine, taught)
    found = taught_loss(teacher, LossWeights(1.1, 0.5, 0.7))(model, batch)
    torch.testing.assert_close(found, 0.7 * task + 1.1 * kd + 0.5 * lrs)
    alone = taught_loss(teacher, LossWeights(0.3, 0.0, 0.0))(model, batch)
    torch.testing.assert_close(alone, 0.3 * kd, msg="a weight of 0 leaves the task loss out; trap: 1 - alpha - beta")


def test_the_teacher_has_the_same_layout_and_does_not_learn(tmp_path: Path) -> None:
    """Trap: k = 0 in two segments, so that tokens line up; its weights stay."""
    teacher = reader(random_encoder("tiny", seed=1), 0)
    model = DeFormer.reader(random_encoder("tiny"), 2, seed=0)
    before = {name: p.clone() for name, p in teacher.named_parameters()}
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    plan = TrainingPlan(learning_rate=1e-3, epochs=1, batch_size=8, seed=0)
    teacher.train()
    loss = taught_loss(teacher, LossWeights(1.1, 0.5, 0.7))
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    fit(model, BucketedBatches(split_of(16), 8, 0), loss, plan, checkpoint=tmp_path / "c", progress=quiet)
    assert all(torch.equal(p, before[name]) for name, p in teacher.named_parameters())
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name])}
    layers = {name.split("layer.")[1].split(".")[0] for name in moved if "encoder.layer." in name}
    assert layers == {"0", "1", "2", "3"}, "lower layers learn as well"
    assert any("word_embeddings" in name for name in moved)
    batch = batch_of(3)
    assert teacher.joint(batch).states[-1].shape == model.joint(batch).states[-1].shape


def test_gradients_reach_the_lower_layers_from_both_segments() -> None:
    model, batch = DeFormer.reader(random_encoder("tiny"), 3, seed=0), batch_of(4)
    for segment in ("first", "second"):
        model.zero_grad()
        a, b = model.lower(batch.first), model.lower(batch.second)
        a, b = (a, b.detach()) if segment == "first" else (a.detach(), b)
        plain = F.cross_entropy(model.upper(a, b, batch.attention_mask).logits[..., 0], batch.labels[:, 0])
        plain.backward()
        grads = [p.grad for p in model.encoder.layer_module(1).parameters()]
        assert any(grad is not None and bool(grad.any()) for grad in grads)


def test_modules_are_those_of_the_encoder(encoder: LayeredEncoder) -> None:
    assert isinstance(reader(encoder, 2).head, nn.Linear)
