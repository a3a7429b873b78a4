"""How busy others kept the machine while something was timed.

A ratio of two times is only as good as the quiet around it: on a machine that others use, an arm may lose a core that
its baseline had. So while something is timed it is measured how many of the cores that this process may run on (all,
unless it is pinned) were busy, less what it took itself. Whoever wants to know (`collected_loads`) gets one `Load` for
each timing; the run keeps their mean and the largest with its record, and a timed claim is not decided where others
took more than `QUIET`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from common.timing.threads import usable_processors

QUIET = 0.5
"""Cores that others may keep busy while something is timed."""

LONG_ENOUGH_S = 1.0
"""Shorter timings do not count for the largest load: processor time is counted in hundredths of a second."""

GLANCE_S = 0.2
"""How long `busy_now` looks."""

_loads: ContextVar[list[Load] | None] = ContextVar("loads", default=None)


@dataclass(frozen=True, slots=True)
class Load:
    """One timing: how long it took, and the processor time of others meanwhile, both in seconds."""

    seconds: float
    others_s: float

    @property
    def cores(self) -> float:
        """Cores that others kept busy, on average over the timing."""
        return self.others_s / self.seconds if self.seconds > 0 else 0.0


@contextmanager
def collected_loads() -> Iterator[list[Load]]:
    """Within the block, every timing adds its load to the yielded list."""
    loads: list[Load] = []
    token = _loads.set(loads)
    try:
        yield loads
    finally:
        _loads.reset(token)


@contextmanager
def watched_load() -> Iterator[None]:
    """Around what is timed: measures the load of others and hands it to whoever collects. It costs microseconds."""
    loads = _loads.get()
    if loads is None:
        yield
        return
    before = _Reading.now()
    yield
    loads.append(_Reading.now().since(before))


def busy_now(seconds: float = GLANCE_S) -> float:
    """How many cores others keep busy at the moment; it takes `seconds`."""
    before = _Reading.now()
    time.sleep(seconds)
    return _Reading.now().since(before).cores


def timing_facts(loads: Sequence[Load]) -> dict[str, float]:
    """What a record says of its timings: `others_load_mean` and `others_load_max`, in cores; empty without timings.

    The largest is over timings of a second or more; where there are none, it is the mean.
    """
    seconds = sum(load.seconds for load in loads)
    if not seconds:
        return {}
    mean = sum(load.others_s for load in loads) / seconds
    largest = max((load.cores for load in loads if load.seconds >= LONG_ENOUGH_S), default=mean)
    return {"others_load_mean": round(mean, 3), "others_load_max": round(largest, 3)}


@dataclass(frozen=True, slots=True)
class _Reading:
    wall: float
    cores: float
    own: float

    @staticmethod
    def now() -> _Reading:
        own = os.times()
        mine = own.user + own.system + own.children_user + own.children_system
        return _Reading(time.monotonic(), _busy_seconds(), mine)

    def since(self, before: _Reading) -> Load:
        others = (self.cores - before.cores) - (self.own - before.own)
        return Load(self.wall - before.wall, max(0.0, others))


def _busy_seconds() -> float:
    """Processor time that our cores have spent on work, theft by other guests of the same host included."""
    import psutil

    cores = psutil.cpu_times(percpu=True)
    allowed = usable_processors()
    # Where processors are numbered otherwise than they are listed (some are switched off), all of them count.
    ours = [cores[number] for number in allowed] if max(allowed) < len(cores) else cores
    # Linux counts the time of guests among that of users, too.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(value for times in ours for name, value in times._asdict().items() if name not in idle))
