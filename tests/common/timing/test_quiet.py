"""How busy others are while something is timed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.run.replication import Journal
from common.timing import quiet
from common.timing.interleave import Schedule, Stopwatch, time_interleaved
from common.timing.quiet import Load, busy_now, collected_loads, timing_facts, watched_load


class Machine:
    """A machine of four processors whose clocks are set by hand; this process may run on those of `allowed`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.own, self.user = 0.0, 0.0, [100.0, 200.0, 300.0, 400.0]
        self.allowed = [0, 1, 2, 3]
        monkeypatch.setattr(quiet.time, "monotonic", lambda: self.wall)
        monkeypatch.setattr(quiet.os, "times", lambda: os.times_result((self.own, 0, 0, 0, 0)))
        monkeypatch.setattr(quiet, "usable_processors", lambda: self.allowed)
        monkeypatch.setattr(psutil, "cpu_times", self._cpu_times)

    def _cpu_times(self, percpu: bool = False) -> Any:
        each = [_Times(user, 4 * self.wall - user) for user in self.user]
        return each if percpu else _Times(sum(self.user), 0.0)

    def work(self, wall: float, own: float, others: float, processor: int = 0) -> None:
        """Let `wall` seconds pass: this process took so much time of its first processor, others of `processor`."""
        self.wall, self.own = self.wall + wall, self.own + own
        self.user[self.allowed[0]] += own
        self.user[processor] += others


class _Times:
    def __init__(self, user: float, idle: float) -> None:
        self.user, self.idle = user, idle

    def _asdict(self) -> dict[str, float]:
        return {"user": self.user, "guest": self.user / 2, "idle": self.idle, "iowait": 7.0}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_what_this_process_does_is_no_load_of_others(machine: Machine) -> None:
    with collected_loads() as loads, watched_load():
        machine.work(10, own=20, others=0)
    assert loads == [Load(10, 0)] and loads[0].cores == 0


def test_what_others_do_is_counted_in_cores(machine: Machine) -> None:
    with collected_loads() as loads, watched_load():
        machine.work(10, own=10, others=7)
    assert loads == [Load(10, 7)] and loads[0].cores == pytest.approx(0.7)


def test_a_pinned_process_is_disturbed_on_its_own_processors_alone(machine: Machine) -> None:
    machine.allowed = [1, 3]
    with collected_loads() as loads:
        for processor in range(4):
            with watched_load():
                machine.work(10, own=10, others=1 + processor, processor=processor)
    assert loads == [Load(10, 0), Load(10, 2), Load(10, 0), Load(10, 4)]


def test_processors_numbered_otherwise_than_listed_all_count(machine: Machine) -> None:
    machine.allowed = [1, 4]
    with collected_loads() as loads, watched_load():
        machine.work(10, own=10, others=3, processor=2)
    assert loads == [Load(10, 3)]


def test_nobody_collects_nothing(machine: Machine) -> None:
    with watched_load():
        machine.work(1, 1, 1)
    with collected_loads() as loads:
        pass
    assert loads == []


def test_a_record_keeps_the_mean_over_time_and_the_largest_of_long_ones() -> None:
    loads = [Load(8.0, 0.8), Load(2.0, 2.4), Load(0.1, 0.3)]
    assert timing_facts(loads) == {"others_load_mean": round(3.5 / 10.1, 3), "others_load_max": 1.2}
    assert timing_facts([Load(0.1, 0.1), Load(0.3, 0.1)]) == {"others_load_mean": 0.5, "others_load_max": 0.5}
    assert timing_facts([]) == {}


def test_an_interrupted_run_keeps_the_loads_of_its_finished_steps(tmp_path: Path) -> None:
    Journal(tmp_path).keep_loads(0, [Load(8.0, 0.5), Load(2.0, 0.0)])
    again = Journal(tmp_path)
    again.keep_loads(1, [])
    again.keep_loads(2, [Load(1.0, 1.0)])
    assert again.loads == [Load(8.0, 0.5), Load(2.0, 0.0), Load(1.0, 1.0)]


def test_every_timing_is_watched(machine: Machine) -> None:
    def arm(_: int) -> None:
        machine.work(1, own=1, others=0.25)

    with collected_loads() as loads:
        time_interleaved([arm], Schedule(items=2, rounds=3, warmup=1, seed=0), Stopwatch(clock=lambda: machine.wall))
    assert loads == [Load(7, 1.75)]


def test_another_process_is_seen_on_a_real_machine() -> None:
    """Beside it, whatever the machine does otherwise, a spinning process adds about a core or takes one from others."""
    spin = [sys.executable, "-c", "import time; end = time.monotonic() + 30\nwhile time.monotonic() < end: pass"]
    with subprocess.Popen(spin) as process:
        try:
            time.sleep(0.3)
            seen = busy_now(0.5)
        finally:
            process.kill()
    assert 0.5 < seen <= (os.cpu_count() or 1) + 0.1
