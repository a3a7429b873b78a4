"""How many threads PyTorch computes with, held fixed while something is timed.

PyTorch picks a number from the machine and the environment, and a library loaded later may change it. A timing
that does not state its thread count cannot be repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def usable_processors() -> list[int]:
    """Numbers of the logical processors that this process may run on: those of its CPU affinity, else all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Physical cores that this process may run on: not more than its CPU affinity allows."""
    import psutil

    allowed = len(usable_processors())
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


@contextmanager
def pinned_threads(threads: int | None = None) -> Iterator[int]:
    """Let PyTorch compute with `threads` threads (by default one per usable core) inside the block.

    More threads than the processors that this process may run on would wait for each other: they are not started.

    Yields:
        The number of threads in force, to be recorded; afterwards the old number is back.

    Raises:
        ValueError: `threads` is below 1.
    """
    import torch

    wanted = usable_cores() if threads is None else threads
    if wanted < 1:
        raise ValueError(f"expected at least 1 thread, found {wanted}")
    before = torch.get_num_threads()
    torch.set_num_threads(min(wanted, len(usable_processors())))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
