"""How far a command is and how long it will still take: one line, wherever it is shown.

On a terminal the line is written over again and again; elsewhere (a file, a CI log) there is one line a step.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

ENOUGH = 0.1
"""Share of a step that must be done before its own speed says something."""

FOUND_DONE = 0.05
"""A step that ends within this share of its estimate and reported nothing on the way found its work done before."""

ERASE = "\r\x1b[K"
"""Empties the terminal's current line."""


@dataclass
class RunProgress:
    """Follows a list of steps with estimated costs and prints a line now and then.

    The estimates are corrected by how long the work so far really took, so only their ratios matter.

    Attributes:
        names, estimates: the steps and their estimated seconds.
        say: prints one line.
        every_s: at most one line per so many seconds within a step.
        clock: seconds, monotonic.
    """

    names: Sequence[str]
    estimates: Sequence[float]
    say: Callable[[str], None]
    every_s: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _current: int = 0
    _spent: float = 0.0
    _estimated: float = 0.0
    _started: float = field(default=0.0)
    _reported: bool = False
    _printed: float = field(default=float("-inf"))

    @staticmethod
    def on_stderr(names: Sequence[str], estimates: Sequence[float]) -> RunProgress:
        """One that shows itself on standard error: written over on a terminal, elsewhere one line a step."""
        return RunProgress(names, estimates, show, every_s=1.0 if sys.stderr.isatty() else float("inf"))

    def start(self, index: int) -> None:
        """Step `index` (from 0) begins."""
        self._current, self._started, self._reported = index, self.clock(), False
        self._line(0.0)

    def __call__(self, done: int, total: int) -> None:
        """Within the current step, `done` of `total` units are finished."""
        self._reported = True
        if self.clock() - self._printed >= self.every_s:
            self._line(done / max(1, total))

    def finish(self, *, counted: bool = True) -> None:
        """The current step is finished; `counted` is false if it was found done and says nothing about speed."""
        took, estimate = self.clock() - self._started, self.estimates[self._current]
        if counted and (self._reported or took > FOUND_DONE * estimate):
            self._spent += took
            self._estimated += estimate

    def seconds_left(self, fraction: float) -> float:
        """Estimated seconds until all steps are done, `fraction` of the current one being done."""
        current = self.estimates[self._current]
        spent, estimated = self._spent, self._estimated
        if fraction >= ENOUGH:
            spent += self.clock() - self._started
            estimated += fraction * current
        remaining = sum(self.estimates[self._current + 1 :]) + (1 - fraction) * current
        return remaining * (spent / estimated if estimated > 1 else 1.0)

    def _line(self, fraction: float) -> None:
        self._printed = self.clock()
        share = f" {fraction:.0%}" if fraction else ""
        left = duration(self.seconds_left(fraction))
        self.say(f"[{self._current + 1}/{len(self.names)}] {self.names[self._current]}{share}  (about {left} left)")


def say(line: str) -> None:
    """Print one line that stays, at once; messages go to stderr, results to stdout."""
    print(f"{ERASE if sys.stderr.isatty() else ''}{line}", file=sys.stderr, flush=True)


def show(line: str) -> None:
    """Print a line of progress; on a terminal the next one takes its place."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"{ERASE}{line[:width]}", end="", file=sys.stderr, flush=True)
    else:
        say(line)


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
