"""The cascade, its rule and its loss, and the traps in which paper and official code differ (card, section 6)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from kit.toy_splits import split_of
from torch import Tensor
from torch.nn import functional as F

from common.early_exit.rules import ConfidenceAbove
from common.early_exit.runtime import all_exits, collect_logits, run_early_exit, simulate
from common.encoders.shapes import find_shape, random_encoder
from common.errors import UserError
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.training.batches import Batch, EncodedSplit
from replications.cascadebert.method import (
    Cascade,
    calibrated_loss,
    closed_form,
    confidence,
    dar_loss,
    executed_layers,
    settles_above,
    share_passed_on,
)

CPU = torch.device("cpu")


def classifier(
    layers: int, *, classes: int = 2, seed: int = 0, shape: str = "tiny", std: float = 3.0
) -> EncoderClassifier:
    """With a head large enough that texts differ in their confidence."""
    encoder = random_encoder(replace(find_shape(shape), layers=layers), seed=seed)
    torch.manual_seed(seed)
    head = PooledClassifier(encoder.hidden_size, classes)
    torch.nn.init.normal_(head.classifier.weight, std=std)
    return EncoderClassifier(encoder, head).eval()


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return Cascade([classifier(1), classifier(4, seed=1)]).eval()


def median_threshold(cascade: Cascade, split: EncodedSplit) -> float:
    """One that passes on about half; between two confidences, so that rounding decides nothing."""
    logits = collect_logits(cascade, split.by_length(16), len(split), CPU)[:, 0]
    ordered = torch.softmax(logits.double(), -1).amax(-1).sort().values
    middle = len(ordered) // 2
    return float((ordered[middle - 1] + ordered[middle]) / 2)


class Counting:
    """Counts the texts that each model of a cascade reads."""

    def __init__(self, cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = [0] * cascade.num_layers
        for index, model in enumerate(cascade.models):
            assert isinstance(model, EncoderClassifier)
            monkeypatch.setattr(model.encoder, "encode", self.counted(index, model.encoder.encode))

    def counted(self, index: int, encode: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(ids: Tensor, *more: Tensor | None) -> Tensor:
            self.read[index] += len(ids)
            return encode(ids, *more)

        return run


# -- Inference --------------------------------------------------------------------------------------------------------


def test_each_model_answers_as_it_does_alone(cascade: Cascade) -> None:
    batch = split_of(12, segments=True).batch(range(12))
    with torch.inference_mode():
        every = all_exits(cascade, batch)
        for index, model in enumerate(cascade.models):
            torch.testing.assert_close(every[:, index], model(batch))


def test_a_tokenizer_without_segments_serves_too(cascade: Cascade) -> None:
    batch = split_of(6).batch(range(6))
    assert cascade.embed(batch)[0].shape[-1] == 1
    with torch.inference_mode():
        torch.testing.assert_close(all_exits(cascade, batch)[:, 1], cascade.models[1](batch))


def test_any_batch_size_settles_as_one_by_one(cascade: Cascade) -> None:
    split = split_of(40, segments=True)
    rule = settles_above(median_threshold(cascade, split))
    simulated = simulate(collect_logits(cascade, split.by_length(16), 40, CPU), rule)
    batched = run_early_exit(cascade, split.batch(range(40)), rule)
    singles = [run_early_exit(cascade, split.batch([row]), rule) for row in range(40)]
    assert simulated.exit_layer.bincount().tolist() == [0, 20, 20]
    assert torch.equal(batched.exit_layer, torch.cat([s.exit_layer for s in singles]))
    assert torch.equal(batched.exit_layer, simulated.exit_layer)
    assert torch.equal(batched.logits.argmax(-1), simulated.logits.argmax(-1))
    torch.testing.assert_close(batched.logits, simulated.logits)


def test_the_big_model_reads_only_what_is_passed_on(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official code runs every model on everyone and picks afterwards."""
    split, counts = split_of(40, segments=True), Counting(cascade, monkeypatch)
    rule = settles_above(median_threshold(cascade, split))
    counts.read = [0, 0]
    run_early_exit(cascade, split.batch(range(40)), rule)
    assert counts.read == [40, 20]
    all_exits(cascade, split.batch(range(40)))
    assert counts.read == [80, 60]


def test_the_big_model_is_not_run_when_nobody_is_passed_on(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counting(cascade, monkeypatch)
    outcome = run_early_exit(cascade, split_of(9, segments=True).batch(range(9)), settles_above(0.0))
    assert counts.read == [9, 0]
    assert (outcome.exit_layer == 1).all()


def test_padding_that_nobody_needs_is_cut_off(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest text is settled first; the others do not carry its columns on."""
    lengths: list[int] = []
    encode = cascade.models[1].encoder.encode  # type: ignore[union-attr]

    def watched(ids: Tensor, *more: Tensor | None) -> Tensor:
        lengths.append(ids.shape[1])
        return encode(ids, *more)  # type: ignore[operator,no-any-return]

    monkeypatch.setattr(cascade.models[1].encoder, "encode", watched)
    split = EncodedSplit(((7,) * 20, (8, 9, 10), (11, 12)), None, torch.zeros(3, dtype=torch.long), 0)

    def longest_settled(state: object) -> Tensor:
        return torch.tensor([True, False, False])

    run_early_exit(cascade, split.batch(range(3)), longest_settled)
    assert lengths == [3]


def test_the_comparison_is_strict_and_1_passes_everything_on() -> None:
    sure = torch.tensor([[[60.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
    assert simulate(sure, settles_above(1.0)).exit_layer.tolist() == [2, 2]
    assert simulate(sure, settles_above(0.5)).exit_layer.tolist() == [1, 2], "a confidence of exactly 0.5 is passed on"


def test_no_temperature_enters_the_confidence() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    assert confidence(logits).item() == pytest.approx(1 / (1 + torch.exp(torch.tensor(-2.0)).item()))
    below, above = 0.8807, 0.8808
    state = torch.stack([logits, logits], dim=1)
    assert simulate(state, settles_above(below)).exit_layer.tolist() == [1]
    assert simulate(state, settles_above(above)).exit_layer.tolist() == [2]


def test_each_model_has_its_own_configuration() -> None:
    """Official code: one config for all, so that the small model had 12 layers, 10 of them random, and one width."""
    wide = classifier(4, seed=1)
    narrow_shape = replace(find_shape("tiny"), layers=2, hidden=32, heads=2, intermediate=64)
    encoder = random_encoder(narrow_shape)
    narrow = EncoderClassifier(encoder, PooledClassifier(32, 2)).eval()
    cascade = Cascade([narrow, wide])
    assert cascade.depths == (2, 4)
    assert len([n for n, _ in narrow.encoder.named_parameters() if n.endswith("attention.self.query.weight")]) == 2
    batch = split_of(5, segments=True).batch(range(5))
    assert run_early_exit(cascade, batch, settles_above(1.0)).logits.shape == (5, 2)


def test_the_big_model_alone_is_not_the_small_ones_answers(cascade: Cascade) -> None:
    """Official code: every inference mode but `cascade` silently returns the small model's logits."""
    batch = split_of(20, segments=True).batch(range(20))
    with torch.inference_mode():
        big, small = cascade.models[1](batch), cascade.models[0](batch)
    passed = run_early_exit(cascade, batch, settles_above(1.0)).logits
    torch.testing.assert_close(passed, big)
    assert not torch.allclose(passed, small)


def test_three_models_pass_on_twice() -> None:
    cascade = Cascade([classifier(1), classifier(2, seed=1), classifier(4, seed=2)]).eval()
    outcome = run_early_exit(cascade, split_of(6, segments=True).batch(range(6)), settles_above(1.0))
    assert outcome.exit_layer.tolist() == [3] * 6
    assert executed_layers(outcome.exit_layer, cascade.depths).tolist() == [7] * 6


# -- Accounting -------------------------------------------------------------------------------------------------------


def test_layers_are_2_or_14() -> None:
    """The official trainer's list [2, 14] over a base of 12; here counted from the models."""
    assert executed_layers(torch.tensor([1, 2, 1]), (2, 12)).tolist() == [2, 14, 2]
    assert executed_layers(torch.tensor([1, 2]), (1, 6)).tolist() == [1, 7]


@pytest.mark.parametrize(
    ("passed_on", "speedup", "saving"),
    [(31, 4.121, 0.7574), (59, 3.213, 0.6887), (87, 2.632, 0.6201), (124, 2.125, 0.5294)],
)
def test_the_closed_form_gives_the_released_runs_numbers(passed_on: int, speedup: float, saving: float) -> None:
    settled = torch.where(torch.arange(408) < passed_on, 2, 1)
    mean = executed_layers(settled, (2, 12)).double().mean().item()
    assert 12 / mean == pytest.approx(speedup, abs=6e-4)
    assert 1 - mean / 12 == pytest.approx(saving, abs=6e-5)
    assert closed_form(passed_on / 408, 2, 12) == pytest.approx(12 / mean)


@pytest.mark.parametrize(("speedup", "share"), [(2, 1 / 3), (3, 1 / 6), (4, 1 / 12), (6, 0), (12 / 14, 1)])
def test_the_share_passed_on_inverts_the_closed_form(speedup: float, share: float) -> None:
    assert share_passed_on(speedup, 2, 12) == pytest.approx(share)
    assert closed_form(share, 2, 12) == pytest.approx(speedup)


def test_one_of_six_layers_has_the_papers_closed_form() -> None:
    for share in (0.0, 0.1, 0.5, 1.0):
        assert closed_form(share, 1, 6) == pytest.approx(closed_form(share, 2, 12))


@pytest.mark.parametrize("speedup", [6.01, 0.85, 0.0, -1.0])
def test_a_speedup_that_no_share_gives_is_refused(speedup: float) -> None:
    with pytest.raises(UserError, match="reaches speed-ups from 0.86 to 6.00"):
        share_passed_on(speedup, 2, 12)


# -- Difficulty-aware regularisation ----------------------------------------------------------------------------------


def test_the_loss_is_a_margin_between_easy_and_hard() -> None:
    sure, unsure = torch.tensor([0.9, 0.6]), torch.tensor([False, True])
    assert dar_loss(sure, unsure, 0.5).item() == pytest.approx(0.2)
    assert dar_loss(sure, ~unsure, 0.5).item() == pytest.approx(0.8)
    assert dar_loss(torch.tensor([0.99, 0.4]), unsure, 0.5).item() == 0.0


def test_it_equals_the_sign_form_of_the_card() -> None:
    """max(0, -g (c(a) - c(b)) + eps), g = +1 where a is the easier one; and PyTorch's margin ranking loss."""
    easy, hard = torch.rand(50), torch.tensor([0.7])
    mine = dar_loss(torch.cat([easy, hard]), torch.arange(51) == 50, 0.3)
    torch.testing.assert_close(mine, (0.3 - (easy - hard)).clamp(min=0).mean())
    torch.testing.assert_close(mine, F.margin_ranking_loss(hard.expand(50), easy, -torch.ones(50), margin=0.3))


def test_it_averages_over_the_easy_ones_and_draws_a_hard_one_for_each() -> None:
    confidences = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.1, 0.8])
    hard = torch.tensor([False] * 4 + [True] * 2)
    seen = set()
    for seed in range(40):
        torch.manual_seed(seed)
        seen.add(round(dar_loss(confidences, hard, 0.5).item(), 4))
    assert seen == {0.0, 0.1, 0.2, 0.3, 0.4}, "0 to 4 of the four easy ones draw the surer hard one"


@pytest.mark.parametrize("hard", [True, False])
def test_a_batch_of_one_level_is_not_regularised(hard: bool) -> None:
    confidences = torch.tensor([0.9, 0.6], requires_grad=True)
    loss = dar_loss(confidences, torch.full((2,), hard), 0.5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert confidences.grad is not None and (confidences.grad == 0).all()


def test_training_pushes_easy_up_and_hard_down() -> None:
    confidences = torch.tensor([0.6, 0.7], requires_grad=True)
    dar_loss(confidences, torch.tensor([False, True]), 0.5).backward()  # type: ignore[no-untyped-call]
    assert confidences.grad is not None
    assert confidences.grad.tolist() == [-1.0, 1.0]


def test_the_small_models_loss_is_cross_entropy_and_the_weighted_margin() -> None:
    model, batch = classifier(1), split_of(8, segments=True).batch([6, 7, 0, 1])
    hard = torch.tensor([True, False, False, False, False, False, False, True])
    torch.manual_seed(0)
    found = calibrated_loss(hard, 0.5, 0.25)(model, batch)
    logits = model(batch)
    torch.manual_seed(0)
    regular = dar_loss(confidence(logits), torch.tensor([False, True, True, False]), 0.5)
    assert regular > 0
    torch.testing.assert_close(found, F.cross_entropy(logits, batch.labels) + 0.25 * regular)


def test_regularisation_touches_the_small_model_alone(cascade: Cascade) -> None:
    batch = split_of(8, segments=True).batch(range(8))
    small = cascade.models[0]
    assert isinstance(small, EncoderClassifier)
    calibrated_loss(torch.arange(8) < 4, 0.5, 0.5)(small, batch).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in cascade.models[1].parameters())
    assert any(p.grad is not None for p in small.parameters())
    cascade.zero_grad()


# -- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold: float) -> None:
    with pytest.raises(UserError, match="0 to 1"):
        settles_above(threshold)


def test_models_with_different_labels_are_refused() -> None:
    with pytest.raises(UserError, match="the same labels; they have 2, 3"):
        Cascade([classifier(1), classifier(2, classes=3)])


def test_one_model_is_no_cascade() -> None:
    with pytest.raises(UserError, match="at least two models"):
        Cascade([classifier(1)])


def test_an_empty_batch_is_refused(cascade: Cascade) -> None:
    nothing = Batch(*(torch.zeros(0, 3, dtype=torch.long),) * 3, torch.zeros(0), torch.zeros(0))
    with pytest.raises(UserError, match="the batch is empty"):
        run_early_exit(cascade, nothing, settles_above(0.5))


def test_a_batch_of_one_is_served(cascade: Cascade) -> None:
    outcome = run_early_exit(cascade, split_of(1, segments=True).batch([0]), settles_above(0.0))
    assert (outcome.logits.shape, outcome.exit_layer.tolist()) == ((1, 2), [1])


def test_a_regression_has_no_confidence() -> None:
    cascade = Cascade([classifier(1, classes=1), classifier(2, classes=1)]).eval()
    with pytest.raises(UserError, match="needs classes"):
        run_early_exit(cascade, split_of(3, segments=True).batch(range(3)), ConfidenceAbove(0.5))
