"""PABEE's model and loss, and the traps in which paper and official code differ (card, section 6)."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kit.toy_splits import split_of
from torch import Tensor, nn
from torch.nn import functional as F

from common.early_exit.multi_exit import depth_weighted
from common.early_exit.runtime import all_exits, collect_logits, run_early_exit, simulate
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import find_shape, random_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.training.batches import BucketedBatches
from common.training.loop import TrainingPlan, fit
from replications.pabee.method import (
    PABEE,
    AgreeingClasses,
    AgreeingValues,
    Exits,
    adamw_with_exits_at,
    joint_loss,
    leaves_after,
    leaves_within,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> LayeredEncoder:
    return random_encoder("tiny", seed=0).eval()


@pytest.fixture
def model(encoder: LayeredEncoder) -> PABEE:
    return PABEE.fresh(encoder, 2, seed=1).eval()


def decisive(model: PABEE) -> PABEE:
    """With classifiers large enough that samples differ in their answers."""
    for name, parameter in model.exits.classifiers.named_parameters():
        nn.init.normal_(parameter, std=3.0 if name.endswith("weight") else 0.01)
    return model


# -- Architecture -----------------------------------------------------------------------------------------------------


def test_an_exit_is_the_shared_tanh_pooler_and_a_linear_map_of_its_own(model: PABEE) -> None:
    hidden = torch.randn(3, 7, model.encoder.hidden_size)
    pooled = torch.tanh(hidden[:, 0] @ model.exits.pooler.weight.T + model.exits.pooler.bias)
    for index in range(1, model.num_layers + 1):
        classifier = model.exits.classifiers[index - 1]
        expected = F.linear(pooled, classifier.weight, classifier.bias)  # type: ignore[arg-type]
        torch.testing.assert_close(model.exit_logits(index, hidden, None), expected)


def test_there_is_one_pooler_and_it_starts_as_the_pretrained_one(encoder: LayeredEncoder) -> None:
    model = PABEE.fresh(encoder, 2, seed=0)
    assert encoder.pooler_dense is not None
    assert torch.equal(model.exits.pooler.weight, encoder.pooler_dense.weight)
    assert len([name for name, _ in model.exits.named_parameters() if "pooler" in name]) == 2
    assert len(model.exits.classifiers) == encoder.num_layers
    assert model.encoder.embeddings is not encoder.embeddings, "training must not reach the pretrained encoder"


def test_twelve_exits_add_as_many_parameters_as_the_card_computes() -> None:
    """(n-1)(HC + C) = 25,377 for 12 layers and 3 classes."""
    encoder = random_encoder("bert-base", device="meta")
    plain = sum(p.numel() for p in PooledClassifier(768, 3).parameters())
    with torch.device("meta"):
        exits = sum(p.numel() for p in Exits(encoder.num_layers, 768, 3).parameters())
    assert exits - plain == 25_377


def test_classifiers_start_small_with_zero_bias(encoder: LayeredEncoder) -> None:
    classifiers = PABEE.fresh(encoder, 50, seed=0).exits.classifiers
    weights = torch.cat([c.weight.flatten() for c in classifiers])  # type: ignore[union-attr,operator]
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert all((c.bias == 0).all() for c in classifiers)  # type: ignore[union-attr,operator]


def test_dropout_before_the_exits_is_the_classifiers_own() -> None:
    """ALBERT's second release has no hidden dropout, but 0.1 before the classifier."""
    albert = PABEE.fresh(random_encoder(replace(find_shape("tiny-albert"), dropout=0.0)), 2, seed=0)
    assert albert.encoder.config.hidden_dropout_prob == 0.0
    assert albert.exits.dropout.p == 0.1
    assert PABEE.fresh(random_encoder("tiny"), 2, seed=0).exits.dropout.p == 0.1


def test_a_model_survives_saving(model: PABEE, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = PABEE.load(tmp_path)
    assert not loaded.training
    batch = split_of(5).batch(range(5))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(batch), model(batch), rtol=0, atol=0)


def test_all_exits_still_share_one_pooler_after_saving_and_loading(model: PABEE, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded, batch = PABEE.load(tmp_path), split_of(5).batch(range(5))
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]
    with torch.inference_mode():
        before = loaded(batch)
        loaded.exits.pooler.bias += 1.0
        moved = (loaded(batch) - before).abs().amax(dim=(0, 2))
    assert (moved > 1e-4).all(), "what one exit's training does to the pooler, all others feel"


# -- Loss and training ------------------------------------------------------------------------------------------------


def test_the_loss_weighs_exit_j_by_j() -> None:
    """The official code starts at weight 1 for the first exit and multiplies by index + 1 afterwards: the same."""
    logits, labels = torch.randn(5, 4, 3), torch.tensor([0, 1, 2, 1, 0])
    losses = [F.cross_entropy(logits[:, j], labels) for j in range(4)]
    by_hand = (1 * losses[0] + 2 * losses[1] + 3 * losses[2] + 4 * losses[3]) / 10
    torch.testing.assert_close(depth_weighted(logits, labels), by_hand)
    total, weights = losses[0], 1
    for index, loss in enumerate(losses[1:], 1):
        total, weights = total + loss * (index + 1), weights + index + 1
    torch.testing.assert_close(depth_weighted(logits, labels), total / weights)


def test_twelve_exits_have_the_denominator_78() -> None:
    one_wrong = torch.zeros(1, 12, 1)
    one_wrong[0, 2, 0] = 1.0
    assert depth_weighted(one_wrong, torch.zeros(1)).item() == pytest.approx(3 / 78)


def test_a_regression_learns_by_squared_error() -> None:
    logits, targets = torch.tensor([[[1.0], [2.0]], [[3.0], [5.0]]]), torch.tensor([2.0, 5.0])
    assert depth_weighted(logits, targets).item() == pytest.approx((1 * (1 + 4) / 2 + 2 * 0) / 3)


def test_every_exit_and_the_encoder_learn_together(encoder: LayeredEncoder, tmp_path: Path) -> None:
    model, split = PABEE.fresh(encoder, 2, seed=0), split_of(64)
    before = {k: v.clone() for k, v in model.named_parameters()}
    plan = TrainingPlan(learning_rate=1e-3, epochs=2, batch_size=16, seed=0)
    optimizer = adamw_with_exits_at(5e-3)
    report = fit(
        model,
        BucketedBatches(split, 16, 0),
        joint_loss,
        plan,
        checkpoint=tmp_path / "c",
        progress=lambda done, total: None,
        make_optimizer=optimizer,
    )
    unmoved = [k for k, v in model.named_parameters() if torch.equal(v, before[k])]
    assert all("encoder.model.pooler" in name for name in unmoved), "the encoder's own pooler is not used"
    assert 0 < report.last_epoch_loss < 2


def test_encoder_and_exits_may_have_rates_of_their_own(model: PABEE) -> None:
    plan = TrainingPlan(learning_rate=2e-4, epochs=1, batch_size=16, seed=0)
    encoder_group, exits_group = adamw_with_exits_at(2e-3)(model, plan).param_groups
    assert (encoder_group["lr"], exits_group["lr"]) == (2e-4, 2e-3)
    assert {id(p) for p in exits_group["params"]} == {id(p) for p in model.exits.parameters()}
    assert {id(p) for p in encoder_group["params"]} == {id(p) for p in model.encoder.parameters()}


# -- Patience: the official loop, the runtime, the traps --------------------------------------------------------------


def official_loop(logits: Tensor, patience: int, tau: float | None) -> tuple[int, Tensor]:
    """The card's pseudo-code (section 2.4) for one sample's (n, C) logits."""
    count, previous = 0, None
    for layer, z in enumerate(logits, 1):
        if previous is None:
            same = False
        elif tau is None:
            same = bool(z.argmax() == previous.argmax())
        else:
            same = bool((z - previous).abs() < tau)
        count = count + 1 if same else 0
        previous = z
        if count == patience:
            return layer, z
    return len(logits), logits[-1]


@pytest.mark.parametrize("patience", [1, 2, 3, 6, 11])
def test_the_rule_is_the_official_loop(patience: int) -> None:
    logits = torch.randn(300, 12, 2, generator=torch.Generator().manual_seed(patience))
    ours = simulate(logits, leaves_after(patience, 12))
    for row in range(300):
        layer, z = official_loop(logits[row], patience, None)
        assert ours.exit_layer[row] == layer
        assert torch.equal(ours.logits[row], z)


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_the_regression_rule_is_the_official_loop(patience: int) -> None:
    logits = torch.randn(300, 12, 1, generator=torch.Generator().manual_seed(patience)).cumsum(1) / 4
    ours = simulate(logits, leaves_within(0.3, patience, 12))
    assert len(ours.exit_layer.unique()) > 3
    for row in range(300):
        assert ours.exit_layer[row] == official_loop(logits[row], patience, 0.3)[0]


def test_figure_1s_example_leaves_at_layer_4() -> None:
    """With t = 1 the sample whose third and fourth exits first agree leaves at layer 4."""
    answers = torch.tensor([0, 1, 0, 0, 1, 1])
    outcome = simulate(F.one_hot(answers, 2).float()[None], leaves_after(1, 6))
    assert outcome.exit_layer.tolist() == [4]


def test_counting_starts_over_after_a_disagreement() -> None:
    answers = torch.tensor([0, 0, 1, 1, 1, 0])
    outcome = simulate(F.one_hot(answers, 2).float()[None], leaves_after(2, 6))
    assert outcome.exit_layer.tolist() == [5]


def test_the_answer_is_the_last_executed_exits_not_a_vote() -> None:
    logits = torch.tensor([[[1.0, 0.0], [5.0, 0.0], [2.0, 0.0], [0.0, 9.0]]])
    assert simulate(logits, leaves_after(2, 4)).logits.tolist() == [[2.0, 0.0]]


def test_the_greatest_patience_runs_everything() -> None:
    agreeing = torch.zeros(5, 12, 2)
    assert (simulate(agreeing, leaves_after(11, 12)).exit_layer == 12).all()
    assert (simulate(agreeing, leaves_after(10, 12)).exit_layer == 11).all()


def test_ties_go_to_the_lower_class() -> None:
    logits = torch.tensor([[[1.0, 1.0, 0.0], [3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    assert simulate(logits, leaves_after(1, 3)).exit_layer.tolist() == [2]


def test_each_sample_of_a_batch_agrees_for_itself(model: PABEE) -> None:
    """The official code compares whole batches: all leave together, when all agree, and count as one sample."""
    split, rule = split_of(40), leaves_after(1, 4)
    logits = collect_logits(decisive(model), split.by_length(16), 40, CPU)
    outcome = run_early_exit(model, split.batch(range(40)), rule)
    assert len(outcome.exit_layer) == 40
    assert len(outcome.exit_layer.unique()) > 1, "the test wants samples that leave at different layers"
    answers = logits.argmax(-1)
    whole_batch = next((i for i in range(2, 5) if (answers[:, i - 1] == answers[:, i - 2]).all()), 4)
    assert (outcome.exit_layer <= whole_batch).all()
    assert (outcome.exit_layer < whole_batch).any()


def test_any_batch_size_leaves_as_one_by_one(model: PABEE) -> None:
    split = split_of(40)
    logits = collect_logits(decisive(model), split.by_length(16), 40, CPU)
    for patience in (1, 2, 3):
        rule = leaves_after(patience, 4)
        simulated = simulate(logits, rule)
        batched = run_early_exit(model, split.batch(range(40)), rule)
        singles = [run_early_exit(model, split.batch([row]), rule) for row in range(40)]
        assert torch.equal(batched.exit_layer, torch.cat([s.exit_layer for s in singles]))
        assert torch.equal(batched.exit_layer, simulated.exit_layer)
        assert torch.equal(batched.logits.argmax(-1), simulated.logits.argmax(-1))


def test_full_depth_is_the_last_exit_as_a_plain_classifier(model: PABEE) -> None:
    head = PooledClassifier(model.encoder.hidden_size, 2).eval()
    head.pooler, head.classifier = model.exits.pooler, model.exits.classifiers[-1]  # type: ignore[assignment]
    batch = split_of(6).batch(range(6))
    with torch.inference_mode():
        plain = EncoderClassifier(model.encoder, head)(batch)
        every = all_exits(model, batch)
    torch.testing.assert_close(run_early_exit(model, batch, leaves_after(3, 4)).logits, plain)
    torch.testing.assert_close(every[:, -1], plain)


def test_the_regression_comparison_is_strict_and_tolerance_0_never_leaves() -> None:
    steps = torch.tensor([[[0.0], [0.5], [1.0], [1.5]]])
    assert simulate(steps, leaves_within(0.5, 1, 4)).exit_layer.tolist() == [4]
    assert simulate(steps, leaves_within(0.50001, 1, 4)).exit_layer.tolist() == [2]
    assert simulate(torch.zeros(1, 4, 1), leaves_within(0.0, 1, 4)).exit_layer.tolist() == [4]


def test_values_agree_with_their_neighbours_not_with_the_first() -> None:
    """0.0, 0.4, 0.8 drift apart by 0.8, yet each step is below 0.5."""
    drifting = torch.tensor([[[0.0], [0.4], [0.8], [1.2]]])
    assert simulate(drifting, leaves_within(0.5, 2, 4)).exit_layer.tolist() == [3]


# -- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_below_1_is_refused(patience: int) -> None:
    """Patience 0 is a special case of the official code (full depth), against the definition (leave at once)."""
    with pytest.raises(UserError, match=f"1 or more; got {patience}"):
        AgreeingClasses(patience)
    with pytest.raises(UserError, match="full depth"):
        AgreeingValues(patience, 0.1)
    with pytest.raises(UserError, match="1 or more"):
        leaves_after(patience, 12)


@pytest.mark.parametrize("patience", [12, 13, 100])
def test_patience_beyond_the_depth_is_refused(patience: int) -> None:
    with pytest.raises(UserError, match=f"expected a patience of 1 to 11, got {patience}"):
        leaves_after(patience, 12)
    with pytest.raises(UserError, match=f"expected a patience of 1 to 11, got {patience}"):
        leaves_within(0.1, patience, 12)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_outside_its_range_is_refused(tolerance: float) -> None:
    with pytest.raises(UserError, match="0 or more and finite"):
        AgreeingValues(1, tolerance)


def test_a_regression_refuses_the_rule_for_classes_and_the_other_way_round(encoder: LayeredEncoder) -> None:
    batch = split_of(3, regression=True).batch(range(3))
    with pytest.raises(UserError, match="needs classes"):
        run_early_exit(PABEE.fresh(encoder, 1, seed=0).eval(), batch, leaves_after(1, 4))
    with pytest.raises(UserError, match="have 2 classes"):
        run_early_exit(PABEE.fresh(encoder, 2, seed=0).eval(), batch, leaves_within(0.1, 1, 4))
