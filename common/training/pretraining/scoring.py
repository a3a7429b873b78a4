"""How well a model guesses masked tokens of text it was not trained on, beside who knows nothing but word counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from common.training.pretraining.batches import MaskedBatch


@dataclass(frozen=True)
class MaskedScore:
    """Of `n` masked tokens.

    Attributes:
        accuracy: share that is guessed at the first try.
        loss: mean cross-entropy in nats.
        unigram_accuracy, unigram_loss: of always saying how often each word occurs in the text trained on.
        n: how many were masked.
    """

    accuracy: float
    loss: float
    unigram_accuracy: float
    unigram_loss: float
    n: int

    @property
    def sentence(self) -> str:
        """For a reader."""
        return (
            f"guesses {self.accuracy:.1%} of {self.n:,} masked tokens (word counts alone: {self.unigram_accuracy:.1%}) "
            f"at {self.loss:.2f} nats a token (word counts: {self.unigram_loss:.2f})"
        )


@torch.inference_mode()
def masked_score(
    logits: Callable[[MaskedBatch], Tensor],
    batches: Iterable[MaskedBatch],
    counts: NDArray[np.int64],
    device: torch.device,
) -> MaskedScore:
    """Score a model by its (M, V) logits at the masked positions of `batches`; `counts` (V,) are of the whole text."""
    right, loss, targets = 0, 0.0, []
    for cpu_batch in batches:
        batch = cpu_batch.to(device)
        found = logits(batch).float()
        right += int((found.argmax(-1) == batch.targets).sum())
        loss += float(F.cross_entropy(found, batch.targets, reduction="sum"))
        targets.append(cpu_batch.targets.numpy())
    truth = np.concatenate(targets)
    share = (counts + 0.5) / (counts + 0.5).sum()
    unigram = float(-np.log(share[truth]).mean()) if len(truth) else math.nan
    n = max(1, len(truth))
    return MaskedScore(right / n, loss / n, float((truth == counts.argmax()).mean()), unigram, len(truth))
