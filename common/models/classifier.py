"""A pretrained encoder fine-tuned as a classifier: every paper's baseline, and many a paper's teacher.

Fine-tuned models are artifacts: the same encoder, task and plan are trained once, whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import FIRST_TOKEN, POOLINGS
from common.training.batches import Batch, EncodedSplit

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from common.encoders.layered import LayeredEncoder


def head_dropout(config: PreTrainedConfig) -> float:
    """The rate before the classifier, as transformers' own heads read it: ALBERT's differs from that of its layers."""
    rates = (getattr(config, name, None) for name in ("classifier_dropout", "classifier_dropout_prob"))
    return next((float(rate) for rate in rates if rate is not None), float(config.hidden_dropout_prob))


class PooledClassifier(nn.Module):
    """tanh pooler, dropout, linear: BERT's classification head.

    p = tanh(W h + b), z = V dropout(p) + c, for h one state of a text: its first token's, or the mean.
    """

    def __init__(self, hidden_size: int, outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.pooler = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden_size, outputs)

    def forward(self, state: Tensor) -> Tensor:
        """(B, H) states h to (B, C) logits."""
        logits: Tensor = self.classifier(self.dropout(torch.tanh(self.pooler(state))))
        return logits

    def initialise(self, pooler: nn.Linear | None, deviation: float | None) -> PooledClassifier:
        """Copy `pooler` (if any) and draw the classifier from N(0, `deviation`), bias 0; None keeps PyTorch's."""
        if pooler is not None:
            self.pooler.load_state_dict(pooler.state_dict())
        if deviation is not None:
            nn.init.normal_(self.classifier.weight, std=deviation)
            nn.init.zeros_(self.classifier.bias)
        return self


class EncoderClassifier(nn.Module):
    """An encoder and a `PooledClassifier` after its last layer, which it reads by `pooling` (one of `POOLINGS`)."""

    def __init__(self, encoder: LayeredEncoder, head: PooledClassifier, pooling: str = FIRST_TOKEN) -> None:
        super().__init__()
        self.encoder, self.head, self.pooling = encoder, head, pooling

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits."""
        hidden, mask = self.encoder.encode(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        logits: Tensor = self.head(POOLINGS[self.pooling](hidden, mask))
        return logits

    def save(self, folder: Path) -> None:
        """Write encoder and head to `folder` (safetensors and JSON)."""
        self.encoder.save(folder / "encoder")
        state = {k: v.contiguous() for k, v in self.head.state_dict().items()}
        save_file(state, folder / "head.safetensors", metadata={"pooling": self.pooling})

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> EncoderClassifier:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how its encoder is to be opened."""
        encoder = open_encoder(folder / "encoder")
        state, about = load_with_metadata(folder / "head.safetensors")
        outputs, hidden = state["classifier.weight"].shape
        head = PooledClassifier(hidden, outputs)
        head.load_state_dict(state)
        return EncoderClassifier(encoder, head, about.get("pooling", FIRST_TOKEN)).eval()


def load_with_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and what its header says of them."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy for class indices (B,), mean squared error for float targets (one output)."""
    if labels.is_floating_point():
        return F.mse_loss(logits.squeeze(-1), labels)
    return F.cross_entropy(logits, labels)


def predictions(logits: Tensor, *, regression: bool) -> Tensor:
    """(N,) class indices, or the regression's values, from (N, C) logits."""
    return logits.squeeze(-1) if regression else logits.argmax(-1)


@torch.inference_mode()
def classifier_logits(
    model: Callable[[Batch], Tensor],
    split: EncodedSplit,
    device: torch.device,
    advance: Callable[[int], object] = lambda done: None,
) -> Tensor:
    """(N, C) logits for every example of `split`, in its order; `advance` is told how many are done."""
    logits, rows, done = [], [], 0
    for batch in split.by_length(64):
        logits.append(model(batch.to(device)).cpu())
        rows.append(batch.rows)
        done += len(batch.rows)
        advance(done)
    return torch.cat(logits)[torch.cat(rows).argsort()]
