"""Linear layers in 8-bit integers, scaled on the fly: PyTorch's dynamic quantisation."""

from __future__ import annotations

import warnings
from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def in_int8(model: ModuleT) -> ModuleT:
    """A copy of a model on the CPU whose linear layers compute in int8 (x86 and ARM).

    What they read is scaled by the largest value of the whole batch: a text's logits depend a little on its company.
    """
    with warnings.catch_warnings():
        # PyTorch points to torchao, whose int8 kernels are slower than float32 on a CPU.
        warnings.simplefilter("ignore")
        quantised: ModuleT = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    return quantised
