"""The line that says how far a run is and how long it will still take."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.run.progress import ERASE, RunProgress, duration, say


@dataclass
class Show:
    """A progress with a clock that is set by hand."""

    estimates: list[float]
    now: float = 0.0
    lines: list[str] = field(default_factory=list)

    def progress(self) -> RunProgress:
        names = [f"step {i}" for i in range(len(self.estimates))]
        return RunProgress(names, self.estimates, self.lines.append, every_s=10.0, clock=lambda: self.now)


def test_before_anything_is_known_the_estimates_are_taken_as_they_are() -> None:
    show = Show([30.0, 60.0])
    show.progress().start(0)
    assert show.lines == ["[1/2] step 0  (about 1 min 30 s left)"]


def test_a_slow_machine_stretches_what_is_left() -> None:
    show = Show([30.0, 60.0, 10.0])
    progress = show.progress()
    progress.start(0)
    show.now = 90.0
    progress.finish()
    progress.start(1)
    assert progress.seconds_left(0.0) == pytest.approx(3 * 70.0)


def test_within_a_step_its_own_speed_counts() -> None:
    show = Show([100.0, 50.0])
    progress = show.progress()
    progress.start(0)
    show.now = 10.0  # Half of 100 estimated seconds took 10: five times as fast as thought.
    assert progress.seconds_left(0.5) == pytest.approx((50 + 50) / 5)
    assert progress.seconds_left(0.05) == pytest.approx(145.0), "a twentieth says nothing yet"


def test_steps_found_done_do_not_make_the_rest_look_instant() -> None:
    show = Show([100.0, 100.0, 100.0, 100.0])
    progress = show.progress()
    progress.start(0)
    show.now += 50.0
    progress.finish()
    progress.start(1)
    show.now += 0.2  # Its models were trained before.
    progress.finish()
    progress.start(2)
    progress.finish(counted=False)  # It is in the journal.
    progress.start(3)
    assert progress.seconds_left(0.0) == pytest.approx(50.0)


def test_a_step_that_reports_work_counts_however_fast_it_was() -> None:
    show = Show([100.0, 100.0])
    progress = show.progress()
    progress.start(0)
    progress(1, 2)
    show.now = 1.0  # A GPU.
    progress.finish()
    progress.start(1)
    assert progress.seconds_left(0.0) == pytest.approx(1.0)


def test_a_line_comes_at_most_every_so_many_seconds() -> None:
    show = Show([100.0])
    progress = show.progress()
    progress.start(0)
    for second in range(1, 61):
        show.now = float(second)
        progress(second, 100)
    assert len(show.lines) == 1 + 6
    assert show.lines[1].startswith("[1/1] step 0 10%") and show.lines[-1].startswith("[1/1] step 0 60%")


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.booleans()), min_size=1, max_size=8))
def test_what_is_left_is_never_negative_and_nothing_is_left_at_the_end(steps: list[tuple[float, float, bool]]) -> None:
    show = Show([estimate for estimate, _, _ in steps])
    progress = show.progress()
    for index, (_, took, counted) in enumerate(steps):
        progress.start(index)
        show.now += took
        assert progress.seconds_left(0.5) >= 0
        progress.finish(counted=counted)
    assert progress.seconds_left(1.0) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (-3, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# -- Where it is shown ------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def two_steps_shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    """What a run of two steps writes to `stream`, with many reports within each and a message in between."""
    monkeypatch.setattr(sys, "stderr", stream)
    progress = RunProgress.on_stderr(["first", "second"], [30.0, 30.0])
    progress.clock = iter(range(0, 100_000, 5)).__next__
    for index in range(2):
        progress.start(index)
        for done in range(50):
            progress(done, 50)
        progress.finish()
        say(f"message {index}")
    return stream.getvalue()


def test_without_a_terminal_there_is_a_line_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = two_steps_shown(monkeypatch, io.StringIO()).splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["[1/2] first", "message 0", "[2/2] second", "message 1"]


def test_on_a_terminal_one_line_is_written_over_and_messages_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = two_steps_shown(monkeypatch, Terminal())
    assert text.count("\n") == 2 and text.count(ERASE) > 50
    # What a terminal shows in the end: each line from its last erasure on.
    assert [line.rpartition(ERASE)[2] for line in text.rstrip("\n").split("\n")] == ["message 0", "message 1"]
    assert all(len(part) < 40 for part in text.replace("\n", ERASE).split(ERASE))
