"""What a model without exits answers."""

from __future__ import annotations

import torch
from torch import Tensor

from common.early_exit.runtime import Outcome


def after(logits: Tensor, layers: int) -> Outcome:
    """Everyone answers after so many layers."""
    return Outcome(logits, torch.full((len(logits),), layers))
