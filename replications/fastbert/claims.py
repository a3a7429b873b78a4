"""The statistics that decide FastBERT's claims, each with a 95 % interval over seeds and examples.

The paper's layers are 12; with fewer layers a Speedup of 11.75 does not exist. So Speedups are judged as shares of
their ceiling, everyone leaving at layer 1, and counts of data sets as shares of the tasks. Speedups are the paper's
own, a ratio of FLOPs by its count. "BERT" is, as in the paper, the teacher at full depth. A claim about a mean or an
extreme over tasks is calculated whole on every bootstrap replicate; seeds of a task share examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from common.claims import Array, Decision, Replicated
from common.early_exit.scoring import decide_on_learned, gain, grouped_by_task, surely_above
from common.records.measurements import Measurement
from common.records.statistics import Interval, percentile_interval
from common.replication import Run
from replications.fastbert.findings import TABLE_3, Findings, Point, at_speed, reaching
from replications.fastbert.flops import PrintedCount
from replications.fastbert.luha import ordering
from replications.fastbert.trial import FROM_LABELS

ByTask = dict[str, list[Findings]]

BOOK_REVIEW = ("sentiment", "sst-2")
"""What stands for Book review, the two-class sentiment task of the paper's ablation and figures."""

BERT_BASE = PrintedCount(layers=12, hidden=768, intermediate=3072)


def claim_measurements(run: Run, findings: Sequence[Findings]) -> list[Measurement]:
    """One measurement for every claim that this run can decide.

    At the smoke scale nothing is learned that a verdict could rest on: what follows from the architecture is decided
    there. At any scale a task that the baseline did not learn is left out of the other claims.
    """
    decided: list[tuple[str, str, Decision | None]] = [
        ("fastbert-flops-classifier-share", "fraction", classifier_share())
    ]
    if run.scale.quality_verdicts:
        by_task = grouped_by_task(findings, lambda f: f.trial.task_name)
        for claim, (unit, decide) in LEARNED_CLAIMS.items():
            decided.append((claim, unit, decide_on_learned(decide, by_task, is_learned)))
    return [decision.measurement(claim, unit, run) for claim, unit, decision in decided if decision]


def is_learned(findings: Sequence[Findings]) -> bool:
    """Whether the teacher beats every constant answer (its 95 % interval does)."""
    metric = findings[0].trial.task.metric
    return surely_above(metric, [(f.teacher, f.constant, f.labels) for f in findings])


# -- What follows from the architecture -------------------------------------------------------------------------------


def classifier_share() -> Decision:
    """FLOPs of a classifier over those of a layer at BERT-base size, by Table 1's count."""
    share = sum(BERT_BASE.classifier_parts.values()) / BERT_BASE.layer
    note = f"closed form, BERT-base, by Table 1's count; {BERT_BASE.classifier / BERT_BASE.layer:.4f} by the code's"
    return Decision(Interval.exact(share), note, timed=False)


# -- Scores -----------------------------------------------------------------------------------------------------------


def lossless(by_task: ByTask) -> Decision:
    """Largest loss against the teacher at Speed 0.1, over the tasks."""
    losses = {task: _loss_at(fs, 0.1) for task, fs in by_task.items()}
    value = max(loss.value for loss in losses.values())
    replicates = np.max([loss.replicates for loss in losses.values()], axis=0)
    each = ", ".join(f"{task} {loss.value:+.1f}" for task, loss in losses.items())
    return Decision(percentile_interval(value, replicates, len(losses)), f"points lost: {each}", timed=False)


def _loss_at(findings: Sequence[Findings], speed: float) -> Replicated:
    point, metric = at_speed(speed), findings[0].trial.task.metric
    return gain(metric, [(f.teacher, f.predictions(point), f.labels) for f in findings])


def distillation_gain(by_task: ByTask) -> Decision | None:
    """Smallest gain over learning from labels at equal Speed, over the ablated tasks and Table 3's Speeds."""
    gains = {}
    ablated = {task: fs for task, fs in by_task.items() if FROM_LABELS in fs[0].trial.variants}
    for (task, fs), point in product(ablated.items(), map(at_speed, TABLE_3)):
        arrays = [(f.predictions(point), f.predictions(point, FROM_LABELS), f.labels) for f in fs]
        gains[f"{task} {point.setting}"] = gain(fs[0].trial.task.metric, arrays)
    if not gains:
        return None
    replicates = np.min([g.replicates for g in gains.values()], axis=0)
    value = min(g.value for g in gains.values())
    each = ", ".join(f"{name} {g.value:+.1f}" for name, g in gains.items())
    return Decision(percentile_interval(value, replicates, len(gains)), f"gains: {each}", timed=False)


def adaptive_gain(by_task: ByTask) -> Decision | None:
    """Points that adaptive exits gain over everyone leaving after a quarter of the layers, at as many layers on tune.

    The paper's fixed layer is 2 of 12; of 6 layers a sixth is the first alone, where nothing can adapt.
    """
    gains = {}
    for task, fs in _book_review(by_task).items():
        arrays = [(f.predictions(_as_fast(f)), f.fixed(f.trial.quarter_layers), f.labels) for f in fs]
        gains[task] = gain(fs[0].trial.task.metric, arrays)
    if not gains:
        return None
    f = next(iter(by_task.values()))[0]
    note = f"against layer {f.trial.quarter_layers} of {f.trial.num_layers} for everyone"
    return _mean_over_tasks(gains, note)


def _as_fast(f: Findings) -> Point:
    return reaching(f.trial.num_layers / f.trial.quarter_layers, f.tune_sweep, "")


def luha(by_task: ByTask) -> Decision:
    """Rank correlation of uncertainty bin and accuracy: the largest of Figure 4's classifiers, mean over tasks."""
    worst = [_worst_ordering(fs) for fs in by_task.values()]
    value = float(np.mean([w.value for w in worst]))
    replicates = np.mean([w.replicates for w in worst], axis=0)
    each = ", ".join(f"{task} {w.value:+.2f}" for task, w in zip(by_task, worst, strict=True))
    return Decision(percentile_interval(value, replicates, len(worst)), each, timed=False)


def _worst_ordering(fs: Sequence[Findings]) -> Replicated:
    orderings = []
    for layer in fs[0].figure_4.values():
        arrays = [(f.uncertainties[:, layer - 1].numpy(), f.fixed(layer) == f.labels) for f in fs]
        orderings.append(Replicated.of(arrays, ordering))
    return Replicated(max(o.value for o in orderings), np.max([o.replicates for o in orderings], axis=0))


# -- Speedups ---------------------------------------------------------------------------------------------------------


def often_twice_as_fast(by_task: ByTask) -> Decision:
    """Share of the tasks with a Speedup of at least 2 at Speed 0.1."""
    speedups = {task: _speedup(fs, 0.1) for task, fs in by_task.items()}
    value = float(np.mean([s.value >= 2 for s in speedups.values()]))
    replicates = np.mean([s.replicates >= 2 for s in speedups.values()], axis=0)
    return Decision(percentile_interval(value, replicates, len(speedups)), _listed(speedups), timed=False)


def greatest_speedup(by_task: ByTask) -> Decision:
    """Largest Speedup at Speed 0.8 over the tasks, as a share of the ceiling."""
    return _share_at_08(by_task, max, np.max)


def least_speedup(by_task: ByTask) -> Decision:
    """Smallest Speedup at Speed 0.8 over the tasks, as a share of the ceiling."""
    return _share_at_08(by_task, min, np.min)


def _share_at_08(by_task: ByTask, extreme: Callable[[list[float]], float], reduce: Callable[..., Array]) -> Decision:
    speedups = {task: _speedup(fs, 0.8) for task, fs in by_task.items()}
    ceiling = _ceiling(by_task)
    value = extreme([s.value for s in speedups.values()]) / ceiling
    replicates = reduce([s.replicates for s in speedups.values()], axis=0) / ceiling
    losses = ", ".join(f"{task} {_loss_at(fs, 0.8).value:+.1f}" for task, fs in by_task.items())
    note = f"ceiling {ceiling:.2f}x; {_listed(speedups)}; points lost: {losses}"
    return Decision(percentile_interval(value, replicates, len(speedups)), note, timed=False)


def cuts_flops(by_task: ByTask) -> Decision | None:
    """Speedup at Speed 0.5 as a share of the ceiling, mean over what stands for Book review."""
    speedups = {task: _speedup(fs, 0.5) for task, fs in _book_review(by_task).items()}
    if not speedups:
        return None
    ceiling = _ceiling(by_task)
    shares = {task: Replicated(s.value / ceiling, s.replicates / ceiling) for task, s in speedups.items()}
    losses = ", ".join(f"{task} {_loss_at(by_task[task], 0.5).value:+.1f}" for task in speedups)
    return _mean_over_tasks(shares, f"ceiling {ceiling:.2f}x; {_listed(speedups)}; points lost: {losses}")


def first_exit(by_task: ByTask) -> Decision | None:
    """Share of examples that leave at the first layer at Speed 0.8, mean over what stands for Book review."""
    shares = {}
    for task, fs in _book_review(by_task).items():
        leaving = [((f.outcome(at_speed(0.8)).exit_layer == 1).double().numpy(),) for f in fs]
        shares[task] = Replicated.of(leaving, np.mean)
    depth = next(iter(by_task.values()))[0].trial.num_layers
    return _mean_over_tasks(shares, f"Speed 0.8, {depth} layers") if shares else None


def _speedup(fs: Sequence[Findings], speed: float) -> Replicated:
    """The paper's Speedup; a replicate's mean exit layer decides it."""
    count = PrintedCount.of(fs[0].trial.shape)

    def statistic(layers: Array, axis: int = -1) -> Array:
        return np.asarray(count.baseline / (layers.mean(axis=axis) * (count.layer + count.classifier)))

    return Replicated.of([(f.outcome(at_speed(speed)).exit_layer.numpy(),) for f in fs], statistic)


def _ceiling(by_task: ByTask) -> float:
    return PrintedCount.of(next(iter(by_task.values()))[0].trial.shape).ceiling


def _listed(speedups: Mapping[str, Replicated]) -> str:
    return "Speedups: " + ", ".join(f"{task} {s.value:.2f}x" for task, s in speedups.items())


# -- Against static encoders ------------------------------------------------------------------------------------------


def beats_quarter(by_task: ByTask) -> Decision | None:
    """Share of the tasks where Speed 0.5 scores and saves at least as much as an encoder of a quarter of the layers."""
    return _beats(by_task, 0.5, lambda f: f.trial.quarter_layers, _no_worse_and_no_slower)


def beats_one_layer(by_task: ByTask) -> Decision | None:
    """Share of the tasks where Speed 0.8 scores more than an encoder of one layer."""
    return _beats(by_task, 0.8, lambda f: 1, _better)


Beats = Callable[[Replicated, Replicated, float], tuple[bool, Array]]
"""From points gained, Speedup and the static encoder's own Speedup: whether FastBERT wins, and on every replicate."""


def _no_worse_and_no_slower(better: Replicated, speedup: Replicated, static: float) -> tuple[bool, Array]:
    wins = (better.replicates >= 0) & (speedup.replicates >= static)
    return better.value >= 0 and speedup.value >= static, wins


def _better(better: Replicated, speedup: Replicated, static: float) -> tuple[bool, Array]:
    return better.value > 0, better.replicates > 0


def _beats(by_task: ByTask, speed: float, depth_of: Callable[[Findings], int], beats: Beats) -> Decision | None:
    wins, replicates, notes = [], [], []
    for task, all_seeds in by_task.items():
        # Shallow encoders are trained with the first seed alone.
        fs = [f for f in all_seeds if depth_of(f) in f.trial.static_depths]
        if not fs:
            continue
        depth = depth_of(fs[0])
        arrays = [(f.predictions(at_speed(speed)), f.truncated(depth), f.labels) for f in fs]
        better, speedup = gain(fs[0].trial.task.metric, arrays), _speedup(fs, speed)
        # As the paper has it: 3 of 12 layers without classifiers on the way are a Speedup of 4.
        win, on_replicates = beats(better, speedup, fs[0].trial.num_layers / depth)
        wins.append(win)
        replicates.append(on_replicates)
        notes.append(f"{task} {better.value:+.1f} at {speedup.value:.2f}x")
    if not wins:
        return None
    interval = percentile_interval(float(np.mean(wins)), np.mean(replicates, axis=0), len(wins))
    return Decision(interval, f"points over a truncated encoder, first seed: {', '.join(notes)}", timed=False)


# -- Over tasks -------------------------------------------------------------------------------------------------------


def _book_review(by_task: ByTask) -> ByTask:
    return {task: fs for task, fs in by_task.items() if task in BOOK_REVIEW}


def _mean_over_tasks(values: Mapping[str, Replicated], note: str) -> Decision:
    value = float(np.mean([v.value for v in values.values()]))
    replicates = np.mean([v.replicates for v in values.values()], axis=0)
    return Decision(percentile_interval(value, replicates, len(values)), f"{', '.join(values)}: {note}", timed=False)


LEARNED_CLAIMS: Mapping[str, tuple[str, Callable[[ByTask], Decision | None]]] = {
    "fastbert-speed01-lossless": ("points", lossless),
    "fastbert-speed01-2x": ("fraction", often_twice_as_fast),
    "fastbert-range-12x": ("ratio", greatest_speedup),
    "fastbert-7-to-11": ("ratio", least_speedup),
    "fastbert-beats-distilbert-3": ("fraction", beats_quarter),
    "fastbert-beats-distilbert-1": ("fraction", beats_one_layer),
    "fastbert-ablation-distill": ("points", distillation_gain),
    "fastbert-ablation-adaptive": ("points", adaptive_gain),
    "fastbert-luha": ("correlation", luha),
    "fastbert-first-exit-61": ("fraction", first_exit),
    "fastbert-distill-cuts-flops": ("ratio", cuts_flops),
}
