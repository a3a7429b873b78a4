"""The statistics that decide CascadeBERT's claims, from what the runs kept.

Averages are the plain mean over the paper's tasks, as its last column is. A comparison at a speed-up is one of systems
that execute about as many layers: where a rival cannot reach the speed (of 6 layers there is no first 1.5, and no
patience gives 4x) it decides nothing. The paper's 2, 4 and 6 of 12 layers are a sixth, a third and a half of the depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from common.records.claims import Answers, Array, Cell, Decide, Decision, gain, has_learned, learned_tasks, system
from common.records.effects import Effect, effect_of, mean_effect
from common.records.ordering import share_in_order
from common.records.predictions import Evidence
from common.records.runs import RunRecord
from common.tasks.metrics import AxisScore, points_along
from replications.cascadebert.names import (
    CASCADE,
    COMPARED,
    COMPLETE,
    DEEBERT,
    EMITTED,
    PABEE,
    TARGETS,
    TRUNCATED,
    label,
    layers,
    rank_name,
)

RIVALS = (TRUNCATED, DEEBERT, PABEE)
"""What the paper compares with in a group of the main table."""

AVERAGED = frozenset({"mnli", "mrpc", "qnli", "qqp", "qqp-sample", "rte", "sst-2", "sentiment", "entailment"})
"""The tasks of the paper's average, and what stands for them; it has no CoLA."""

ENTAILMENT = frozenset({"mnli", "rte", "entailment"})
"""The paper's task of the claim on shallow layers is MNLI; these are its counterparts."""

ABOUT_EQUAL = 0.05
"""How far two means of executed layers may lie apart and still be called equally fast (a share of the depth)."""

ENOUGH = 20
"""Examples that must be hard, easy or emitted before a rate over them decides anything."""

Seeds = Sequence[Evidence]
Tasks = Mapping[str, Seeds]

# -- Average scores ---------------------------------------------------------------------------------------------------


def best_average(record: RunRecord, speedup: float) -> Decision | None:
    """Points of the average above each rival's, on the tasks on which both are as fast; every rival."""
    tasks, reasons = _tasks(record, AVERAGED)
    cells, used = [], dict[str, None]()
    for rival in RIVALS:
        fair, unfair = _equally_fast(tasks, rival, speedup)
        reasons += [f"{rival} on {reason}" for reason in unfair]
        if fair:
            mine, other = system(CASCADE, label(speedup)), system(rival, label(speedup))
            mean = mean_effect([gain(seeds, mine, other) for seeds in fair.values()])
            cells.append(Cell(f"above {rival} on {', '.join(fair)}", mean))
            used |= dict.fromkeys(fair)
    note = _speeds({task: tasks[task] for task in used}, speedup)
    return Decision(tuple(cells), note, left_out=tuple(reasons), averaged=tuple(used)) if cells else None


def relative_to_deebert(record: RunRecord) -> Decision | None:
    """(CascadeBERT - DeeBERT) / DeeBERT of the averages at 4x."""
    tasks, reasons = _tasks(record, AVERAGED)
    fair, unfair = _equally_fast(tasks, DEEBERT, TARGETS[-1])
    setting = label(TARGETS[-1])
    return _ratio(fair, system(CASCADE, setting), system(DEEBERT, setting), -1.0, [*reasons, *unfair], TARGETS[-1])


def kept(record: RunRecord) -> Decision | None:
    """Average of CascadeBERT at 2x as a share of the big model's."""
    tasks, reasons = _tasks(record, AVERAGED)
    setting = label(TARGETS[0])
    reached = {task: seeds for task, seeds in tasks.items() if all(e.has_answers(CASCADE, setting) for e in seeds)}
    reasons += [f"{task}: CascadeBERT does not reach {setting}" for task in tasks if task not in reached]
    return _ratio(reached, system(CASCADE, setting), system("baseline"), 0.0, reasons, TARGETS[0])


def _ratio(
    tasks: Tasks, first: Answers, second: Answers, shift: float, reasons: Sequence[str], speedup: float
) -> Decision | None:
    """The ratio of two averages, plus `shift`, by the delta method: A/B varies as (A - rB)/B does near its value r.

    Tasks have metrics of their own, so each brings its part of A - rB itself.
    """
    if not tasks:
        return None
    above, below = (np.mean([_score(seeds, who) for seeds in tasks.values()]) for who in (first, second))
    ratio = float(above / below)
    parts = []
    for task, seeds in tasks.items():
        residual = partial(_residual, points_along(seeds[0].metric), ratio)
        parts.append(effect_of(task, [(first(e), second(e), e.labels) for e in seeds], residual))
    effect = mean_effect(parts).scaled(1 / float(below)).shifted(ratio + shift)
    note = f"averages {above:.1f} and {below:.1f}; {_speeds(tasks, speedup)}"
    name = f"average of {', '.join(tasks)}"
    return Decision((Cell(name, effect),), note, left_out=tuple(reasons), averaged=tuple(tasks))


def _residual(points: AxisScore, ratio: float, a: Array, b: Array, labels: Array, axis: int = -1) -> Array:
    return np.asarray(points(a, labels, axis=axis) - ratio * points(b, labels, axis=axis))


def _score(seeds: Seeds, answers: Answers) -> float:
    points = points_along(seeds[0].metric)
    return float(np.mean([points(answers(e), e.labels) for e in seeds]))


# -- Shallow models ---------------------------------------------------------------------------------------------------


def knows_difficulty(record: RunRecord) -> Decision | None:
    """DIS of the complete model minus DIS of DeeBERT's exit at the same depth; every task and depth.

    Hard is what a model gets wrong itself. Where one of them has not learned, or has not enough right or wrong answers,
    there is no comparison.
    """
    tasks, reasons = _tasks(record)
    cells = []
    for task, all_seeds in tasks.items():
        for depth in all_seeds[0][COMPARED].tolist():
            seeds = [e for e in all_seeds if e.has_answers(COMPLETE, layers(depth))]
            if not seeds:
                continue
            name = f"{task}, {layers(depth)}"
            why = _no_comparison(seeds, depth)
            if why:
                reasons.append(f"{name}: {why}")
            else:
                cells.append(Cell(name, _inversion_gap(seeds, depth), task))
    return Decision(tuple(cells), left_out=tuple(reasons)) if cells else None


def _no_comparison(seeds: Seeds, depth: int) -> str:
    """Why the two models of a depth cannot be compared; empty where they can."""
    for family in (COMPLETE, DEEBERT):
        answers = system(family, layers(depth))
        if not has_learned(seeds, answers):
            return f"{family} did not learn it"
        hard = [answers(e) != e.labels for e in seeds]
        if any(min(h.sum(), (~h).sum()) < ENOUGH for h in hard):
            return f"{family} has fewer than {ENOUGH} right or wrong answers"
    return ""


def _inversion_gap(seeds: Seeds, depth: int) -> Effect:
    def arrays(e: Evidence) -> list[Array]:
        ranks = [e[rank_name(family, depth)] for family in (COMPLETE, DEEBERT)]
        wrong = [e.answers(family, layers(depth)) != e.labels for family in (COMPLETE, DEEBERT)]
        return [*ranks, *wrong]

    def gap(a: Array, b: Array, hard_a: Array, hard_b: Array, axis: int = -1) -> Array:
        return inversion_scores(a, hard_a, axis=axis) - inversion_scores(b, hard_b, axis=axis)

    return effect_of(seeds[0].task, [arrays(e) for e in seeds], gap)


def inversion_scores(ranks: Array, hard: Array, axis: int = -1) -> Array:
    """DIS in percent for many resamples: how often an easy example has the higher confidence; ties count as inverted.

    50 where a resample has one kind only.
    """
    return 100 * share_in_order(ranks, ~hard, axis=axis, ties=0.0)


def shallow_layers_know_little(record: RunRecord) -> Decision | None:
    """Points of accuracy of the smallest complete model above DeeBERT, where DeeBERT left at that depth at 4x.

    The exit may well have learned nothing there, which is the claim; DeeBERT as a whole and the complete model have to.
    """
    tasks, reasons = _tasks(record, ENTAILMENT)
    cells = []
    for task, seeds in tasks.items():
        depth = int(seeds[0][COMPARED][0])
        left = [e.exits(DEEBERT, EMITTED) == depth for e in seeds]
        if min(one.sum() for one in left) < ENOUGH:
            reasons.append(f"{task}: fewer than {ENOUGH} examples leave at {layers(depth)}")
        elif not has_learned(seeds, system(COMPLETE, layers(depth))):
            reasons.append(f"{task}: the complete model of {layers(depth)} did not learn it")
        elif not has_learned(seeds, system(DEEBERT, EMITTED)):
            reasons.append(f"{task}: DeeBERT at 4x did not learn it")
        else:
            cells.append(Cell(task, _above_the_exit(seeds, left, layers(depth)), task))
    return Decision(tuple(cells), left_out=tuple(reasons)) if cells else None


def _above_the_exit(seeds: Seeds, left: Sequence[Array], setting: str) -> Effect:
    def ahead(e: Evidence) -> Array:
        complete, exit_ = (e.answers(family, setting) == e.labels for family in (COMPLETE, DEEBERT))
        return np.asarray(complete.astype(np.int8) - exit_)

    def points(ahead: Array, left: Array, axis: int = -1) -> Array:
        return np.asarray(100 * (ahead * left).sum(axis=axis) / np.maximum(1, left.sum(axis=axis)))

    return effect_of(seeds[0].task, [(ahead(e), there) for e, there in zip(seeds, left, strict=True)], points)


# -- Parts ------------------------------------------------------------------------------------------------------------


def _tasks(record: RunRecord, of: frozenset[str] = frozenset()) -> tuple[dict[str, list[Evidence]], list[str]]:
    """The tasks that the big model learned (of these alone, where some are named), and why the others do not count."""
    known, left_out = learned_tasks(record, "baseline", "the big model", of)
    return known, list(left_out)


def _equally_fast(tasks: Tasks, rival: str, speedup: float) -> tuple[dict[str, Seeds], list[str]]:
    """The tasks on which CascadeBERT and a rival that learned execute about as many layers, and why not the others."""
    setting = label(speedup)
    fair: dict[str, Seeds] = {}
    reasons = []
    for task, seeds in tasks.items():
        who = next((s for s in (CASCADE, rival) if not all(e.has_answers(s, setting) for e in seeds)), None)
        if who is not None:
            reasons.append(f"{task}: {who} does not reach {setting}")
            continue
        mine, other = (_depth(seeds, s, setting) for s in (CASCADE, rival))
        if abs(mine - other) > ABOUT_EQUAL * seeds[0].layers:
            speeds = " and ".join(f"{seeds[0].layers / depth:.1f}x" for depth in (mine, other))
            reasons.append(f"{task}: not equally fast ({speeds})")
        elif not has_learned(seeds, system(rival, setting)):
            reasons.append(f"{task}: {rival} did not learn it")
        else:
            fair[task] = seeds
    return fair, reasons


def _depth(seeds: Seeds, name: str, setting: str) -> float:
    """Mean layers executed."""
    return float(np.mean([e.exits(name, setting).mean() for e in seeds]))


def _speeds(tasks: Tasks, speedup: float) -> str:
    """CascadeBERT's speed-up on dev, for a note."""
    depths = {task: _depth(seeds, CASCADE, label(speedup)) for task, seeds in tasks.items()}
    each = ", ".join(f"{task} {tasks[task][0].layers / depth:.2f}x" for task, depth in depths.items())
    return f"CascadeBERT's speed-up in layers: {each}"


DECIDERS: Mapping[str, Decide] = {
    "cascadebert-4x-15pct": relative_to_deebert,
    "cascadebert-best-avg-2x": partial(best_average, speedup=2.0),
    "cascadebert-best-avg-3x": partial(best_average, speedup=3.0),
    "cascadebert-best-avg-4x": partial(best_average, speedup=4.0),
    "cascadebert-retention-2x": kept,
    "cascadebert-dis-complete-over-deebert": knows_difficulty,
    "cascadebert-shallow-representation": shallow_layers_know_little,
}
