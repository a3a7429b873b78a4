"""Token states of a frozen encoder: its own hidden states, once each, in the batches that the texts would come in."""

import pytest
import torch
from kit.toy_splits import split_of

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.training.batches import BucketedBatches, EncodedSplit
from common.training.token_states import LayerStates, TokenBatches

CPU = torch.device("cpu")


@pytest.fixture
def encoder() -> LayeredEncoder:
    return random_encoder("tiny", seed=0).eval()


@pytest.fixture(scope="module")
def split() -> EncodedSplit:
    return split_of(36, classes=3)


def passes_of(states: LayerStates, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the texts of each batch that is embedded."""
    seen: list[int] = []
    embed = states.encoder.embed
    monkeypatch.setattr(states.encoder, "embed", lambda *given: (seen.append(len(given[0])), embed(*given))[1])
    return seen


def test_states_are_the_encoders_own_hidden_states(encoder: LayeredEncoder, split: EncodedSplit) -> None:
    batch = split.batch(range(len(split)))
    with torch.inference_mode():
        expected = encoder.hidden_states(batch.input_ids, batch.attention_mask)
    states = LayerStates(encoder, split, CPU)
    for layer in range(1, encoder.num_layers + 1):
        hidden, present = states.at(layer).padded(range(len(split)))
        assert torch.equal(present, batch.attention_mask.bool())
        torch.testing.assert_close(hidden[present], expected[layer][present], rtol=1e-4, atol=1e-5)


def test_a_head_answers_to_states_as_to_texts_in_their_order(encoder: LayeredEncoder, split: EncodedSplit) -> None:
    batch = split.batch(range(len(split)))
    with torch.inference_mode():
        last = encoder.hidden_states(batch.input_ids, batch.attention_mask)[-1]
    found = LayerStates(encoder, split, CPU).at(encoder.num_layers).answers(lambda hidden, mask: hidden[:, 0], CPU)
    torch.testing.assert_close(found, last[:, 0], rtol=1e-4, atol=1e-5)


def test_with_room_for_all_layers_the_encoder_passes_once(
    encoder: LayeredEncoder, split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = LayerStates(encoder, split, CPU)
    passes, order = passes_of(states, monkeypatch), (encoder.num_layers, *range(1, encoder.num_layers + 1))
    kept = {id(states.at(layer)): states.at(layer).states.nbytes for layer in order}
    assert sum(passes) == len(split)
    assert sum(kept.values()) == states.bytes


def test_with_little_memory_it_passes_again_and_keeps_one_layer(
    encoder: LayeredEncoder, split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = LayerStates(encoder, split, CPU)
    expected = {layer: roomy.at(layer).states for layer in range(1, encoder.num_layers + 1)}
    tight = LayerStates(encoder, split, CPU, memory=roomy.bytes - 1)
    passes = passes_of(tight, monkeypatch)
    assert torch.equal(tight.at(encoder.num_layers).states, expected[encoder.num_layers])
    assert sum(passes) == len(split)
    for layer, states in expected.items():
        assert torch.equal(tight.at(layer).states, states)
        assert len(tight._kept) == 1
        assert sum(passes) == 2 * len(split)


def test_heads_can_be_trained_on_states(encoder: LayeredEncoder, split: EncodedSplit) -> None:
    """Nothing of the inference mode that they were made in is left."""
    states = LayerStates(encoder, split, CPU).at(1)
    head = torch.nn.Linear(encoder.hidden_size, 1)
    head(next(TokenBatches(states, torch.zeros(36), 8, 0).epoch(0)).hidden).sum().backward()
    assert head.weight.grad is not None


def test_batches_are_those_of_the_texts(encoder: LayeredEncoder, split: EncodedSplit) -> None:
    mine = TokenBatches(LayerStates(encoder, split, CPU).at(1), torch.arange(36.0)[:, None], 8, 5)
    texts = BucketedBatches(split, 8, 5)
    assert len(mine) == len(texts)
    for states, batch in zip(mine.epoch(1), texts.epoch(1), strict=True):
        assert states.targets[:, 0].long().tolist() == batch.rows.tolist()
        assert states.hidden.shape[:2] == batch.input_ids.shape
        assert (states.mask is None) == bool(batch.attention_mask.all())
