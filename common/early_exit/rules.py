"""When does a sample leave? A rule looks at the exits' logits so far and answers for each sample.

A rule is a pure function of what it sees, so the same object serves the simulation (on stored logits) and the real
run (while computing). A new rule is a class with one method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from common.errors import UserError


@dataclass(frozen=True)
class ExitState:
    """What a rule sees after a layer, for the B samples that have not left yet.

    Attributes:
        history: (B, C) logits of each of the exits 1..layer.
        rows: (B,) each sample's position in the batch that the run started with.
    """

    history: Sequence[Tensor]
    rows: Tensor

    @property
    def layer(self) -> int:
        """The layer just computed, from 1."""
        return len(self.history)

    @property
    def latest(self) -> Tensor:
        """(B, C) logits of the exit at this layer."""
        return self.history[-1]

    @property
    def logits(self) -> Tensor:
        """(B, layer, C) logits of the exits 1..layer, for rules that look back."""
        return torch.stack(tuple(self.history), dim=1)


class ExitRule(Protocol):
    """Answers (B,) booleans: who leaves now. It is not asked at the last layer, where everyone leaves."""

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`."""


def require_classes(state: ExitState, rule: str) -> None:
    """Refuse to ask a rule on classes about a regression.

    Softmax over a single output is 1 with entropy 0, and its argmax never changes: every sample would leave at once.

    Raises:
        UserError: the exits have a single output.
    """
    if state.latest.shape[-1] < 2:
        raise UserError(
            f"{rule} needs classes, and these exits have one output, a regression's. "
            "Take a rule for values (PABEE's tolerance), or a task with classes"
        )


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits) over the last dimension, between 0 and ln C.

    Computed from the log-softmax: p ln p with p underflowing to 0 would give NaN, and NaN < S is false.
    """
    log_p = torch.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


@dataclass(frozen=True)
class EntropyBelow:
    """Leave when the entropy of this layer's prediction is strictly below `threshold` nats.

    (DeeBERT, Section 3.2; BranchyNet's rule.)
    """

    threshold: float

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise UserError(f"an entropy threshold is a number of nats, 0 or more; got {self.threshold}")

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`."""
        require_classes(state, "leaving by entropy")
        return entropy(state.latest) < self.threshold


@dataclass(frozen=True)
class ConfidenceAbove:
    """Leave when the largest probability of this layer's prediction is strictly above `threshold`.

    (Shallow-Deep Nets' rule; 1 never leaves, anything below 1/C leaves at layer 1.)
    """

    threshold: float

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UserError(f"a confidence threshold is a probability, 0 to 1; got {self.threshold}")

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`."""
        require_classes(state, "leaving by confidence")
        return torch.softmax(state.latest, dim=-1).amax(-1) > self.threshold


@dataclass(frozen=True)
class ImposedLayers:
    """Leave at a layer given in advance for each row of the batch; to measure the runtime, not to decide."""

    layers: Tensor

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`."""
        return self.layers[state.rows] <= state.layer


@dataclass(frozen=True)
class AskedInVain:
    """Ask `rule` after every layer and let nobody leave: what asking costs, with nothing saved."""

    rule: ExitRule

    def __call__(self, state: ExitState) -> Tensor:
        """Nobody."""
        return torch.zeros_like(self.rule(state))
