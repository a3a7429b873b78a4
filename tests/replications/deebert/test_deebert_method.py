"""DeeBERT's method and the traps in which paper and official code differ (card, section 6)."""

import math
from pathlib import Path

import pytest
import torch
from kit.toy_run import quiet
from kit.toy_splits import split_of
from torch import nn

from common.early_exit.multi_exit import Heads, MultiExit
from common.early_exit.runtime import collect_logits, run_early_exit, simulate
from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import FIRST_TOKEN, MEAN, POOLINGS
from common.encoders.shapes import random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier, task_loss
from common.tasks.task import Example, Task
from common.training.batches import Batch
from common.training.finetune import new_classifier
from common.training.frozen import FrozenBatches, frozen_states
from common.training.loop import TrainingPlan, fit
from replications.deebert.method import fresh_off_ramps, leaves_below, off_ramp_loss, with_off_ramps

CPU = torch.device("cpu")
MANY = Task("many", tuple(map(str, range(100))), "accuracy", "builtin", (), ())
TASK = Task("toy", ("a", "b"), "accuracy", "builtin", (Example("x", None, 0),), (Example("y", None, 1),))


@pytest.fixture(scope="module")
def encoder() -> LayeredEncoder:
    return random_encoder("tiny", seed=0).eval()


@pytest.fixture
def model(encoder: LayeredEncoder) -> MultiExit:
    return with_off_ramps(new_classifier(encoder, TASK, seed=1), fresh_off_ramps(encoder, 2, seed=1)).eval()


def test_an_off_ramp_is_a_tanh_pooler_dropout_and_a_linear_layer(model: MultiExit) -> None:
    hidden = torch.randn(3, 7, model.encoder.hidden_size)
    ramp = model.heads[1]
    pooled = torch.tanh(hidden[:, 0] @ ramp.pooler.weight.T + ramp.pooler.bias)
    expected = pooled @ ramp.classifier.weight.T + ramp.classifier.bias
    torch.testing.assert_close(model.exit_logits(2, hidden, None), expected)
    assert ramp.dropout.p == 0.1


def test_poolers_start_as_copies_of_the_pretrained_pooler_not_shared(encoder: LayeredEncoder) -> None:
    ramps = fresh_off_ramps(encoder, 2, seed=0)
    pretrained = encoder.pooler_dense
    assert pretrained is not None
    assert len(ramps) == encoder.num_layers - 1
    for ramp in ramps:
        assert torch.equal(ramp.pooler.weight, pretrained.weight)
        assert ramp.pooler.weight.data_ptr() != pretrained.weight.data_ptr()
    assert ramps[0].pooler is not ramps[1].pooler


def test_off_ramp_classifiers_start_small_with_zero_bias(encoder: LayeredEncoder) -> None:
    weights = torch.cat([ramp.classifier.weight.flatten() for ramp in fresh_off_ramps(encoder, 30, seed=0)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.1)
    assert all((ramp.classifier.bias == 0).all() for ramp in fresh_off_ramps(encoder, 2, seed=0))


def test_the_main_classifier_of_bert_is_drawn_small() -> None:
    classifier = new_classifier(random_encoder("tiny"), MANY, seed=0).head.classifier
    assert classifier.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert (classifier.bias == 0).all()


def test_the_main_classifier_of_roberta_keeps_pytorchs_initialisation() -> None:
    """The official RoBERTa class never calls its own init_weights: uniform up to 1 / sqrt(H), bias included."""
    head = new_classifier(random_encoder("tiny-roberta"), MANY, seed=0).head
    bound = 1 / math.sqrt(head.classifier.in_features)
    for drawn in (head.classifier.weight, head.classifier.bias):
        assert 0.97 * bound < drawn.abs().max().item() <= bound
        assert drawn.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)
    assert isinstance(head, PooledClassifier), "RoBERTa too has pooler and one linear layer, not dense-tanh-out_proj"


def test_the_threshold_is_in_nats_and_the_comparison_strict() -> None:
    """Equation 2 is not divided by ln C: over three classes the entropy goes up to 1.099."""
    undecided, surer = torch.zeros(3), torch.tensor([math.log(2.0), 0.0, 0.0])
    highest, lower = math.log(3), 1.5 * math.log(2)
    exits = torch.stack([undecided, surer, surer, surer])[None]
    for threshold, layer in ((lower - 1e-3, 4), (lower + 1e-3, 2), (highest - 1e-3, 2), (highest + 1e-3, 1)):
        assert simulate(exits, leaves_below(threshold)).exit_layer.tolist() == [layer]
    certain = torch.tensor([200.0, 0.0, 0.0]).expand(1, 4, 3)
    assert simulate(certain, leaves_below(0.0)).exit_layer.tolist() == [4], "an entropy of 0 is not below S = 0"


def test_the_last_exit_is_always_the_main_classifier(model: MultiExit) -> None:
    """The official code builds an n-th off-ramp that nothing trains and lets it answer below S."""
    assert len(model.heads) == model.num_layers, "no further off-ramp at layer n"
    main = model.heads[-1]
    hidden = torch.randn(4, 5, model.encoder.hidden_size)
    torch.testing.assert_close(model.exit_logits(model.num_layers, hidden, None), main(hidden[:, 0]))
    batch = split_of(6).batch(range(6))
    at_zero = run_early_exit(model, batch, leaves_below(0.0))
    plain = EncoderClassifier(model.encoder, main)
    with torch.inference_mode():
        torch.testing.assert_close(at_zero.logits, plain(batch), rtol=1e-5, atol=1e-5)
    assert (at_zero.exit_layer == model.num_layers).all()


def test_any_batch_size_leaves_as_one_by_one(model: MultiExit) -> None:
    """The official code raises an exception to exit and compares one-element tensors: batch 1 only."""
    split = split_of(40)
    for ramp in model.heads[:-1]:
        nn.init.normal_(ramp.classifier.weight, std=3.0)
    logits = collect_logits(model, split.by_length(16), len(split), CPU)
    for threshold in (0.1, 0.3, 0.5):
        simulated = simulate(logits, leaves_below(threshold))
        batched = run_early_exit(model, split.batch(range(40)), leaves_below(threshold))
        singles = [run_early_exit(model, split.batch([row]), leaves_below(threshold)) for row in range(40)]
        assert torch.equal(batched.exit_layer, torch.cat([s.exit_layer for s in singles]))
        assert torch.equal(batched.exit_layer, simulated.exit_layer)
        assert torch.equal(batched.logits.argmax(-1), simulated.logits.argmax(-1))
        assert len(batched.exit_layer.unique()) > 1, "the test wants samples that leave at different layers"


def test_stage_two_trains_the_off_ramps_alone(model: MultiExit, tmp_path: Path) -> None:
    classifier = EncoderClassifier(model.encoder, model.heads[-1])
    off_ramps = Heads.reading(FIRST_TOKEN, model.heads[:-1])
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    ramps_before = {k: v.clone() for k, v in off_ramps.state_dict().items()}
    states = frozen_states(classifier, split_of(32), CPU, 8)
    assert not states.states.requires_grad, "no gradient reaches the encoder, nor the norm that clips"
    plan = TrainingPlan(learning_rate=1e-2, epochs=2, batch_size=8, seed=0)
    fit(off_ramps, FrozenBatches(states, 8, 0), off_ramp_loss, plan, checkpoint=tmp_path / "c", progress=quiet)
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())
    moved = [not torch.equal(v, ramps_before[k]) for k, v in off_ramps.state_dict().items()]
    assert all(moved)


def test_the_loss_is_the_plain_sum_over_off_ramps(model: MultiExit) -> None:
    classifier = EncoderClassifier(model.encoder, model.heads[-1])
    off_ramps = Heads.reading(FIRST_TOKEN, model.heads[:-1])
    split = split_of(12)
    states = frozen_states(classifier, split, CPU, 5)
    batch: Batch = split.batch(range(12))
    with torch.inference_mode():
        hidden = model.encoder.hidden_states(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        by_hand = sum(
            task_loss(model.exit_logits(i, hidden[i], None), batch.labels) for i in range(1, model.num_layers)
        )
        ours = off_ramp_loss(off_ramps, states)
    torch.testing.assert_close(ours, torch.as_tensor(by_hand), rtol=1e-5, atol=1e-5)


def test_a_regression_has_one_output_and_mean_squared_error() -> None:
    logits, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0])
    assert task_loss(logits, targets).item() == pytest.approx((1 + 4) / 2)


def test_off_ramps_survive_saving(encoder: LayeredEncoder, tmp_path: Path) -> None:
    ramps = fresh_off_ramps(encoder, 3, seed=5)
    ramps.save(tmp_path)
    loaded = Heads.load(tmp_path)
    assert not loaded.training
    for key, value in ramps.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_off_ramps_read_what_the_main_classifier_reads(encoder: LayeredEncoder, tmp_path: Path) -> None:
    """Of a backbone that was tuned to be read as a mean, padding left out, first tokens tell an off-ramp nothing."""
    classifier = new_classifier(encoder, TASK, seed=1, pooling=MEAN)
    fresh_off_ramps(encoder, 2, seed=1, pooling=MEAN).save(tmp_path)
    model = with_off_ramps(classifier, Heads.load(tmp_path)).eval()
    batch = split_of(9).batch(range(9))
    hidden, mask = model.embed(batch)
    assert mask is not None, "the test wants padding"
    torch.testing.assert_close(model.exit_logits(1, hidden, mask), model.heads[0](POOLINGS[MEAN](hidden, mask)))
    states = frozen_states(classifier, split_of(9), CPU, 9)
    with torch.inference_mode():
        h1 = model.layer(1, hidden, mask)
    torch.testing.assert_close(states.states[:, 0], POOLINGS[MEAN](h1, mask), rtol=1e-4, atol=1e-5)
