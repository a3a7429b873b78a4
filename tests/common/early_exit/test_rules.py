"""Entropy and the rules."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from common.costs.flops import EncoderShape, classifier_flops
from common.early_exit.cost import exit_flops, pooled_head_flops
from common.early_exit.operating_points import (
    OperatingPoint,
    confidence_thresholds,
    entropy_thresholds,
    fastest_within,
    sweep,
)
from common.early_exit.rules import ConfidenceAbove, EntropyBelow, ExitRule, ExitState, entropy
from common.early_exit.runtime import Outcome
from common.errors import UserError

TINY = EncoderShape(layers=4, hidden=64, intermediate=256, heads=4, vocabulary=100)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6))
def test_entropy_equals_scipys_in_nats(z: list[float]) -> None:
    p = torch.softmax(torch.tensor(z, dtype=torch.float64), -1).numpy()
    assert entropy(torch.tensor(z, dtype=torch.float64)).item() == pytest.approx(float(scipy_entropy(p)), abs=1e-9)


def test_entropy_is_finite_where_a_probability_underflows() -> None:
    """p ln p with p = 0 gives NaN (the official code's form), and NaN < S is false: a sure sample would stay."""
    logits = torch.tensor([[200.0, -200.0]])
    p = torch.softmax(logits, -1)
    assert torch.isnan(p * p.log()).any()
    assert entropy(logits).item() == 0.0
    assert EntropyBelow(1e-9)(ExitState([logits], torch.arange(1))).item()


def test_the_comparison_is_strict() -> None:
    uniform = torch.zeros(1, 2, dtype=torch.float64)
    state = ExitState([uniform], torch.arange(1))
    value = entropy(uniform).item()
    assert value == pytest.approx(math.log(2))
    assert not EntropyBelow(value)(state).item()
    assert EntropyBelow(math.nextafter(value, 1))(state).item()


def test_zero_never_leaves_and_above_ln_c_always() -> None:
    state = ExitState([50 * torch.randn(100, 3)], torch.arange(100))
    assert not EntropyBelow(0.0)(state).any()
    assert EntropyBelow(math.log(3) + 1e-3)(state).all()


@pytest.mark.parametrize("bad", [-0.1, float("nan")])
def test_a_threshold_below_zero_is_refused(bad: float) -> None:
    with pytest.raises(UserError, match="0 or more"):
        EntropyBelow(bad)


def test_the_grid_spans_never_to_always() -> None:
    grid = entropy_thresholds(3)
    assert grid[0] == 0.0
    assert grid[-1] > math.log(3)
    assert grid == sorted(set(grid))
    assert len(grid) >= 200
    assert sum(math.log(3) - 0.01 < s < math.log(3) for s in grid) > 10


def test_a_sweep_never_slows_down_as_the_threshold_rises() -> None:
    logits = torch.randn(300, 6, 2, generator=torch.Generator().manual_seed(1))
    points = sweep(logits, entropy_thresholds(2), EntropyBelow, lambda _: 0.0)
    savings = [p.layer_saving for p in points]
    assert savings == sorted(savings)
    assert savings[0] == 0.0
    assert savings[-1] == pytest.approx(5 / 6)


def test_the_fastest_point_within_the_drop_is_chosen() -> None:
    points = [OperatingPoint(0.0, 0.9, 0.0), OperatingPoint(0.1, 0.895, 0.3), OperatingPoint(0.2, 0.88, 0.5)]
    assert fastest_within(points, 0.9, 0.005).threshold == 0.1
    assert fastest_within(points, 0.9, 0.004).threshold == 0.0
    assert fastest_within(points, 0.9, 0.03).threshold == 0.2
    with pytest.raises(ValueError, match="no operating point"):
        fastest_within(points[1:], 0.9, 0.0)


def test_exit_flops_are_those_of_the_truncated_classifier_plus_the_heads_on_the_way() -> None:
    head = pooled_head_flops(TINY, 2)
    cost = exit_flops(TINY, 16, head)
    for layer in range(1, 5):
        plain = classifier_flops(TINY, 16, 2, layers=layer)
        assert cost[layer - 1] == plain + (layer - 1) * head


def test_exits_may_cost_something_else_at_each_layer() -> None:
    cost = exit_flops(TINY, 16, np.array([5, 0, 7, 100])) - exit_flops(TINY, 16, 0)
    assert cost.tolist() == [5, 5, 12, 112]


def test_an_outcome_reports_its_saving() -> None:
    assert Outcome(torch.zeros(2, 2), torch.tensor([4, 4])).layer_saving(4) == 0.0


def state(*rows: list[float]) -> ExitState:
    logits = torch.tensor(rows, dtype=torch.float64)
    return ExitState([logits], torch.arange(len(rows)))


def test_confidence_is_the_largest_probability_strictly_above() -> None:
    even = state([0.0, 0.0])
    assert not ConfidenceAbove(0.5)(even).item()
    assert ConfidenceAbove(0.4999)(even).item()
    sure = state([0.0, 3.0])
    p = torch.softmax(sure.latest, -1).max().item()
    assert ConfidenceAbove(p - 1e-9)(sure).item()
    assert not ConfidenceAbove(p)(sure).item()


def test_confidence_1_never_leaves() -> None:
    assert not ConfidenceAbove(1.0)(state([1e3, -1e3])).item()


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan")])
def test_a_confidence_outside_0_to_1_is_refused(bad: float) -> None:
    with pytest.raises(UserError, match="0 to 1"):
        ConfidenceAbove(bad)


@pytest.mark.parametrize("rule", [EntropyBelow(0.1), ConfidenceAbove(0.9)])
def test_a_regression_is_refused_by_rules_on_classes(rule: ExitRule) -> None:
    """One output has entropy 0 and confidence 1: every sample would leave at layer 1, without a word."""
    with pytest.raises(UserError, match="needs classes"):
        rule(state([0.3]))


def test_the_grid_of_confidences_spans_always_to_never() -> None:
    logits = torch.randn(300, 6, 3, generator=torch.Generator().manual_seed(1))
    points = sweep(logits, confidence_thresholds(3), ConfidenceAbove, lambda _: 0.0)
    savings = [p.layer_saving for p in points]
    assert savings == sorted(savings, reverse=True)
    assert savings[0] == pytest.approx(5 / 6)
    assert savings[-1] == 0.0
    assert max(a - b for a, b in pairwise(savings)) < 0.1
