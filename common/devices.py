"""Where and how a model computes: the device of training, the precision of training, the device of timing.

PyTorch names the accelerator that it was built for also where the machine has none: its build for Linux on PyPI is the
one for CUDA. What counts is what is available.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

TimingChoice = Literal["auto", "cpu"]
"""Where to time: on the device of training, or on the CPU whatever there is."""

_float32_alone: ContextVar[bool] = ContextVar("float32_alone", default=False)


def available_device() -> torch.device:
    """The accelerator that is there to compute on, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def timing_device(choice: TimingChoice) -> torch.device:
    """Where latency is measured."""
    return torch.device("cpu") if choice == "cpu" else available_device()


def training_precision(device: torch.device) -> Precision:
    """How matrices are multiplied in training on `device`: bfloat16 where its instructions exist, else float32.

    On a CPU those are AVX512-BF16 and AMX; elsewhere bfloat16 is emulated, and slower than float32.
    """
    if _float32_alone.get():
        return "float32"
    if device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if fast else "float32"


@contextmanager
def float32_training() -> Iterator[None]:
    """Within the block `training_precision` is float32, so that results agree between machines of every kind."""
    token = _float32_alone.set(True)
    try:
        yield
    finally:
        _float32_alone.reset(token)
