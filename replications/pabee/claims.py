"""The statistics that decide PABEE's claims, from what the runs kept.

The paper's main patience, 6 of 12 layers, is half the depth here, and its middle range, 6 to 8, half to two thirds. A
claim about every task or every patience has a cell for each; none is decided by the least of noisy numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil

import numpy as np

from common.records.claims import (
    Answers,
    Array,
    Cell,
    Check,
    Decide,
    Decision,
    gain,
    has_learned,
    learned_tasks,
    speedup,
    system,
)
from common.records.effects import Effect, effect_of
from common.records.predictions import LABELS, Evidence, at_layer
from common.records.runs import RunRecord
from common.tasks.metrics import points_along
from replications.pabee.names import (
    PABEE,
    PRINTED_SPEEDUPS,
    TEST,
    half_patience,
    matched_setting,
    patience_setting,
    saving_of,
    speed_setting,
)

TABLE_2 = ("mnli", "sst-2", "sts-b", "entailment", "sentiment")
"""Where the paper has BERT-base's scores, and the builtin counterparts."""

CURVES = ("mnli", "sst-2", "entailment", "sentiment")
"""Where the paper compares the three exit rules at every speed, and the builtin counterparts."""

CURVE_RANGE = (1.11, 2.34)
"""Speed-ups over which it does."""

SAME_SAVING = 0.05
"""How far two shares of layers saved may lie apart and still be called equal."""

Seeds = Sequence[Evidence]


# -- Against the plain classifier -------------------------------------------------------------------------------------


def better_than_plain(record: RunRecord) -> Decision | None:
    """Points gained over the plain classifier at the main patience, each task."""
    tasks, left_out = learned_tasks(record)
    return _decision([Cell(task, _main_gain(seeds), task) for task, seeds in tasks.items()], _AT_HALF, left_out)


def better_on_test(record: RunRecord) -> Decision | None:
    """The same on test, for the tasks that have labels there."""
    tasks, left_out = learned_tasks(record)
    cells = [
        Cell(task, _main_gain([_on_test(e) for e in seeds]), task)
        for task, seeds in tasks.items()
        if all(TEST + LABELS in e for e in seeds)
    ]
    return _decision(cells, f"{_AT_HALF}; test", left_out)


def small_drop(record: RunRecord) -> Decision | None:
    """Points lost at the main patience, each of Table 2's tasks."""
    tasks, left_out = learned_tasks(record, among=TABLE_2)
    return _decision([Cell(task, -_main_gain(seeds), task) for task, seeds in tasks.items()], _AT_HALF, left_out)


def patience_window(record: RunRecord) -> Decision | None:
    """Points that the middle patience values score, on average, above the plain classifier and above both ends."""
    tasks, left_out = learned_tasks(record, among=CURVES)
    cells = []
    for task, seeds in tasks.items():
        layers = seeds[0].layers
        few, most = ceil(layers / 4), layers - 1
        middle = range(max(few + 1, layers // 2), min(most - 1, 2 * layers // 3) + 1)
        if not middle:
            continue
        rivals = {
            "the plain classifier": system("baseline"),
            f"too little ({patience_setting(few)})": _pabee(few),
            f"too much ({patience_setting(most)})": _pabee(most),
        }
        named = f"{patience_setting(middle[0])} to {middle[-1]}"
        cells += [Cell(f"{task}, {named} over {r}", _mean_gain(seeds, middle, a), task) for r, a in rivals.items()]
    return _decision(cells, "mean of the middle patience values", left_out)


_AT_HALF = "patience at half the depth"


def _pabee(patience: int) -> Answers:
    return system(PABEE, patience_setting(patience))


def _main(seeds: Seeds) -> Answers:
    return _pabee(half_patience(seeds[0].layers))


def _main_gain(seeds: Seeds) -> Effect:
    return _main_gain_of(tuple(seeds))


@lru_cache(maxsize=64)
def _main_gain_of(seeds: tuple[Evidence, ...]) -> Effect:
    # Remembered, because ranks of thousands of resamples take seconds and three claims ask.
    return gain(seeds, _main(seeds), system("baseline"))


def _mean_gain(seeds: Seeds, patiences: Sequence[int], rival: Answers) -> Effect:
    points = points_along(seeds[0].metric)

    def above(labels: Array, other: Array, *mine: Array, axis: int = -1) -> Array:
        scores = [points(each, labels, axis=axis) for each in mine]
        return np.asarray(np.mean(scores, axis=0) - points(other, labels, axis=axis))

    arrays = [(e.labels, rival(e), *(_pabee(t)(e) for t in patiences)) for e in seeds]
    return effect_of(seeds[0].task, arrays, above)


def _on_test(e: Evidence) -> Evidence:
    """The test split's arrays under the names of dev's; its draws are another stream."""
    arrays = {name.removeprefix(TEST): array for name, array in e.arrays.items() if name.startswith(TEST)}
    return replace(e, task=f"{e.task} (test)", arrays=arrays)


# -- Against the confidence exits -------------------------------------------------------------------------------------


def beats_confidence_exits(record: RunRecord) -> Decision | None:
    """Points of the main patience above each confidence exit at its printed speed, each task with classes."""
    tasks, left_out = learned_tasks(record)
    cells, reasons = [], list(left_out)
    for task, seeds in tasks.items():
        for name, speed in PRINTED_SPEEDUPS.items():
            setting = speed_setting(speed)
            if not all(e.has_answers(name, setting) for e in seeds):
                continue
            label, rival = f"{task}, {name} at {setting}", system(name, setting)
            if not has_learned(seeds, rival):
                reasons.append(f"{label}: it answers no better than a constant")
            elif any(abs(_saved(e, name, setting) - saving_of(speed)) > SAME_SAVING for e in seeds):
                reasons.append(f"{label}: no threshold brings it to that speed")
            else:
                cells.append(Cell(label, gain(seeds, _main(seeds), rival), task))
    return _decision(cells, f"{_AT_HALF}, the rivals at 1.88 and 1.95 times the layers", tuple(reasons))


def beats_at_equal_speed(record: RunRecord) -> Decision | None:
    """Points above each confidence exit that saves as many layers, each patience within the figure's range."""
    tasks, left_out = learned_tasks(record, among=CURVES)
    cells, reasons = [], list(left_out)
    for task, seeds in tasks.items():
        for patience, name, setting in _within_the_figure(seeds):
            label, rival = f"{task}, {patience_setting(patience)} over {name}", system(name, setting)
            if not has_learned(seeds, rival):
                reasons.append(f"{label}: it answers no better than a constant")
            elif any(abs(_saved(e, name, setting) - _saved_at(e, patience)) > SAME_SAVING for e in seeds):
                reasons.append(f"{label}: no threshold brings it to PABEE's speed")
            else:
                cells.append(Cell(label, gain(seeds, _pabee(patience), rival), task))
    return _decision(cells, "at equal layers saved", tuple(reasons))


def _within_the_figure(seeds: Seeds) -> Iterator[tuple[int, str, str]]:
    """Patience values whose speed-up in layers is in the figure's range for every seed, with each rival's setting."""
    low, high = map(saving_of, CURVE_RANGE)
    for patience in range(1, seeds[0].layers):
        if all(low <= _saved_at(e, patience) <= high for e in seeds):
            for name in PRINTED_SPEEDUPS:
                yield patience, name, matched_setting(patience)


def _saved(e: Evidence, name: str, setting: str) -> float:
    return 1 - float(e.exits(name, setting).mean()) / e.layers


def _saved_at(e: Evidence, patience: int) -> float:
    return _saved(e, PABEE, patience_setting(patience))


# -- Speed, and where exits err ---------------------------------------------------------------------------------------


def faster(record: RunRecord) -> Decision | None:
    """How many times as fast as the plain classifier the main patience is, each task.

    Where PABEE itself did not learn, its exits agree on a constant and leave at once: that is no speed-up of anything.
    """
    tasks, left_out = learned_tasks(record)
    cells, reasons, ceilings = [], list(left_out), set()
    for task, seeds in tasks.items():
        if not has_learned(seeds, _main(seeds)):
            reasons.append(f"{task}: PABEE did not learn it")
            continue
        layers, half = seeds[0].layers, half_patience(seeds[0].layers)
        ceilings.add(layers / (half + 1))
        cells.append(Cell(task, speedup(seeds, PABEE, patience_setting(half)), task))
    most = f"; at most {max(ceilings):.2f} times, n/(t+1), can be had in layers" if ceilings else ""
    return _decision(cells, f"batch 1{most}", tuple(reasons), timed=True)


def overthinking(record: RunRecord) -> Decision | None:
    """Points of accuracy that the exit at five sixths of the depth has above the last one, each task with classes."""
    tasks, left_out = learned_tasks(record)
    cells = []
    for task, seeds in tasks.items():
        layers = seeds[0].layers
        late = round(5 * layers / 6)
        if seeds[0].classes and late < layers:
            accurate = [replace(e, metric="accuracy") for e in seeds]
            ahead = gain(accurate, system(PABEE, at_layer(late)), system(PABEE, at_layer(layers)))
            cells.append(Cell(f"{task}, layer {late} over {layers}", ahead, task))
    return _decision(cells, "accuracy of single exits on all of dev", left_out)


# -- What holds by construction ---------------------------------------------------------------------------------------


def min_layers(record: RunRecord) -> Check | None:
    """Smallest exit layer minus (t+1), over tasks, seeds and patience values, on dev."""
    spare = [
        int(e.exits(PABEE, patience_setting(patience)).min()) - (patience + 1)
        for e in record.evidence
        if e.metric
        for patience in range(1, e.layers)
    ]
    if not spare:
        return None
    return Check(min(spare) >= 0, float(min(spare)), f"{len(spare)} combinations of task, seed and patience")


def _decision(cells: Sequence[Cell], note: str, left_out: tuple[str, ...], *, timed: bool = False) -> Decision | None:
    return Decision(tuple(cells), note, timed=timed, left_out=left_out) if cells else None


DECIDERS: Mapping[str, Decide] = {
    "pabee-albert-dev": better_than_plain,
    "pabee-albert-test": better_on_test,
    "pabee-albert-speedup": faster,
    "pabee-beats-confidence-exits": beats_confidence_exits,
    "pabee-beats-confidence-exits-equal-speed": beats_at_equal_speed,
    "pabee-bert": small_drop,
    "pabee-patience-window": patience_window,
    "pabee-overthinking": overthinking,
    "pabee-min-layers": min_layers,
}
