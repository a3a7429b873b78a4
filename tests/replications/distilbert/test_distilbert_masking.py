"""DistilBERT's masking: rare tokens more often, so many of a whole batch."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_text import documents, text_of, words
from torch import Tensor

from common.training.pretraining.batches import MaskedBatches
from common.training.pretraining.rows import PackedRows
from replications.distilbert.method import (
    SmoothedByFrequency,
)


def counted() -> Tensor:
    counts = torch.ones(words().size, dtype=torch.long)
    counts[2000:2010] = 10_000
    return counts


def test_rare_tokens_are_masked_more_often_by_the_power_of_their_count() -> None:
    """Of two words, one 10,000 times as frequent, the frequent one is drawn with odds of 10,000^-0.7."""
    ids = torch.where(torch.rand(40, 500, generator=torch.Generator().manual_seed(1)) < 0.98, 2005, 3000)
    maskable = torch.ones_like(ids, dtype=torch.bool)
    masking = SmoothedByFrequency(counted(), padding=0, share=0.001)
    frequent = rare = 0
    for seed in range(40):
        chosen = masking(ids, maskable, torch.Generator().manual_seed(seed))
        frequent += int((ids[chosen] == 2005).sum())
        rare += int((ids[chosen] == 3000).sum())
    odds = 0.98 * 10_000**-0.7 / 0.02
    assert frequent / (frequent + rare) == pytest.approx(odds / (1 + odds), abs=0.04)


@settings(deadline=None, max_examples=50)
@given(share=st.floats(0.01, 0.9), seed=st.integers(0, 1000), rows=st.integers(1, 8))
def test_so_many_of_the_whole_batch_are_masked_rounded_up_and_no_special_one(
    share: float, seed: int, rows: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, 2000, (rows, 20), generator=generator)
    ids[:, 0], ids[:, -1] = 101, 0
    maskable = words().maskable(ids) & (ids != 0)
    chosen = SmoothedByFrequency(counted(), padding=0, share=share)(ids, maskable, generator)
    tokens = rows * 19
    assert chosen.sum() == min(math.ceil(share * tokens), int(maskable.sum()))
    assert not (chosen & ~maskable).any()


def test_rows_may_have_more_and_fewer_masked_tokens(tmp_path: Path) -> None:
    text = text_of(tmp_path, documents(40))
    masking = SmoothedByFrequency(torch.from_numpy(text.counts), words().padding)
    found = next(MaskedBatches(PackedRows(text, words(), 32), words(), masking, batch_size=8, seed=0).epoch(0))
    per_row = torch.bincount(found.places // 32, minlength=8)
    assert len(per_row.unique()) > 1 and per_row.sum() == 39, "ceil(0.15 x 8 x 32)"
