"""The regression guard: what it compares, how far a value may move, and its exit code."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.fake_paper import FakePaper

from common import cli, regress
from common.records.measurements import Measurement, read_measurements
from common.regress import TOLERANCES, compare


def measurement(value: float, unit: str = "points", metric: str = "score", **more: object) -> Measurement:
    return Measurement(experiment="table1", system="S", metric=metric, value=value, unit=unit, **more)  # type: ignore[arg-type]


def moved(before: list[Measurement], now: list[Measurement]) -> list[str]:
    return [str(difference) for difference in compare(before, now)]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6), st.sampled_from([*TOLERANCES, "other"]))
def test_nothing_moved_against_itself(values: list[float], unit: str) -> None:
    record = [measurement(value, unit, metric=f"m{i % 2}") for i, value in enumerate(values)]
    assert moved(record, record) == []


@pytest.mark.parametrize(("unit", "allowed"), [(unit, allowed) for unit, allowed in TOLERANCES.items() if allowed])
def test_a_trained_value_may_move_a_little(unit: str, allowed: float) -> None:
    before = [measurement(50.0, unit)]
    for sign in (-1, 1):
        assert moved(before, [measurement(50.0 + sign * 0.99 * allowed, unit)]) == []
        assert len(moved(before, [measurement(50.0 + sign * 1.01 * allowed, unit)])) == 1


@pytest.mark.parametrize("unit", ["count", "FLOP", "byte", "correlation", "a unit of its own"])
def test_a_count_is_exact(unit: str) -> None:
    big = 22_348_000_000_000.0
    assert moved([measurement(big, unit)], [measurement(big, unit)]) == []
    assert len(moved([measurement(7.0, unit)], [measurement(7.0001, unit)])) == 1
    assert len(moved([measurement(1e11, unit)], [measurement(1e11 + 1, unit)])) == 1


def test_what_depends_on_the_clock_is_not_compared() -> None:
    assert moved([measurement(1.0, timed=True)], [measurement(99.0, timed=True)]) == []
    assert moved([measurement(1.0, timed=True)], []) == []


def test_what_vanished_or_is_new_is_named() -> None:
    before = [measurement(1.0, metric="old", task="rte", seed=0)]
    assert moved(before, []) == ["table1 / S / rte / old / seed 0: was 1, now absent"]
    assert moved([], before) == ["table1 / S / rte / old / seed 0: was absent, now 1"]


def test_the_operating_point_may_move_if_the_value_stays() -> None:
    assert (
        moved([measurement(1.0, setting="threshold-1", at=0.1)], [measurement(1.0, setting="threshold-1", at=0.2)])
        == []
    )


def test_every_bar_of_a_histogram_is_guarded() -> None:
    """Such measurements share a name; only their operating point tells them apart."""
    before = [measurement(share, "fraction", at=layer) for layer, share in enumerate([0.5, 0.3, 0.2])]
    now = [measurement(share, "fraction", at=layer) for layer, share in enumerate([0.3, 0.5, 0.2])]
    assert len(moved(before, now)) == 2
    assert moved(before, before[:2]) == ["table1 / S / score / no. 3: was 0.2, now absent"]


# -- The command ------------------------------------------------------------------------------------------------------


def test_without_a_baseline_nothing_runs(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["regress"]) == 2
    message = capsys.readouterr().err
    assert "fake_paper has no baseline" in message and "make regress-update" in message
    assert fake.calls() == []


def test_a_baseline_holds_until_a_value_moves(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["regress", "--update"]) == 0
    before = fake.everything()
    assert cli.main(["regress"]) == 0
    assert "fake_paper: 3 guarded quantities, 0 moved" in capsys.readouterr().out
    fake.measures(second=20)
    assert cli.main(["regress"]) == 1
    out = capsys.readouterr().out
    assert "3 guarded quantities, 1 moved" in out and "table1 / second / layers: was 2, now 20" in out
    assert fake.everything() == before, "comparing changes no record"
    assert cli.main(["regress", "--update"]) == 0
    assert [m.value for m in read_measurements(fake.run_folder() / "measurements.jsonl") if not m.timed] == [1, 20, 3]
    assert cli.main(["regress"]) == 0


def test_the_guard_uses_no_cache(fake: FakePaper) -> None:
    assert cli.main(["regress", "--update"]) == 0
    assert not fake.cache.exists()
    fake.trouble(second="interrupt")
    assert cli.main(["regress"]) == 130
    fake.trouble()
    assert cli.main(["regress"]) == 0
    assert fake.calls()[-3:] == ["first", "second", "third"], "from the start"


def test_one_paper_alone(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["regress", "--update", "--paper", "fake-paper"]) == 0
    assert cli.main(["regress", "--paper", "Fake_Paper"]) == 0
    assert cli.main(["regress", "--paper", "fake-papr"]) == 2
    assert "did you mean" in capsys.readouterr().err


# -- Several papers ---------------------------------------------------------------------------------------------------

STANDS_IN = """
import os, sys
slug = sys.argv[-1]
print(f"{slug}: with {os.environ['OMP_NUM_THREADS']} thread")
if slug == "fails":
    sys.exit("what went wrong")
"""


@pytest.mark.parametrize(
    ("slugs", "code", "end"), [(("a", "b"), 0, "nothing moved"), (("a", "fails", "b"), 1, "fails")]
)
def test_papers_run_side_by_side_and_one_that_fails_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slugs: tuple[str, ...], code: int, end: str
) -> None:
    monkeypatch.setattr(regress, "COMMAND", (sys.executable, "-c", STANDS_IN))
    monkeypatch.setattr(regress, "choose", lambda paper: [SimpleNamespace(slug=slug) for slug in slugs])
    monkeypatch.setattr(regress, "_read_baseline", lambda replication: [])
    assert regress.regress() == code
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == sorted(f"{slug}: with 1 thread" for slug in slugs)
    assert err.splitlines()[-1].endswith(end) and ("what went wrong" in err) == bool(code)
