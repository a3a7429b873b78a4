"""The encoder against transformers' own modules, its sharing, its counts, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AlbertModel, BertConfig, BertModel

from common.costs.flops import encoder_flops
from common.costs.parameters import encoder_parameters
from common.errors import UserError
from common.training.batches import Batch
from common.training.pretraining.batches import MaskedBatch
from replications.albert.method import (
    CLASSIFIER_DROPOUT,
    Attention,
    Classifier,
    Encoder,
    FeedForward,
    Pretraining,
    Shape,
    block_of,
    gelu,
    grouped,
    pretraining_loss,
    sets_of,
    sharing,
)
from replications.albert.names import ALL, ATTENTION, FEED_FORWARD, NONE, STRATEGIES
from replications.albert.port import configuration, to_transformers

TINY = Shape(layers=4, hidden=24, heads=3, embedding=8, vocabulary=60, positions=16)


def scattered(model: nn.Module) -> nn.Module:
    """Every weight moved off its first draw, biases and norms too, so that none can be left out unseen."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.3)
    return model.eval()


def texts() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and segments of three texts, two of them padded."""
    ids = torch.randint(5, 60, (3, 10), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(10) < torch.tensor([[10], [7], [4]])).long()
    return ids, mask, (torch.arange(10) >= 5).long().expand(3, 10)


def batch(order: Tensor | None = None) -> MaskedBatch:
    ids, mask, segments = texts()
    places = torch.tensor([1, 3, 12, 21])
    return MaskedBatch(ids, mask, segments, order, places, ids.flatten()[places])


def pretraining(shape: Shape) -> Pretraining:
    model = scattered(Pretraining.fresh(shape, seed=0))
    assert isinstance(model, Pretraining)
    return model


# -- Equality with transformers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 4])
@torch.inference_mode()
def test_shared_layers_are_those_of_transformers(groups: int) -> None:
    """Everything shared, in groups, and whole layers apart: states, pooled vector and both heads' logits."""
    model = pretraining(grouped(TINY, groups))
    theirs = to_transformers(model)
    ids, mask, segments = texts()
    outputs = theirs.albert(ids, attention_mask=mask, token_type_ids=segments)
    states = model.encoder(ids, mask, segments)
    present = mask.bool()
    torch.testing.assert_close(states[present], outputs.last_hidden_state[present], atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encoder.pooled(states), outputs.pooler_output, atol=1e-5, rtol=0)
    heads = theirs(ids, attention_mask=mask, token_type_ids=segments)
    words, pairs = model(batch())
    torch.testing.assert_close(words, heads.prediction_logits.flatten(0, 1)[batch().places], atol=1e-5, rtol=0)
    torch.testing.assert_close(pairs, heads.sop_logits, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_without_padding_and_segments_it_is_the_same_model() -> None:
    model = pretraining(TINY)
    ids, _, _ = texts()
    theirs = to_transformers(model).albert(ids).last_hidden_state
    torch.testing.assert_close(model.encoder(ids), theirs, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_with_nothing_shared_and_wide_embeddings_it_is_bert() -> None:
    shape = sharing(replace(TINY, embedding=TINY.hidden), NONE)
    encoder = scattered(Encoder.fresh(shape, seed=0))
    assert isinstance(encoder, Encoder)
    config = BertConfig(
        vocab_size=60,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=3,
        intermediate_size=96,
        hidden_act="gelu_new",
        max_position_embeddings=16,
    )
    theirs = BertModel(config).eval()
    tables = {"words": "word_embeddings", "positions": "position_embeddings", "segments": "token_type_embeddings"}
    pairs = [(f"embedding.{ours}", f"embeddings.{name}") for ours, name in tables.items()]
    pairs += [("embedding.norm", "embeddings.LayerNorm"), ("pooler", "pooler.dense")]
    for i in range(4):
        layer = f"encoder.layer.{i}"
        pairs += [(f"attention.{i}.{p}", f"{layer}.attention.self.{p}") for p in ("query", "key", "value")]
        pairs += [(f"attention.{i}.output", f"{layer}.attention.output.dense")]
        pairs += [(f"attention.{i}.norm", f"{layer}.attention.output.LayerNorm")]
        pairs += [(f"feed_forward.{i}.inner", f"{layer}.intermediate.dense")]
        pairs += [(f"feed_forward.{i}.outer", f"{layer}.output.dense")]
        pairs += [(f"feed_forward.{i}.norm", f"{layer}.output.LayerNorm")]
    for ours, name in pairs:
        theirs.get_submodule(name).load_state_dict(encoder.get_submodule(ours).state_dict())
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in encoder.parameters())
    ids, mask, segments = texts()
    outputs = theirs(ids, attention_mask=mask, token_type_ids=segments)
    states = encoder(ids, mask, segments)
    torch.testing.assert_close(states[mask.bool()], outputs.last_hidden_state[mask.bool()], atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.pooled(states), outputs.pooler_output, atol=1e-5, rtol=0)


def test_what_transformers_has_no_place_for_is_refused() -> None:
    for shape, about in (
        (sharing(TINY, ATTENTION), "shares whole layers"),
        (sharing(TINY, FEED_FORWARD), "shares whole layers"),
        (replace(TINY, embedding=24), "projects its embeddings always"),
    ):
        with pytest.raises(UserError, match=about):
            configuration(shape)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.data())
def test_groups_are_transformers_groups_wherever_a_port_is_allowed(layers: int, data: st.DataObject) -> None:
    sets = data.draw(st.integers(1, layers))
    shape = replace(TINY, layers=layers, attention_sets=sets, feed_forward_sets=sets)
    try:
        config = configuration(shape)
    except UserError:
        return
    theirs = [int(i / (config.num_hidden_layers / config.num_hidden_groups)) for i in range(layers)]
    assert theirs == [block_of(i, sets, layers) for i in range(layers)]


# -- Sharing ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.data())
def test_blocks_are_handed_out_evenly_and_in_order(layers: int, data: st.DataObject) -> None:
    sets = data.draw(st.integers(1, layers))
    blocks = [block_of(i, sets, layers) for i in range(layers)]
    counts = [blocks.count(b) for b in range(sets)]
    assert blocks == sorted(blocks)
    assert sum(counts) == layers and max(counts) - min(counts) <= 1


def test_table_4s_strategies_share_what_they_say() -> None:
    assert {s: sets_of(s, 12) for s in STRATEGIES} == {
        ALL: (1, 1),
        ATTENTION: (1, 12),
        FEED_FORWARD: (12, 1),
        NONE: (12, 12),
    }
    for strategy, attentions, feed_forwards in ((ATTENTION, 1, 4), (FEED_FORWARD, 4, 1)):
        encoder = Encoder(sharing(TINY, strategy))
        used = [encoder.blocks(i) for i in range(4)]
        assert (len({id(a) for a, _ in used}), len({id(f) for _, f in used})) == (attentions, feed_forwards)
        assert all(isinstance(a, Attention) and isinstance(f, FeedForward) for a, f in used)


def test_shared_layers_that_are_copied_apart_compute_the_same() -> None:
    """Sharing changes which weights there are, and nothing of what is done with them."""
    ids, mask, segments = texts()
    shared = scattered(Encoder.fresh(TINY, seed=0))
    for strategy in STRATEGIES[1:]:
        apart = Encoder(sharing(TINY, strategy)).eval()
        state = shared.state_dict()
        apart.load_state_dict({name: state[_first_block(name)] for name in apart.state_dict()})
        with torch.inference_mode():
            torch.testing.assert_close(apart(ids, mask, segments), shared(ids, mask, segments), atol=1e-6, rtol=0)


def _first_block(name: str) -> str:
    kind, _, rest = name.partition(".")
    return name if kind in ("embedding", "pooler") else f"{kind}.0.{rest.partition('.')[2]}"


def test_the_norm_of_the_embeddings_is_in_the_narrow_space_before_the_projection() -> None:
    """Behind the projection it would be H wide, and a projection without bias would lose 24 parameters."""
    encoder = Encoder.fresh(TINY, seed=0)
    assert encoder.embedding.norm.weight.shape == (TINY.embedding,)
    projection = encoder.embedding.projection
    assert isinstance(projection, nn.Linear) and projection.bias.shape == (TINY.hidden,)
    with torch.no_grad():
        encoder.embedding.norm.weight.zero_()
        encoder.embedding.norm.bias.zero_()
        projection.bias.fill_(2.0)
    ids, _, _ = texts()
    assert torch.equal(encoder.embedding(ids, None), torch.full((3, 10, 24), 2.0))


def test_the_layers_outputs_leave_the_embedding_out() -> None:
    ids, mask, segments = texts()
    encoder = Encoder.fresh(TINY, seed=0).eval()
    outputs = encoder.layer_outputs(ids, mask, segments)
    assert len(outputs) == TINY.layers
    assert torch.equal(outputs[-1], encoder(ids, mask, segments))
    assert not torch.equal(outputs[0], encoder.embedding(ids, segments))


def test_the_activation_is_the_tanh_form() -> None:
    x = torch.linspace(-3, 3, 101)
    tanh = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    torch.testing.assert_close(gelu(x), tanh)
    assert (gelu(x) - nn.functional.gelu(x)).abs().max() > 1e-4
    assert configuration(TINY).hidden_act == "gelu_new"
    assert pretraining(TINY).words.act(x).allclose(tanh, atol=1e-6)


def test_weights_are_drawn_as_in_the_official_code() -> None:
    model = Pretraining.fresh(replace(TINY, vocabulary=2000), seed=0)
    words = model.encoder.embedding.words.weight.detach()
    assert float(words.abs().max()) <= 0.04
    assert float(words.std()) == pytest.approx(0.0176, abs=2e-4), "a normal of 0.02 cut at two deviations"
    assert all(not m.bias.any() for m in model.modules() if isinstance(m, nn.Linear))
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    assert all(bool((m.weight == 1).all()) and not m.bias.any() for m in norms)
    assert torch.equal(words, Pretraining.fresh(replace(TINY, vocabulary=2000), seed=0).encoder.embedding.words.weight)


def test_dropout_acts_in_training_alone_and_on_both_blocks() -> None:
    ids, mask, segments = texts()
    encoder = Encoder.fresh(replace(TINY, dropout=0.5), seed=0)
    torch.manual_seed(0)
    assert not torch.equal(encoder(ids, mask, segments), encoder(ids, mask, segments))
    encoder.eval()
    assert torch.equal(encoder(ids, mask, segments), encoder(ids, mask, segments))
    block = FeedForward(replace(TINY, dropout=0.5)).train()
    states = torch.randn(2, 4, 24)
    assert not torch.equal(block(states), block(states)), "transformers' own layer drops nothing here"


# -- Counts -----------------------------------------------------------------------------------------------------------

BASE = Shape(12, 768, 12, 128)
DERIVED = {
    "albert_base": (BASE, 11_683_584),
    "albert_large": (Shape(24, 1024, 16, 128), 17_683_968),
    "albert_xlarge": (Shape(24, 2048, 32, 128), 58_724_864),
    "albert_xxlarge": (Shape(12, 4096, 64, 128), 222_595_584),
    "bert_base_V30000": (sharing(replace(BASE, embedding=768), NONE), 109_081_344),
    "bert_large_V30000": (sharing(Shape(24, 1024, 16, 1024), NONE), 334_607_360),
    "base_E64_shared": (replace(BASE, embedding=64), 9_681_408),
    "base_E256_shared": (replace(BASE, embedding=256), 15_687_936),
    "base_E768_shared": (replace(BASE, embedding=768), 31_114_752),
    "base_E64_notshared": (sharing(replace(BASE, embedding=64), NONE), 87_648_000),
    "base_E128_notshared": (sharing(BASE, NONE), 89_650_176),
    "base_E256_notshared": (sharing(replace(BASE, embedding=256), NONE), 93_654_528),
    "base_E768_shared_attention": (sharing(replace(BASE, embedding=768), ATTENTION), 83_078_400),
    "base_E768_shared_ffn": (sharing(replace(BASE, embedding=768), FEED_FORWARD), 57_117_696),
    "base_E128_shared_attention": (sharing(BASE, ATTENTION), 63_647_232),
    "base_E128_shared_ffn": (sharing(BASE, FEED_FORWARD), 37_686_528),
}
"""The card's exact counts."""


@pytest.mark.parametrize("name", DERIVED)
def test_parameters_are_exact_by_the_closed_form_and_by_the_modules(name: str) -> None:
    shape, expected = DERIVED[name]
    with torch.device("meta"):
        counted = sum(p.numel() for p in Encoder(shape).parameters())
    assert counted == encoder_parameters(shape.costs) == expected


@pytest.mark.parametrize("name", ["albert_large", "albert_xxlarge"])
def test_parameters_are_those_of_transformers(name: str) -> None:
    shape, expected = DERIVED[name]
    with torch.device("meta"):
        assert sum(p.numel() for p in AlbertModel(configuration(shape)).parameters()) == expected


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 5),
    st.sampled_from([(12, 3), (16, 4), (8, 1)]),
    st.sampled_from([2, 8, 12, 16]),
    st.data(),
)
def test_the_closed_form_counts_any_sharing(
    layers: int, width: tuple[int, int], embedding: int, data: st.DataObject
) -> None:
    sets = [data.draw(st.integers(1, layers)) for _ in range(2)]
    shape = Shape(layers, *width, embedding, 50, *sets, positions=8)
    with torch.device("meta"):
        counted = sum(p.numel() for p in Encoder(shape).parameters())
    assert counted == encoder_parameters(shape.costs)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sharing_saves_parameters_and_no_computation(strategy: str) -> None:
    shape = sharing(TINY, strategy)
    with torch.device("meta"):
        encoder = Encoder(shape).eval()
        counter = FlopCounterMode(display=False)
        # Attention on the meta device is decomposed into its products only where it is asked for plainly.
        with counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            encoder(torch.zeros(1, 10, dtype=torch.long))
    expected = encoder_flops(shape.costs, 10)
    assert expected == encoder_flops(TINY.costs, 10)
    assert counter.get_total_flops() == expected


# -- Losses, saving, fine-tuning --------------------------------------------------------------------------------------


def test_the_loss_is_the_sum_of_both_with_unit_weights() -> None:
    model = pretraining(TINY)
    order = torch.tensor([1, 0, 1])
    words, pairs = model(batch())
    masked = nn.functional.cross_entropy(words, batch().targets)
    asked = nn.functional.cross_entropy(pairs, order)
    torch.testing.assert_close(pretraining_loss(model, batch(order)), masked + asked)
    torch.testing.assert_close(pretraining_loss(model, batch()), masked)


def test_the_word_table_is_one_for_reading_and_guessing() -> None:
    model = pretraining(TINY)
    assert "decoder" not in "".join(dict(model.named_parameters()))
    pretraining_loss(model, batch()).backward()
    unseen = next(word for word in range(60) if word not in batch().input_ids and word not in batch().targets)
    grad = model.encoder.embedding.words.weight.grad
    assert grad is not None and bool(grad[unseen].any()), "it stands among the answers"


def test_a_model_that_was_saved_is_the_same(tmp_path: Path) -> None:
    model = pretraining(replace(sharing(TINY, ATTENTION), dropout=0.1))
    model.save(tmp_path)
    again = Pretraining.load(tmp_path, dropout=0.0)
    assert again.encoder.shape == replace(model.encoder.shape, dropout=0.0)
    with torch.inference_mode():
        for ours, theirs in zip(model(batch()), again(batch()), strict=True):
            assert torch.equal(ours, theirs)


def test_a_classifier_reads_the_pooled_first_token_through_dropout() -> None:
    encoder = pretraining(TINY).encoder
    classifier = Classifier.fresh(encoder, 3, seed=0).eval()
    ids, mask, segments = texts()
    labels = torch.zeros(3, dtype=torch.long)
    logits = classifier(Batch(ids, mask, segments, labels, labels))
    pooled = encoder.pooled(encoder(ids, mask, segments))
    torch.testing.assert_close(logits, classifier.head.classifier(pooled))
    assert classifier.head.dropout.p == CLASSIFIER_DROPOUT == 0.1
    assert not torch.equal(classifier.train()(Batch(ids, mask, segments, labels, labels)), logits)


# -- What is refused --------------------------------------------------------------------------------------------------


def test_sizes_that_make_no_encoder_are_refused() -> None:
    for changes, about in (
        ({"heads": 5}, "5 heads do not divide a width of 24: expected a divisor"),
        ({"attention_sets": 5}, "5 groups of attention weights for 4 layers: expected 1"),
        ({"feed_forward_sets": 0}, "0 groups of feed-forward weights for 4 layers: expected 1"),
        ({"embedding": 0}, "at least 1"),
        ({"dropout": 1.0}, "dropout is a share"),
    ):
        with pytest.raises(UserError, match=about):
            replace(TINY, **changes)
    with pytest.raises(UserError, match="5 groups of attention weights for 4 layers"):
        grouped(TINY, 5)
    with pytest.raises(UserError, match="unknown sharing strategy 'half'"):
        sharing(TINY, "half")


def test_a_text_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(UserError, match="a text of 17 tokens for 16 positions"):
        Encoder.fresh(TINY, seed=0)(torch.zeros(1, 17, dtype=torch.long))
