"""Which tasks a run learned, and what an axis of scores shows."""

from collections.abc import Callable

import pytest

from common.records.measurements import Measurement
from common.reporting.learned import Window, collapsed_seeds, learned, window
from common.reporting.series import Point, Series
from common.reporting.twins import merge_twins

Measure = Callable[..., Measurement]


def scores(measure: Measure, lows: list[float]) -> list[Measurement]:
    """The baseline of several seeds, 3 points above its interval's end, beside a constant answer of 50."""
    rows = []
    for seed, low in enumerate(lows):
        rows.append(measure("score", 50.0, system="constant answer", seed=seed))
        rows.append(measure("score", low + 3, system="baseline", seed=seed, ci_low=low, ci_high=low + 6))
    return rows


@pytest.mark.parametrize(("lows", "missed"), [([51.0, 10.0], ()), ([49.0, 50.0], ("sst-2",)), ([], ())])
def test_a_task_is_learned_if_one_seed_surely_beats_the_constant_answer(
    measure: Measure, lows: list[float], missed: tuple[str, ...]
) -> None:
    assert learned(scores(measure, lows), "baseline").not_learned == missed


def test_another_experiment_does_not_decide(measure: Measure) -> None:
    elsewhere = measure("score", 90.0, system="baseline", seed=0, ci_low=80.0, experiment="figure2")
    assert learned([*scores(measure, [40.0]), elsewhere], "baseline").not_learned == ("sst-2",)


def test_the_constant_answer_has_a_place_on_axes_of_scores_alone(measure: Measure) -> None:
    known = learned(scores(measure, [67.0, 77.0]), "baseline")
    assert known.constant_as("score", "sst-2") == 50.0
    assert known.constant_as("score_delta", "sst-2") == -25.0
    assert known.constant_as("accuracy", "sst-2") is None
    assert known.constant_as("score", "elsewhere") is None


def test_seeds_at_the_constant_answer_are_counted(measure: Measure) -> None:
    known = learned(scores(measure, [60.0]), "baseline")
    rows = [
        measure("score", score, system=system, seed=seed)
        for system, of_seed in {
            "fast": [50.0, 80.0, 81.0],
            "dead": [50.0, 40.0, 0.0],
            "fine": [51.0, 60.0, 70.0],
        }.items()
        for seed, score in enumerate(of_seed)
    ]
    assert collapsed_seeds(rows, known) == {("fast", "sst-2"): (1, 3)}


def test_a_window_reaches_below_the_constant_answer_by_half_the_gain() -> None:
    line = Series("t", "fast", (Point(1.0, 90.0), Point(2.0, 10.0)))
    assert window(50.0, [line]) == Window(constant=50.0, low=30.0, high=110.0)
    assert window(88.0, [line]) == Window(constant=88.0, low=83.0, high=95.0)
    assert window(90.0, [line]) is None


def curve(label: str, *points: tuple[float, float], panel: str = "t") -> Series:
    return Series(panel, label, tuple(Point(x, y) for x, y in points), system=label)


def test_twins_are_drawn_once_where_they_coincide() -> None:
    entropy = curve("entropy", (1.0, 90.0), (2.0, 80.0))
    confidence = curve("confidence", (1.5, 85.4), (2.5, 75.0))
    apart = curve("confidence", (1.5, 86.0), panel="three classes")
    other = curve("entropy", (1.0, 90.0), (2.0, 80.0), panel="three classes")
    merged = merge_twins([entropy, other, confidence, apart], ["entropy", "confidence"])
    assert [(one.panel, one.label) for one in merged] == [
        ("t", "entropy = confidence"),
        ("three classes", "entropy"),
        ("three classes", "confidence"),
    ]
    assert merge_twins([entropy, confidence], []) == [entropy, confidence]


def test_curves_without_a_common_range_are_no_twins() -> None:
    lines = [curve("a", (1.0, 90.0)), curve("b", (2.0, 90.0))]
    assert merge_twins(lines, ["a", "b"]) == lines
