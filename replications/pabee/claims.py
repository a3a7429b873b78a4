"""The statistics that decide PABEE's claims, each with a 95 % interval over seeds and examples.

The paper's layers are 12; where a claim counts layers or patience values it is put in shares of the depth. Its main
patience, 6 of 12, is half the depth here. A claim about a mean or an extreme over tasks is calculated whole on every
bootstrap replicate; tasks are independent of each other, seeds of a task share examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil

import numpy as np

from common.claims import Array, Decision, Replicated
from common.early_exit.clock import BASELINE
from common.early_exit.runtime import simulate
from common.early_exit.scoring import decide_on_learned, gain, grouped_by_task, surely_above
from common.records.measurements import Measurement
from common.records.statistics import Interval, percentile_interval
from common.replication import Run
from replications.pabee.findings import PRINTED_SPEEDUPS, Findings, Overthinking, Point
from replications.pabee.trial import Answers

ByTask = dict[str, list[Findings]]

PAPER_LAYERS = 12

TABLE_2 = frozenset({"mnli", "sst-2", "sts-b", "entailment", "sentiment"})
"""Where the paper has BERT-base's scores, and the builtin counterparts."""

CURVE_RANGE = (1.11, 2.34)
"""Speed-ups over which the paper's figure compares the three exit rules."""

SAME_SAVING = 0.05
"""How far two shares of layers saved may lie apart and still be called equal."""


def claim_measurements(run: Run, findings: Sequence[Findings]) -> list[Measurement]:
    """One measurement for every claim that this run can decide.

    At the smoke scale nothing is learned that a verdict could rest on: what follows from the rule alone is decided
    there. At any scale a task that the baseline did not learn is left out of the other claims: exits that all give
    one constant answer agree at once, which proves nothing.
    """
    decided: list[tuple[str, str, Decision | None]] = [("pabee-min-layers", "layers", min_layers(findings))]
    if run.scale.quality_verdicts:
        by_task = grouped_by_task(findings, lambda f: f.trial.task_name)
        for claim, (unit, decide) in LEARNED_CLAIMS.items():
            decided.append((claim, unit, decide_on_learned(decide, by_task, is_learned)))
    return [decision.measurement(claim, unit, run) for claim, unit, decision in decided if decision]


def is_learned(findings: Sequence[Findings]) -> bool:
    """Whether the baseline beats every constant answer (its 95 % interval does)."""
    metric = findings[0].trial.task.metric
    return surely_above(metric, [(f.full, f.constant, f.labels) for f in findings])


# -- Scores -----------------------------------------------------------------------------------------------------------


def better_than_plain(by_task: ByTask) -> Decision:
    """Points gained over the plain classifier at the main patience, mean over the tasks, on dev."""
    return _mean_over_tasks({task: main_gain(fs) for task, fs in by_task.items()}, "dev")


def better_on_test(by_task: ByTask) -> Decision | None:
    """The same on test, for the tasks that have labels there."""
    gains = {}
    for task, fs in by_task.items():
        tests = [(f, f.test) for f in fs]
        arrays = [_main_on(f, answers) for f, answers in tests if answers is not None]
        if len(arrays) == len(fs):
            gains[task] = gain(fs[0].trial.task.metric, arrays)
    return _mean_over_tasks(gains, "test") if gains else None


def _main_on(f: Findings, answers: Answers) -> tuple[Array, Array, Array]:
    early = simulate(answers.exits, f.main.rule).logits
    return f.trial.predict(early), f.trial.predict(answers.plain), answers.labels


def main_gain(findings: Sequence[Findings]) -> Replicated:
    """Points gained over the plain classifier at the main patience, on dev."""
    return _gain_at(findings, lambda f: f.main)


def _gain_at(findings: Sequence[Findings], point: Callable[[Findings], Point]) -> Replicated:
    metric = findings[0].trial.task.metric
    return gain(metric, [(f.predictions(point(f).rule), f.full, f.labels) for f in findings])


def _mean_over_tasks(gains: Mapping[str, Replicated], where: str) -> Decision:
    value = float(np.mean([g.value for g in gains.values()]))
    replicates = np.mean([g.replicates for g in gains.values()], axis=0)
    each = ", ".join(f"{task} {g.value:+.1f}" for task, g in gains.items())
    note = f"patience at half the depth, {where}: {each}"
    return Decision(percentile_interval(value, replicates, len(gains)), note, timed=False)


def small_drop(by_task: ByTask) -> Decision | None:
    """Largest loss at the main patience over Table 2's tasks."""
    losses = {task: main_gain(fs) for task, fs in by_task.items() if task in TABLE_2}
    if not losses:
        return None
    value = max(-g.value for g in losses.values())
    replicates = np.max([-g.replicates for g in losses.values()], axis=0)
    each = ", ".join(f"{task} {g.value:+.1f}" for task, g in losses.items())
    return Decision(percentile_interval(value, replicates, len(losses)), f"gains: {each}", timed=False)


def patience_window(by_task: ByTask) -> Decision:
    """Share of the patience values from a quarter of the depth on that beat the plain classifier, mean over tasks."""
    shares, replicates, counted = [], [], 0
    for fs in by_task.values():
        window = range(ceil(fs[0].trial.num_layers / 4), fs[0].trial.num_layers)
        gains = [_gain_at(fs, lambda f, t=t: f.patience(t)) for t in window]  # type: ignore[misc]
        shares.append(np.mean([g.value > 0 for g in gains]))
        replicates.append(np.mean([g.replicates > 0 for g in gains], axis=0))
        counted = len(gains)
    each = ", ".join(f"{task} {share:.0%}" for task, share in zip(by_task, shares, strict=True))
    interval = percentile_interval(float(np.mean(shares)), np.mean(replicates, axis=0), counted)
    return Decision(interval, f"of {counted} patience values: {each}", timed=False)


# -- Against the confidence exits -------------------------------------------------------------------------------------


def beats_confidence_exits(by_task: ByTask) -> Decision | None:
    """Points above the better of the two confidence exits at their printed speeds; minimum over tasks with classes."""
    rows: dict[str, list[Replicated]] = {}
    for task, fs in _with_classes(by_task):
        rivals = {
            p.system: p.setting for p in fs[0].confidence_points if p.setting == f"{PRINTED_SPEEDUPS[p.system]:g}x"
        }
        rows[task] = [_gain_over(fs, lambda f: f.main, _table_point(s, setting)) for s, setting in rivals.items()]
    note = "PABEE at half the depth, rivals at 1.88 and 1.95 times the layers"
    return _smallest([(task, g) for task, gains in rows.items() for g in gains], note)


def beats_at_equal_speed(by_task: ByTask) -> Decision | None:
    """Points above the better confidence exit that saves as many layers; minimum over patience values and tasks.

    A patience outside the figure's range of speed-ups is no comparison, nor is a rival that no threshold brings to
    about PABEE's speed on dev.
    """
    gains = []
    for task, fs in _with_classes(by_task):
        for patience in fs[0].patiences:
            if not all(CURVE_RANGE[0] <= f.layer_speedup(f.patience(patience)) <= CURVE_RANGE[1] for f in fs):
                continue
            for system in PRINTED_SPEEDUPS:
                if all(_is_as_fast(f, patience, system) for f in fs):
                    label = f"{task} t={patience} {system}"
                    gains.append((label, _gain_over(fs, _pabee(patience), _match(patience, system))))
    return _smallest(gains, f"{len(gains)} comparisons at equal layers saved")


def _pabee(patience: int) -> Callable[[Findings], Point]:
    return lambda f: f.patience(patience)


def _match(patience: int, system: str) -> Callable[[Findings], Point]:
    return lambda f: f.matched(system, f.patience(patience), "")


def _table_point(system: str, setting: str) -> Callable[[Findings], Point]:
    return lambda f: next(p for p in f.confidence_points if (p.system, p.setting) == (system, setting))


def _is_as_fast(f: Findings, patience: int, system: str) -> bool:
    mine, other = (1 / f.layer_speedup(p) for p in (f.patience(patience), _match(patience, system)(f)))
    return abs(mine - other) <= SAME_SAVING


def _with_classes(by_task: ByTask) -> Iterator[tuple[str, list[Findings]]]:
    return ((task, fs) for task, fs in by_task.items() if not fs[0].trial.task.is_regression)


def _gain_over(
    fs: Sequence[Findings], mine: Callable[[Findings], Point], other: Callable[[Findings], Point]
) -> Replicated:
    arrays = [(f.predictions(mine(f).rule), f.predictions(other(f).rule), f.labels) for f in fs]
    return gain(fs[0].trial.task.metric, arrays)


def _smallest(gains: Sequence[tuple[str, Replicated]], note: str) -> Decision | None:
    if not gains:
        return None
    worst = min(gains, key=lambda pair: pair[1].value)
    replicates = np.min([g.replicates for _, g in gains], axis=0)
    interval = percentile_interval(worst[1].value, replicates, len(gains))
    return Decision(interval, f"{note}; smallest at {worst[0]}", timed=False)


# -- Speed, and what follows from the rule ----------------------------------------------------------------------------


def speedup(by_task: ByTask) -> Decision:
    """Wall-clock speed-up at the main patience as a share of its ceiling n/(t+1), mean over tasks."""
    shares = {task: _share_of_ceiling(fs) for task, fs in by_task.items()}
    value = float(np.mean([s.value for s in shares.values()]))
    replicates = np.mean([s.replicates for s in shares.values()], axis=0)
    layers = np.mean([f.layer_speedup(f.main) for fs in by_task.values() for f in fs])
    ceiling = ceiling_of(next(iter(by_task.values()))[0])
    note = f"batch 1; {value * ceiling:.2f}x of at most {ceiling:.2f}x on the clock, {layers:.2f}x in layers"
    return Decision(percentile_interval(value, replicates, len(shares)), note, timed=True)


def ceiling_of(f: Findings) -> float:
    """The most that layers executed allow at the main patience."""
    return f.trial.num_layers / (f.trial.half_patience + 1)


def _share_of_ceiling(fs: Sequence[Findings]) -> Replicated:
    def share(seconds: Array, baseline: Array, axis: int = -1) -> Array:
        return np.asarray(baseline.sum(axis=axis) / seconds.sum(axis=axis) / ceiling_of(fs[0]))

    return Replicated.of([(f.clocked.seconds(f.main.arm), f.clocked.seconds(BASELINE)) for f in fs], share)


def overthinking(by_task: ByTask) -> Decision | None:
    """The layer, in twelfths of the depth, whose exit errs least, error rates averaged over the tasks with classes."""
    tasks = [_error_rates(fs) for _, fs in _with_classes(by_task)]
    if not tasks:
        return None
    n = len(tasks[0])
    values = np.mean([[layer.value for layer in task] for task in tasks], axis=0)
    replicates = np.mean([[layer.replicates for layer in task] for task in tasks], axis=0)
    best = int(values.argmin()) + 1
    in_twelfths = (replicates.argmin(axis=0) + 1) * PAPER_LAYERS / n
    note = f"layer {best} of {n}; error rates {', '.join(f'{v:.1%}' for v in values)}"
    return Decision(percentile_interval(best * PAPER_LAYERS / n, in_twelfths, len(tasks)), note, timed=False)


def _error_rates(fs: Sequence[Findings]) -> list[Replicated]:
    """Of every exit; all layers see the same resamples, because the draws depend on the sizes alone."""

    def error(right: Array, axis: int = -1) -> Array:
        return np.asarray(1 - right.mean(axis=axis))

    right = [Overthinking.of(f.dev.exits, f.labels).right for f in fs]
    return [Replicated.of([(r[:, layer],) for r in right], error) for layer in range(right[0].shape[1])]


def min_layers(findings: Sequence[Findings]) -> Decision:
    """Smallest exit layer minus (t+1), over tasks, seeds and patience values, on dev."""
    spare = [
        int(f.outcome(f.rule(patience)).exit_layer.min()) - (patience + 1) for f in findings for patience in f.patiences
    ]
    note = f"{len(spare)} combinations of task, seed and patience"
    return Decision(Interval.exact(float(min(spare)), len(spare)), note, timed=False)


LEARNED_CLAIMS: Mapping[str, tuple[str, Callable[[ByTask], Decision | None]]] = {
    "pabee-albert-dev": ("points", better_than_plain),
    "pabee-albert-test": ("points", better_on_test),
    "pabee-albert-speedup": ("ratio", speedup),
    "pabee-beats-confidence-exits": ("points", beats_confidence_exits),
    "pabee-beats-confidence-exits-equal-speed": ("points", beats_at_equal_speed),
    "pabee-bert": ("points", small_drop),
    "pabee-patience-window": ("fraction", patience_window),
    "pabee-overthinking": ("layers", overthinking),
}
