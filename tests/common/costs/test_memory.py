from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

import pytest

from common.costs.memory import PeakMemory, peak_memory

MIB = 2**20


def test_peak_of_a_known_allocation_in_a_fresh_process() -> None:
    # Repeating a non-zero byte writes to every page, so that they all become resident.
    ballast = bytearray(b"x") * (600 * MIB)
    memory = peak_memory(bytes.count, b"x" * (100 * MIB), b"x")
    small = peak_memory(len, b"")
    del ballast
    assert small.peak < 600 * MIB, "the peak of this process is not inherited"
    assert small.before <= small.peak
    assert memory.peak > 100 * MIB


def test_increase_counts_memory_that_was_freed_again() -> None:
    memory = peak_memory(_allocate_and_free, 200 * MIB)
    assert memory.increase == pytest.approx(200 * MIB, rel=0.1)


def test_increase_is_peak_minus_before() -> None:
    assert PeakMemory(before=3, peak=10).increase == 7


def test_error_of_the_callable_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        peak_memory(int, "not a number")


def test_death_of_the_process_is_reported() -> None:
    with pytest.raises(BrokenProcessPool):
        peak_memory(_exit_hard, 3)


def _allocate_and_free(size: int) -> None:
    bytearray(b"x") * size


def _exit_hard(code: int) -> None:
    import os

    os._exit(code)
