"""What is said of a recorded search: on invented answers and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit.toy_evidence import wrong_on

from common.best.judgement import BATCHED, TUNE_LABELS, Judged, together, tune_answers_name
from common.best.limits import Limits
from common.best.words import Words
from common.compare.names import BASELINE
from common.errors import UserError
from common.records.effects import Component, Effect
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name
from common.records.runs import RunRecord
from common.timing.paired import CONTROL

TUNE, DEV = np.arange(200) % 2, np.arange(400) % 2

Systems = dict[tuple[str, str], tuple[float, float, float]]
"""By method and setting: shares of wrong answers on tune and on dev, and the time as a share of the baseline's."""

LADDER, QUICK, CAREFUL = ("static ladder", "2 of 6 layers"), ("A", "t=1"), ("B", "")


def judged(systems: Systems, limits: Limits, *, control: float = 1.0) -> Judged:
    rng = np.random.default_rng(0)
    pace = 0.004 * (1 + 0.2 * rng.random(64))
    arrays: dict[str, Any] = {LABELS: DEV, TUNE_LABELS: TUNE}
    for (method, setting), (tune, dev, time) in {(BASELINE, ""): (0.05, 0.05, 1.0), **systems}.items():
        arrays[tune_answers_name(method, setting)] = wrong_on(TUNE, tune)
        arrays[answers_name(method, setting)] = wrong_on(DEV, dev)
        arrays[seconds_name(method, setting)] = time * pace
        arrays[seconds_name(method, setting) + BATCHED] = 0.5 * time * pace[:6]
    arrays[seconds_name(CONTROL)] = control * pace
    arrays[seconds_name(CONTROL) + BATCHED] = control * 0.5 * pace[:6]
    return Judged(Evidence("mine", 0, "accuracy", 2, 6, arrays), limits, 32)


MACHINE = {"machine": {"cpu": "Some CPU"}, "state": {"usable_cores": 2}, "timing": {"others_load_max": 0.1}}


def words(systems: Systems, limits: Limits, **more: Any) -> Words:
    environment = {**MACHINE, **more.pop("environment", {})}
    return Words(RunRecord("mini-files-mine", (), environment=environment), judged(systems, limits, **more))


def refused(systems: Systems, limits: Limits, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        words(systems, limits, **more).lines("reproduce predict", Path("folder"))
    return str(caught.value)


# -- The five lines ---------------------------------------------------------------------------------------------------


def test_five_lines_say_whom_to_take_and_what_it_costs() -> None:
    lines = words({LADDER: (0.05, 0.0575, 0.5), CAREFUL: (0.05, 0.05, 0.8)}, Limits(1.0)).lines("predict", Path("x/y"))
    assert len(lines) == 5
    assert lines[0] == (
        "Take static ladder (2 of 6 layers): of what loses at most 1 point on mine, the fastest one by one."
    )
    assert lines[1].startswith("It costs 0.7 points [-") or lines[1].startswith("It costs 0.8 points [-")
    assert "of the baseline's 95.0 (accuracy; the loss and its 95 % interval on 400 texts of dev, for all 2" in lines[1]
    assert "chosen on 200 others; that the loss is within the limit is not sure)" in lines[1]
    assert lines[2].startswith("It is 2.0 times as fast as the baseline one by one [2.0, 2.0] (2.21 ms a text, p50); ")
    assert "2.0 times as fast as the baseline in batches of 32 [2.0, 2.0] (1.09 ms a text, 917 a second)" in lines[2]
    assert lines[2].endswith("on 2 cores of Some CPU.")
    assert lines[3].startswith("Second: B, 0.0 points lost [0.0, 0.0], 1.2 times as fast one by one")
    assert lines[4] == "It lies in x/y. Type: predict x/y < texts"


def test_a_system_that_gains_costs_nothing() -> None:
    (_, cost, *_) = words({LADDER: (0.04, 0.03, 0.5)}, Limits(1.0)).lines("predict", Path("x"))
    assert cost.startswith("It costs nothing (it gains 2.0 points) [")
    assert "not sure" not in cost and "for all" not in cost


def test_without_a_second_the_baseline_is_named() -> None:
    lines = words({LADDER: (0.05, 0.05, 0.5)}, Limits(1.0)).lines("predict", Path("x"))
    assert lines[3] == "Second: nothing else that was tried meets the limits; the baseline itself loses nothing."


def test_the_choice_is_made_on_tune_and_the_loss_reported_of_dev() -> None:
    """Better on dev and within the limit there, but not on tune: not taken."""
    lines = words({QUICK: (0.08, 0.04, 0.3), LADDER: (0.05, 0.055, 0.5)}, Limits(1.0)).lines("predict", Path("x"))
    assert lines[0].startswith("Take static ladder")
    assert lines[1].startswith("It costs 0.5 points")


def test_whom_dev_surely_contradicts_is_passed_over_and_named() -> None:
    said = words({QUICK: (0.05, 0.25, 0.3), LADDER: (0.05, 0.055, 0.5)}, Limits(1.0))
    assert said.first.method == "static ladder"
    (line,) = said.contradicted()
    assert line.startswith(
        "A (t=1): passed over: chosen on held-back text it loses 0.0 points there, and on dev 20.0 ["
    )
    assert "for all 2 that stood for choice together" in said.cost(said.first)


def test_batches_decide_where_batches_are_asked_for() -> None:
    found = judged({QUICK: (0.05, 0.05, 0.9), LADDER: (0.05, 0.05, 0.5)}, Limits(1.0, batch=32))
    arrays = dict(found.evidence.arrays)
    arrays[seconds_name(*QUICK) + BATCHED] = 0.1 * arrays[seconds_name(BASELINE) + BATCHED]
    other = Judged(Evidence("mine", 0, "accuracy", 2, 6, arrays), Limits(1.0, batch=32), 32)
    assert [found.ranked[0].method, other.ranked[0].method] == ["static ladder", "A"]


def test_doubtful_times_are_called_so() -> None:
    systems: Systems = {LADDER: (0.05, 0.05, 0.5)}
    busy = words(systems, Limits(1.0), environment={"timing": {"others_load_max": 0.9}})
    assert "(doubtful: others kept 0.9 cores busy meanwhile)" in busy.lines("predict", Path("x"))[2]
    off = words(systems, Limits(1.0), control=1.06)
    assert "(doubtful: the baseline differed from itself by 6%)" in off.lines("predict", Path("x"))[2]


# -- Nothing meets the limits -----------------------------------------------------------------------------------------


def test_where_every_loss_is_too_great_the_nearest_is_named_with_what_would_admit_it() -> None:
    systems: Systems = {LADDER: (0.08, 0.07, 0.5), QUICK: (0.2, 0.2, 0.3)}
    message = refused(systems, Limits(1.0))
    assert message.startswith(
        "mine: nothing faster than the baseline loses at most 1 point one by one; nearest is static"
    )
    assert "2 points lost on dev" in message and message.endswith("3.0 on held-back text. Type MAX_LOSS=3")
    assert words(systems, Limits(3.0)).first.method == "static ladder"


def test_where_everyone_is_too_slow_the_fastest_is_named() -> None:
    message = refused({LADDER: (0.05, 0.05, 0.5)}, Limits(1.0, max_ms=1.0))
    assert "loses at most 1 point and takes at most 1 ms a text (p50) one by one; nearest is static ladder" in message
    assert message.endswith("Type MAX_MS=2.3, or allow a greater loss")


def test_where_dev_contradicts_everyone_it_says_so() -> None:
    message = refused({QUICK: (0.05, 0.25, 0.3)}, Limits(1.0))
    assert "what does on held-back text surely loses more on dev; nearest is A (t=1), 20 points lost on dev" in message


def test_where_nothing_is_faster_the_baseline_stays() -> None:
    message = refused({LADDER: (0.05, 0.05, 0.99)}, Limits(1.0), control=1.05)
    assert "nothing that was tried is surely faster than the baseline here (doubtful:" in message
    assert message.endswith("Take the baseline, or look again on a quiet machine")


# -- Intervals together -----------------------------------------------------------------------------------------------


def test_an_interval_for_several_together_is_wider_and_covers_all_of_them() -> None:
    effect = Effect(1.0, (Component(1.0, 1.0, 1e9),), 400, 1)
    assert together(effect, 1).high == pytest.approx(1 + 1.96, abs=0.001)
    assert together(effect, 5).high == pytest.approx(1 + 2.576, abs=0.001)
    assert together(Effect.exact(0.5), 5).low == 0.5
    draws = np.random.default_rng(0).normal(size=(20_000, 5))
    reach = together(Effect(0.0, effect.components, 400, 1), 5).high
    assert (abs(draws) <= reach).all(axis=1).mean() == pytest.approx(0.95, abs=0.006)
