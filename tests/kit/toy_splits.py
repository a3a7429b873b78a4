"""Splits of random token ids, for tests of models that need inputs and no language."""

import torch

from common.training.batches import EncodedSplit


def split_of(
    count: int, *, classes: int = 2, seed: int = 0, segments: bool = False, regression: bool = False
) -> EncodedSplit:
    """`count` texts of 3 to 11 tokens, with random classes, or values from 0 to 5; the second half is a second text."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 12, (count,), generator=generator).tolist()
    ids = tuple(tuple(torch.randint(5, 1000, (n,), generator=generator).tolist()) for n in lengths)
    types = tuple(tuple(int(i > n // 2) for i in range(n)) for n in lengths) if segments else None
    labels = torch.randint(classes, (count,), generator=generator)
    return EncodedSplit(ids, types, 5 * torch.rand(count, generator=generator) if regression else labels, 0)
