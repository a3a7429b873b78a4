"""Stage 2, self-sampling: the model learns with words that halt as they will in use.

Where they halt is simulated once more for every batch, at a window and a threshold drawn for each sentence, on what the
stage-1 model said of the training set in evaluation mode; the moving model is not asked. The method is that of
V0/further_train.py and V0/utils.py (Sample_Stop_Update_Callback).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from common.training.batches import length_buckets
from common.training.word_pieces import NO_TAG, TaggedBatch, TaggedSplit
from replications.token_early_exit.method import WindowBelow, by_depth, uncertainty

CAP = 0.5
"""The doubled threshold of the upper half is at most so large."""

EXTREME, WHOLE = 0.2, 0.4
"""The sandwich rule: of a batch of ten, two sentences get an extreme setting and four run at full depth."""


@dataclass(frozen=True)
class Settings:
    """What is drawn for a sentence: a window and a threshold, each evenly from these."""

    windows: tuple[int, ...]
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class StageOne:
    """What the stage-1 model said of the training set.

    Attributes:
        uncertainties: (words, n) u of each word at each layer.
        losses: (words, n) its cross-entropy there.
    """

    uncertainties: Tensor
    losses: Tensor

    @staticmethod
    def of(logits: Tensor, labels: Tensor) -> StageOne:
        """From (words, n, C) logits and (words,) tags."""
        losses = F.cross_entropy(logits.movedim(-1, 1), labels[:, None].expand(logits.shape[:2]), reduction="none")
        return StageOne(uncertainty(logits), losses)


@dataclass(frozen=True)
class SampledBatch:
    """Sentences with the layer at which each word is to halt, (B, W), and each word's stage-1 losses, (B, W, n)."""

    tagged: TaggedBatch
    exits: Tensor
    flood: Tensor

    @property
    def tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.tagged.tokens

    def to(self, device: torch.device) -> SampledBatch:
        """The same batch on `device`."""
        return SampledBatch(self.tagged.to(device), self.exits.to(device), self.flood.to(device))


@dataclass(frozen=True)
class SampledBatches:
    """An `EpochSource` of sampled batches; what is drawn follows from the seed and the epoch's number alone."""

    split: TaggedSplit
    stage_one: StageOne
    settings: Settings
    batch_size: int
    seed: int

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.split) // self.batch_size)

    def epoch(self, number: int) -> Iterator[SampledBatch]:
        """The batches of epoch `number`."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        begins = torch.tensor([0, *self.split.words]).cumsum(0)
        for rows in length_buckets(self.split.lengths, self.batch_size, generator):
            batch = self.split.batch(rows)
            u, flood = (
                self._of_batch(values, begins, batch)
                for values in (self.stage_one.uncertainties, self.stage_one.losses)
            )
            yield SampledBatch(batch, self._exits(u, batch.is_word, generator), flood)

    def _of_batch(self, values: Tensor, begins: Tensor, batch: TaggedBatch) -> Tensor:
        """(B, W, n) out of (words, n); 0 where there is no word."""
        place = (begins[batch.rows][:, None] + torch.arange(batch.labels.shape[1])).clamp_max(len(values) - 1)
        return values[place] * batch.is_word[..., None]

    def _exits(self, u: Tensor, is_word: Tensor, generator: torch.Generator) -> Tensor:
        """(B, W) simulated layers: by the sandwich rule, whose parts fall on random sentences of the batch."""
        size, n = len(u), u.shape[-1]
        exits = torch.full(is_word.shape, n)
        order = torch.randperm(size, generator=generator).tolist()
        extreme, drawn = round(EXTREME * size), size - round(WHOLE * size)
        for place, row in enumerate(order[:drawn]):
            rule = self.draw(generator, extreme=place < extreme)
            exits[row] = rule.exits(u[row : row + 1], is_word[row : row + 1])[0]
        return exits

    def draw(self, generator: torch.Generator, *, extreme: bool) -> WindowBelow:
        """A random setting; an extreme one has, by a coin, the smallest window or the largest threshold."""
        windows, thresholds = self.settings.windows, self.settings.thresholds
        numbers = [torch.randint(len(options), (), generator=generator) for options in (windows, thresholds)]
        window, threshold = windows[numbers[0]], thresholds[numbers[1]]
        if extreme:
            if torch.rand((), generator=generator) < 0.5:
                window = min(windows)
            else:
                threshold = max(thresholds)
        return WindowBelow(window, threshold, cap=CAP)


def flooded_loss(model: Callable[[TaggedBatch, Tensor], Tensor], batch: SampledBatch) -> Tensor:
    """Depth-weighted mean over words of |l - l0|, l0 the word's loss at that layer after stage 1.

    A word that has halted goes on to count at later layers, through its copy (a mask on it in the official code is
    overwritten). Padding does not count: there it adds a constant 1 to the printed loss.
    """
    logits = model(batch.tagged, batch.exits)
    labels = batch.tagged.labels[..., None].expand(logits.shape[:3])
    losses = F.cross_entropy(logits.movedim(-1, 1), labels, ignore_index=NO_TAG, reduction="none")
    is_word = batch.tagged.is_word[..., None]
    distances = (losses - batch.flood).abs() * is_word
    return by_depth(distances.sum((0, 1)) / is_word.sum())
