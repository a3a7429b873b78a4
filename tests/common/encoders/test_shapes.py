"""Named architectures: parameter counts of the released checkpoints, seeds, devices."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from common.encoders.shapes import SHAPES, find_shape, random_encoder
from common.errors import UserError

# Parameters of the released checkpoints' encoders with pooler, without task heads. Independent of this project: counted
# by formula in `by_hand` below, and agreeing with the papers' 110M, 340M, 125M, 355M, 66M, 12M, 18M, 60M, 235M, 22.7M.
RELEASED = {
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "distilbert-base": 66_362_880 + 768,
    "albert-base": 11_683_584,
    "albert-large": 17_683_968,
    "albert-xlarge": 58_724_864,
    "albert-xxlarge": 222_595_584,
    "minilm-l6-h384": 22_713_216,
    "mpnet-base": 109_486_464,
}


@pytest.mark.parametrize("name", RELEASED)
def test_parameters_are_those_of_the_released_checkpoint(name: str) -> None:
    encoder = random_encoder(name, device="meta")
    assert sum(p.numel() for p in encoder.parameters()) == RELEASED[name]
    assert all(p.device.type == "meta" for p in encoder.parameters())
    assert encoder.num_layers == SHAPES[name].layers and encoder.hidden_size == SHAPES[name].hidden


def by_hand(name: str) -> int:
    s = SHAPES[name]
    width = s.embedding or s.hidden
    embeddings = (s.vocab + s.positions + s.token_types + 2) * width
    projection = 0 if s.embedding is None else (width + 1) * s.hidden
    layer = 4 * (s.hidden + 1) * s.hidden + 2 * s.hidden * s.intermediate + s.intermediate + 5 * s.hidden
    pooler = (s.hidden + 1) * s.hidden if s.has_pooler else 0
    bias = 32 * s.heads if s.model_type == "mpnet" else 0
    return embeddings + bias + projection + layer * (1 if s.model_type == "albert" else s.layers) + pooler


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_agree_with_the_formula(name: str) -> None:
    assert sum(p.numel() for p in random_encoder(name, device="meta").parameters()) == by_hand(name)


@pytest.mark.parametrize("name", ["tiny", "tiny-roberta", "tiny-albert", "tiny-mpnet", "distilbert-base"])
def test_a_forward_pass_on_meta_needs_no_values(name: str) -> None:
    encoder = random_encoder(name, device="meta")
    ids = torch.zeros(2, 9, dtype=torch.long, device="meta")
    assert encoder(ids, None).shape == (2, 9, SHAPES[name].hidden)


@pytest.mark.parametrize("name", ["tiny", "tiny-roberta", "tiny-albert", "tiny-mpnet"])
def test_equal_seeds_give_equal_weights_and_others_do_not(name: str) -> None:
    first, again, other = (random_encoder(name, seed=seed) for seed in (0, 0, 1))
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    matrices = [(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True) if a.dim() == 2]
    assert not any(torch.equal(a, b) for a, b in matrices)
    assert not first.training and not first.pooler_is_pretrained


def test_weights_do_not_depend_on_the_global_seed() -> None:
    torch.manual_seed(1)
    first = random_encoder("tiny").pooler_dense
    torch.manual_seed(2)
    second = random_encoder("tiny").pooler_dense
    assert first is not None and second is not None
    assert torch.equal(first.weight, second.weight)
    assert abs(first.weight.std().item() - 0.02) < 0.001


def test_an_unknown_shape_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(
        UserError, match=r"unknown encoder shape 'bert-bsae': .*albert-base.*did you mean 'bert-base'\?"
    ):
        find_shape("bert-bsae")


def test_the_table_of_shapes_is_importable_without_torch() -> None:
    code = "import sys, common.encoders.shapes; print('torch' in sys.modules or 'transformers' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
