"""The Right Tool for the Job (Schwartz et al., ACL 2020): leave at the first classifier that is sure, calibrated.

Notation: n layers, h_m (B, L, H) the output of layer m, h_m[0] its first token, C classes; classifiers j = 1..J stand
after the layers l_1 < ... < l_J = n. An encoder that was not pretrained to be read at its first token is read as the
mean of h_m (`common.encoders.pooling`).

    v_m = dropout(tanh(W h_m[0] + b))         one pooler, shared by all layers
    r_j = sum_m s_jm v_m, m = 1..l_j          s_j of unit length: the mix of all layers so far
    z_j = (V_j r_j + c_j) / T_j               T_j = 1 until all is trained
    L   = sum_j L_j                           one stage, nothing frozen, equal weights
    T_j minimises the loss of classifier j on held-back examples, all else fixed
    use   leave at the first j with max softmax(z_j) >= t, else at n

The paper counts layers from 0, this code from 1. All is read in the official code: the paper's sections on the method
could not be had. In that code the mix is a random unit vector which nothing ever trains (`RELEASED`), by an oversight:
after every forward pass it becomes a new parameter that no optimiser knows. The paper learns it (`LEARNED`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.early_exit.rules import ExitState, require_classes
from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import FIRST_TOKEN, POOLINGS
from common.errors import UserError
from common.models.classifier import head_dropout, load_with_metadata, task_loss
from common.training.batches import Batch

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder

LEARNED, RELEASED = "learned", "released"
"""What becomes of the mix s_j in training: it learns, or it stays as it was drawn."""


def classifier_layers(num_layers: int) -> tuple[int, ...]:
    """l_1..l_J: 1, 5, 13 and 24 of BERT-large, 1, 4, 6 and 12 of BERT-base (official README), elsewhere like shares."""
    if num_layers == 12:
        return 1, 4, 6, 12
    return tuple(sorted({1, math.ceil(5 * num_layers / 24), math.ceil(13 * num_layers / 24), num_layers}))


# -- The model --------------------------------------------------------------------------------------------------------


class Classifier(nn.Module):
    """z_j before its temperature: (H + 1) C + l_j parameters."""

    def __init__(self, layers: int, hidden_size: int, outputs: int, mix: str = LEARNED) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(layers), requires_grad=mix == LEARNED)
        self.linear = nn.Linear(hidden_size, outputs)

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, C) from v_1..v_l (B, l, H). The mix is one parameter, brought to unit length at every use."""
        unit = F.normalize(self.mix, dim=0)
        logits: Tensor = self.linear(torch.einsum("m,bmh->bh", unit.to(vectors.dtype), vectors))
        return logits


class RightTool(ExitsOnEncoder):
    """An encoder with classifiers after the layers `depths`: what `common.early_exit` runs.

    What layer m hands on is (B, m + L, H): the vectors v_1..v_m that classifiers mix, then h_m. Where no classifier
    stands, exit m says what the last one said: whoever stayed there stays here.
    """

    temperatures: Tensor

    def __init__(self, encoder: LayeredEncoder, classifiers: Sequence[Classifier], pooling: str = FIRST_TOKEN) -> None:
        super().__init__(encoder)
        self.classifiers, self.pooling = nn.ModuleList(classifiers), pooling
        self.depths = tuple(len(classifier.mix) for classifier in classifiers)
        self.outputs = classifiers[0].linear.out_features
        self.pooler = nn.Linear(encoder.hidden_size, encoder.hidden_size)
        self.dropout = nn.Dropout(head_dropout(encoder.config))
        self.register_buffer("temperatures", torch.ones(len(classifiers)))

    @staticmethod
    def fresh(
        encoder: LayeredEncoder,
        outputs: int,
        seed: int,
        *,
        pooling: str = FIRST_TOKEN,
        mix: str = LEARNED,
        depths: Sequence[int] | None = None,
    ) -> RightTool:
        """Untrained classifiers (PyTorch's own draw, as in the official code) on a copy of a pretrained encoder.

        The pooler starts as the pretrained one and is trained on. `depths` are by default those of the paper; the
        paper's baseline has a single classifier, after the last layer.
        """
        torch.manual_seed(seed)
        depths = classifier_layers(encoder.num_layers) if depths is None else depths
        classifiers = [Classifier(depth, encoder.hidden_size, outputs, mix) for depth in depths]
        model = RightTool(encoder.first_layers(depths[-1]), classifiers, pooling)
        if encoder.pooler_dense is not None:
            model.pooler.load_state_dict(encoder.pooler_dense.state_dict())
        return model

    def layer(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """v_1..v_m and h_m, m = `index` from 1, from v_1..v_{m-1} and h_{m-1}."""
        vectors, states = hidden[:, : index - 1], self.encoder.layer(index, hidden[:, index - 1 :], mask)
        pooled = self.dropout(torch.tanh(self.pooler(POOLINGS[self.pooling](states, mask))))
        return torch.cat([vectors, pooled[:, None], states], dim=1)

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """z_j of the last classifier up to layer `index`; zeros (no class is likelier) below the first."""
        standing = [j for j, depth in enumerate(self.depths) if depth <= index]
        if not standing:
            return hidden.new_zeros(len(hidden), self.outputs)
        j = standing[-1]
        logits: Tensor = self.classifiers[j](hidden[:, : self.depths[j]]) / self.temperatures[j]
        return logits

    def save(self, folder: Path) -> None:
        """Write encoder, classifiers and temperatures to `folder`."""
        self.encoder.save(folder / "encoder")
        state = {k: v.contiguous() for k, v in self.state_dict().items() if not k.startswith("encoder.")}
        about = {"pooling": self.pooling, "depths": json.dumps(self.depths)}
        save_file(state, folder / "classifiers.safetensors", metadata=about)

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> RightTool:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how its encoder is to be opened."""
        encoder = open_encoder(folder / "encoder")
        state, about = load_with_metadata(folder / "classifiers.safetensors")
        outputs, hidden = state["classifiers.0.linear.weight"].shape
        classifiers = [Classifier(depth, hidden, outputs) for depth in json.loads(about["depths"])]
        model = RightTool(encoder, classifiers, about["pooling"])
        model.load_state_dict(state | {f"encoder.{k}": v for k, v in encoder.state_dict().items()})
        return model.eval()


# -- Training: all classifiers together -------------------------------------------------------------------------------


def joint_loss(model: RightTool, batch: Batch) -> Tensor:
    """L_1 + ... + L_J: a plain sum over the classifiers, all weights 1."""
    logits = model(batch)
    return torch.stack([task_loss(logits[:, depth - 1], batch.labels) for depth in model.depths]).sum()


# -- Calibration: one temperature a classifier ------------------------------------------------------------------------

COLDEST, HOTTEST = 0.01, 100.0
"""Where all held-back examples are answered rightly, the loss falls for ever as T does."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """T in [`COLDEST`, `HOTTEST`] with the lowest cross-entropy of softmax(logits / T); it has but one minimum."""
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        return F.cross_entropy(logits.double() / math.exp(log_t), labels).item()

    found = minimize_scalar(loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded")
    return math.exp(found.x)


def calibrate(model: RightTool, logits: Tensor, labels: Tensor) -> None:
    """Set T_1..T_J, from the model's own (N, n, C) logits, calibrated or not, on examples held back from training."""
    for j, depth in enumerate(model.depths):
        model.temperatures[j] = fit_temperature(model.temperatures[j] * logits[:, depth - 1], labels)


# -- Use: confidence --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfidenceAtLeast:
    """Leave when the largest probability is at least `threshold`, not strictly; each sample for itself.

    A sure answer's probability rounds to 1 and leaves at 1: only a threshold above 1 never leaves.
    """

    threshold: float

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise UserError(f"a confidence threshold is a probability, or above 1 to never leave; got {self.threshold}")

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`."""
        require_classes(state, "leaving by confidence")
        return torch.softmax(state.latest, dim=-1).amax(-1) >= self.threshold
