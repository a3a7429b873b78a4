"""From a sweep to an operating point: which threshold, on which data, at which price.

A threshold is chosen on examples that the reported score does not touch (`Task.tune`); choosing it on the reported
set, as many papers do, is called `dev-tuned` and shown beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.early_exit.rules import ExitRule
from common.early_exit.runtime import Outcome, simulate


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it gives on some examples: score (fraction), share of layers saved."""

    threshold: float
    score: float
    layer_saving: float


def sweep(
    logits: Tensor,
    thresholds: Sequence[float],
    rule_at: Callable[[float], ExitRule],
    score: Callable[[Outcome], float],
) -> list[OperatingPoint]:
    """Simulate the rule at every threshold on (N, n, C) logits."""
    points = []
    for threshold in thresholds:
        outcome = simulate(logits, rule_at(threshold))
        points.append(OperatingPoint(threshold, score(outcome), outcome.layer_saving(logits.shape[1])))
    return points


def fastest_within(points: Sequence[OperatingPoint], full_score: float, allowed_drop: float) -> OperatingPoint:
    """The point that saves most among those that score at least `full_score` - `allowed_drop` (fractions).

    Every sweep should hold a point that never leaves early, so that there always is one.

    Raises:
        ValueError: no point is within the allowed drop.
    """
    within = [p for p in points if p.score >= full_score - allowed_drop - 1e-12]
    if not within:
        raise ValueError(f"no operating point keeps the score within {allowed_drop} of {full_score}")
    return max(within, key=lambda p: p.layer_saving)


@dataclass(frozen=True)
class Mixture:
    """Two neighbouring settings on a curve; a drawn share of texts runs at the faster, the others at the slower.

    A rule rarely saves exactly what a rival saves. Scores at equal speed are read off the straight line between the two
    settings around it, and that line is what such a mixture scores.
    """

    slower: float
    faster: float
    share: float

    def of(self, slower: Outcome, faster: Outcome) -> Outcome:
        """The mixture's outcome; who is drawn does not depend on the texts."""
        places = torch.arange(1, len(slower.exit_layer) + 1, dtype=torch.float64)
        drawn = (places * GOLDEN) % 1 < self.share
        return Outcome(
            torch.where(drawn[:, None], faster.logits, slower.logits),
            torch.where(drawn, faster.exit_layer, slower.exit_layer),
        )


GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it modulo 1 fill [0, 1) evenly: any share is met to within one text or two."""


def between(points: Sequence[OperatingPoint], layer_saving: float) -> Mixture:
    """The settings around a share of saved layers, mixed so that it is met; at the curve's end, its last setting."""
    ordered = sorted(points, key=lambda p: p.layer_saving)
    below = [p for p in ordered if p.layer_saving <= layer_saving]
    slower = below[-1] if below else ordered[0]
    faster = next((p for p in ordered if p.layer_saving > layer_saving), slower)
    width = faster.layer_saving - slower.layer_saving
    share = (layer_saving - slower.layer_saving) / width if width > 0 else 0.0
    return Mixture(slower.threshold, faster.threshold, min(1.0, max(0.0, share)))


def entropy_thresholds(classes: int, count: int = 200) -> list[float]:
    """About `count` thresholds that cover entropy's range [0, ln C]: from never leaving to leaving at layer 1.

    Half of them are spaced evenly; the rest crowd by powers towards 0, where confident models have most of their
    mass, and towards ln C, where exits that learned little have theirs.
    """
    top = math.log(classes)
    even = [top * i / (count // 2) for i in range(1, count // 2 + 1)]
    powers = [10 ** (-6 * i / (count // 4)) for i in range(1, count // 4)]
    near_zero, near_top = [top * p for p in powers], [top * (1 - p) for p in powers]
    return sorted({0.0, *even, *near_zero, *near_top, 1.001 * top})


def confidence_thresholds(classes: int, count: int = 200) -> list[float]:
    """About `count` thresholds that cover the largest probability's range [1/C, 1]: leaving at layer 1 to never.

    Half of them are spaced evenly; the rest crowd by powers towards both ends.
    """
    low, width = 1 / classes, 1 - 1 / classes
    even = [low + width * i / (count // 2) for i in range(count // 2)]
    powers = [10 ** (-6 * i / (count // 4)) for i in range(1, count // 4)]
    near_low, near_one = [low + width * p for p in powers], [1 - width * p for p in powers]
    return sorted({0.0, *even, *near_low, *near_one, 1.0})
