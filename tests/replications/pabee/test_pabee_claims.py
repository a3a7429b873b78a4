"""What decides PABEE's claims, on invented evidence whose answer is known."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kit.toy_evidence import Judge, record_of, values, wrong_on

from common.records.claims import Check
from common.records.predictions import Evidence, answers_name, at_layer, exits_name, seconds_name
from replications.pabee import claims
from replications.pabee.names import (
    BRANCHYNET,
    PABEE,
    PRINTED_SPEEDUPS,
    SHALLOW_DEEP,
    TEST,
    matched_setting,
    patience_setting,
    speed_setting,
)

verdict = Judge("pabee")
N, LAYERS, TEXTS, HALF = 2000, 6, 60, 3
WRONG = 0.2
"""The share on which the plain classifier errs."""


def evidence(
    task: str = "sst-2",
    seed: int = 0,
    *,
    gains: Mapping[int, float] | None = None,
    on_test: float | None = None,
    rivals: float = 0.0,
    rival_layer: float | None = None,
    speed: float = 1.5,
    last_exit: float = 0.0,
    wrong: float = WRONG,
) -> Evidence:
    """PABEE gains a share of dev over the plain classifier at each patience, none where it is not said.

    Args:
        gains: by patience.
        on_test: gained at the main patience on a labelled test; none there by default.
        rivals: what both confidence exits gain, at every setting.
        rival_layer: the mean layer at which they leave; by default as fast as they should be.
        speed: of the main patience on the clock.
        last_exit: what the last exit loses against the exit at five sixths of the depth.
        wrong: the share on which the plain classifier errs.
    """
    labels = np.arange(N) % 2
    full = 1 + np.random.default_rng(seed).random(TEXTS)
    gains = gains or {}

    def gained(share: float) -> Any:
        return wrong_on(labels, wrong - share)

    arrays = {
        "labels": labels,
        answers_name("baseline"): gained(0.0),
        seconds_name("baseline"): full,
        answers_name(PABEE, at_layer(5)): gained(0.0),
        answers_name(PABEE, at_layer(6)): gained(-last_exit),
        seconds_name(PABEE, patience_setting(HALF)): full / speed,
    }
    for patience in range(1, LAYERS):
        layer = patience + 1
        arrays[answers_name(PABEE, patience_setting(patience))] = gained(gains.get(patience, 0.0))
        arrays[exits_name(PABEE, patience_setting(patience))] = np.full(N, layer)
        for name in PRINTED_SPEEDUPS:
            arrays[answers_name(name, matched_setting(patience))] = gained(rivals)
            arrays[exits_name(name, matched_setting(patience))] = np.full(N, rival_layer or layer)
    for name, printed in PRINTED_SPEEDUPS.items():
        arrays[answers_name(name, speed_setting(printed))] = gained(rivals)
        arrays[exits_name(name, speed_setting(printed))] = np.full(N, rival_layer or 3)
    if on_test is not None:
        arrays[TEST + "labels"] = labels
        arrays[TEST + answers_name("baseline")] = gained(0.0)
        arrays[TEST + answers_name(PABEE, patience_setting(HALF))] = gained(on_test)
    return Evidence(task, seed, "accuracy", 2, LAYERS, arrays)


def seeds(task: str = "sst-2", **how: Any) -> list[Evidence]:
    return [evidence(task, seed, **how) for seed in range(3)]


def main_gain(task: str, gain: float) -> list[Evidence]:
    return seeds(task, gains={HALF: gain})


# -- Against the plain classifier -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        (0.04, 0.0, "reproduced"),
        (0.01, 0.0, "direction only"),
        (-0.04, 0.01, "contradicted"),
        (0.001, 0.0, "inconclusive"),
    ],
)
def test_the_macro_gain_is_the_mean_over_tasks(first: float, second: float, word: str) -> None:
    record = record_of(*main_gain("sst-2", first), *main_gain("mrpc", second))
    assert verdict("pabee-albert-dev", record) == word


def test_a_task_that_the_plain_classifier_did_not_learn_decides_nothing() -> None:
    decision = claims.better_than_plain(record_of(*main_gain("sst-2", 0.02), *seeds("rte", wrong=0.5)))
    assert decision is not None
    assert values(decision.cells) == {"sst-2": pytest.approx(2.0)}
    assert decision.left_out == ("rte: the baseline did not learn it",)
    assert claims.better_than_plain(record_of(*seeds("rte", wrong=0.5))) is None


def test_test_counts_where_it_has_labels() -> None:
    record = record_of(*seeds("sst-2", on_test=0.03), *main_gain("mrpc", 0.1))
    decision = claims.better_on_test(record)
    assert decision is not None
    assert values(decision.cells) == {"sst-2": pytest.approx(3.0)}
    assert verdict("pabee-albert-test", record) == "reproduced"
    assert verdict("pabee-albert-test", record_of(*seeds(on_test=-0.03))) == "contradicted"
    assert verdict("pabee-albert-test", record_of(*seeds(on_test=0.001))) == "inconclusive"
    assert claims.better_on_test(record_of(*seeds())) is None


@pytest.mark.parametrize(
    ("lost", "word"), [(-0.01, "reproduced"), (0.0, "reproduced"), (0.03, "contradicted"), (0.009, "inconclusive")]
)
def test_no_task_of_table_2_may_lose_a_point(lost: float, word: str) -> None:
    record = record_of(*main_gain("sst-2", 0.0), *main_gain("sts-b", -lost), *main_gain("rte", -0.2))
    assert verdict("pabee-bert", record) == word
    assert claims.small_drop(record_of(*main_gain("rte", 0.0))) is None


# -- The middle range of patience -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        ({2: -0.03, 3: 0.02, 4: 0.02, 5: -0.02}, "reproduced"),
        ({2: -0.03, 3: 0.02, 4: 0.02, 5: 0.05}, "contradicted"),
        ({2: 0.05, 3: 0.02, 4: 0.02, 5: -0.02}, "contradicted"),
        ({2: -0.03, 3: -0.02, 4: -0.02, 5: -0.05}, "contradicted"),
        ({2: -0.03, 3: 0.001, 4: 0.0, 5: -0.02}, "inconclusive"),
    ],
)
def test_the_middle_is_above_the_plain_model_and_both_ends(gains: dict[int, float], word: str) -> None:
    assert verdict("pabee-patience-window", record_of(*seeds(gains=gains))) == word


def test_where_nothing_differs_no_window_is_seen() -> None:
    """A count of values above the plain model would be half of them by chance."""
    rng = np.random.default_rng(0)
    noisy = []
    for e in seeds():
        flips = {
            name: np.where(rng.random(N) < 0.01, 1 - array, array)
            for name, array in e.arrays.items()
            if name.startswith(PABEE) and name.endswith("answers")
        }
        noisy.append(replace(e, arrays={**e.arrays, **flips}))
    assert verdict("pabee-patience-window", record_of(*noisy)) in ("inconclusive", "contradicted")


def test_the_windows_cells_say_what_they_compare() -> None:
    decision = claims.patience_window(record_of(*seeds(gains={2: -0.03, 3: 0.02, 4: 0.04, 5: -0.02})))
    assert decision is not None
    assert values(decision.cells) == {
        "sst-2, t=3 to 4 over the plain classifier": pytest.approx(3.0),
        "sst-2, t=3 to 4 over too little (t=2)": pytest.approx(6.0),
        "sst-2, t=3 to 4 over too much (t=5)": pytest.approx(5.0),
    }
    assert claims.patience_window(record_of(*seeds("rte"))) is None


# -- Against the confidence exits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "word"),
    [(0.04, "reproduced"), (0.01, "direction only"), (-0.04, "contradicted"), (0.001, "inconclusive")],
)
def test_both_rivals_are_beaten_on_every_task(behind: float, word: str) -> None:
    record = record_of(*seeds("sst-2", rivals=-0.05), *seeds("mrpc", rivals=-behind))
    assert verdict("pabee-beats-confidence-exits", record) == word
    if behind != 0.01:  # there at equal speed 0.2 points are asked, not 1.3
        assert verdict("pabee-beats-confidence-exits-equal-speed", record_of(*seeds(rivals=-behind))) == word


def test_a_rival_that_answers_a_constant_is_no_rival() -> None:
    decision = claims.beats_confidence_exits(record_of(*seeds(rivals=WRONG - 0.5)))
    assert decision is None
    one = evidence(rivals=-0.04)
    constant = {answers_name(SHALLOW_DEEP, "1.95x"): np.zeros(N, dtype=int)}
    decision = claims.beats_confidence_exits(record_of(replace(one, arrays={**one.arrays, **constant})))
    assert decision is not None
    assert values(decision.cells) == {"sst-2, BranchyNet at 1.88x": pytest.approx(4.0)}
    assert decision.left_out == ("sst-2, Shallow-Deep at 1.95x: it answers no better than a constant",)
    assert claims.beats_at_equal_speed(record_of(*seeds(rivals=WRONG - 0.5))) is None


def test_a_rival_of_another_speed_is_no_comparison() -> None:
    record = record_of(*seeds(rivals=-0.04, rival_layer=1))
    assert claims.beats_confidence_exits(record) is claims.beats_at_equal_speed(record) is None


def test_the_curve_is_compared_where_the_figure_is() -> None:
    """Patience 1 runs at 3.0 times, 5 at 1.0: outside. Both rivals at the three others."""
    decision = claims.beats_at_equal_speed(record_of(*seeds(), *seeds("mrpc")))
    assert decision is not None
    assert list(values(decision.cells)) == [
        f"sst-2, t={t} over {name}" for t in (2, 3, 4) for name in (BRANCHYNET, SHALLOW_DEEP)
    ]


def test_one_surely_lost_comparison_of_the_curve_refutes_it() -> None:
    record = record_of(*seeds(rivals=-0.04, gains={4: -0.1}))
    assert verdict("pabee-beats-confidence-exits-equal-speed", record) == "contradicted"


def test_a_regression_has_no_rivals() -> None:
    values_of = np.linspace(0, 5, N)
    arrays = {"labels": values_of, answers_name("baseline"): values_of}
    arrays[answers_name(PABEE, patience_setting(HALF))] = values_of
    regression = Evidence("sts-b", 0, "pearson", 0, LAYERS, arrays)
    assert claims.beats_confidence_exits(record_of(regression)) is claims.overthinking(record_of(regression)) is None
    assert claims.better_than_plain(record_of(regression)) is not None


# -- Speed, and where exits err ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "word"), [(1.7, "reproduced"), (1.4, "direction only"), (0.9, "contradicted")])
def test_the_speedup_is_the_mean_on_the_clock(speed: float, word: str) -> None:
    assert verdict("pabee-albert-speedup", record_of(*seeds(speed=speed), *seeds("mrpc", speed=speed))) == word


def test_a_clock_too_noisy_to_tell_shows_no_speedup() -> None:
    swings = np.where(np.arange(TEXTS) % 2, 0.2, 1.8)
    name = seconds_name(PABEE, patience_setting(HALF))
    noisy = [replace(e, arrays={**e.arrays, name: e.arrays[name] * swings}) for e in seeds(speed=1.02)]
    assert verdict("pabee-albert-speedup", record_of(*noisy)) == "inconclusive"


def test_exits_that_agree_on_a_constant_are_no_speedup() -> None:
    record = record_of(*seeds(speed=1.3), *seeds("mrpc", speed=3.0, gains={HALF: WRONG - 0.5}))
    decision = claims.faster(record)
    assert decision is not None
    assert values(decision.cells) == {"sst-2": pytest.approx(1.3)}
    assert decision.left_out == ("mrpc: PABEE did not learn it",)
    assert decision.note == "batch 1; at most 1.50 times, n/(t+1), can be had in layers"
    assert decision.timed


@pytest.mark.parametrize(("lost", "word"), [(0.03, "reproduced"), (-0.03, "contradicted"), (0.0005, "inconclusive")])
def test_overthinking_is_a_last_exit_below_a_late_one(lost: float, word: str) -> None:
    record = record_of(*seeds(last_exit=lost))
    assert verdict("pabee-overthinking", record) == word
    decision = claims.overthinking(record)
    assert decision is not None
    assert values(decision.cells) == {"sst-2, layer 5 over 6": pytest.approx(100 * lost)}


def test_what_the_figure_shows_is_not_known_so_the_premise_is_never_met() -> None:
    result = verdict.result("pabee-overthinking", record_of(*seeds(last_exit=0.03)))
    assert result.verdict == "seen here"


# -- By construction --------------------------------------------------------------------------------------------------


def test_one_example_that_leaves_too_early_breaks_the_rule() -> None:
    good = evidence()
    assert claims.min_layers(record_of(good)) == Check(True, 0.0, "5 combinations of task, seed and patience")
    name = exits_name(PABEE, "t=4")
    early = good.arrays[name].copy()
    early[7] = 4
    broken = claims.min_layers(record_of(replace(good, arrays={**good.arrays, name: early})))
    assert broken is not None
    assert (broken.holds, broken.value) == (False, -1.0)
    assert claims.min_layers(record_of()) is None
