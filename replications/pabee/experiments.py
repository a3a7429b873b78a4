"""Table 1, the trade-off and patience figures, and the overthinking question of PABEE at a run's scale.

Scores and exit layers come from simulations on logits collected once; the clock runs the real model, one sample at a
time as in the paper, interleaved with the baseline. The paper's speed-up is a ratio whose making is not stated: it is
given here in layers, FLOPs, wall clock at batch 1 and throughput in batches. Sizes are in `shapes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from common.early_exit.baselines import seeds_with_all_tasks
from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.cost import pooled_head_flops
from common.early_exit.cost_split import cost_shares
from common.early_exit.runtime import simulate
from common.early_exit.scoring import delta_interval, score_interval
from common.records.measurements import Measurement
from common.records.statistics import Interval, bootstrap_mean, bootstrap_statistic
from common.replication import Run, Step
from common.rows import Rows
from common.timing.flops import classifier_flops
from common.timing.paired import CONTROL
from replications.pabee.evidence import evidence_of
from replications.pabee.findings import CURVE, TOLERANCES, Findings, Overthinking, Point
from replications.pabee.names import PABEE, PRINTED_SPEEDUPS, saving_of, speed_setting
from replications.pabee.shapes import shape_steps as shape_steps
from replications.pabee.trial import Trial

TASKS = {
    "builtin": ("sentiment", "entailment", "paraphrase"),
    "files": ("sst-2", "mrpc", "rte", "cola", "sts-b", "qqp-sample"),
    "hub": ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst-2", "sts-b"),
}
"""The paper's eight tasks where they can be had; elsewhere what comes nearest."""

FIRST_SEED_ALONE = frozenset({"mrpc", "rte", "cola"})
"""What takes long for its length or its epochs: one seed where the scale spares."""


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
    label, cost = f"{trial.task_name} seed {trial.seed}", trial.estimate

    yield Step.making(
        f"{label}: the plain classifier", cost.classifier, lambda: trial.classifier_folder(trial.num_layers)
    )
    yield Step.making(
        f"{label}: the truncated baseline", cost.truncated, lambda: trial.classifier_folder(trial.truncated_layers)
    )
    yield Step.making(f"{label}: PABEE, encoder and exits together", cost.joint, trial.joint_folder)
    yield Step.making(f"{label}: every exit's logits", cost.logits, trial.logits_folder)

    def measure() -> list[Measurement]:
        row = Rows(trial.task_name, trial.seed, trial.source.backbone, len(findings.labels))
        trial.run.keep(evidence_of(findings))
        experiments = (table1, test_scores, tradeoff, patience_curve, overthinking, costs, tolerance, difficulty)
        return [m for experiment in experiments for m in experiment(findings, row)]

    yield Step(f"{label}: timing, tables and figures", cost.timing, measure)


# -- Table 1 ----------------------------------------------------------------------------------------------------------


def table1(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and speed of the baseline, the truncated encoder, PABEE and the confidence exits."""
    yield row("table1", "constant answer", "score", f.points(f.constant), "points")
    yield row("table1", "baseline", "score", _score(f, f.full), "points")
    yield row("table1", "baseline", "time_speedup", 1.0, "ratio", note="by definition")
    yield from f.clocked.latency_rows(row, "table1", "baseline", BASELINE)
    yield row("table1", CONTROL, "time_speedup", f.clocked.speedup(CONTROL), "ratio", timed=True)
    truncated = f"truncated {f.trial.truncated_layers}L"
    yield row("table1", truncated, "score", _score(f, f.truncated), "points")
    yield row("table1", truncated, "score_delta", _delta(f, f.truncated), "points")
    yield row("table1", truncated, "layer_speedup", f.trial.num_layers / f.trial.truncated_layers, "ratio")
    yield row("table1", truncated, "time_speedup", f.clocked.speedup(TRUNCATED), "ratio", **f.clocked.timed(TRUNCATED))
    for point in f.table_points:
        at = {"setting": point.setting, "at": point.at}
        predictions = f.predictions(point.rule)
        yield row("table1", point.system, "score", _score(f, predictions), "points", **at)
        yield row("table1", point.system, "score_delta", _delta(f, predictions), "points", **at)
        yield row("table1", point.system, "layer_speedup", _layer_speedup(f, point), "ratio", **at)
        yield row("table1", point.system, "flops_speedup", f.flops_speedup(point), "ratio", **at)
        if f.is_timed(point):
            arm = f.clock_arm(point)
            speedup = f.clocked.speedup(arm)
            yield row("table1", point.system, "time_speedup", speedup, "ratio", **at, **f.clocked.timed(arm))
    yield from f.clocked.latency_rows(row, "table1", PABEE, f.main.arm, setting=f.main.setting)
    for system, setting in ((PABEE, f.main.setting), (CONTROL, "")):
        how = {"setting": setting, "timed": True, "note": "batches of 32"}
        yield row("table1", system, "throughput_ratio", f.batched.speedup(system), "ratio", **how)


def test_scores(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Table 1's lower half: baseline and PABEE on the test split, where it has labels."""
    if f.test is None:
        return
    labels, plain = f.test.labels, f.trial.predict(f.test.plain)
    early = f.trial.predict(simulate(f.test.exits, f.main.rule).logits)
    metric, setting = f.trial.task.metric, f.main.setting
    yield row("table1-test", "baseline", "score", score_interval(metric, plain, labels), "points")
    yield row("table1-test", PABEE, "score", score_interval(metric, early, labels), "points", setting=setting)
    delta = delta_interval(metric, early, plain, labels)
    yield row("table1-test", PABEE, "score_delta", delta, "points", setting=setting)


def macro(findings: Sequence[Findings]) -> Iterator[Measurement]:
    """Table 1's last column: the plain mean over tasks, for each seed that did and each system that does them all."""
    for seed, fs in seeds_with_all_tasks(findings).items():
        row = Rows("macro", seed, fs[0].trial.source.backbone, len(fs))
        truncated = f"truncated {fs[0].trial.truncated_layers}L"
        yield row("table1", "baseline", "score", _mean(f.points(f.full) for f in fs), "points")
        yield row("table1", truncated, "score", _mean(f.points(f.truncated) for f in fs), "points")
        points = [{(p.system, p.setting): p for p in f.table_points} for f in fs]
        for system, setting in points[0]:
            if all((system, setting) in known for known in points):
                chosen = [(f, known[system, setting]) for f, known in zip(fs, points, strict=True)]
                yield from _macro_rows(row, chosen)


def _macro_rows(row: Rows, chosen: Sequence[tuple[Findings, Point]]) -> Iterator[Measurement]:
    system, setting = chosen[0][1].system, chosen[0][1].setting
    score = _mean(f.points(f.predictions(p.rule)) for f, p in chosen)
    yield row("table1", system, "score", score, "points", setting=setting)
    layers = _mean(f.layer_speedup(p) for f, p in chosen)
    yield row("table1", system, "layer_speedup", layers, "ratio", setting=setting)
    if all(f.is_timed(p) for f, p in chosen):
        time = _mean(f.clocked.speedup(f.clock_arm(p)).value for f, p in chosen)
        yield row("table1", system, "time_speedup", time, "ratio", setting=setting, timed=True)


# -- Figures ----------------------------------------------------------------------------------------------------------


def tradeoff(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score against speed-up in layers: PABEE over patience, the confidence exits over thresholds."""
    points = [f.patience(t) for t in f.patiences]
    if not f.trial.task.is_regression:
        points += [f.confidence(s, saving_of(speed), speed_setting(speed)) for s in PRINTED_SPEEDUPS for speed in CURVE]
    for point in points:
        at = {"setting": point.setting, "at": point.at}
        score = f.points(f.predictions(point.rule))
        yield row("figure-tradeoff", point.system, "score", score, "points", **at)
        yield row("figure-tradeoff", point.system, "layer_speedup", f.layer_speedup(point), "ratio", **at)
    yield row("figure-tradeoff", "baseline", "score", f.points(f.full), "points")
    yield row("figure-tradeoff", "baseline", "layer_speedup", 1.0, "ratio", note="by definition")


def patience_curve(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and speed at every patience, beside the plain classifier's score."""
    for point in map(f.patience, f.patiences):
        at = {"setting": point.setting, "at": point.at}
        yield row("figure-patience", PABEE, "score", _score(f, f.predictions(point.rule)), "points", **at)
        yield row("figure-patience", PABEE, "layer_speedup", _layer_speedup(f, point), "ratio", **at)
        yield row("figure-patience", PABEE, "flops_speedup", f.flops_speedup(point), "ratio", **at)
        speedup = f.clocked.speedup(point.arm)
        yield row("figure-patience", PABEE, "time_speedup", speedup, "ratio", **at, **f.clocked.timed(point.arm))
        plain = f.points(f.full)
        yield row("figure-patience", "baseline", "score", plain, "points", at=point.at, setting=point.setting)


def overthinking(f: Findings, row: Rows) -> Iterator[Measurement]:
    """How often an earlier exit is right where the last is wrong, and the bound of leaving at the earliest correct one.

    A regression has no right and wrong; there each exit's score alone is given.
    """
    n = f.trial.num_layers
    for layer in range(1, n + 1):
        at = {"setting": f"layer {layer}", "at": layer}
        yield row("overthinking", "exit", "score", _score(f, f.exit_predictions(layer)), "points", **at)
    if f.trial.task.is_regression:
        return
    seen = Overthinking.of(f.dev.exits, f.labels)
    for layer in range(1, n + 1):
        at = {"setting": f"layer {layer}", "at": layer}
        right, last = seen.right[:, layer - 1], seen.right[:, -1]
        yield row("overthinking", "exit", "error_rate", bootstrap_mean(~right), "fraction", **at)
        yield row("overthinking", "exit", "right_where_last_wrong", float((right & ~last).mean()), "fraction", **at)
        yield row("overthinking", "exit", "wrong_where_last_right", float((~right & last).mean()), "fraction", **at)
    summary = {
        "accuracy": seen.right[:, -1],
        "earlier_right_last_wrong": seen.earlier_right,
        "last_right_earlier_wrong": seen.later_right,
    }
    for metric, happens in summary.items():
        yield row("overthinking", "last exit", metric, bootstrap_mean(happens.astype(float)), "fraction")
    patient = f.predictions(f.main.rule) == f.labels
    setting = f.main.setting
    yield row("overthinking", PABEE, "accuracy", bootstrap_mean(patient.astype(float)), "fraction", setting=setting)
    yield row("overthinking", PABEE, "layer_speedup", _layer_speedup(f, f.main), "ratio", setting=setting)
    yield row("overthinking", "oracle", "accuracy", bootstrap_mean(seen.ever_right.astype(float)), "fraction")
    yield row("overthinking", "oracle", "layer_speedup", _speedup_of_exits(seen.earliest_right, n), "ratio")


def costs(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Where the time of a full-depth run goes at batch 1: backbone (with one head), the other exits, the selection."""
    for metric, share in cost_shares(f.clocked.seconds).items():
        yield row("costs", PABEE, metric, share, "fraction", timed=True, note="full depth, batch 1")
    shape, outputs = f.trial.shape, f.trial.outputs
    tokens = round(float(np.mean(f.trial.encoded.dev.lengths)))
    exits = (shape.layers - 1) * pooled_head_flops(shape, outputs)
    full = classifier_flops(shape, tokens, outputs) + exits
    yield row("costs", PABEE, "exits_flops_share", exits / full, "fraction", note=f"{tokens} tokens, the mean of dev")


def tolerance(f: Findings, row: Rows) -> Iterator[Measurement]:
    """For a regression: what the tolerance does to score and speed at the main patience."""
    if not f.trial.task.is_regression:
        return
    for point in map(f.tolerance_point, TOLERANCES):
        at = {"setting": point.setting, "at": point.at}
        yield row("tolerance", PABEE, "score", _score(f, f.predictions(point.rule)), "points", **at)
        yield row("tolerance", PABEE, "layer_speedup", _layer_speedup(f, point), "ratio", **at)


def difficulty(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Ours, where difficulty is known (builtin tasks): do harder examples stay longer, and where does score go?"""
    levels = np.array([e.difficulty if e.difficulty is not None else 0 for e in f.trial.task.dev])
    exits, right = f.outcome(f.main.rule).exit_layer.numpy(), f.predictions(f.main.rule) == f.labels
    for level in sorted(set(levels.tolist()) - {0}):
        chosen = levels == level
        at = {"at": level, "setting": f"level {level}", "n": int(chosen.sum())}
        yield row("difficulty", PABEE, "exit_layer", float(exits[chosen].mean()), "layers", **at)
        yield row("difficulty", PABEE, "score", 100 * float(right[chosen].mean()), "points", **at)
        full = 100 * float((f.full == f.labels)[chosen].mean())
        yield row("difficulty", "baseline", "score", full, "points", **at)


# -- Numbers with intervals over examples -----------------------------------------------------------------------------


def _score(f: Findings, predictions: np.ndarray) -> Interval:
    return score_interval(f.trial.task.metric, predictions, f.labels)


def _delta(f: Findings, predictions: np.ndarray) -> Interval:
    """Points gained over the plain classifier on the same examples (negative: lost)."""
    return delta_interval(f.trial.task.metric, predictions, f.full, f.labels)


def _layer_speedup(f: Findings, point: Point) -> Interval:
    return _speedup_of_exits(f.outcome(point.rule).exit_layer.numpy(), f.trial.num_layers)


def _speedup_of_exits(exit_layers: np.ndarray, num_layers: int) -> Interval:
    return bootstrap_statistic(lambda e, axis=-1: num_layers / e.mean(axis=axis), exit_layers, resamples=2000)


def _mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))
