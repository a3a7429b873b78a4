"""Table 5's "embedding initialisation": an n-gram starts as what the pretrained teacher makes of its text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from common.encoders.sources import PretrainedEncoder
from common.tasks.task import Example
from common.training.batches import encode
from replications.sparse_distillation.engine.extraction import Vocabulary

MOST = 20_000
"""Ours: so many of the most frequent n-grams are read, the others stay random; the paper reads all 1M."""


@torch.no_grad()
def copy_teacher_rows(
    source: PretrainedEncoder,
    vocabulary: Vocabulary,
    table: Tensor,
    deviation: float,
    progress: Callable[[int, int], None],
) -> None:
    """Overwrite the rows of the most frequent n-grams of the random `table` (|V|, d_e), in place.

    The teacher's states (mean over the n-gram's tokens, width H) are brought to width d_e by a random projection and
    to the table's own mean 0 and `deviation`; neither is specified in the paper.
    """
    frequent = np.argsort(-vocabulary.counts, kind="stable")[:MOST]
    texts = [Example(vocabulary.ngram(int(i)), None, 0.0) for i in frequent]
    split = encode(source.tokenizer, texts, regression=False, max_length=32)
    states = torch.empty(len(texts), source.encoder.hidden_size)
    done = 0
    for batch in split.by_length(256):
        hidden = source.encoder(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        mask = batch.attention_mask[..., None]
        states[batch.rows] = (hidden * mask).sum(1) / mask.sum(1)
        done += len(batch.rows)
        progress(done, 2 * len(texts))
    projection = torch.randn(states.shape[1], table.shape[1], generator=torch.Generator().manual_seed(0))
    rows = (states - states.mean(0)) @ projection
    table[torch.from_numpy(frequent)] = deviation * rows / rows.std()
