"""The encoder for answering alone gives the states of the one that is trained, and is ready without transformers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from common.encoders.layered import LayeredEncoder
from common.encoders.opening import answering, layered
from common.encoders.plain import PlainEncoder
from common.encoders.pooling import tokens_present
from common.encoders.shapes import find_shape, random_encoder

CHECKOUT = Path(__file__).resolve().parents[3]

SHAPES = {
    "usual": find_shape("tiny"),
    "one kind of segment, no pooler": replace(find_shape("tiny"), token_types=1, has_pooler=False),
    "another epsilon": replace(find_shape("tiny"), layer_norm_eps=1e-2, heads=2, layers=2),
}


@pytest.fixture(params=SHAPES, ids=str)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A saved encoder whose biases and norms are not those of a fresh one either."""
    encoder = random_encoder(SHAPES[request.param])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    encoder.save(tmp_path)
    return tmp_path


def inputs(*, padded: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, mask and segments of three texts of 7, 4 and 1 tokens, or of three of 7."""
    generator = torch.Generator().manual_seed(0)
    ids, types = (torch.randint(0, n, (3, 7), generator=generator) for n in (30_000, 2))
    mask = torch.ones(3, 7, dtype=torch.long)
    if padded:
        mask[1, 4:] = mask[2, 1:] = ids[1, 4:] = ids[2, 1:] = types[1, 4:] = types[2, 1:] = 0
    return ids, mask, types


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "not padded"])
@pytest.mark.parametrize("told", [True, False], ids=["segments", "no segments"])
@torch.inference_mode()
def test_every_state_is_that_of_the_trained_encoder(folder: Path, padded: bool, told: bool) -> None:
    ids, mask, types = inputs(padded=padded)
    given = types if told else None
    theirs, plain = LayeredEncoder.load(folder), PlainEncoder.load(folder)
    assert (plain.num_layers, plain.hidden_size) == (theirs.num_layers, theirs.hidden_size)
    (h, m), (expected, their_mask) = plain.embed(ids, mask, given), theirs.embed(ids, mask, given)
    assert (m is None) == (their_mask is None) == (not padded)
    if m is not None and their_mask is not None:
        assert torch.equal(tokens_present(m), tokens_present(their_mask))
    for i in range(theirs.num_layers + 1):
        if i:
            h, expected = plain.layer(i, h, m), theirs.layer(i, expected, their_mask)
        torch.testing.assert_close(h[mask.bool()], expected[mask.bool()], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain.encode(ids, mask, given)[0], h)


@torch.inference_mode()
def test_rows_can_be_taken_out_with_their_mask(folder: Path) -> None:
    ids, mask, types = inputs(padded=True)
    plain = PlainEncoder.load(folder)
    h, m = plain.embed(ids, mask, types)
    assert m is not None
    staying = torch.tensor([False, True, True])
    torch.testing.assert_close(plain.layer(1, h[staying], m[staying]), plain.layer(1, h, m)[staying])


def test_its_modules_are_linear_maps_that_can_be_counted_and_kept(folder: Path) -> None:
    plain = PlainEncoder.load(folder)
    linear = [module for module in plain.modules() if isinstance(module, nn.Linear)]
    assert len(linear) == 6 * plain.num_layers
    assert all(module.weight.shape == (module.out_features, module.in_features) for module in linear)
    again = PlainEncoder.load(folder)
    again.load_state_dict({name: 2 * tensor for name, tensor in plain.state_dict().items()})
    assert torch.equal(again.words, 2 * plain.words)


@pytest.mark.parametrize("name", ["tiny-roberta", "tiny-albert", "tiny-mpnet"])
def test_other_architectures_are_opened_as_they_are_trained(name: str, tmp_path: Path) -> None:
    random_encoder(name).save(tmp_path)
    assert not PlainEncoder.knows(tmp_path)
    assert isinstance(answering(tmp_path), LayeredEncoder)


def test_another_activation_is_not_taken_for_gelu(tmp_path: Path) -> None:
    random_encoder(replace(find_shape("tiny"), activation="relu")).save(tmp_path)
    assert not PlainEncoder.knows(tmp_path)


def test_whoever_trains_gets_the_encoder_of_transformers(folder: Path) -> None:
    assert isinstance(layered(folder), LayeredEncoder) and isinstance(answering(folder), PlainEncoder)


def test_it_is_ready_without_transformers(tmp_path: Path) -> None:
    random_encoder("tiny").save(tmp_path)
    code = (
        "import sys; from pathlib import Path; from common.encoders.opening import answering; "
        "answering(Path(sys.argv[1])); print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    loaded = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()
    assert not {"transformers", "torch._dynamo", "accelerate"} & set(loaded)
