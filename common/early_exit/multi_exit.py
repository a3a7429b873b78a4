"""An encoder with a pooler and a classifier after every layer: the model of most early-exit methods.

Heads are alike, each with all its parts, and may come from elsewhere (DeeBERT: the last one is the fine-tuned
classifier's own). A method whose exits share a part (PABEE: one pooler for all) or read their layers otherwise derives
from `ExitsOnEncoder`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import FIRST_TOKEN, POOLINGS
from common.models.classifier import PooledClassifier, head_dropout, load_with_metadata, task_loss
from common.training.batches import Batch
from common.training.frozen import FrozenStates

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder
    from common.training.loop import MakeOptimizer, TrainingPlan


class Heads(nn.ModuleList):
    """`PooledClassifier`s, one a layer, that can be kept in a folder without the encoder."""

    pooling: str = FIRST_TOKEN

    @staticmethod
    def fresh(encoder: LayeredEncoder, outputs: int, seed: int, count: int, pooling: str = FIRST_TOKEN) -> Heads:
        """Untrained: each pooler a copy of the pretrained one, each classifier drawn from N(0, 0.02) with bias 0."""
        torch.manual_seed(seed)
        dropout = head_dropout(encoder.config)
        drawn = (PooledClassifier(encoder.hidden_size, outputs, dropout) for _ in range(count))
        return Heads.reading(pooling, [head.initialise(encoder.pooler_dense, deviation=0.02) for head in drawn])

    @staticmethod
    def reading(pooling: str, heads: Sequence[nn.Module]) -> Heads:
        """These heads, each given what `pooling` reads of its layer."""
        made = Heads(heads)
        made.pooling = pooling
        return made

    def save(self, folder: Path) -> None:
        """Write the weights and what the heads read (safetensors).

        Raises:
            RuntimeError: heads share a part, which would come back as parts of their own.
        """
        state = {key: value.contiguous() for key, value in self.state_dict().items()}
        save_file(state, folder / "heads.safetensors", metadata={"pooling": self.pooling})

    @staticmethod
    def load(folder: Path) -> Heads:
        """Read what `save` wrote, in evaluation mode."""
        state, about = load_with_metadata(folder / "heads.safetensors")
        outputs, hidden = state["0.classifier.weight"].shape
        count = sum(key.endswith("classifier.bias") for key in state)
        heads = Heads.reading(about["pooling"], [PooledClassifier(hidden, outputs) for _ in range(count)])
        heads.load_state_dict(state)
        return heads.eval()  # type: ignore[return-value]


class MultiExit(ExitsOnEncoder):
    """An encoder and n heads: exit i answers z_i (B, C) from what head i reads of layer i."""

    def __init__(self, encoder: LayeredEncoder, heads: Heads) -> None:
        super().__init__(encoder)
        self.heads = heads

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """z_i, i = `index` from 1."""
        logits: Tensor = self.heads[index - 1](POOLINGS[self.heads.pooling](hidden, mask))
        return logits

    def save(self, folder: Path) -> None:
        """Write encoder and heads to `folder`."""
        self.encoder.save(folder / "encoder")
        self.heads.save(folder)

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> MultiExit:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how its encoder is to be opened."""
        return MultiExit(open_encoder(folder / "encoder"), Heads.load(folder)).eval()


# -- Losses over all exits --------------------------------------------------------------------------------------------


def summed_loss(heads: Heads, batch: FrozenStates) -> Tensor:
    """L_1 + ... + L_k of k heads on a frozen encoder, whose states were computed once."""
    losses = [task_loss(head(batch.states[:, i]), batch.labels) for i, head in enumerate(heads)]
    return torch.stack(losses).sum()


def depth_weighted_loss(model: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    """`depth_weighted` of a model that is trained as a whole."""
    return depth_weighted(model(batch), batch.labels)


def depth_weighted(logits: Tensor, labels: Tensor) -> Tensor:
    """sum_j j L_j / sum_j j over the exits j = 1..n of (B, n, C) logits."""
    losses = torch.stack([task_loss(exit_j, labels) for exit_j in logits.unbind(1)])
    weights = torch.arange(1, len(losses) + 1, dtype=losses.dtype, device=losses.device)
    return (weights * losses).sum() / weights.sum()


def adamw_with_rate(rate: float, *, of: str | tuple[str, ...] = "heads.") -> MakeOptimizer:
    """AdamW with the learning rate `rate` for parameters whose names begin with (one) `of`, the plan's for others."""

    def make(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for name, p in named if not name.startswith(of)]},
            {"params": [p for name, p in named if name.startswith(of)], "lr": rate},
        ]
        return torch.optim.AdamW(
            groups, lr=plan.learning_rate, eps=plan.adam_epsilon, weight_decay=plan.weight_decay, fused=True
        )

    return make
