"""Stage 2: what is simulated, what is drawn, and the flooded loss."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_tagging import tagged_split
from torch import Tensor
from torch.nn import functional as F

from common.encoders.shapes import random_encoder
from common.models.tagger import word_logits
from common.training.word_pieces import TaggedBatch
from replications.token_early_exit.method import TokenExits, WindowBelow, uncertainty
from replications.token_early_exit.sampling import SampledBatch, SampledBatches, Settings, StageOne, flooded_loss

N, C = 4, 5
SPLIT = tagged_split([[1] * (1 + i % 6) for i in range(40)])
SETTINGS = Settings((3, 5, 7), (0.1, 0.4, 0.7))


@pytest.fixture(scope="module")
def said() -> StageOne:
    """Random logits of a stage-1 model, some words sure and some not."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(sum(SPLIT.words), N, C, generator=generator)
    labels = torch.tensor([tag for tags in SPLIT.labels for tag in tags])
    return StageOne.of(logits, labels)


def sampled(said: StageOne, batch_size: int = 10, seed: int = 0) -> SampledBatches:
    return SampledBatches(SPLIT, said, SETTINGS, batch_size, seed)


# -- Simulated exits --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 9), st.sampled_from((1, 3, 5)), st.floats(0.05, 0.6))
def test_the_simulation_is_the_rule_asked_layer_by_layer(words: int, window: int, threshold: float) -> None:
    """On stored logits, exited words counting with what was stored of them; the doubled threshold capped at a half."""
    u = torch.rand(1, words, N, generator=torch.Generator().manual_seed(words))
    is_word = torch.ones(1, words, dtype=torch.bool)
    rule = WindowBelow(window, threshold, cap=0.5)
    active, exits = is_word.clone(), torch.full((1, words), N)
    for i in range(1, N):
        leaving = rule(u[..., i - 1], is_word, active, i, N)
        exits[leaving] = i
        active &= ~leaving
    assert torch.equal(rule.exits(u, is_word), exits)


def test_what_is_stored_are_uncertainty_and_loss_of_each_word_and_layer() -> None:
    logits, labels = torch.randn(6, N, C), torch.randint(C, (6,))
    said = StageOne.of(logits, labels)
    torch.testing.assert_close(said.uncertainties, uncertainty(logits))
    for i in range(N):
        expected = F.cross_entropy(logits[:, i], labels, reduction="none")
        torch.testing.assert_close(said.losses[:, i], expected)


def test_a_word_gets_what_was_stored_of_it(said: StageOne) -> None:
    begins = [sum(SPLIT.words[:row]) for row in range(len(SPLIT))]
    for batch in sampled(said).epoch(0):
        for place, row in enumerate(batch.tagged.rows.tolist()):
            words = SPLIT.words[row]
            own = said.losses[begins[row] : begins[row] + words]
            torch.testing.assert_close(batch.flood[place, :words], own)
            assert not batch.flood[place, words:].any()


# -- Draws ------------------------------------------------------------------------------------------------------------


def test_four_of_ten_sentences_run_at_full_depth_and_two_are_extreme(
    said: StageOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bool] = []
    original = SampledBatches.draw

    def watched(self: SampledBatches, generator: torch.Generator, *, extreme: bool) -> WindowBelow:
        drawn.append(extreme)
        return original(self, generator, extreme=extreme)

    monkeypatch.setattr(SampledBatches, "draw", watched)
    (*_, batch) = sampled(said).epoch(0)
    assert len(drawn) == 6 * 4, "four batches of ten, six draws each"
    assert drawn[:6] == [True, True, False, False, False, False]
    whole = [bool((exits[words] == N).all()) for exits, words in zip(batch.exits, batch.tagged.is_word, strict=True)]
    assert sum(whole) >= 4


def test_an_extreme_draw_changes_one_of_the_two_by_a_coin(said: StageOne) -> None:
    batches, generator = sampled(said), torch.Generator().manual_seed(0)
    rules = [batches.draw(generator, extreme=True) for _ in range(300)]
    assert all(rule.window == 3 or rule.threshold == 0.7 for rule in rules)
    assert any(rule.window != 3 for rule in rules) and any(rule.threshold != 0.7 for rule in rules)
    plain = [batches.draw(generator, extreme=False) for _ in range(300)]
    assert {(rule.window, rule.threshold) for rule in plain} == {(w, d) for w in (3, 5, 7) for d in (0.1, 0.4, 0.7)}
    assert {rule.cap for rule in (*rules, *plain)} == {0.5}


def test_the_sandwich_falls_on_random_sentences_and_not_on_the_longest() -> None:
    """Batches are sorted by length inside: who is last is no chance. All are sure here: only the spared are whole."""
    sure = torch.zeros(sum(SPLIT.words), N)
    batches, whole = sampled(StageOne(sure, sure)), torch.zeros(10)
    for number in range(60):
        for batch in batches.epoch(number):
            whole += (batch.exits[:, 0] == N).float()
    assert whole.sum() == 60 * 4 * 4
    assert whole.min() > 60 and whole.max() < 140, "96 of 240 batches each, by chance"


def test_draws_follow_from_seed_and_epoch_alone(said: StageOne) -> None:
    def exits(seed: int, number: int) -> list[Tensor]:
        return [batch.exits for batch in sampled(said, seed=seed).epoch(number)]

    def equal(a: list[Tensor], b: list[Tensor]) -> bool:
        return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))

    assert equal(exits(0, 1), exits(0, 1))
    assert not equal(exits(0, 1), exits(0, 2))
    assert not equal(exits(0, 1), exits(1, 1))


# -- The flooded loss -------------------------------------------------------------------------------------------------


def answering(logits: Tensor) -> Callable[[TaggedBatch, Tensor], Tensor]:
    return lambda batch, exits: logits


def by_words(logits: Tensor, batch: SampledBatch) -> Tensor:
    """(n,) mean over words of |l - l0|, one by one."""
    layers = []
    for i in range(N):
        own = [
            (F.cross_entropy(logits[b, w, i], batch.tagged.labels[b, w]) - batch.flood[b, w, i]).abs()
            for b, w in batch.tagged.is_word.nonzero().tolist()
        ]
        layers.append(torch.stack(own).mean())
    return torch.stack(layers)


def test_each_words_term_is_flooded_at_its_stage_one_loss_and_padding_does_not_count(said: StageOne) -> None:
    batch = next(iter(sampled(said).epoch(0)))
    assert not batch.tagged.is_word.all(), "there must be padding"
    logits = torch.randn(*batch.tagged.labels.shape, N, C)
    layers = by_words(logits, batch)
    expected = (layers * torch.arange(1, N + 1)).sum() / 10
    torch.testing.assert_close(flooded_loss(answering(logits), batch), expected)


def test_at_its_stage_one_losses_the_model_has_nothing_to_learn_in_sum() -> None:
    """In evaluation mode and at full depth the stage-1 model itself has a loss of 0."""
    model = TokenExits.fresh(random_encoder("tiny"), C, seed=0).eval()
    labels = torch.tensor([tag for tags in SPLIT.labels for tag in tags])
    said = StageOne.of(word_logits(model, SPLIT, torch.device("cpu")), labels)
    batch = next(iter(sampled(said).epoch(0)))
    whole = SampledBatch(batch.tagged, torch.full_like(batch.exits, N), batch.flood)
    assert flooded_loss(model, whole).item() == pytest.approx(0.0, abs=1e-5)


def test_below_its_flood_a_loss_is_pushed_up(said: StageOne) -> None:
    """The gradient of |l - l0| turns round: a word that does better than after stage 1 is let go."""
    batch = next(iter(sampled(said).epoch(0)))
    batch = SampledBatch(batch.tagged, batch.exits, torch.full_like(batch.flood, 5.0))
    right = batch.tagged.labels.clamp_min(0)
    logits = (3.0 * F.one_hot(right, C).float()[:, :, None].expand(-1, -1, N, -1)).clone().requires_grad_()
    flooded_loss(answering(logits), batch).backward()
    assert logits.grad is not None
    own = logits.grad.gather(3, right[..., None, None].expand(-1, -1, N, 1))
    assert (own[batch.tagged.is_word] > 0).all(), "the right tag's logit is to fall"


def test_exited_words_go_on_to_teach_later_layers() -> None:
    """A mask on them is overwritten in the official code."""
    model = TokenExits.fresh(random_encoder("tiny"), C, seed=0).eval()
    tagged = SPLIT.batch([3])
    batch = SampledBatch(tagged, torch.ones_like(tagged.labels), torch.zeros(*tagged.labels.shape, N))
    flooded_loss(model, batch).backward()
    grads = [head.classifier.weight.grad for head in model.heads]
    assert all(grad is not None and bool(grad.any()) for grad in grads)
