"""Training heads on a frozen encoder: what they read of each layer is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from common.encoders.pooling import POOLINGS
from common.models.classifier import EncoderClassifier
from common.training.batches import EncodedSplit, length_buckets


@dataclass(frozen=True)
class FrozenStates:
    """B examples as off-ramps see them: what is read of layers 1..n-1, (B, n-1, H), and labels (B,)."""

    states: Tensor
    labels: Tensor

    @property
    def tokens(self) -> int:
        """States in the batch."""
        return self.states.shape[0] * self.states.shape[1]

    def to(self, device: torch.device) -> FrozenStates:
        """The same batch on `device`."""
        return FrozenStates(self.states.to(device), self.labels.to(device))


@dataclass(frozen=True)
class FrozenBatches:
    """An `EpochSource` of random batches of `FrozenStates`."""

    states: FrozenStates
    batch_size: int
    seed: int

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.states.labels) // self.batch_size)

    def epoch(self, number: int) -> Iterator[FrozenStates]:
        """The batches of epoch `number`."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        for rows in length_buckets([1] * len(self.states.labels), self.batch_size, generator):
            yield FrozenStates(self.states.states[rows], self.states.labels[rows])


@torch.inference_mode()
def frozen_states(
    classifier: EncoderClassifier, split: EncodedSplit, device: torch.device, batch_size: int = 64
) -> FrozenStates:
    """What heads read (the classifier's pooling) of every example of `split`, at every layer but the last.

    Dropout is off if the classifier is in evaluation mode.
    """
    encoder, read = classifier.encoder, POOLINGS[classifier.pooling]
    states = torch.empty(len(split), encoder.num_layers - 1, encoder.hidden_size)
    for cpu_batch in split.by_length(batch_size):
        batch = cpu_batch.to(device)
        hidden, mask = encoder.embed(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        for index in range(1, encoder.num_layers):
            hidden = encoder.layer(index, hidden, mask)
            states[cpu_batch.rows, index - 1] = read(hidden, mask).cpu()
    return FrozenStates(states, split.labels)
