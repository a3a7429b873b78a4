"""The exits that the paper compares with, on the same backbone and in short: DeeBERT's and PABEE's.

DeeBERT: off-ramps (a pooler and a classifier each) on the frozen fine-tuned classifier, left when entropy is low.
PABEE: exits that share one pooler, trained with the encoder, later ones weighing more, left when t + 1 of them agree.
Each has a replication of its own; here they are rivals, with the hyper-parameters of those replications.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.early_exit.rules import ExitState, require_classes
from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import FIRST_TOKEN, POOLINGS
from common.training.batches import Batch
from common.training.classifier import EncoderClassifier, PooledClassifier, head_dropout, load_with_metadata, task_loss
from common.training.frozen import FrozenStates
from common.training.loop import MakeOptimizer, TrainingPlan

# -- An encoder with an exit after every layer ------------------------------------------------------------------------


class MultiExit(ExitsOnEncoder):
    """An encoder and n heads: what `common.early_exit` runs."""

    def __init__(self, encoder: LayeredEncoder, heads: nn.ModuleList, pooling: str = FIRST_TOKEN) -> None:
        super().__init__(encoder)
        self.heads, self.pooling = heads, pooling

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """z_i."""
        logits: Tensor = self.heads[index - 1](POOLINGS[self.pooling](hidden, mask))
        return logits

    def save(self, folder: Path) -> None:
        """Write encoder and heads to `folder`; a shared pooler is written with each head."""
        self.encoder.save(folder / "encoder")
        save_heads(self.heads, folder / "heads.safetensors", self.pooling)

    @staticmethod
    def load(folder: Path) -> MultiExit:
        """Read what `save` wrote, in evaluation mode."""
        return MultiExit(LayeredEncoder.load(folder / "encoder"), *load_heads(folder / "heads.safetensors")).eval()


def fresh_heads(encoder: LayeredEncoder, outputs: int, seed: int, count: int) -> nn.ModuleList:
    """Untrained heads: the pretrained pooler, a classifier drawn from N(0, 0.02) with bias 0."""
    torch.manual_seed(seed)
    heads = (PooledClassifier(encoder.hidden_size, outputs, head_dropout(encoder.config)) for _ in range(count))
    return nn.ModuleList(head.initialise(encoder.pooler_dense, deviation=0.02) for head in heads)


def save_heads(heads: nn.ModuleList, path: Path, pooling: str) -> None:
    """Write the weights, and what the heads read (safetensors)."""
    state = {key: value.contiguous().clone() for key, value in heads.state_dict().items()}
    save_file(state, path, metadata={"pooling": pooling})


def load_heads(path: Path) -> tuple[nn.ModuleList, str]:
    """Read what `save_heads` wrote: the heads and their pooling."""
    state, about = load_with_metadata(path)
    count = sum(key.endswith("classifier.bias") for key in state)
    outputs, hidden = state["0.classifier.weight"].shape
    heads = nn.ModuleList(PooledClassifier(hidden, outputs) for _ in range(count))
    heads.load_state_dict(state)
    return heads, about["pooling"]


# -- DeeBERT: off-ramps on a frozen encoder, whose states are computed once -------------------------------------------


def off_ramp_loss(off_ramps: nn.ModuleList, batch: FrozenStates) -> Tensor:
    """L_1 + ... + L_{n-1}, all weights 1."""
    losses = [task_loss(exit_i(batch.states[:, i]), batch.labels) for i, exit_i in enumerate(off_ramps)]
    return torch.stack(losses).sum()


def with_off_ramps(classifier: EncoderClassifier, off_ramps: nn.ModuleList) -> MultiExit:
    """The classifier with its off-ramps; the last exit is its own head."""
    return MultiExit(classifier.encoder, nn.ModuleList([*off_ramps, classifier.head]), classifier.pooling).eval()


# -- PABEE: encoder and exits trained together, left when exits agree -------------------------------------------------


def patient_model(encoder: LayeredEncoder, outputs: int, seed: int, pooling: str = FIRST_TOKEN) -> MultiExit:
    """Untrained exits that share one pooler, on a copy of a pretrained encoder."""
    heads = fresh_heads(encoder, outputs, seed, encoder.num_layers)
    shared = heads[0].pooler
    for head in heads:
        head.pooler = shared
    return MultiExit(encoder.first_layers(encoder.num_layers), heads, pooling)


def weighted_loss(model: MultiExit, batch: Batch) -> Tensor:
    """sum_j j L_j / sum_j j over the exits j = 1..n."""
    losses = torch.stack([task_loss(exit_j, batch.labels) for exit_j in model(batch).unbind(1)])
    weights = torch.arange(1, len(losses) + 1, dtype=losses.dtype, device=losses.device)
    return (weights * losses).sum() / weights.sum()


def adamw_with_heads_at(rate: float) -> MakeOptimizer:
    """AdamW whose learning rate for the heads is `rate`; the plan's is the encoder's."""

    def make(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
        heads = {name: p for name, p in module.named_parameters() if name.startswith("heads.")}
        encoder = [p for name, p in module.named_parameters() if name not in heads]
        groups: list[dict[str, Any]] = [{"params": encoder}, {"params": list(heads.values()), "lr": rate}]
        return torch.optim.AdamW(
            groups, lr=plan.learning_rate, eps=plan.adam_epsilon, weight_decay=plan.weight_decay, fused=True
        )

    return make


@dataclass(frozen=True)
class Agreeing:
    """Leave when the last `patience` + 1 exits predict the same class; patience is 1 or more."""

    patience: int

    def __call__(self, state: ExitState) -> Tensor:
        """Who leaves at `state.layer`."""
        require_classes(state, "leaving by agreeing classes")
        if state.layer <= self.patience:
            return torch.zeros_like(state.rows, dtype=torch.bool)
        answers = torch.stack([logits.argmax(-1) for logits in state.history[-self.patience - 1 :]])
        return (answers == answers[0]).all(0)
