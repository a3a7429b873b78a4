"""The statistics that decide CascadeBERT's claims, each with a 95 % interval over seeds and examples.

A claim about a mean or an extreme over tasks is calculated whole on every bootstrap replicate; tasks are independent of
each other, seeds of a task share examples, and all systems of a task see the same resamples. The paper's 2, 4 and 6 of
12 layers are a sixth, a third and a half of the depth here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from common.claims import Array, Decision, Replicated
from common.early_exit.scoring import decide_on_learned, grouped_by_task, points_along, surely_above
from common.records.measurements import Measurement
from common.records.statistics import percentile_interval
from common.replication import Run
from replications.cascadebert.difficulty import dense_ranks, inversion_score_along
from replications.cascadebert.findings import COMPLETE, DEEBERT, Findings, System

ByTask = dict[str, list[Findings]]
Predict = Callable[[Findings], "Array | None"]

ENTAILMENT = frozenset({"mnli", "rte", "entailment"})
"""The paper's task of the claim on shallow layers is MNLI; these are its counterparts."""

ENOUGH = 20
"""Examples that must be hard, easy or emitted before a rate over them decides anything."""


def claim_measurements(run: Run, findings: Sequence[Findings]) -> list[Measurement]:
    """One measurement for every claim that this run can decide.

    At the smoke scale nothing is learned that a verdict could rest on. At any scale a task that the baseline did not
    learn is left out: where every answer is a guess, the cheapest one is as good.
    """
    if not run.scale.quality_verdicts:
        return []
    by_task = grouped_by_task(findings, lambda f: f.trial.task_name)
    decided = [(c, unit, decide_on_learned(decide, by_task, is_learned)) for c, (unit, decide) in CLAIMS.items()]
    return [decision.measurement(claim, unit, run) for claim, unit, decision in decided if decision]


def is_learned(findings: Sequence[Findings]) -> bool:
    """Whether the baseline beats every constant answer (its 95 % interval does)."""
    metric = findings[0].trial.task.metric
    return surely_above(metric, [(f.full, f.constant, f.labels) for f in findings])


# -- Average scores ---------------------------------------------------------------------------------------------------


def average(by_task: ByTask, predict: Predict) -> Replicated | None:
    """Mean over tasks of the score in points; None if some task or seed has no such system."""
    each = []
    for fs in by_task.values():
        predictions = [predict(f) for f in fs]
        arrays = [(p, f.labels) for p, f in zip(predictions, fs, strict=True) if p is not None]
        if len(arrays) < len(fs):
            return None
        each.append(Replicated.of(arrays, points_along(fs[0].trial.task.metric)))
    return Replicated(float(np.mean([e.value for e in each])), np.mean([e.replicates for e in each], axis=0))


def at_speed(system: Callable[[Findings], System], speedup: float) -> Predict:
    """A system's predictions at a cell of the main table."""

    def predict(f: Findings) -> Array | None:
        point = f.at_speed(system(f), speedup)
        return None if point is None else point.predictions

    return predict


def rivals_at(speedup: float) -> dict[str, Predict]:
    """What the paper compares with in a group of the main table."""
    return {
        "BERT-kL": lambda f: f.truncated(f.trial.layers_at(speedup)),
        "DeeBERT": at_speed(lambda f: f.deebert, speedup),
        "PABEE": at_speed(lambda f: f.pabee, speedup),
    }


def best_average(speedup: float, by_task: ByTask) -> Decision | None:
    """Average of CascadeBERT above the best average among the rivals that reach the speed."""
    mine = average(by_task, at_speed(lambda f: f.cascade, speedup))
    found = {name: average(by_task, predict) for name, predict in rivals_at(speedup).items()}
    rivals = {name: score for name, score in found.items() if score is not None}
    if mine is None or not rivals:
        return None
    value = mine.value - max(r.value for r in rivals.values())
    replicates = mine.replicates - np.max([r.replicates for r in rivals.values()], axis=0)
    each = ", ".join(f"{name} {r.value:.1f}" for name, r in rivals.items())
    slow = [name for name, score in found.items() if score is None]
    note = f"{speedup:g}x: CascadeBERT {mine.value:.1f}, {each}"
    if slow:
        note += f"; not as fast on every task: {', '.join(slow)}"
    return Decision(percentile_interval(value, replicates, len(by_task)), note, timed=False)


def relative_to_deebert(by_task: ByTask) -> Decision | None:
    """(CascadeBERT - DeeBERT) / DeeBERT of the averages at 4x."""
    mine = average(by_task, at_speed(lambda f: f.cascade, 4.0))
    other = average(by_task, at_speed(lambda f: f.deebert, 4.0))
    if mine is None or other is None:
        return None
    note = f"4x: CascadeBERT {mine.value:.1f}, DeeBERT {other.value:.1f}"
    replicates = mine.replicates / other.replicates - 1
    return Decision(percentile_interval(mine.value / other.value - 1, replicates, len(by_task)), note, timed=False)


def kept(by_task: ByTask) -> Decision | None:
    """Average of CascadeBERT at 2x as a share of the big model's."""
    mine, full = average(by_task, at_speed(lambda f: f.cascade, 2.0)), average(by_task, lambda f: f.full)
    if mine is None or full is None:
        return None
    note = f"2x: CascadeBERT {mine.value:.1f}, big model {full.value:.1f}"
    replicates = mine.replicates / full.replicates
    return Decision(percentile_interval(mine.value / full.value, replicates, len(by_task)), note, timed=False)


# -- Shallow models ---------------------------------------------------------------------------------------------------


def knows_difficulty(by_task: ByTask) -> Decision | None:
    """DIS of the complete model minus DIS of DeeBERT's exit at the same depth; minimum over tasks and depths.

    Hard is what a model gets wrong itself. A cell without enough right or wrong answers of both is no comparison.
    """
    gaps = []
    for task, fs in by_task.items():
        for depth in fs[0].trial.settings.shallow:
            both = [f for f in fs if COMPLETE in f.shallow(depth)]
            if not both:
                continue
            scores = [_inversion([f.knows(f.shallow(depth)[name]) for f in both]) for name in (COMPLETE, DEEBERT)]
            if scores[0] is not None and scores[1] is not None:
                gaps.append((f"{task} {depth}L", scores[0], scores[1]))
    if not gaps:
        return None
    value = min(a.value - b.value for _, a, b in gaps)
    replicates = np.min([a.replicates - b.replicates for _, a, b in gaps], axis=0)
    each = ", ".join(f"{name} {a.value:.1f} vs {b.value:.1f}" for name, a, b in gaps)
    return Decision(percentile_interval(value, replicates, len(gaps)), f"complete vs DeeBERT: {each}", timed=False)


def _inversion(seeds: Sequence[tuple[Array, Array]]) -> Replicated | None:
    if any(min(hard.sum(), (~hard).sum()) < ENOUGH for _, hard in seeds):
        return None
    return Replicated.of([(dense_ranks(confidences), hard) for confidences, hard in seeds], inversion_score_along)


def shallow_layers_know_little(by_task: ByTask) -> Decision | None:
    """Points of accuracy of the smallest complete model above DeeBERT, where DeeBERT left at that depth."""
    gains = {task: _above_the_exit(fs) for task, fs in by_task.items() if task in ENTAILMENT}
    known = {task: g for task, g in gains.items() if g is not None}
    if not known:
        return None
    value = float(np.mean([g.value for g in known.values()]))
    replicates = np.mean([g.replicates for g in known.values()], axis=0)
    note = f"examples that DeeBERT emits at the first compared depth at 4x: {', '.join(known)}"
    return Decision(percentile_interval(value, replicates, len(known)), note, timed=False)


def _above_the_exit(fs: Sequence[Findings]) -> Replicated | None:
    arrays = []
    for f in fs:
        depth = f.trial.first
        families, left = f.shallow(depth), (f.emitted.exit_layer == depth).numpy()
        complete, exit_ = (families[name].argmax(-1).numpy() == f.labels for name in (COMPLETE, DEEBERT))
        arrays.append((complete, exit_, left))
    if any(left.sum() < ENOUGH for _, _, left in arrays):
        return None

    def points(complete: Array, exit_: Array, left: Array, axis: int = -1) -> Array:
        more = (complete.astype(float) - exit_) * left
        return np.asarray(100 * more.sum(axis=axis) / np.maximum(1, left.sum(axis=axis)))

    return Replicated.of(arrays, points)


CLAIMS: Mapping[str, tuple[str, Callable[[ByTask], Decision | None]]] = {
    "cascadebert-4x-15pct": ("fraction", relative_to_deebert),
    "cascadebert-best-avg-2x": ("points", partial(best_average, 2.0)),
    "cascadebert-best-avg-3x": ("points", partial(best_average, 3.0)),
    "cascadebert-best-avg-4x": ("points", partial(best_average, 4.0)),
    "cascadebert-retention-2x": ("fraction", kept),
    "cascadebert-dis-complete-over-deebert": ("points", knows_difficulty),
    "cascadebert-shallow-representation": ("points", shallow_layers_know_little),
}
