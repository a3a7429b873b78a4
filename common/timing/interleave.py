"""Timing several things at once: interleaved, in random order, with nothing else going on.

A busy or throttling machine changes speed over minutes. Whoever times A for a minute and then B for a minute
compares two machines; two identical models timed in blocks were seen to differ by up to 9 %. So every arm runs on
an item before any arm runs on the next, in random order, and on the next item in the reverse of that order
(A B, B A, ...): a slow minute slows all arms alike, and over two items a steady drift favours none of them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.timing.quiet import watched_load


def nothing() -> None:
    """Do nothing: the default of a hook."""


def device_synchroniser() -> Callable[[], object]:
    """Return what waits for the accelerator to finish its queue; it does nothing on a machine without one."""
    import torch

    from common.devices import available_device

    return nothing if available_device().type == "cpu" else torch.accelerator.synchronize


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Seconds that a call takes, work queued on a device included.

    Attributes:
        synchronise: waits until all queued work is done; called before and after.
        clock: the time in seconds, monotonic.
    """

    synchronise: Callable[[], object] = nothing
    clock: Callable[[], float] = time.perf_counter

    def seconds(self, arm: Callable[[int], object], item: int) -> float:
        """Time `arm(item)`."""
        self.synchronise()
        start = self.clock()
        arm(item)
        self.synchronise()
        return self.clock() - start


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often and in which order the arms run.

    Attributes:
        items: number of items; each arm is called with 0 .. items-1.
        rounds: timed passes over all items.
        warmup: untimed calls of each arm before the first round (on the first items, round robin).
        seed: of the random order of items and arms.
    """

    items: int
    rounds: int
    warmup: int
    seed: int

    def __post_init__(self) -> None:
        if self.items < 1 or self.rounds < 1 or self.warmup < 0:
            raise ValueError(f"expected items >= 1, rounds >= 1 and warmup >= 0, found {self}")


def time_interleaved(
    arms: Sequence[Callable[[int], object]],
    schedule: Schedule,
    stopwatch: Stopwatch,
    advance: Callable[[], object] = nothing,
) -> NDArray[np.float64]:
    """Run every arm on every item in every round and time each call.

    Runs under `torch.inference_mode`, with the garbage collector off (it collects before each round). Meanwhile the
    load of others is measured (`common.timing.quiet`).

    Args:
        arms: each takes the index of an item; what it returns is dropped.
        schedule: items, rounds, warm-up, seed.
        stopwatch: measures a call.
        advance: called outside the timed parts whenever all arms have run on an item, for a progress display
            (`schedule.rounds * schedule.items` times).

    Returns:
        Seconds, shape [arms, rounds, items].
    """
    import torch

    generator = np.random.default_rng(schedule.seed)
    orders = _mirrored_orders(len(arms), generator)
    seconds = np.empty((len(arms), schedule.rounds, schedule.items))
    with torch.inference_mode(), collector_off(), watched_load():
        for call in range(schedule.warmup):
            for arm in arms:
                arm(call % schedule.items)
        for round_ in range(schedule.rounds):
            gc.collect()
            for item in generator.permutation(schedule.items).tolist():
                for index in next(orders):
                    seconds[index, round_, item] = stopwatch.seconds(arms[index], item)
                advance()
    return seconds


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector from running inside the block; afterwards it is as it was."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _mirrored_orders(count: int, generator: np.random.Generator) -> Iterator[list[int]]:
    """Yield random orders of `count` arms without end, each followed by its reverse."""
    while True:
        order = generator.permutation(count).tolist()
        yield order
        yield order[::-1]
