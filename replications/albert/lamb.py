"""LAMB (You et al. 2020) as ALBERT was trained with it: Adam's step, scaled layer by layer to the size of the weights.

For a tensor w with gradient g:

    m ← β1 m + (1 - β1) g        v ← β2 v + (1 - β2) g²        u = m / (√v + ε) + λ w
    w ← w - η (‖w‖ / ‖u‖) u

Nothing corrects m and v for starting at 0. Layer norms and biases have neither decay λ nor the ratio of norms, as in
the official code; the ratio is 1 where either norm is 0. Implemented over lists of tensors at once: a model has
hundreds, and a dozen operations for each would cost more than their arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from common.errors import UserError
from common.training.loop import TrainingPlan

BETAS = (0.9, 0.999)
EPSILON = 1e-6

MOMENT, SQUARE = "moment", "square"


class Lamb(Optimizer):
    """LAMB over groups of parameters; a group with `adapt` False is left to Adam's plain step.

    Raises:
        UserError: a rate, β, ε or λ outside its range.
    """

    def __init__(
        self,
        groups: Any,  # noqa: ANN401
        lr: float,
        betas: tuple[float, float] = BETAS,
        eps: float = EPSILON,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps <= 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise UserError(
                f"LAMB needs a rate and a decay of at least 0, betas in [0, 1) and eps above 0, found lr={lr}, "
                f"betas={betas}, eps={eps}, weight_decay={weight_decay}"
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": True}
        super().__init__(groups, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._move(group, weights)
        return loss

    def _move(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        gradients = [p.grad for p in weights if p.grad is not None]
        moments, squares = self._slots(weights, MOMENT), self._slots(weights, SQUARE)
        first, second = group["betas"]
        torch._foreach_lerp_(moments, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
        updates = torch._foreach_div(moments, roots)
        if group["weight_decay"]:
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
        if group["adapt"]:
            torch._foreach_mul_(updates, trust_ratios(weights, updates))  # type: ignore[arg-type]
        torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _slots(self, weights: list[Tensor], name: str) -> list[Tensor]:
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = torch.zeros_like(weight)
        return [self.state[weight][name] for weight in weights]


def trust_ratios(weights: Sequence[Tensor], updates: Sequence[Tensor]) -> list[Tensor]:
    """‖w‖ / ‖u‖ of each tensor; 1 where either is 0."""
    sizes = torch.stack([*torch._foreach_norm(list(weights))]), torch.stack([*torch._foreach_norm(list(updates))])
    usable = (sizes[0] > 0) & (sizes[1] > 0)
    ratios = torch.where(usable, sizes[0] / torch.where(usable, sizes[1], 1.0), 1.0)
    return list(ratios.unbind())


def excluded(name: str) -> bool:
    """Whether a parameter has neither decay nor ratio: biases and layer norms."""
    return name.rpartition(".")[2] == "bias" or ".norm." in f".{name}"


def lamb(module: nn.Module, plan: TrainingPlan) -> Optimizer:
    """LAMB over what requires gradients, with the plan's rate, decay and ε."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in named if not excluded(name)]},
        {"params": [p for name, p in named if excluded(name)], "weight_decay": 0.0, "adapt": False},
    ]
    present = [group for group in groups if group["params"]]
    return Lamb(present, plan.learning_rate, eps=plan.adam_epsilon, weight_decay=plan.weight_decay)
