"""The rules of choice and of dominance: what is never trained would have been neither first nor second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from common.best.choice import Standing, is_dominated, nearest, on_the_list, ranking
from common.best.limits import Limits

GOOD = Standing("A", "2x", tune_loss=0.5, refuted=False, faster=True, seconds=2.0, p50_ms=2.0)
LIMITS = Limits(1.0)


# -- Choice -----------------------------------------------------------------------------------------------------------


def test_the_fastest_that_keeps_the_score_is_first() -> None:
    slower, worse = replace(GOOD, method="B", seconds=3.0), replace(GOOD, method="C", seconds=1.0, tune_loss=1.5)
    assert ranking([slower, worse, GOOD], LIMITS) == [GOOD, slower]


def test_a_loss_of_exactly_what_is_allowed_is_allowed() -> None:
    assert ranking([replace(GOOD, tune_loss=0.1 + 0.2)], Limits(0.3)) != []
    assert ranking([replace(GOOD, tune_loss=0.31)], Limits(0.3)) == []


def test_whom_dev_contradicts_is_passed_over_but_was_on_the_list() -> None:
    refuted = replace(GOOD, method="B", seconds=1.0, refuted=True)
    assert ranking([refuted, GOOD], LIMITS) == [GOOD]
    assert on_the_list([refuted, GOOD], LIMITS) == [refuted, GOOD]


def test_who_is_no_faster_than_the_baseline_or_too_slow_is_not_taken() -> None:
    assert ranking([replace(GOOD, faster=False)], LIMITS) == []
    assert ranking([GOOD], Limits(1.0, max_ms=1.9)) == []
    assert ranking([GOOD], Limits(1.0, max_ms=2.0)) == [GOOD]


def test_the_nearest_keeps_the_score_if_anyone_does() -> None:
    quick = replace(GOOD, method="B", p50_ms=0.5, tune_loss=9.0)
    assert nearest([quick, GOOD, replace(GOOD, method="C", p50_ms=4.0)], Limits(1.0, max_ms=1.0)) == GOOD
    least = replace(GOOD, method="D", tune_loss=2.0)
    assert nearest([quick, least], LIMITS) == least
    assert nearest([replace(GOOD, faster=False)], LIMITS) is None


# -- Dominance --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Floor:
    """The time of the layers that a method computes for every text."""

    seconds: float
    p50_ms: float

    def is_above(self, system: Standing) -> bool:
        return system.seconds < self.seconds and system.p50_ms < self.p50_ms


@dataclass(frozen=True)
class Invented:
    """A method: its floor, if it has one, and its systems, none below the floor."""

    floor: Floor | None
    systems: tuple[Standing, ...]


amounts = st.integers(0, 2).map(float)
"""Few different ones: ties and near misses are what a rule gets wrong."""

systems = st.lists(st.tuples(amounts, amounts, amounts, st.integers(0, 9)), min_size=1, max_size=3)
"""Time and median above the floor, points lost, and what else speaks against it."""

floors = st.builds(Floor, st.integers(1, 4).map(float), st.integers(1, 4).map(float))

methods = st.builds(
    lambda floor, rows: Invented(floor, tuple(above(floor or Floor(0, 0), i, *row) for i, row in enumerate(rows))),
    st.none() | floors,
    systems,
)


def above(floor: Floor, number: int, time: float, median: float, lost: float, against: int) -> Standing:
    """A system that takes so much more than its method's floor."""
    refuted, faster = against == 0, against != 1
    return Standing("m", str(number), lost, refuted, faster, floor.seconds + time, floor.p50_ms + median)


limits = st.builds(Limits, amounts, st.none() | amounts.map(lambda ms: ms + 0.5))


def searched(invented: Sequence[Invented], allowed: Limits) -> list[Standing]:
    """The systems of what is trained, one method after the other."""
    trained: list[Standing] = []
    for method in invented:
        below = [s for s in trained if method.floor is not None and method.floor.is_above(s)]
        if not is_dominated(below, allowed):
            trained += method.systems
    return trained


@settings(max_examples=300, deadline=None)
@given(st.lists(methods, min_size=3, max_size=6), limits)
def test_what_is_not_trained_would_have_been_neither_first_nor_second(
    invented: list[Invented], allowed: Limits
) -> None:
    """Against brute force: everything trained."""
    everything = [s for method in invented for s in method.systems]
    trained = searched(invented, allowed)
    places = [[(s.seconds, s) for s in ranking(some, allowed)[:2]] for some in (everything, trained)]
    assert places[0] == places[1]
    if len(trained) < len(everything):
        assert sum(s.keeps(allowed) for s in trained) >= 2


def test_one_system_below_the_floor_is_not_enough_and_none_that_loses_too_much_counts() -> None:
    other = replace(GOOD, method="B")
    assert not is_dominated([GOOD], LIMITS)
    assert is_dominated([GOOD, other], LIMITS)
    assert not is_dominated([GOOD, replace(other, refuted=True)], LIMITS)
    assert not is_dominated([GOOD, replace(other, tune_loss=1.1)], LIMITS)
