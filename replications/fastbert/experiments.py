"""Tables 2 and 3 and Figures 3 to 6 of FastBERT at a run's scale; Table 1 and the full-size shapes are in `shapes.py`.

Scores and exit layers come from simulations on logits collected once; the clock runs the real model, one sample at a
time as in the paper, interleaved with the baseline. The paper's Speedup is a ratio of FLOPs by a count of its own: it
is given as such, and in layers, FLOPs as counted here, wall clock at batch 1 and throughput in batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from common.early_exit.baselines import seeds_with_all_tasks
from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.cost_split import cost_shares
from common.early_exit.scoring import delta_interval, score_interval
from common.records.measurements import Measurement
from common.records.statistics import Interval, bootstrap_mean, bootstrap_statistic
from common.replication import Run, Step
from common.rows import Rows
from common.timing.paired import CONTROL
from replications.fastbert.evidence import evidence_of
from replications.fastbert.findings import (
    FIGURE_3,
    FIGURE_5,
    TABLE_2,
    TABLE_3,
    Array,
    Findings,
    Point,
    at_speed,
)
from replications.fastbert.flops import PrintedCount
from replications.fastbert.luha import bins
from replications.fastbert.names import DISTILLED, FASTBERT, FIXED, TEACHER, at_layer, truncated_system
from replications.fastbert.settings import FIRST_SEED_ALONE, TASKS
from replications.fastbert.shapes import shape_steps as shape_steps
from replications.fastbert.trial import Trial

# -- The steps of a run -----------------------------------------------------------------------------------------------


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed, then average over tasks."""
    steps: list[Step] = []
    all_findings: list[Findings] = []
    for task in run.tasks_or(TASKS):
        for seed in run.seeds_of(task, FIRST_SEED_ALONE):
            trial = Trial(run, task, seed)
            all_findings.append(Findings(trial))
            steps.extend(_steps_of(trial, all_findings[-1]))

    return [*steps, Step("averages", 3.0 * len(all_findings), lambda: list(macro(all_findings)))]


def _steps_of(trial: Trial, findings: Findings) -> Iterator[Step]:
    label, classes, cost = f"{trial.task_name} seed {trial.seed}", trial.classes, trial.estimate

    def truncated() -> None:
        for depth in trial.static_depths:
            trial.classifier_folder(depth)

    yield Step.making(
        f"{label}: the plain classifier", cost.classifier, lambda: trial.classifier_folder(trial.num_layers)
    )
    yield Step.making(f"{label}: truncated baselines", cost.truncated, truncated)
    yield Step.making(f"{label}: backbone and teacher, {classes} classes", cost.teacher, trial.teacher_folder)
    for variant in (DISTILLED, *trial.variants):
        train = lambda variant=variant: trial.students_folder(variant)  # noqa: E731
        yield Step.making(f"{label}: students: {variant}", cost.students[variant], train)
    yield Step.making(f"{label}: every classifier's logits", cost.logits, trial.logits_folder)

    def measure() -> list[Measurement]:
        row = Rows(trial.task_name, trial.seed, trial.source.backbone, len(findings.labels))
        trial.run.keep(evidence_of(findings))
        parts = (table2, table3, figure3, figure4, figure5, figure6, classifiers, costs, difficulty)
        return [m for part in parts for m in part(findings, row)]

    yield Step(f"{label}: timing, tables and figures", cost.timing, measure)


# -- Table 2 ----------------------------------------------------------------------------------------------------------


def table2(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and speed of the baseline, truncated encoders, the teacher and FastBERT."""
    yield row("table2", "constant answer", "score", f.points(f.constant), "points")
    yield row("table2", "baseline", "score", _score(f, f.full), "points")
    yield row("table2", "baseline", "time_speedup", 1.0, "ratio", note="by definition")
    yield from f.clocked.latency_rows(row, "table2", "baseline", BASELINE)
    yield row("table2", CONTROL, "time_speedup", f.clocked.speedup(CONTROL), "ratio", timed=True)
    for depth in f.trial.static_depths:
        yield from _static_rows(row, truncated_system(depth), f, f.truncated(depth), f.trial.num_layers / depth)
    truncated, clocked = truncated_system(f.trial.truncated_layers), f.clocked
    yield row("table2", truncated, "time_speedup", clocked.speedup(TRUNCATED), "ratio", **clocked.timed(TRUNCATED))
    yield from _static_rows(row, TEACHER, f, f.teacher, 1.0)
    yield row("table2", "teacher", "flops_speedup", f.teacher_flops_speedup, "ratio")
    yield row("table2", "teacher", "printed_speedup", 1.0, "ratio", note="by definition")
    yield row("table2", "teacher", "time_speedup", clocked.speedup(TEACHER), "ratio", **clocked.timed(TEACHER))
    for point in f.table_points:
        yield from _point_rows(row, f, point)
    batched = f.batched()
    for point in map(at_speed, TABLE_2):
        how = {"setting": point.setting, "timed": True, "note": "batches of 32"}
        yield row("table2", FASTBERT, "throughput_ratio", batched.speedup(point.arm), "ratio", **how)
    control = {"timed": True, "note": "batches of 32"}
    yield row("table2", CONTROL, "throughput_ratio", batched.speedup(CONTROL), "ratio", **control)


def _static_rows(row: Rows, system: str, f: Findings, answers: Array, layers: float) -> Iterator[Measurement]:
    yield row("table2", system, "score", _score(f, answers), "points")
    yield row("table2", system, "score_delta", _delta(f, answers), "points")
    yield row("table2", system, "layer_speedup", layers, "ratio")


def _point_rows(row: Rows, f: Findings, point: Point) -> Iterator[Measurement]:
    at = {"setting": point.setting, "at": point.speed}
    answers = f.predictions(point)
    yield row("table2", FASTBERT, "score", _score(f, answers), "points", **at)
    yield row("table2", FASTBERT, "score_delta", _delta(f, answers), "points", **at)
    yield row("table2", FASTBERT, "layer_speedup", _layer_speedup(f, point), "ratio", **at)
    yield row("table2", FASTBERT, "flops_speedup", f.flops_speedup(point), "ratio", **at)
    yield row("table2", FASTBERT, "printed_speedup", f.printed_speedup(point), "ratio", **at)
    if point in f.timed_points:
        speedup = f.clocked.speedup(point.arm)
        yield row("table2", FASTBERT, "time_speedup", speedup, "ratio", **at, **f.clocked.timed(point.arm))
        yield from f.clocked.latency_rows(row, "table2", FASTBERT, point.arm, setting=point.setting)


def macro(findings: Sequence[Findings]) -> Iterator[Measurement]:
    """The plain mean over tasks, for each seed that did them all."""
    for seed, fs in seeds_with_all_tasks(findings).items():
        row = Rows("macro", seed, fs[0].trial.source.backbone, len(fs))
        half = fs[0].trial.truncated_layers
        yield row("table2", "baseline", "score", _mean(f.points(f.full) for f in fs), "points")
        yield row("table2", "teacher", "score", _mean(f.points(f.teacher) for f in fs), "points")
        yield row("table2", truncated_system(half), "score", _mean(f.points(f.truncated(half)) for f in fs), "points")
        for points in zip(*(f.table_points for f in fs), strict=True):
            yield from _macro_rows(row, list(zip(fs, points, strict=True)))


def _macro_rows(row: Rows, chosen: Sequence[tuple[Findings, Point]]) -> Iterator[Measurement]:
    setting = chosen[0][1].setting
    score = _mean(f.points(f.predictions(p)) for f, p in chosen)
    yield row("table2", FASTBERT, "score", score, "points", setting=setting)
    layers = _mean(f.layer_speedup(p) for f, p in chosen)
    yield row("table2", FASTBERT, "layer_speedup", layers, "ratio", setting=setting)
    if all(p in f.timed_points for f, p in chosen):
        time = _mean(f.clocked.speedup(p.arm).value for f, p in chosen)
        yield row("table2", FASTBERT, "time_speedup", time, "ratio", setting=setting, timed=True)


# -- Table 3 ----------------------------------------------------------------------------------------------------------


def table3(f: Findings, row: Rows) -> Iterator[Measurement]:
    """The ablation: FastBERT, its variants at the same Speeds, and everyone leaving at one layer."""
    for variant in (DISTILLED, *f.trial.variants):
        for point in map(at_speed, (*TABLE_3, 0.5)):
            at = {"setting": point.setting, "at": point.speed}
            yield row("table3", variant, "score", _score(f, f.predictions(point, variant)), "points", **at)
            yield row("table3", variant, "layer_speedup", _layer_speedup(f, point, variant), "ratio", **at)
            yield row("table3", variant, "printed_speedup", f.printed_speedup(point, variant), "ratio", **at)
    count = PrintedCount.of(f.trial.shape)
    for layer in range(1, f.trial.num_layers):
        at = {"setting": at_layer(layer), "at": layer}
        yield row("table3", FIXED, "score", _score(f, f.fixed(layer)), "points", **at)
        yield row("table3", FIXED, "layer_speedup", f.trial.num_layers / layer, "ratio", **at)
        yield row("table3", FIXED, "printed_speedup", count.speedup(layer), "ratio", **at)


# -- Figures ----------------------------------------------------------------------------------------------------------


def figure3(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and Speedup over Speed."""
    for point in map(at_speed, FIGURE_3):
        at = {"setting": point.setting, "at": point.speed}
        yield row("figure3", FASTBERT, "score", f.points(f.predictions(point)), "points", **at)
        yield row("figure3", FASTBERT, "layer_speedup", f.layer_speedup(point), "ratio", **at)
        yield row("figure3", FASTBERT, "printed_speedup", f.printed_speedup(point), "ratio", **at)


def figure4(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Accuracy inside bins of uncertainty, of the first and the middle student and the teacher."""
    for system, layer in f.figure_4.items():
        right = f.fixed(layer) == f.labels
        for b in bins(f.uncertainties[:, layer - 1].numpy(), right):
            at = {"setting": b.label, "at": b.middle}
            yield row("figure4", system, "accuracy", bootstrap_mean(b.right.astype(float)), "fraction", **at)


def figure5(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Where examples leave; the paper counts layers from 0, so its averages and medians are one less."""
    for point in map(at_speed, FIGURE_5):
        exits = f.outcome(point).exit_layer
        for layer, share in enumerate(f.outcome(point).histogram(f.trial.num_layers).tolist(), 1):
            yield row("figure5", FASTBERT, "share", share, "fraction", setting=point.setting, at=layer)
        summary = {"mean_from_0": float(exits.double().mean()) - 1, "median_from_0": float(exits.median()) - 1}
        for metric, value in summary.items():
            yield row("exit-layers", FASTBERT, metric, value, "layers", setting=point.setting)
        first = bootstrap_mean((exits == 1).double().numpy())
        yield row("exit-layers", FASTBERT, "first_share", first, "fraction", setting=point.setting)


def figure6(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Quartiles of the uncertainty of those who reach a layer, where at least one does."""
    for point in map(at_speed, (0.0, *FIGURE_5)):
        exits = f.outcome(point).exit_layer
        for layer in range(1, f.trial.num_layers + 1):
            there = f.uncertainties[exits >= layer, layer - 1].numpy()
            if len(there) == 0:
                continue
            low, middle, high = np.percentile(there, (25, 50, 75)).tolist()
            at = {"setting": point.setting, "at": layer, "n": len(there)}
            yield row("figure6", FASTBERT, "median_uncertainty", middle, "fraction", **at)
            yield row("figure6", FASTBERT, "lower_quartile", low, "fraction", **at)
            yield row("figure6", FASTBERT, "upper_quartile", high, "fraction", **at)


def classifiers(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Ours: what each layer's classifier scores alone and how often it answers as the teacher does, by variant."""
    for variant in (DISTILLED, *f.trial.variants):
        exits = f.exits(variant)
        teacher = exits[:, -1].argmax(-1)
        for layer in range(1, f.trial.num_layers + 1):
            answers = exits[:, layer - 1].argmax(-1)
            at = {"setting": f"layer {layer}", "at": layer}
            yield row("classifiers", variant, "score", f.points(answers.numpy()), "points", **at)
            agree = (answers == teacher).double().numpy()
            yield row("classifiers", variant, "agreement", float(agree.mean()), "fraction", **at)


def costs(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Where the time of a full-depth run goes at batch 1: backbone (with one head), the other exits, the selection."""
    for metric, share in cost_shares(f.clocked.seconds).items():
        yield row("costs", FASTBERT, metric, share, "fraction", timed=True, note="full depth, batch 1")
    yield row("costs", FASTBERT, "exits_flops_share", f.exits_flops_share, "fraction", note="full depth, all of dev")


def difficulty(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Ours, where difficulty is known (builtin tasks): do harder examples stay longer, and where does score go?"""
    levels = np.array([e.difficulty if e.difficulty is not None else 0 for e in f.trial.task.dev])
    point = at_speed(0.5)
    exits, right = f.outcome(point).exit_layer.numpy(), f.predictions(point) == f.labels
    for level in sorted(set(levels.tolist()) - {0}):
        chosen = levels == level
        at = {"at": level, "setting": f"level {level}", "n": int(chosen.sum())}
        yield row("difficulty", FASTBERT, "exit_layer", float(exits[chosen].mean()), "layers", **at)
        yield row("difficulty", FASTBERT, "score", 100 * float(right[chosen].mean()), "points", **at)
        full = 100 * float((f.full == f.labels)[chosen].mean())
        yield row("difficulty", "baseline", "score", full, "points", **at)


# -- Numbers with intervals over examples -----------------------------------------------------------------------------


def _score(f: Findings, answers: Array) -> Interval:
    return score_interval(f.trial.task.metric, answers, f.labels)


def _delta(f: Findings, answers: Array) -> Interval:
    """Points gained over the plain classifier on the same examples (negative: lost)."""
    return delta_interval(f.trial.task.metric, answers, f.full, f.labels)


def _layer_speedup(f: Findings, point: Point, variant: str = DISTILLED) -> Interval:
    depth, exits = f.trial.num_layers, f.outcome(point, variant).exit_layer.numpy()
    return bootstrap_statistic(lambda e, axis=-1: depth / e.mean(axis=axis), exits, resamples=2000)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
