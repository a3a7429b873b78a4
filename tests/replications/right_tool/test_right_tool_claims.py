"""RightTool's claims, on invented evidence."""

from collections.abc import Mapping

import numpy as np
import pytest
from kit.toy_evidence import Array, record_of, values, wrong_on

from common.records.claims import Check, Decision
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Evidence, answers_name, at_layer, exits_name, seconds_name, static_name
from replications.right_tool.claims import above_static_line, favourable, five_times, parameter_overhead, top_point_drop
from replications.right_tool.names import LOSSLESS, OPERATING_POINTS, RIGHT_TOOL

N, LAYERS = 400, 6


def evidence(
    errors: Mapping[str, float],
    exits: Mapping[str, float] = {},
    *,
    task: str = "sst-2",
    faster: float = 2.0,
    seed: int = 0,
) -> Evidence:
    """A task in which each system is wrong on a share of dev, and leaves at a mean layer."""
    labels = np.arange(N) % 2
    shares = {"baseline": 0.1, static_name(2): 0.3, static_name(4): 0.2, at_layer(LAYERS): 0.1, **errors}
    arrays: dict[str, Array] = {LABELS: labels, seconds_name("baseline"): np.linspace(1, 2, 50)}
    for name, share in shares.items():
        key = name if name == "baseline" or name.startswith("truncated") else f"{RIGHT_TOOL}@{name}"
        arrays[f"{key}/answers"] = wrong_on(labels, share)
    for point in OPERATING_POINTS:
        arrays.setdefault(answers_name(RIGHT_TOOL, point), wrong_on(labels, 0.1))
        low = np.floor(exits.get(point, 3))
        rest = exits.get(point, 3) - low
        arrays[exits_name(RIGHT_TOOL, point)] = np.where(np.arange(N) < rest * N, low + 1, low).astype(int)
        arrays[seconds_name(RIGHT_TOOL, point)] = np.linspace(1, 2, 50) / faster
    return Evidence(task, seed, "accuracy", 2, LAYERS, arrays)


def test_the_speed_up_counts_where_half_a_point_is_lost_at_most() -> None:
    decision = five_times(record_of(evidence({LOSSLESS: 0.1}, faster=3.0), evidence({LOSSLESS: 0.2}, task="mrpc")))
    assert isinstance(decision, Decision)
    assert decision.timed
    assert values(decision.cells) == pytest.approx({"sst-2": 3.0, "mrpc": 2.0})
    limits = {cell.name: cell.limit for cell in decision.cells}
    assert limits["sst-2"] is not None and limits["sst-2"].effect.value == 0 and limits["sst-2"].value == 0.5
    assert limits["mrpc"] is not None and limits["mrpc"].effect.value == pytest.approx(10.0)


def test_the_last_classifier_is_compared_with_the_baseline() -> None:
    decision = top_point_drop(record_of(evidence({at_layer(LAYERS): 0.15, LOSSLESS: 0.12})))
    assert isinstance(decision, Decision)
    assert values(decision.cells) == pytest.approx({"sst-2": 5.0})


def test_a_task_that_the_baseline_did_not_learn_decides_nothing() -> None:
    record = record_of(evidence({"baseline": 0.5}))
    assert [decide(record) for decide in (five_times, top_point_drop, favourable)] == [None, None, None]


def test_a_scale_at_which_quality_means_nothing_decides_nothing() -> None:
    smoke = Measurement(experiment="x", system="x", metric="score", value=1.0, unit="points", scale="smoke")
    assert top_point_drop(record_of(evidence({}))) is not None
    assert top_point_drop(record_of(evidence({}), measurements=[smoke])) is None


def test_points_are_counted_above_the_line_between_static_models() -> None:
    """At 3 layers the line is between 2 (70 %) and 4 (80 %): 75 %; at 5.5 three quarters from 80 % to 90 %."""
    errors = dict(zip(OPERATING_POINTS, (0.05, 0.2, 0.25), strict=True))
    exits = dict(zip(OPERATING_POINTS, (5.5, 3.0, 1.0), strict=True))
    effect = above_static_line([evidence(errors, exits), evidence(errors, exits, seed=1)])
    assert effect.value == pytest.approx(np.mean([95 - 87.5, 80 - 75, 75 - 70]))
    assert effect.seeds == 2
    assert effect.error > 0


def test_the_largest_share_of_added_parameters_decides() -> None:
    def row(backbone: str, value: float) -> Measurement:
        return Measurement(
            experiment="sizes",
            system=RIGHT_TOOL,
            metric="exit_parameter_share",
            value=value,
            unit="fraction",
            backbone=backbone,
        )

    rows = [row("bert-large", 2.5e-5), row("bert-large", 4.9e-5), row("bert-base", 1.0)]
    check = parameter_overhead(record_of(measurements=rows))
    assert isinstance(check, Check)
    assert check.holds and check.value == pytest.approx(0.0049)
    broken = parameter_overhead(record_of(measurements=[*rows, row("bert-large", 5.0e-5)]))
    assert isinstance(broken, Check) and not broken.holds
    assert parameter_overhead(record_of()) is None
