"""The paper's own models at full size: their shapes, random weights, and what fits into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from common.costs.parameters import encoder_parameters
from replications.albert.method import Encoder, ModuleT, Pretraining, Shape, sharing
from replications.albert.names import NONE

BASE, LARGE = Shape(12, 768, 12, 128), Shape(24, 1024, 16, 128)
XLARGE, XXLARGE = Shape(24, 2048, 32, 128), Shape(12, 4096, 64, 128)
"""Heads by the paper's rule, H/64; the released xlarge has 16, which changes no count."""


def bert(shape: Shape) -> Shape:
    """The BERT of that depth and width: no sharing, E = H."""
    return sharing(replace(shape, embedding=shape.hidden), NONE)


MODELS: Mapping[str, Shape] = {
    "BERT-base": bert(BASE),
    "BERT-large": bert(LARGE),
    "BERT-xlarge": bert(XLARGE),
    "ALBERT-base": BASE,
    "ALBERT-large": LARGE,
    "ALBERT-xlarge": XLARGE,
    "ALBERT-xxlarge": XXLARGE,
}
"""Table 1's, with its vocabulary of 30,000 for BERT too, and BERT at xlarge's depth and width."""

MEMORY = 24 * 2**30
"""Bytes of the machine that this is made for."""

ROOM = 2**31
"""Bytes of them that an interpreter, its libraries and the rest of the system keep."""

COPIES = 4
"""Of every weight while LAMB trains: itself, its gradient and two moments."""

FLOAT = 4


def random_model(shape: Shape, device: torch.device | str = "cpu") -> Pretraining:
    """With both heads and weights from a plain normal: what is counted and timed does not depend on them."""
    with torch.device("meta"):
        module = Pretraining(Encoder(shape))
    return _filled(module, device)


def random_encoder(shape: Shape, device: torch.device | str = "cpu") -> Encoder:
    """Without heads."""
    with torch.device("meta"):
        module = Encoder(shape)
    return _filled(module, device)


def _filled(module: ModuleT, device: torch.device | str) -> ModuleT:
    if str(device) == "meta":
        return module
    module = module.to_empty(device=device)
    generator = torch.Generator(device=device).manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if ".norm." in f".{name}":
                weight.fill_(1.0 if name.endswith("weight") else 0.0)
            else:
                weight.normal_(0.0, 0.02, generator=generator)
    return module


def weight_bytes(shape: Shape) -> int:
    """Of the encoder in float32."""
    return FLOAT * encoder_parameters(shape.costs)


def training_bytes(shape: Shape, rows: int, tokens: int) -> int:
    """What a training step holds at least: weights, gradients, moments, and what backwards needs of forwards.

    Counted on meta tensors, so that it can be said of what fits nowhere. A tensor that several operations keep, and the
    weights among them, count once; the heads are left out.
    """
    return COPIES * weight_bytes(shape) + activation_bytes(shape, rows, tokens)


def activation_bytes(shape: Shape, rows: int, tokens: int) -> int:
    """Bytes of what the encoder keeps for backwards, without its weights."""
    encoder = random_encoder(shape, "meta").train()
    weights = {_storage(p) for p in encoder.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = encoder(torch.zeros(rows, tokens, dtype=torch.long, device="meta"))
    del out
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def fits(needed: int) -> bool:
    """Whether so many bytes find room."""
    return needed <= MEMORY - ROOM
