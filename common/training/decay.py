"""Weight decay as BERT's code has it: of matrices and tables, not of biases and layer norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from common.training.loop import TrainingPlan


def adamw_sparing_norms(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW over what requires gradients, in two groups: the plan's decay, and none for biases and layer norms."""
    spared = _biases_and_norms(module)
    trained = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p not in spared], "weight_decay": plan.weight_decay},
        {"params": [p for p in trained if p in spared], "weight_decay": 0.0},
    ]
    present = [group for group in groups if group["params"]]
    return torch.optim.AdamW(present, lr=plan.learning_rate, eps=plan.adam_epsilon, fused=True)


def _biases_and_norms(module: nn.Module) -> set[nn.Parameter]:
    """By kind of module, since names of norms differ between encoders and heads."""
    norms = {p for part in module.modules() if isinstance(part, nn.LayerNorm) for p in part.parameters()}
    return norms | {p for name, p in module.named_parameters() if name.rpartition(".")[2] == "bias"}
