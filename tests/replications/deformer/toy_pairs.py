"""Random questions on random passages, for the tests of DeFormer's parts."""

from __future__ import annotations

from dataclasses import replace

import torch

from common.training.segments import SegmentLayout, TwoSegmentBatch, TwoSegmentSplit

LAYOUT = SegmentLayout(max_seq=24, max_first=6)
"""Slots of 8 and 16; positions begin anew."""

RUNS_ON = replace(LAYOUT, runs_on=True)
"""The same, the second segment's positions from 8 on."""


def split_of(count: int, *, layout: SegmentLayout = LAYOUT, classes: int = 0, seed: int = 0) -> TwoSegmentSplit:
    """`count` pairs of random length with random answers, or classes; padding is 0."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    def words(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(200, 1000, (length,), generator=generator).tolist())

    first = tuple((101, *words(draw(2, layout.max_first)), 102) for _ in range(count))
    second = tuple((*words(draw(3, layout.second_pieces)), 102) for _ in range(count))
    if classes:
        labels = torch.randint(classes, (count,), generator=generator)
    else:
        begins = [layout.first_slot + draw(0, len(ids) - 2) for ids in second]
        labels = torch.tensor(
            [[b, min(b + draw(0, 1), layout.first_slot + len(ids) - 2)] for b, ids in zip(begins, second, strict=True)]
        )
    return TwoSegmentSplit(first, second, labels, 0, layout)


def batch_of(count: int, **how: object) -> TwoSegmentBatch:
    """All of `split_of` in one batch."""
    return split_of(count, **how).batch(range(count))  # type: ignore[arg-type]
