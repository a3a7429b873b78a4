"""Where a model computes: an accelerator if there is one, else the CPU. Everyone who has to know asks here.

PyTorch names the accelerator that it was built for also where the machine has none: its build for Linux on PyPI is the
one for CUDA. What counts is what is available.
"""

from __future__ import annotations

import torch


def available_device() -> torch.device:
    """The accelerator that is there to compute on, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
