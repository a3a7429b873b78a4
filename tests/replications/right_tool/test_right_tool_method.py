"""RightTool's model, loss, temperatures and rule, and the traps in which paper and official code differ."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.costs.flops import EncoderShape
from common.costs.parameters import encoder_parameters
from common.early_exit.runtime import collect_logits, run_early_exit, simulate
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.training.batches import BucketedBatches, EncodedSplit
from common.training.loop import TrainingPlan, fit
from replications.right_tool.method import (
    HOTTEST,
    LEARNED,
    RELEASED,
    Classifier,
    ConfidenceAtLeast,
    RightTool,
    calibrate,
    classifier_layers,
    fit_temperature,
    joint_loss,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> LayeredEncoder:
    return random_encoder("tiny", seed=0).eval()


@pytest.fixture
def model(encoder: LayeredEncoder) -> RightTool:
    """Four layers, classifiers after 1, 3 and 4, decisive enough that samples differ."""
    model = RightTool.fresh(encoder, 2, seed=1).eval()
    for classifier in model.classifiers:
        nn.init.normal_(classifier.linear.weight, std=3.0)
    return model


def split_of(count: int) -> EncodedSplit:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 12, (count,), generator=generator).tolist()
    ids = tuple(tuple(torch.randint(5, 1000, (n,), generator=generator).tolist()) for n in lengths)
    return EncodedSplit(ids, None, torch.randint(2, (count,), generator=generator), 0)


def by_hand(model: RightTool, split: EncodedSplit, read: str = "first token") -> Tensor:
    """(N, J, C) of every classifier, from the encoder's hidden states and the card's equations, one text at a time."""
    answers = []
    for row in range(len(split)):
        batch = split.batch([row])
        states = model.encoder.hidden_states(batch.input_ids, batch.attention_mask)[1:]
        vectors = [torch.tanh(model.pooler(h[:, 0] if read == "first token" else h.mean(1))) for h in states]
        mixed = []
        for classifier, depth in zip(model.classifiers, model.depths, strict=True):
            r = sum(w / classifier.mix.norm() * v for w, v in zip(classifier.mix, vectors[:depth], strict=True))
            mixed.append(classifier.linear(r))
        answers.append(torch.stack(mixed, dim=1))
    return torch.cat(answers)


def trained(encoder: LayeredEncoder, folder: Path, mix: str) -> tuple[RightTool, dict[str, Tensor]]:
    """A model after a short training, and its parameters before."""
    model = RightTool.fresh(encoder, 2, seed=0, mix=mix)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    plan = TrainingPlan(learning_rate=1e-3, epochs=2, batch_size=16, seed=0)
    fit(
        model, BucketedBatches(split_of(64), 16, 0), joint_loss, plan, checkpoint=folder / "c", progress=lambda *_: None
    )
    return model, before


# -- Architecture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["first token", "mean"])
def test_a_classifier_mixes_the_pooled_vectors_of_all_layers_up_to_its_own(model: RightTool, read: str) -> None:
    """No softmax, no earlier logits, no token but the one read, one pooler; padding in the batch changes nothing."""
    model.pooling, split = read, split_of(12)
    with torch.inference_mode():
        logits = model(split.batch(range(12)))
        torch.testing.assert_close(logits[:, [0, 2, 3]], by_hand(model, split, read), rtol=1e-4, atol=1e-4)


def test_the_mix_has_unit_length_and_either_sign() -> None:
    torch.manual_seed(0)
    classifier = Classifier(5, 3, 2)
    nn.init.eye_(classifier.linear.weight)
    basis = torch.eye(5, 3)[None].expand(1, 5, 3)
    weights = classifier(basis)[0] - classifier.linear.bias
    assert (classifier.mix < 0).any()
    torch.testing.assert_close(weights, (classifier.mix / classifier.mix.norm())[:2])
    with torch.no_grad():
        classifier.mix *= 7
    torch.testing.assert_close(classifier(basis)[0] - classifier.linear.bias, weights)


def test_layers_are_counted_from_1_and_those_above_the_last_classifier_are_gone(encoder: LayeredEncoder) -> None:
    assert [layer - 1 for layer in classifier_layers(24)] == [0, 4, 12, 23]
    assert [layer - 1 for layer in classifier_layers(12)] == [0, 3, 5, 11]
    assert classifier_layers(6) == (1, 2, 4, 6)
    assert classifier_layers(4) == (1, 3, 4)
    assert classifier_layers(1) == (1,)
    shallow = RightTool.fresh(encoder, 2, seed=0, depths=(1, 2))
    assert shallow.num_layers == shallow.encoder.num_layers == 2


def test_what_is_added_are_the_classifiers_and_mixes_alone(encoder: LayeredEncoder) -> None:
    """8,243, 12,343 and 16,443 parameters: less than 0.005 % of BERT-large."""
    large = EncoderShape.from_config(random_encoder("bert-large", device="meta").config)
    for classes, count in ((2, 8_243), (3, 12_343), (4, 16_443)):
        added = [Classifier(depth, large.hidden, classes) for depth in classifier_layers(24)]
        assert sum(p.numel() for classifier in added for p in classifier.parameters()) == count
        assert count / encoder_parameters(large) < 0.00005
    model = RightTool.fresh(encoder, 2, seed=0)
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"encoder", "classifiers", "pooler"}


def test_the_pooler_starts_as_the_pretrained_one(encoder: LayeredEncoder) -> None:
    assert encoder.pooler_dense is not None
    assert torch.equal(RightTool.fresh(encoder, 2, seed=0).pooler.weight, encoder.pooler_dense.weight)


def test_a_vector_is_dropped_once_for_all_classifiers(model: RightTool) -> None:
    """The official code drops out each layer's pooled vector and keeps it for the classifiers above."""
    model.pooler.train()
    model.dropout.train()
    hidden, mask = model.embed(split_of(1).batch([0]))
    first = model.layer(1, hidden, mask)
    second = model.layer(2, first, mask)
    assert (first[:, 0] == 0).any(), "the test wants something dropped"
    assert torch.equal(second[:, 0], first[:, 0])


def test_between_classifiers_the_last_answer_stands_and_below_the_first_there_is_none(
    model: RightTool, encoder: LayeredEncoder
) -> None:
    with torch.inference_mode():
        logits = model(split_of(3).batch(range(3)))
        alone = RightTool.fresh(encoder, 2, seed=0, depths=(4,)).eval()(split_of(3).batch(range(3)))
    assert torch.equal(logits[:, 1], logits[:, 0])
    assert not torch.equal(logits[:, 2], logits[:, 1])
    assert not alone[:, :3].any()
    assert alone[:, 3].any()


def test_a_model_survives_saving(model: RightTool, tmp_path: Path) -> None:
    batch = split_of(5).batch(range(5))
    model.temperatures.copy_(torch.tensor([0.5, 2.0, 3.0]))
    model.pooling = "mean"
    model.save(tmp_path)
    loaded = RightTool.load(tmp_path)
    assert not loaded.training
    assert loaded.depths == (1, 3, 4)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(batch), model(batch), rtol=0, atol=0)


# -- Training ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_plain_sum_over_classifiers(model: RightTool) -> None:
    """Not over layers: what stands again between classifiers counts once."""
    batch = split_of(8).batch(range(8))
    answers = by_hand(model, split_of(8))
    expected = sum(F.cross_entropy(answers[:, j], batch.labels) for j in range(3))
    torch.testing.assert_close(joint_loss(model, batch), expected, rtol=1e-4, atol=1e-4)


def test_a_learned_mix_moves_and_the_released_one_never_does(encoder: LayeredEncoder, tmp_path: Path) -> None:
    for mix in (LEARNED, RELEASED):
        model, before = trained(encoder, tmp_path / mix, mix)
        moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        mixes = {"classifiers.1.mix", "classifiers.2.mix"}
        assert moved & mixes == (mixes if mix == LEARNED else set())
        assert {"pooler.weight", "classifiers.0.linear.weight"} <= moved


def test_both_mixes_start_from_one_draw(encoder: LayeredEncoder) -> None:
    learned, released = (RightTool.fresh(encoder, 2, seed=3, mix=mix) for mix in (LEARNED, RELEASED))
    for a, b in zip(learned.parameters(), released.parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_classifier_teaches_the_shared_pooler_and_the_layers_below(model: RightTool) -> None:
    batch = split_of(8).batch(range(8))
    for depth in model.depths:
        model.zero_grad()
        F.cross_entropy(model(batch)[:, depth - 1], batch.labels).backward()
        assert model.pooler.weight.grad is not None and model.pooler.weight.grad.any()
        grads = [[p.grad for p in model.encoder.layer_module(i).parameters()] for i in range(1, 5)]
        taught = [any(grad is not None and bool(grad.any()) for grad in layer) for layer in grads]
        assert taught == [True] * depth + [False] * (4 - depth)


def test_temperatures_are_1_in_training_and_no_gradient_reaches_them(encoder: LayeredEncoder, tmp_path: Path) -> None:
    model, _ = trained(encoder, tmp_path, LEARNED)
    assert model.temperatures.tolist() == [1.0, 1.0, 1.0]
    assert "temperatures" not in dict(model.named_parameters())


# -- Temperatures -----------------------------------------------------------------------------------------------------


def official_temperature(logits: Tensor, labels: Tensor) -> float:
    """Adam from T = 1, long enough to arrive."""
    temperature = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.Adam([temperature], lr=0.05)
    for _ in range(800):
        optimizer.zero_grad()
        F.cross_entropy(logits / temperature, labels).backward()
        optimizer.step()
    return temperature.item()


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_a_temperature_is_what_adam_arrives_at(factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 3, generator=generator)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    found = fit_temperature(factor * logits, labels)
    assert found == pytest.approx(official_temperature(factor * logits, labels), rel=1e-2)
    assert found == pytest.approx(factor, rel=0.25), "labels were drawn at a temperature of 1"


def test_a_temperature_stays_finite_where_all_is_right_or_all_is_wrong() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    assert 0 < fit_temperature(logits, torch.tensor([0, 1])) < 0.1
    assert fit_temperature(logits, torch.tensor([1, 0])) == pytest.approx(HOTTEST, rel=1e-2)


def test_each_classifier_gets_its_own_temperature_and_its_answers_stay(model: RightTool) -> None:
    split = split_of(60)
    raw = collect_logits(model, split.by_length(16), 60, CPU)
    calibrate(model, raw, split.labels)
    calibrated = collect_logits(model, split.by_length(16), 60, CPU)
    assert len({round(t, 3) for t in model.temperatures.tolist()}) == 3
    for j, depth in enumerate(model.depths):
        expected = fit_temperature(raw[:, depth - 1], split.labels)
        assert model.temperatures[j].item() == pytest.approx(expected)
        torch.testing.assert_close(calibrated[:, depth - 1] * model.temperatures[j], raw[:, depth - 1])
        assert torch.equal(calibrated[:, depth - 1].argmax(-1), raw[:, depth - 1].argmax(-1))
        before, after = (F.cross_entropy(z[:, depth - 1], split.labels) for z in (raw, calibrated))
        assert after < before


def test_calibrating_again_changes_nothing(model: RightTool) -> None:
    """Also where the labels are noise and a temperature ends at its bound."""
    split, found = split_of(60), []
    for _ in range(2):
        calibrate(model, collect_logits(model, split.by_length(16), 60, CPU), split.labels)
        found.append(model.temperatures.clone())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=0)
    assert not torch.allclose(found[0], torch.ones(3), rtol=0.05)
    assert found[0].max().item() == pytest.approx(HOTTEST, rel=1e-2), "the test wants a classifier that knows nothing"


# -- Use --------------------------------------------------------------------------------------------------------------


def test_the_rule_is_the_official_loop(model: RightTool) -> None:
    """The card's steps for one text: continue to the next classifier until one is sure enough, else the last."""
    split = split_of(40)
    model.temperatures.copy_(torch.tensor([2.0, 0.7, 1.3]))
    answers = by_hand(model, split) / model.temperatures[:, None]
    for threshold in (0.6, 0.9, 0.99):
        outcome = run_early_exit(model, split.batch(range(40)), ConfidenceAtLeast(threshold))
        for row in range(40):
            sure = [j for j in range(3) if answers[row, j].softmax(-1).max() >= threshold]
            j = sure[0] if sure else 2
            assert outcome.exit_layer[row] == model.depths[j]
            torch.testing.assert_close(outcome.logits[row], answers[row, j], rtol=1e-4, atol=1e-4)
    assert len(outcome.exit_layer.unique()) == 3, "the test wants samples that leave everywhere"


def test_each_sample_of_a_batch_leaves_by_itself(model: RightTool) -> None:
    """The official test takes the largest probability of the whole batch."""
    split, rule = split_of(40), ConfidenceAtLeast(0.9)
    batched = run_early_exit(model, split.batch(range(40)), rule)
    singles = [run_early_exit(model, split.batch([row]), rule) for row in range(40)]
    assert torch.equal(batched.exit_layer, torch.cat([s.exit_layer for s in singles]))
    assert torch.equal(
        batched.exit_layer, simulate(collect_logits(model, split.by_length(8), 40, CPU), rule).exit_layer
    )
    assert len(batched.exit_layer.unique()) == 3


def test_the_comparison_is_not_strict_and_only_a_threshold_above_1_never_leaves() -> None:
    even, sure = torch.zeros(1, 3, 2), torch.tensor([[[40.0, 0.0]] * 3])
    assert simulate(even, ConfidenceAtLeast(0.5)).exit_layer.tolist() == [1]
    assert simulate(even, ConfidenceAtLeast(0.5001)).exit_layer.tolist() == [3]
    assert simulate(sure, ConfidenceAtLeast(1.0)).exit_layer.tolist() == [1]
    assert simulate(sure, ConfidenceAtLeast(1.001)).exit_layer.tolist() == [3]


def test_a_higher_threshold_never_leaves_earlier() -> None:
    logits = torch.randn(200, 6, 3, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)[:, None]
    exits = [simulate(logits, ConfidenceAtLeast(t)).exit_layer for t in (0.34, 0.5, 0.7, 0.9, 0.99, 1.1)]
    assert all((low <= high).all() for low, high in pairwise(exits))
    assert (exits[-1] == 6).all()


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(UserError, match="is a probability, or above 1"):
        ConfidenceAtLeast(threshold)


def test_a_regression_is_refused(encoder: LayeredEncoder) -> None:
    with pytest.raises(UserError, match="needs classes"):
        run_early_exit(RightTool.fresh(encoder, 1, seed=0).eval(), split_of(2).batch(range(2)), ConfidenceAtLeast(0.9))
