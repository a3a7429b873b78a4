from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.timing.matmul_rate import ceiling_seconds, matmul_rate


def test_rate_is_the_counted_flops_over_the_best_time() -> None:
    def readings() -> Iterator[float]:
        for duration in (0.5, 0.25, 1.0):
            yield from (0.0, duration)

    with FlopCounterMode(display=False) as counter:
        torch.empty(8, 16, device="meta") @ torch.empty(16, 4, device="meta")
    clock = readings()
    rate = matmul_rate(8, 16, 4, repeats=3, clock=lambda: next(clock))
    assert rate == counter.get_total_flops() / 0.25


def test_real_rate_is_of_a_possible_size() -> None:
    rate = matmul_rate(128, 256, 256, repeats=5)
    assert 1e8 < rate < 1e15


def test_ceiling() -> None:
    assert ceiling_seconds(22.348e9, rate=100e9) == pytest.approx(0.22348)
    with pytest.raises(ValueError, match="positive rate"):
        ceiling_seconds(1.0, rate=0.0)
