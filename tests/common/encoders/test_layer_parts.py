"""A layer's parts, put together again, are the layer: for every model type, with padding, with dropout drawn alike."""

import pytest
import torch

from common.encoders.layer_parts import layer_parts, mask_rows
from common.encoders.shapes import random_encoder
from common.errors import UserError

TYPES = ("tiny", "tiny-roberta", "tiny-albert", "tiny-mpnet")
IDS = torch.randint(5, 1000, (3, 9), generator=torch.Generator().manual_seed(0))
PADDED = torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7])


@pytest.mark.parametrize("shape", TYPES)
@pytest.mark.parametrize("padding", [True, False])
def test_the_parts_make_up_the_layer(shape: str, padding: bool) -> None:
    encoder = random_encoder(shape)
    with torch.inference_mode():
        h, mask = encoder.embed(IDS, PADDED if padding else None)
        for i in range(1, encoder.num_layers + 1):
            parts = layer_parts(encoder, i)
            mine = parts.norm(parts.all_before_norm(h, mask))
            h = encoder.layer(i, h, mask)
            torch.testing.assert_close(mine[PADDED.bool()], h[PADDED.bool()], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", TYPES)
def test_some_positions_alone_give_what_all_give(shape: str) -> None:
    """Queries of a few places, keys and values of all."""
    encoder = random_encoder(shape)
    places = torch.tensor([[0, 4, 5], [1, 2, 5], [0, 1, 1]])
    chosen = places[..., None].expand(-1, -1, encoder.hidden_size)
    with torch.inference_mode():
        h, mask = encoder.embed(IDS, PADDED)
        parts = layer_parts(encoder, 1)
        states = h.gather(1, chosen)
        read = parts.attention(parts.query(states), parts.key(h), parts.value(h), mask_rows(mask, places))
        expected = parts.all_before_norm(h, mask).gather(1, chosen)
        torch.testing.assert_close(parts.before_norm(states, read), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", TYPES)
def test_dropout_stands_where_the_layer_has_it(shape: str) -> None:
    """In training both draw the same numbers in the same order, and so give the same."""
    encoder = random_encoder(shape).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    # Attention's own dropout is drawn inside its kernel, of which transformers has another one for MPNet.
    if shape == "tiny-mpnet":
        layer_parts(encoder, 1).attention_dropout.p = 0.0
    encoder.embeddings.eval()
    h, mask = encoder.embed(IDS, PADDED)
    torch.manual_seed(0)
    expected = encoder.layer(1, h, mask)
    torch.manual_seed(0)
    parts = layer_parts(encoder, 1)
    torch.testing.assert_close(parts.norm(parts.all_before_norm(h, mask)), expected, rtol=1e-5, atol=1e-5)


def test_parts_are_the_encoders_own_and_there_are_as_many_as_layers() -> None:
    encoder = random_encoder("tiny")
    parts = layer_parts(encoder, 2)
    names = {id(p) for p in encoder.layer_module(2).parameters()}
    mine = (
        parts.query,
        parts.key,
        parts.value,
        parts.attended,
        parts.attention_norm,
        parts.inner,
        parts.outer,
        parts.norm,
    )
    assert {id(p) for module in mine for p in module.parameters()} == names
    with pytest.raises(IndexError):
        layer_parts(encoder, 5)


def test_another_layout_of_transformers_is_said_so() -> None:
    encoder = random_encoder("tiny")
    del encoder.layer_module(1).output  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="lays out a layer of 'bert' differently.*constraints.txt"):
        layer_parts(encoder, 1)
