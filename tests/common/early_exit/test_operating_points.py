"""Choosing a setting on a curve, and meeting a rival's speed exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.early_exit.operating_points import (
    Mixture,
    OperatingPoint,
    between,
    confidence_thresholds,
    entropy_thresholds,
    fastest_within,
)
from common.early_exit.runtime import Outcome

CURVE = [OperatingPoint(0.0, 0.9, 0.0), OperatingPoint(0.3, 0.88, 0.4), OperatingPoint(0.6, 0.7, 0.8)]


def test_the_fastest_that_costs_little_is_chosen() -> None:
    assert fastest_within(CURVE, 0.9, 0.03).threshold == 0.3
    assert fastest_within(CURVE, 0.9, 0.0).threshold == 0.0
    with pytest.raises(ValueError, match="no operating point"):
        fastest_within(CURVE, 0.99, 0.01)


def test_a_speed_between_two_settings_is_a_mix_of_them() -> None:
    assert between(CURVE, 0.5) == Mixture(0.3, 0.6, pytest.approx(0.25))
    assert between(CURVE, 0.4) == Mixture(0.3, 0.6, 0.0)
    assert between(CURVE, 0.95) == Mixture(0.6, 0.6, 0.0), "beyond the curve: its fastest"
    assert between(CURVE[1:], 0.1).slower == 0.3, "before the curve: its slowest"


@given(st.floats(0, 0.8), st.integers(40, 400))
def test_a_mixture_saves_what_was_asked_for(saving: float, texts: int) -> None:
    """To within two texts, whatever the share."""
    layers = {0.0: 10, 0.3: 6, 0.6: 2}
    outcomes = {at: Outcome(torch.zeros(texts, 2), torch.full((texts,), k)) for at, k in layers.items()}
    mixture = between(CURVE, saving)
    mixed = mixture.of(outcomes[mixture.slower], outcomes[mixture.faster])
    assert 1 - mixed.exit_layer.double().mean().item() / 10 == pytest.approx(saving, abs=2 * 0.4 / texts + 1e-9)


def test_a_mixtures_answers_are_those_of_the_setting_that_each_text_ran_at() -> None:
    slow, fast = (Outcome(torch.full((50, 2), float(v)), torch.full((50,), v)) for v in (6, 2))
    mixed = Mixture(0.3, 0.6, 0.4).of(slow, fast)
    assert (mixed.logits[:, 0] == mixed.exit_layer).all()
    assert set(mixed.exit_layer.tolist()) == {2, 6}


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_thresholds_reach_from_never_to_at_once(classes: int) -> None:
    entropies, confidences = entropy_thresholds(classes), confidence_thresholds(classes)
    assert entropies[0] == 0.0
    assert entropies[-1] > np.log(classes)
    assert confidences[0] == 0.0
    assert confidences[-1] == 1.0
