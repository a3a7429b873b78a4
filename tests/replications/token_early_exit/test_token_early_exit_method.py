"""The model, the rules and the runtime of SENTEE and TOKEE, and the traps in which paper and official code differ."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_tagging import tagged_split
from torch import Tensor, nn
from torch.nn import functional as F

from common.costs.flops import EncoderShape, layer_flops
from common.encoders.layer_parts import layer_parts
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.models.tagger import of_words
from common.training.word_pieces import TaggedBatch
from replications.token_early_exit.method import (
    AFTER_NORM,
    BEFORE_NORM,
    Copy,
    SentenceBelow,
    TokenExits,
    WindowBelow,
    by_depth,
    joint_loss,
    of_pieces,
    uncertainty,
    window_maximum,
)
from replications.token_early_exit.runtime import TokenOutcome, run_token_exits, spent_flops, whole

SHAPES = ("tiny", "tiny-roberta", "tiny-albert", "tiny-mpnet")
SPLIT = tagged_split([[1, 2, 1, 1], [3], [1, 1, 1, 1, 2, 1, 1], [2, 1], [1, 1, 1]])
COPIES = (BEFORE_NORM, AFTER_NORM)


def decisive(shape: str = "tiny", copy: Copy = BEFORE_NORM, spread: float = 1.5) -> TokenExits:
    """A model whose words read each other and differ in how sure they are: fresh weights are too small for that."""
    model = TokenExits.fresh(random_encoder(shape), 5, seed=1, copy=copy).eval()
    with torch.no_grad():
        for module in model.encoder.modules():
            if isinstance(module, nn.Linear):
                module.weight *= 6
            elif isinstance(module, nn.LayerNorm):
                # Fresh norms are all alike: it would not matter whose is applied to a copy.
                nn.init.uniform_(module.weight, 0.5, 1.5)
    for head in model.heads:
        nn.init.normal_(head.classifier.weight, std=spread / 8)
    return model


def middle_threshold(model: TokenExits, batch: TaggedBatch, share: float = 0.5) -> float:
    """A threshold between the uncertainties that occur."""
    with torch.inference_mode():
        u = uncertainty(model(batch))[batch.is_word]
    return float(u.quantile(share))


# -- Uncertainty ------------------------------------------------------------------------------------------------------


def test_uncertainty_is_entropy_over_its_largest() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    expected = -(p * p.log()).sum(-1) / math.log(3)
    torch.testing.assert_close(uncertainty(p.log()), expected)
    assert expected[1].item() == pytest.approx(1.0)


def test_large_logits_do_not_overflow() -> None:
    """The official form sums e^z: 1000 makes it infinite over infinite."""
    u = uncertainty(torch.tensor([[1000.0, 0.0, -1000.0], [500.0, 500.0, 0.0]]))
    assert u.tolist() == pytest.approx([0.0, math.log(2) / math.log(3)], abs=1e-6)


# -- Windows ----------------------------------------------------------------------------------------------------------

windows = st.sampled_from((1, 3, 5, 15))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9), windows)
def test_a_window_is_cut_at_the_ends_and_padding_never_wins(values: list[float], window: int) -> None:
    u = torch.tensor([[*values, 9.0, 9.0]])
    is_word = torch.tensor([[True] * len(values) + [False] * 2])
    k = window // 2
    expected = [max(values[max(0, i - k) : i + k + 1]) for i in range(len(values))]
    assert window_maximum(u, is_word, window)[0, : len(values)].tolist() == pytest.approx(expected)


def test_a_window_counts_words_and_not_pieces() -> None:
    """An unsure word is two words, but four pieces, away: a window of three does not reach it."""
    split = tagged_split([[1, 3, 1]])
    batch, rule = split.batch([0]), WindowBelow(3, 0.5)
    leaves = rule(torch.tensor([[0.1, 0.1, 0.9]]), batch.is_word, batch.is_word, 1, 4)
    assert leaves.tolist() == [[True, False, False]]


@pytest.mark.parametrize("window", [0, 2, 4, -1])
def test_an_even_window_is_refused(window: int) -> None:
    with pytest.raises(UserError, match="a window is an odd number of words"):
        WindowBelow(window, 0.1)


def test_a_window_of_one_is_the_rule_for_each_word() -> None:
    u = torch.rand(3, 6)
    is_word = torch.ones(3, 6, dtype=torch.bool)
    assert torch.equal(WindowBelow(1, 0.4)(u, is_word, is_word, 1, 12), u < 0.4)


# -- Thresholds -------------------------------------------------------------------------------------------------------


def test_the_threshold_is_doubled_in_the_upper_half_of_tokee_alone() -> None:
    rule = WindowBelow(1, 0.2)
    assert [rule.threshold_at(i, 12) for i in range(1, 13)] == [0.2] * 6 + [0.4] * 6
    assert [rule.threshold_at(i, 6) for i in range(1, 7)] == [0.2] * 3 + [0.4] * 3
    u, yes = torch.tensor([[0.3]]), torch.ones(1, 1, dtype=torch.bool)
    assert not rule(u, yes, yes, 6, 12) and rule(u, yes, yes, 7, 12)
    assert not SentenceBelow(0.2)(u, yes, yes, 7, 12)


def test_the_cap_is_of_self_sampling_alone() -> None:
    assert WindowBelow(5, 0.4).threshold_at(12, 12) == 0.8
    assert WindowBelow(5, 0.4, cap=0.5).threshold_at(12, 12) == 0.5
    assert WindowBelow(5, 0.25).threshold_at(12, 12) == WindowBelow(5, 0.25, cap=0.5).threshold_at(12, 12) == 0.5


def test_leaving_is_strict() -> None:
    u, yes = torch.full((1, 2), 0.25), torch.ones(1, 2, dtype=torch.bool)
    for rule in (SentenceBelow(0.25), WindowBelow(3, 0.25)):
        assert not rule(u, yes, yes, 1, 12).any()
        assert rule(u - 1e-4, yes, yes, 1, 12).all()


def test_one_unsure_word_holds_its_sentence_back() -> None:
    """The largest, not the mean: easy words do not drown a hard one."""
    u = torch.tensor([[0.0, 0.0, 0.0, 0.9], [0.1, 0.1, 0.1, 0.1]])
    yes = torch.ones(2, 4, dtype=torch.bool)
    assert SentenceBelow(0.3)(u, yes, yes, 1, 4).tolist() == [[False] * 4, [True] * 4]


def test_padding_does_not_hold_a_sentence_back() -> None:
    u, is_word = torch.tensor([[0.1, 0.9]]), torch.tensor([[True, False]])
    assert SentenceBelow(0.3)(u, is_word, is_word, 1, 4)[0, 0]
    assert SentenceBelow(0.3).exits(u[..., None].expand(1, 2, 4), is_word)[0, 0] == 1


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_a_threshold_is_no_negative_number(threshold: float) -> None:
    with pytest.raises(UserError, match="a threshold on uncertainty"):
        SentenceBelow(threshold)
    with pytest.raises(UserError, match="a threshold on uncertainty"):
        WindowBelow(3, threshold)


def test_exited_words_go_on_to_count_in_a_window_unless_silenced() -> None:
    """The line that should silence them has no effect in the official code."""
    u, yes = torch.tensor([[0.1, 0.9]]), torch.ones(1, 2, dtype=torch.bool)
    active = torch.tensor([[True, False]])
    assert not WindowBelow(3, 0.5)(u, yes, active, 2, 12)[0, 0]
    assert WindowBelow(3, 0.5, exited_count=False)(u, yes, active, 2, 12)[0, 0]


# -- The model --------------------------------------------------------------------------------------------------------


def by_hand(model: TokenExits, batch: TaggedBatch, exits: list[int]) -> Tensor:
    """(W, n, C) of one sentence, piece by piece: who has left is copied, all others are computed by the layer."""
    h, mask = model.encoder.embed(batch.input_ids, batch.attention_mask)
    n, carried, logits, previous = model.num_layers, {}, [], h
    for i in range(1, n + 1):
        parts = layer_parts(model.encoder, i)
        new, sums = model.encoder.layer(i, h, mask).clone(), parts.all_before_norm(h, mask)
        for piece, word in enumerate(batch.word_of[0].tolist()):
            if word >= 0 and exits[word] == i - 1:
                carried[piece] = (previous[0, piece], h[0, piece])
        for piece, (before, after) in carried.items():
            new[0, piece] = parts.norm(before) if model.copy == BEFORE_NORM else after
        previous, h = sums, new
        for piece, (before, _) in carried.items():
            previous[0, piece] = before
        logits.append(model.heads[i - 1](of_words(h, batch))[0])
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_halted_words_are_copied_and_remain_readable(shape: str, copy: Copy) -> None:
    model, batch, exits = decisive(shape, copy), SPLIT.batch([0]), [2, 1, 4, 1]
    with torch.inference_mode():
        found = model(batch, torch.tensor([exits]))[0]
        torch.testing.assert_close(found, by_hand(model, batch, exits), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found[2, 3], model(batch)[0, 2, 3], atol=1e-3), "halting must matter"


def test_the_copy_before_the_norm_is_normed_anew_by_each_layer() -> None:
    """keep_norm_same: with layers whose norms differ, the copies differ; the layer at which a word leaves does not."""
    before, after = (decisive("tiny", copy) for copy in COPIES)
    for model in (before, after):
        nn.init.constant_(layer_parts(model.encoder, 3).norm.weight, 2.0)
    batch, exits = SPLIT.batch([0]), torch.tensor([[1, 4, 4, 4]])
    with torch.inference_mode():
        found = [model(batch, exits)[0, 0] for model in (before, after)]
    torch.testing.assert_close(found[0][0], found[1][0])
    assert not torch.allclose(found[0][2], found[1][2], atol=1e-3)
    with torch.inference_mode():
        first = of_words(after.encoder.hidden_states(batch.input_ids, batch.attention_mask)[1], batch)
        plain = torch.stack([head(first)[0, 0] for head in after.heads])
    torch.testing.assert_close(found[1], plain, rtol=1e-4, atol=1e-5)


def test_all_pieces_of_a_word_halt_with_it() -> None:
    """copy_wordpiece=all: a later change of any of its pieces' layers is not seen."""
    batch = SPLIT.batch([1])
    until = of_pieces(torch.tensor([[2]]), batch.word_of, special=4)
    assert until.tolist() == [[4, 2, 2, 2, 4]]


def test_where_nobody_halts_both_ways_through_the_layers_agree() -> None:
    model, batch = decisive(), SPLIT.batch([0, 1, 2, 3])
    with torch.inference_mode():
        halted = model(batch, torch.full_like(batch.labels, 4))
        torch.testing.assert_close(halted[batch.is_word], model(batch)[batch.is_word], rtol=1e-4, atol=1e-5)


def test_stage_one_weighs_layers_by_their_depth() -> None:
    assert by_depth(torch.ones(12)).item() == pytest.approx(1.0)
    assert by_depth(torch.eye(12)[11]).item() == pytest.approx(12 / 78)
    model, batch = decisive(), SPLIT.batch([0, 1])
    logits = model(batch)
    layers = [F.cross_entropy(logits[:, :, i][batch.is_word], batch.labels[batch.is_word]) for i in range(4)]
    expected = sum((i + 1) * layer for i, layer in enumerate(layers)) / 10
    torch.testing.assert_close(joint_loss(model, batch), expected)


def test_classifiers_drop_out_three_in_ten_and_share_nothing() -> None:
    model = TokenExits.fresh(random_encoder("tiny"), 5, seed=0)
    assert {head.dropout.p for head in model.heads} == {0.3}
    assert len({id(head.classifier.weight) for head in model.heads}) == 4
    extra = sum(p.numel() for p in model.heads.parameters())
    assert extra == 4 * 65 * 5


@pytest.mark.parametrize("copy", COPIES)
def test_a_model_survives_saving(tmp_path: Path, copy: Copy) -> None:
    model = decisive(copy=copy)
    model.save(tmp_path)
    loaded = TokenExits.load(tmp_path)
    assert (loaded.copy, loaded.training) == (copy, False)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(SPLIT.batch([0])), model(SPLIT.batch([0])), rtol=0, atol=0)


def test_words_are_read_by_their_first_pieces_with_the_gradient_of_gathering() -> None:
    batch = SPLIT.batch([0, 1, 2])
    hidden = torch.randn(*batch.input_ids.shape, 8, requires_grad=True)
    gathered = hidden.gather(1, batch.starts[..., None].expand(-1, -1, 8))
    assert torch.equal(of_words(hidden, batch), gathered)
    upstream = torch.randn_like(gathered) * batch.is_word[..., None]
    gradients = [torch.autograd.grad(words, hidden, upstream)[0] for words in (of_words(hidden, batch), gathered)]
    assert torch.equal(*gradients)


# -- The runtime ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_at_a_threshold_of_0_it_is_the_full_model(shape: str, copy: Copy) -> None:
    model, batch = decisive(shape, copy), SPLIT.batch([0, 1, 2, 3, 4])
    with torch.inference_mode():
        logits = model(batch)
        full = logits[:, :, -1]
    for rule in (SentenceBelow(0.0), WindowBelow(3, 0.0)):
        outcome = run_token_exits(model, batch, rule)
        assert (outcome.exits[batch.is_word] == 4).all()
        assert torch.equal(outcome.answers[batch.is_word], full.argmax(-1)[batch.is_word])
        assert (outcome.active == batch.attention_mask.sum(1)[:, None]).all()


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_runtime_computes_is_what_the_halted_model_says(shape: str, copy: Copy) -> None:
    """Exits of the runtime, given to the training's forward pass, give its answers, and the rule gives those exits."""
    model, batch = decisive(shape, copy), SPLIT.batch([0, 1, 2, 3, 4])
    rule = WindowBelow(3, middle_threshold(model, batch))
    outcome = run_token_exits(model, batch, rule)
    exits, words = outcome.exits, batch.is_word
    assert len(set(exits[words].tolist())) > 1, "words must leave at different layers"
    with torch.inference_mode():
        logits = model(batch, exits.clamp_min(1))
    taken = logits.gather(2, (exits.clamp_min(1) - 1)[..., None, None].expand(-1, -1, 1, 5))[:, :, 0]
    assert torch.equal(taken.argmax(-1)[words], outcome.answers[words])
    u = uncertainty(logits)
    active = words.clone()
    for i in range(1, 4):
        leaving = rule(u[:, :, i - 1], words, active, i, 4)
        assert torch.equal(leaving, active & (exits == i))
        active &= ~leaving


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_layers_logits_in_use_are_those_of_the_halted_model(shape: str, copy: Copy) -> None:
    """To 1e-5, of words that have left too: what is read of them and counted in windows is their copy."""
    model, batch = decisive(shape, copy), SPLIT.batch([2])
    seen: list[Tensor] = []
    hooks = [head.register_forward_hook(lambda _m, _x, y: seen.append(y)) for head in model.heads]
    outcome = run_token_exits(model, batch, WindowBelow(1, middle_threshold(model, batch, 0.6)))
    used = seen[-int(outcome.exits.max()) :]
    for hook in hooks:
        hook.remove()
    assert len(used) > 2 and int(outcome.exits.min()) < len(used) - 1, "copies must be carried over two layers"
    with torch.inference_mode():
        expected = model(batch, outcome.exits)
    for i, logits in enumerate(used):
        torch.testing.assert_close(logits, expected[:, :, i], rtol=1e-5, atol=1e-5)


def alone(model: TokenExits, row: int, rule: WindowBelow | SentenceBelow) -> TokenOutcome:
    return run_token_exits(model, SPLIT.batch([row]), rule)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(COPIES), windows, st.floats(0.05, 0.95), st.permutations(range(5)))
def test_batched_is_as_one_by_one(shape: str, copy: Copy, window: int, share: float, rows: list[int]) -> None:
    model, batch = decisive(shape, copy), SPLIT.batch(rows)
    threshold = middle_threshold(model, batch, share) + 1e-4
    for rule in (WindowBelow(window, threshold), SentenceBelow(threshold)):
        together = run_token_exits(model, batch, rule)
        for place, row in enumerate(rows):
            own, words = alone(model, row, rule), SPLIT.words[row]
            assert together.exits[place, :words].tolist() == own.exits[0].tolist()
            assert together.answers[place, :words].tolist() == own.answers[0].tolist()
            assert together.active[place].tolist() == own.active[0].tolist()
            assert (together.answers[place, words:] == -1).all() and (together.exits[place, words:] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(COPIES), windows, st.floats(0, 1.5))
def test_active_pieces_only_fall_and_cls_and_sep_stay(copy: Copy, window: int, threshold: float) -> None:
    model, batch = decisive("tiny", copy), SPLIT.batch(range(5))
    outcome = run_token_exits(model, batch, WindowBelow(window, threshold))
    pieces = batch.attention_mask.sum(1)
    assert torch.equal(outcome.active[:, 0], pieces)
    for row in range(5):
        counts = outcome.active[row].tolist()
        last = int(outcome.exits[row].max())
        assert counts == sorted(counts, reverse=True)
        assert all(count >= 3 for count in counts[:last]), "[CLS], [SEP] and a piece while a word is active"
        assert counts[last:] == [0] * (4 - last)
        of_words = [n for n in np.diff([*SPLIT.starts[row], len(SPLIT.input_ids[row]) - 1])]
        for i in range(last):
            staying = outcome.exits[row, : len(of_words)] > i
            assert counts[i] == 2 + sum(n for n, stays in zip(of_words, staying.tolist(), strict=True) if stays)


def test_lower_thresholds_let_nobody_leave_earlier_in_sentee() -> None:
    model, batch = decisive(), SPLIT.batch(range(5))
    exits = [run_token_exits(model, batch, SentenceBelow(d)).exits for d in (0.2, 0.5, 0.8)]
    assert (exits[0] >= exits[1]).all() and (exits[1] >= exits[2]).all()


def test_sentees_simulation_is_its_run() -> None:
    model, batch = decisive(), SPLIT.batch(range(5))
    rule = SentenceBelow(middle_threshold(model, batch, 0.8))
    with torch.inference_mode():
        simulated = rule.exits(uncertainty(model(batch)), batch.is_word)
    found = run_token_exits(model, batch, rule).exits
    assert torch.equal(simulated[batch.is_word], found[batch.is_word])
    assert len(set(found[batch.is_word].tolist())) > 1


def test_nothing_is_computed_for_who_has_left() -> None:
    """Rows that pass through the feed-forward block and the queries: the active ones; through keys and values: all."""
    model, batch = decisive(), SPLIT.batch([2])
    rule = WindowBelow(1, middle_threshold(model, batch))
    rows: dict[str, list[int]] = {"inner": [], "query": [], "key": [], "value": [], "attended": []}
    for i in range(1, 5):
        parts = layer_parts(model.encoder, i)
        for name, seen in rows.items():
            getattr(parts, name).register_forward_hook(lambda _m, x, _y, seen=seen: seen.append(x[0].numel() // 64))
    outcome = run_token_exits(model, batch, rule)
    active = [n for n in outcome.active[0].tolist() if n]
    assert len(set(active)) > 1
    assert rows["inner"] == rows["query"] == rows["attended"] == active
    assert rows["key"] == rows["value"] == [10] * len(active)


def test_an_empty_batch_or_sentence_is_refused() -> None:
    batch = SPLIT.batch([0, 1])
    fields = ("input_ids", "attention_mask", "starts", "word_of", "labels", "rows")
    empty = TaggedBatch(*(getattr(batch, field)[:0] for field in fields))
    with pytest.raises(UserError, match="at least one sentence"):
        run_token_exits(decisive(), empty, SentenceBelow(0.1))
    batch.labels[1] = -100
    with pytest.raises(UserError, match="in each at least one word"):
        run_token_exits(decisive(), batch, SentenceBelow(0.1))


# -- What it costs ----------------------------------------------------------------------------------------------------

SHAPE = EncoderShape(layers=12, hidden=768, intermediate=3072, heads=12, vocabulary=30522)


@given(st.integers(3, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_a_layer_costs_what_the_card_says(sizes: tuple[int, int]) -> None:
    """2N d^2 (keys, values) + 2M d^2 (queries, output) + 2 N M d (attention, all heads) + 8 M d^2, in multiply-adds."""
    n, m, d = *sizes, 768
    assert layer_flops(SHAPE, n, active=m) == 2 * (2 * n * d**2 + 2 * m * d**2 + 2 * n * m * d + 8 * m * d**2)


def test_with_nobody_active_two_twelfths_of_the_linear_part_are_left() -> None:
    full = layer_flops(SHAPE, 100, active=0)
    assert full / (2 * 12 * 100 * 768**2) == pytest.approx(2 / 12)


def test_what_is_spent_ends_with_the_sentence_and_asks_a_classifier_about_every_word() -> None:
    active = np.array([[10, 6, 0, *[0] * 9]])
    spent = spent_flops(SHAPE, 9, np.array([10]), np.array([7]), active)
    expected = layer_flops(SHAPE, 10) + layer_flops(SHAPE, 10, active=6) + 2 * 7 * 2 * 768 * 9
    assert spent.tolist() == [expected]
    assert whole(np.array([5, 9]), np.array([1, 3]), 4).tolist() == [[5, 0, 0, 0], [9, 9, 9, 0]]


def test_the_formula_is_what_a_counter_sees_of_the_runtime() -> None:
    """PyTorch's counter on a run with imposed exits: layers and classifiers, attention on all heads included."""
    from torch.utils.flop_counter import FlopCounterMode

    from replications.token_early_exit.shapes import ImposedWords, random_sentences

    model, shape = decisive(), EncoderShape.from_config(random_encoder("tiny").config)
    batch = random_sentences(1, 10, 1000, 0)
    rule = ImposedWords(torch.tensor([1, 1, 2, 2, 3, 4, 4, 1]))
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        outcome = run_token_exits(model, batch, rule)
    assert outcome.active[0].tolist() == [10, 7, 5, 4]
    spent = spent_flops(shape, 5, np.array([10]), np.array([8]), outcome.active.numpy())
    assert counter.get_total_flops() == pytest.approx(spent.sum())
