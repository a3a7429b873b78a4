"""A pretrained encoder with a linear classifier on every word: the baseline of sequence labelling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.models.classifier import head_dropout, load_with_metadata
from common.training.word_pieces import NO_TAG, TaggedBatch, TaggedSplit


def of_words(hidden: Tensor, batch: TaggedBatch) -> Tensor:
    """(B, W, H) the states of the words' first pieces, out of (B, L, H)."""
    sentences = torch.arange(len(hidden), device=hidden.device)
    return hidden[sentences[:, None], batch.starts]


class TagHead(nn.Module):
    """Dropout and a linear map: z = W dropout(h) + b, for every word."""

    def __init__(self, hidden_size: int, tags: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden_size, tags)

    def forward(self, states: Tensor) -> Tensor:
        """(..., H) to (..., C)."""
        logits: Tensor = self.classifier(self.dropout(states))
        return logits

    def initialise(self, deviation: float) -> TagHead:
        """Draw the weights from N(0, `deviation`), bias 0, as BERT's classifiers are."""
        nn.init.normal_(self.classifier.weight, std=deviation)
        nn.init.zeros_(self.classifier.bias)
        return self


class EncoderTagger(nn.Module):
    """An encoder and a `TagHead` after its last layer."""

    def __init__(self, encoder: LayeredEncoder, head: TagHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @staticmethod
    def fresh(encoder: LayeredEncoder, tags: int, seed: int) -> EncoderTagger:
        """`encoder` with an untrained head."""
        torch.manual_seed(seed)
        config = encoder.config
        head = TagHead(encoder.hidden_size, tags, head_dropout(config)).initialise(config.initializer_range)
        return EncoderTagger(encoder, head)

    def forward(self, batch: TaggedBatch) -> Tensor:
        """(B, W, C) logits."""
        hidden = self.encoder(batch.input_ids, batch.attention_mask)
        logits: Tensor = self.head(of_words(hidden, batch))
        return logits

    def save(self, folder: Path) -> None:
        """Write encoder and head to `folder` (safetensors and JSON)."""
        self.encoder.save(folder / "encoder")
        save_file({k: v.contiguous() for k, v in self.head.state_dict().items()}, folder / "head.safetensors")

    @staticmethod
    def load(folder: Path) -> EncoderTagger:
        """Read what `save` wrote, in evaluation mode."""
        state, _ = load_with_metadata(folder / "head.safetensors")
        tags, hidden = state["classifier.weight"].shape
        head = TagHead(hidden, tags)
        head.load_state_dict(state)
        return EncoderTagger(LayeredEncoder.load(folder / "encoder"), head).eval()


def tag_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the words of a batch: logits (B, W, C), labels (B, W)."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=NO_TAG)


def tagging_loss(model: EncoderTagger, batch: TaggedBatch) -> Tensor:
    """The baseline's loss on one batch."""
    return tag_loss(model(batch), batch.labels)


@torch.inference_mode()
def word_logits(
    model: Callable[[TaggedBatch], Tensor], split: TaggedSplit, device: torch.device, batch_size: int = 64
) -> Tensor:
    """What `model` gives of every word, (B, W, ...) by batch, as (words of the split, ...) in its order."""
    by_sentence: list[Tensor] = [torch.empty(0)] * len(split)
    for cpu_batch in split.by_length(batch_size):
        found = model(cpu_batch.to(device)).cpu()
        for values, words, row in zip(found, cpu_batch.is_word.sum(1).tolist(), cpu_batch.rows.tolist(), strict=True):
            by_sentence[row] = values[:words]
    return torch.cat(by_sentence)
