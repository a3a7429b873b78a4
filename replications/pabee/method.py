"""PABEE (Zhou et al., NeurIPS 2020): leave as soon as the exits of several layers in a row agree.

Notation: n layers, h_i (B, L, H) the output of layer i, h_i[0] its first token, C outputs (1 for a regression).
An encoder that was not pretrained to be read at its first token is read as the mean of h_i (`common.encoders.pooling`).

    p_i = tanh(W h_i[0] + b)           one pooler, shared by all exits
    z_i = V_i dropout(p_i) + c_i       one linear map for each layer; the n-th is the ordinary classifier
    L   = sum_j j L_j / sum_j j        one stage, nothing frozen; later exits weigh more
    use   with patience t leave at the first layer that ends t+1 equal predictions in a row, else at n

Architecture and inference are those of the official code; the loss is the paper's equation 6 according to a public
note on it, and equals the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.early_exit.multi_exit import adamw_with_rate, depth_weighted_loss
from common.early_exit.rules import ExitState, require_classes
from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import FIRST_TOKEN, POOLINGS
from common.errors import UserError
from common.models.classifier import head_dropout, load_with_metadata
from common.training.batches import Batch

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder
    from common.training.loop import MakeOptimizer

# -- The model: one exit after every layer ----------------------------------------------------------------------------


class Exits(nn.Module):
    """The shared pooler and the n linear classifiers."""

    def __init__(self, num_layers: int, hidden_size: int, outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.pooler = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.classifiers = nn.ModuleList(nn.Linear(hidden_size, outputs) for _ in range(num_layers))

    def forward(self, index: int, state: Tensor) -> Tensor:
        """z_i (B, C) from h_i[0] (B, H), or from the mean of h_i; i = `index` from 1."""
        logits: Tensor = self.classifiers[index - 1](self.dropout(torch.tanh(self.pooler(state))))
        return logits


class PABEE(ExitsOnEncoder):
    """An encoder with an exit after every layer: what `common.early_exit` runs."""

    def __init__(self, encoder: LayeredEncoder, exits: Exits, pooling: str = FIRST_TOKEN) -> None:
        super().__init__(encoder)
        self.exits, self.pooling = exits, pooling

    @staticmethod
    def fresh(encoder: LayeredEncoder, outputs: int, seed: int, pooling: str = FIRST_TOKEN) -> PABEE:
        """Untrained exits on a copy of a pretrained encoder.

        The pooler is the pretrained one and is trained on; classifiers are drawn from N(0, 0.02) with bias 0.
        """
        torch.manual_seed(seed)
        exits = Exits(encoder.num_layers, encoder.hidden_size, outputs, head_dropout(encoder.config))
        if encoder.pooler_dense is not None:
            exits.pooler.load_state_dict(encoder.pooler_dense.state_dict())
        for name, parameter in exits.classifiers.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.zeros_(parameter)
        return PABEE(encoder.first_layers(encoder.num_layers), exits, pooling)

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """z_i."""
        logits: Tensor = self.exits(index, POOLINGS[self.pooling](hidden, mask))
        return logits

    def save(self, folder: Path) -> None:
        """Write encoder and exits to `folder`."""
        self.encoder.save(folder / "encoder")
        state = {k: v.contiguous() for k, v in self.exits.state_dict().items()}
        save_file(state, folder / "exits.safetensors", metadata={"pooling": self.pooling})

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> PABEE:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how its encoder is to be opened."""
        encoder = open_encoder(folder / "encoder")
        state, about = load_with_metadata(folder / "exits.safetensors")
        outputs, hidden = state["classifiers.0.weight"].shape
        exits = Exits(encoder.num_layers, hidden, outputs)
        exits.load_state_dict(state)
        return PABEE(encoder, exits, about["pooling"]).eval()


# -- Training: all exits together, in one stage -----------------------------------------------------------------------


def joint_loss(model: PABEE, batch: Batch) -> Tensor:
    """Equation 6 of one batch: sum_j j L_j / sum_j j over the exits j = 1..n; the weights never change."""
    return depth_weighted_loss(model, batch)


def adamw_with_exits_at(exits_rate: float) -> MakeOptimizer:
    """AdamW whose learning rate for pooler and classifiers is `exits_rate`; the plan's is the encoder's."""
    return adamw_with_rate(exits_rate, of="exits.")


# -- Use: patience ----------------------------------------------------------------------------------------------------


def _check_patience(patience: int) -> None:
    if patience < 1:
        raise UserError(
            f"patience counts agreements of neighbouring exits and is 1 or more; got {patience}. "
            "(The official code takes 0 for the full depth: here that is the last exit, without a rule)"
        )


@dataclass(frozen=True)
class AgreeingClasses:
    """Leave when the last `patience` + 1 exits predict the same class (ties go to the lower index).

    Counting agreements with the exit before, from 0 again after a disagreement, until there are `patience`, is the
    same thing.
    """

    patience: int

    def __post_init__(self) -> None:
        _check_patience(self.patience)

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`; each sample for itself."""
        require_classes(state, "leaving by agreeing classes")
        if state.layer <= self.patience:
            return torch.zeros_like(state.rows, dtype=torch.bool)
        answers = torch.stack([logits.argmax(-1) for logits in state.history[-self.patience - 1 :]])
        return (answers == answers[0]).all(0)


@dataclass(frozen=True)
class AgreeingValues:
    """Leave when the last `patience` + 1 exits each differ from the one before by less than `tolerance`, strictly.

    The values are those of the labels (STS-B: 0 to 5); tolerance 0 never leaves.
    """

    patience: int
    tolerance: float

    def __post_init__(self) -> None:
        _check_patience(self.patience)
        if not 0 <= self.tolerance < float("inf"):
            raise UserError(f"a tolerance is a difference of two values, 0 or more and finite; got {self.tolerance}")

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`; each sample for itself."""
        if state.latest.shape[-1] != 1:
            raise UserError(
                f"a tolerance compares a regression's values, and these exits have {state.latest.shape[-1]} classes. "
                "Leave by agreeing classes"
            )
        if state.layer <= self.patience:
            return torch.zeros_like(state.rows, dtype=torch.bool)
        values = torch.cat(list(state.history[-self.patience - 1 :]), dim=-1)
        return (values.diff(dim=-1).abs() < self.tolerance).all(-1)


def leaves_after(patience: int, num_layers: int) -> AgreeingClasses:
    """The rule for classes, for an encoder of n = `num_layers`; patience n - 1 always runs everything.

    Raises:
        UserError: the patience is not one of 1..n-1.
    """
    _check_depth(patience, num_layers)
    return AgreeingClasses(patience)


def leaves_within(tolerance: float, patience: int, num_layers: int) -> AgreeingValues:
    """The rule for a regression.

    Raises:
        UserError: the patience is not one of 1..n-1, or the tolerance is negative or not finite.
    """
    _check_depth(patience, num_layers)
    return AgreeingValues(patience, tolerance)


def _check_depth(patience: int, num_layers: int) -> None:
    _check_patience(patience)
    if patience >= num_layers:
        raise UserError(
            f"{num_layers} exits agree with a neighbour at most {num_layers - 1} times: "
            f"expected a patience of 1 to {num_layers - 1}, got {patience}"
        )
