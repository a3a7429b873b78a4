"""What classifiers read: padded texts against the same texts alone, for both kinds of mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import FIRST_TOKEN, MEAN, POOLINGS, first_token, mean_of_tokens, tokens_present
from common.encoders.shapes import random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.training.batches import Batch

LENGTHS = (7, 3, 1)


@pytest.fixture
def encoder() -> LayeredEncoder:
    return random_encoder("tiny", seed=1)


def biased(seed: int = 1) -> LayeredEncoder:
    """An MPNet whose position bias is no smaller than that of the released one."""
    mpnet = random_encoder("tiny-mpnet", seed=seed)
    torch.nn.init.normal_(mpnet.model.encoder.relative_attention_bias.weight, std=5.0)
    return mpnet


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 100, (len(LENGTHS), max(LENGTHS)), generator=generator)
    attention = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return ids * attention, attention.long()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.inference_mode()
def test_padding_is_no_part_of_the_mean(encoder: LayeredEncoder, attention: str) -> None:
    encoder.set_attention(attention)
    ids, present = padded()
    hidden, mask = encoder.encode(ids, present)
    assert mask is not None
    alone = [encoder(ids[i : i + 1, :length], None).mean(1) for i, length in enumerate(LENGTHS)]
    torch.testing.assert_close(mean_of_tokens(hidden, mask), torch.cat(alone))


@torch.inference_mode()
def test_padding_is_told_from_the_bias_that_mpnet_adds_to_the_mask() -> None:
    mpnet = biased()
    ids, present = padded()
    hidden, mask = mpnet.encode(ids, present)
    assert mask is not None and torch.equal(tokens_present(mask), present.bool())
    alone = [mpnet(ids[i : i + 1, :length], None).mean(1) for i, length in enumerate(LENGTHS)]
    torch.testing.assert_close(mean_of_tokens(hidden, mask), torch.cat(alone), rtol=0, atol=1e-5)
    hidden, mask = mpnet.encode(ids[:1], None)
    torch.testing.assert_close(mean_of_tokens(hidden, mask), hidden.mean(1))


@torch.inference_mode()
def test_without_padding_the_mean_is_of_all(encoder: LayeredEncoder) -> None:
    ids, _ = padded()
    hidden, mask = encoder.encode(ids[:1], None)
    assert mask is None
    torch.testing.assert_close(mean_of_tokens(hidden, mask), hidden.mean(1))
    torch.testing.assert_close(first_token(hidden, mask), hidden[:, 0])


@pytest.mark.parametrize("pooling", [FIRST_TOKEN, MEAN])
@torch.inference_mode()
def test_a_saved_classifier_reads_as_it_was_trained_to(encoder: LayeredEncoder, tmp_path: Path, pooling: str) -> None:
    model = EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, 3), pooling).eval()
    ids, present = padded()
    batch = Batch(ids, present, None, torch.zeros(len(ids)), torch.arange(len(ids)))
    model.save(tmp_path)
    loaded = EncoderClassifier.load(tmp_path)
    assert loaded.pooling == pooling
    hidden, mask = encoder.encode(ids, present)
    torch.testing.assert_close(loaded(batch), model.head(POOLINGS[pooling](hidden, mask)))
    torch.testing.assert_close(loaded(batch), model(batch))
