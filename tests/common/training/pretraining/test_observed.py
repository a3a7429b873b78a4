"""Hidden states and attention before the softmax, against what transformers gives of both."""

import pytest
import torch
from torch import Tensor

from common.encoders.shapes import random_encoder
from common.training.pretraining import observed
from common.training.pretraining.observed import observe

SHAPES = ("tiny", "tiny-roberta", "tiny-albert", "tiny-mpnet")


def inputs() -> tuple[Tensor, Tensor]:
    """Three texts, padded."""
    ids = torch.randint(5, 1000, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, 6:] = 0
    mask[2, 3:] = 0
    return ids, mask


def attention_probabilities(scores: Tensor, attention_mask: Tensor | None) -> Tensor:
    """(B, heads, L, L) what attention makes of `Observed.scores`."""
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask.bool()[:, None, None, :], float("-inf"))
    return torch.softmax(scores, dim=-1)


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_become_the_attention_that_transformers_gives_after_the_softmax(shape: str) -> None:
    encoder = random_encoder(shape)
    ids, mask = inputs()
    with torch.inference_mode():
        seen = observe(encoder, ids, mask)
        encoder.set_attention("eager")
        theirs = encoder.model(ids, attention_mask=mask, output_attentions=True, output_hidden_states=True)
    assert len(seen.scores) == len(theirs.attentions) == encoder.num_layers
    for ours, expected in zip(seen.scores, theirs.attentions, strict=True):
        torch.testing.assert_close(attention_probabilities(ours, mask), expected, rtol=1e-4, atol=1e-5)
    present = mask.bool()
    for h, expected in zip(seen.hidden[1:], theirs.hidden_states[1:], strict=True):
        torch.testing.assert_close(h[present], expected[present], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_under_the_fused_kernel_nothing_is_empty(shape: str) -> None:
    """Where transformers gives an empty tuple and a warning."""
    encoder = random_encoder(shape)
    ids, mask = inputs()
    with torch.inference_mode():
        seen = observe(encoder, ids, mask)
        last = encoder(ids, mask)
    heads = encoder.config.num_attention_heads
    assert [tuple(s.shape) for s in seen.scores] == [(3, heads, 9, 9)] * encoder.num_layers
    assert all(s.abs().sum() > 0 for s in seen.scores)
    assert len(seen.hidden) == encoder.num_layers + 1
    torch.testing.assert_close(seen.hidden[-1], last)


def test_scores_are_before_the_softmax_and_zero_at_padding() -> None:
    ids, mask = inputs()
    for scores in observe(random_encoder("tiny"), ids, mask).scores:
        assert (scores < 0).any()
        assert not scores[1, :, :, 6:].any() and not scores[2, :, :, 3:].any()
        assert scores[1, :, 6:, :6].any(), "rows of padding stay"


def test_without_padding_no_mask_is_needed() -> None:
    ids, _ = inputs()
    encoder = random_encoder("tiny")
    for with_mask, without in zip(
        observe(encoder, ids, torch.ones_like(ids)).scores, observe(encoder, ids, None).scores, strict=True
    ):
        torch.testing.assert_close(with_mask, without)


def test_gradients_reach_queries_and_keys() -> None:
    encoder = random_encoder("tiny")
    ids, mask = inputs()
    sum(s.square().sum() for s in observe(encoder, ids, mask).scores).backward()  # type: ignore[union-attr]
    for i in range(1, 5):
        for module in encoder.query_and_key(i):
            assert module.weight.grad is not None and module.weight.grad.any()


def test_a_layer_that_computes_no_queries_is_an_error_and_not_an_empty_tuple(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, other = random_encoder("tiny"), random_encoder("tiny")
    monkeypatch.setattr(encoder, "query_and_key", other.query_and_key)
    with pytest.raises(RuntimeError, match="layer 1 of bert computed no queries and keys"):
        observed.observe(encoder, *inputs())


def test_hooks_are_gone_afterwards() -> None:
    encoder = random_encoder("tiny")
    observe(encoder, *inputs())
    assert not any(module._forward_hooks for module in encoder.modules())
