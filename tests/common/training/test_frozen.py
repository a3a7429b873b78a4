"""What is computed once of a frozen encoder is what heads would read of it in every batch."""

import pytest
import torch

from common.encoders.pooling import FIRST_TOKEN, MEAN, POOLINGS
from common.encoders.shapes import random_encoder
from common.encoders.sources import load_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.tasks.task import Example
from common.training.batches import encode
from common.training.frozen import FrozenBatches, FrozenStates, frozen_states

CPU = torch.device("cpu")
TEXTS = ["a film", "one long and dull film that nobody liked", "good", "bad bad bad", "it was fine", "no"]


@pytest.mark.parametrize("pooling", [FIRST_TOKEN, MEAN])
def test_every_layer_but_the_last_is_read_of_every_text(pooling: str) -> None:
    encoder = random_encoder("tiny", seed=0)
    classifier = EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, 2), pooling).eval()
    examples = [Example(text, None, 0) for text in TEXTS]
    split = encode(load_encoder("random:tiny").tokenizer, examples, regression=False, max_length=32)
    states = frozen_states(classifier, split, CPU, batch_size=4).states
    assert states.shape == (len(TEXTS), encoder.num_layers - 1, encoder.hidden_size)
    assert not states.requires_grad, "no gradient reaches the encoder, nor the norm that clips"
    for row in range(len(TEXTS)):
        batch = split.batch([row])
        with torch.inference_mode():
            hidden = encoder.hidden_states(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        for index in range(1, encoder.num_layers):
            torch.testing.assert_close(states[row, index - 1], POOLINGS[pooling](hidden[index], None)[0])


def test_frozen_batches_hold_every_example_once() -> None:
    states = FrozenStates(torch.arange(10.0).reshape(10, 1, 1), torch.arange(10))
    batches = FrozenBatches(states, 4, seed=0)
    seen = torch.cat([b.labels for b in batches.epoch(0)])
    assert sorted(seen.tolist()) == list(range(10))
    assert len(batches) == 3
    for b in batches.epoch(1):
        assert torch.equal(b.states.flatten().long(), b.labels)
