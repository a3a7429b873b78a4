"""The statistics that decide the claims of SENTEE and TOKEE, from what the runs kept.

Speed-ups are ratios of FLOPs, as in the paper, summed over the sentences that are scored; settings were chosen at about
2x, 3x and 4x on other sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np

from common.records.claims import (
    Array,
    Cell,
    Decide,
    Decision,
    Limit,
    Undecided,
    gain,
    has_learned,
    learned_tasks,
    system,
)
from common.records.effects import Effect, effect_of
from common.records.predictions import Evidence, static_name
from common.records.runs import RunRecord
from common.records.tagging import flops_name, sentence_counts
from replications.token_early_exit.names import FULL_DEPTH, SENTEE, SPEEDS, TOKEE, speed_name

REACHED = 0.15
"""A system stands for a speed if its own on the scored sentences is within this share of it."""

AS_FAST = 0.95
"""TOKEE is at equal speed-up with a rival if its own on the scored sentences is at least this share of the rival's."""

SMALL = 1.0
"""Points that "small loss" may be; the paper gives no number, its mean at 3x is 0.70."""

HIGH = tuple(speed for speed in SPEEDS if speed > 2)
SLOWEST, FASTEST = min(SPEEDS), max(SPEEDS)
NER = "span_f1"

Seeds = Sequence[Evidence]
Found = Decision | Undecided | None


def saves(record: RunRecord) -> Found:
    """Share of FLOPs saved at 3x, with at most a point lost; mean over tasks."""
    tasks, reasons = at_speed(record, TOKEE, 3)
    cells = [
        Cell(task, flops_saved(seeds, TOKEE, speed_name(3)), task, Limit(loss(seeds, TOKEE, 3), SMALL))
        for task, seeds in tasks.items()
    ]
    return _decision(cells, (f"at 3x; at most {SMALL:g} point lost", lost_before(tasks, TOKEE)), reasons)


def lossless_at_2x(record: RunRecord) -> Found:
    """Points lost at 2x."""
    return losses(record, TOKEE, SLOWEST)


def drop_at_3x(record: RunRecord) -> Found:
    """Points lost at 3x."""
    return losses(record, TOKEE, 3)


def beats_static(record: RunRecord) -> Found:
    """Points above the first n / s layers, fine-tuned alone, at each speed s."""

    def rival(seeds: Seeds, speed: int) -> str | None:
        layers = seeds[0].layers
        return static_name(layers // speed) if layers % speed == 0 else None

    return compared(record, SPEEDS, rival, lambda speed: "", "the first n/s layers in DistilBERT's place")


def beats_sentee(record: RunRecord) -> Found:
    """Points above SENTEE at 3x and 4x."""
    return compared(record, HIGH, lambda seeds, speed: SENTEE, speed_name, "")


def collapses(record: RunRecord) -> Found:
    """Points that SENTEE loses at 4x on tasks of named entities."""
    return losses(record, SENTEE, FASTEST, only=lambda seeds: seeds[0].metric == NER)


# -- Parts ------------------------------------------------------------------------------------------------------------


def losses(record: RunRecord, name: str, speed: int, only: Callable[[Seeds], bool] = lambda seeds: True) -> Found:
    """Points that a system loses at a speed, task by task, where it reaches it."""
    tasks, reasons = at_speed(record, name, speed, only)
    cells = [Cell(task, loss(seeds, name, speed), task) for task, seeds in tasks.items()]
    return _decision(cells, (lost_before(tasks, name),), reasons)


def at_speed(
    record: RunRecord, name: str, speed: int, only: Callable[[Seeds], bool] = lambda seeds: True
) -> tuple[dict[str, Seeds], list[str]]:
    """The learned tasks on which a system is about as fast as was asked of it; of the others why they are left out."""
    tasks, left_out = learned_tasks(record)
    known: dict[str, Seeds] = {}
    reasons = list(left_out)
    for task, seeds in tasks.items():
        if not only(seeds):
            continue
        if off := off_speed(seeds, name, speed):
            reasons.append(f"{task}: {off}")
        else:
            known[task] = seeds
    return known, reasons


def compared(
    record: RunRecord,
    speeds: Sequence[int],
    rival: Callable[[Seeds, int], str | None],
    setting: Callable[[int], str],
    note: str,
) -> Found:
    """Points of TOKEE above a rival of equal speed, a cell for each task and speed; a rival has to have learned."""
    tasks, left_out = learned_tasks(record)
    cells, reasons = [], list(left_out)
    for task, seeds in tasks.items():
        for speed in speeds:
            other, place = rival(seeds, speed), f"{task} {speed_name(speed)}"
            if other is None:
                reasons.append(f"{place}: no whole number of layers")
            elif why := unequal(seeds, speed, other, setting(speed)):
                reasons.append(f"{place}: {why}")
            else:
                ahead = gain(seeds, system(TOKEE, speed_name(speed)), system(other, setting(speed)))
                cells.append(Cell(place, ahead, task))
    return _decision(cells, (note,), reasons)


def unequal(seeds: Seeds, speed: int, other: str, setting: str) -> str:
    """Why TOKEE and a rival do not stand against each other at a speed; empty where they do.

    A static model, which has no setting, of n / s layers is s times as fast but for its embeddings and classifier.
    """
    if not all(e.has_answers(other, setting) for e in seeds):
        return f"{other} was not run"
    if off := off_speed(seeds, TOKEE, speed) or (off_speed(seeds, other, speed) if setting else ""):
        return off
    own, its = own_speed(seeds, TOKEE, speed), own_speed(seeds, other, speed) if setting else float(speed)
    if own < AS_FAST * its:
        return f"{TOKEE} is slower than {other} ({own:.2f}x, {its:.2f}x)"
    return "" if has_learned(seeds, system(other, setting)) else f"{other} did not learn it"


def loss(seeds: Seeds, name: str, speed: int) -> Effect:
    """Points of the baseline above a system at a speed."""
    return gain(seeds, system("baseline"), system(name, speed_name(speed)))


def lost_before(tasks: Mapping[str, Seeds], name: str) -> str:
    """What a system loses where nobody leaves, which is no price of leaving; older records do not hold it."""
    lost = {
        task: fmean(_points(e, "baseline") - _points(e, name, FULL_DEPTH) for e in seeds)
        for task, seeds in tasks.items()
        if all(e.has_answers(name, FULL_DEPTH) for e in seeds)
    }
    each = ", ".join(f"{task} {points:.1f}" for task, points in lost.items())
    return f"points that {name} loses before anyone leaves: {each}" if each else ""


def _points(evidence: Evidence, name: str, setting: str = "") -> float:
    return float(sentence_counts(evidence, evidence.answers(name, setting)).points)


def flops_saved(seeds: Seeds, name: str, setting: str) -> Effect:
    """Share of the baseline's FLOPs that are not spent on dev."""

    def saved(spent: Array, full: Array, axis: int = -1) -> Array:
        return np.asarray(1 - spent.sum(axis=axis, dtype=float) / full.sum(axis=axis, dtype=float))

    arrays = [(e[flops_name(name, setting)], e[flops_name("baseline")]) for e in seeds]
    return effect_of(seeds[0].task, arrays, saved)


def own_speed(seeds: Seeds, name: str, speed: int) -> float:
    """A system's speed-up on dev, over all seeds, at the setting that was chosen for a speed."""
    full, spent = (
        sum(float(e[flops].sum(dtype=float)) for e in seeds)
        for flops in (flops_name("baseline"), flops_name(name, speed_name(speed)))
    )
    return full / spent


def off_speed(seeds: Seeds, name: str, speed: int) -> str:
    """How a system misses on dev the speed that its setting was chosen for; empty where it is about that."""
    own = own_speed(seeds, name, speed)
    if abs(own / speed - 1) <= REACHED:
        return ""
    return f"{name} {'does not reach' if own < speed else 'is beyond'} {speed_name(speed)} ({own:.1f}x)"


def _decision(cells: Sequence[Cell], notes: Sequence[str], reasons: Sequence[str]) -> Found:
    """Where every cell is missed, why; nothing where there is no task."""
    if not cells:
        return Undecided(tuple(reasons)) if reasons else None
    return Decision(tuple(cells), "; ".join(filter(None, notes)), left_out=tuple(reasons))


DECIDERS: Mapping[str, Decide] = {
    "token-saves-66-75": saves,
    "token-2x-lossless": lossless_at_2x,
    "token-3x-mean-drop": drop_at_3x,
    "token-beats-distilbert": beats_static,
    "token-beats-sentee-high-speed": beats_sentee,
    "sentee-collapses-4x": collapses,
}
