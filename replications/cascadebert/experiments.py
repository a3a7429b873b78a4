"""CascadeBERT's main table, difficulty map and bars at a run's scale, and what cascading costs.

Scores come from simulations on logits collected once; the clock runs the real cascade, the big model on what is passed
on alone. The paper's speed-up counts layers; it is given here in layers, FLOPs, wall clock at batch 1 and throughput in
batches. Sizes are in `shapes.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from common.early_exit.baselines import seeds_with_all_tasks
from common.early_exit.clock import BASELINE
from common.early_exit.scoring import delta_interval, score_interval
from common.records.measurements import Measurement
from common.records.statistics import Interval, bootstrap_mean, bootstrap_statistic
from common.replication import Run, Step
from common.rows import Rows
from common.timing.flops import classifier_flops
from common.timing.paired import CONTROL
from replications.cascadebert.complete import check_plain_texts
from replications.cascadebert.difficulty import inversion_score, log_odds
from replications.cascadebert.evidence import evidence_of
from replications.cascadebert.findings import PRINTED_THRESHOLDS, Array, Findings
from replications.cascadebert.method import closed_form
from replications.cascadebert.names import CASCADE, TARGETS, TRUNCATED, label, layers
from replications.cascadebert.settings import FIRST_SEED_ALONE, TASKS
from replications.cascadebert.shapes import shape_steps as shape_steps
from replications.cascadebert.timing import BOTH, SMALL, cost_shares
from replications.cascadebert.trial import Trial, complete_encoders

# -- The steps of a run -----------------------------------------------------------------------------------------------


def trained_steps(run: Run) -> list[Step]:
    """Make the small encoders, train and measure every task and seed, then average."""
    complete = complete_encoders(run)
    steps: list[Step] = []
    if not complete.published:
        check_plain_texts(run)
        steps.append(
            Step.making("complete small encoders, distilled on plain text", complete.estimate, complete.folder)
        )
    all_findings: list[Findings] = []
    for task in run.tasks_or(TASKS):
        for seed in run.seeds_of(task, FIRST_SEED_ALONE):
            trial = Trial(run, task, seed, complete)
            all_findings.append(Findings(trial))
            steps.extend(_steps_of(trial, all_findings[-1]))

    return [*steps, Step("averages", 4.0 * len(all_findings), lambda: list(macro(all_findings)))]


def _steps_of(trial: Trial, findings: Findings) -> Iterator[Step]:
    name, cost, n = f"{trial.task_name} seed {trial.seed}", trial.estimate, trial.num_layers
    yield Step.making(f"{name}: the big model", cost.big, lambda: trial.classifier_folder(n))
    for depth in trial.truncations:
        make = partial(trial.truncated_folder, depth)
        yield Step.making(f"{name}: the first {layers(depth)} of it", cost.truncated[depth], make)
    for depth in trial.small:
        make = partial(trial.complete_folder, depth)
        yield Step.making(f"{name}: a complete model of {layers(depth)}", cost.complete[depth], make)
    if trial.seed == trial.run.seeds[0]:
        yield Step.making(f"{name}: difficulty labels, for every seed", cost.labels, trial.labels_folder)
    yield Step.making(f"{name}: the small model, calibrated", cost.complete[trial.first], trial.calibrated_folder)
    yield Step.making(f"{name}: DeeBERT's off-ramps", cost.off_ramps, trial.off_ramps_folder)
    yield Step.making(f"{name}: PABEE, encoder and exits together", 1.05 * cost.big, trial.pabee_folder)
    yield Step.making(f"{name}: everyone's logits", cost.logits, trial.logits_folder)

    def measure() -> list[Measurement]:
        row = Rows(trial.task_name, trial.seed, trial.source.backbone, len(findings.labels))
        trial.run.keep(evidence_of(findings))
        experiments = (main_table, thresholds, tradeoff, inversion, exited, regularisation, difficulty, costs)
        return [m for experiment in experiments for m in experiment(findings, row)]

    yield Step(f"{name}: timing, tables and figures", cost.timing, measure)


# -- The main table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A row of the main table for one trial.

    Attributes:
        predictions: (N,) on dev.
        layers, flops: speed-ups.
        arm: its name on the clock; empty if it is not timed.
        at: the threshold or patience; None for a static model.
    """

    system: str
    setting: str
    predictions: Array
    layers: float
    flops: float
    arm: str = ""
    at: float | None = None
    note: str = ""


def lines(f: Findings) -> list[Line]:
    """Every row below the baseline: static models and points chosen on tune, then those chosen on dev."""
    timed = {p.arm for p in f.timed}
    found = [_static(f, speedup) for speedup in TARGETS]
    for p in (*f.table_points, *f.dev_tuned):
        arm = p.arm if p.arm in timed else ""
        found.append(Line(p.system.name, p.setting, p.predictions, f.layer_speedup(p), f.flops_speedup(p), arm, p.at))
    return found


def _static(f: Findings, speedup: float) -> Line:
    depth, n = f.trial.layers_at(speedup), f.trial.num_layers
    lengths, classes = f.trial.encoded.dev.lengths, len(f.trial.task.labels)
    full = sum(classifier_flops(f.trial.shape, tokens, classes) for tokens in lengths)
    spent = sum(classifier_flops(f.trial.shape, tokens, classes, layers=depth) for tokens in lengths)
    arm, note = f.truncated_arm(depth), f"the first {depth} of {n} layers"
    return Line(TRUNCATED, label(speedup), f.truncated(depth), n / depth, full / spent, arm, note=note)


def main_table(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and speed of the big model and, at about 2x, 3x and 4x, of everything that is faster."""
    table, n = "table-main", f.trial.num_layers
    yield row(table, "constant answer", "score", f.points(f.constant), "points")
    yield row(table, "baseline", "score", _score(f, f.full), "points")
    yield row(table, "baseline", "layer_speedup", 1.0, "ratio", note="by definition")
    yield row(table, "baseline", "time_speedup", 1.0, "ratio", note="by definition")
    yield from f.clocked.latency_rows(row, table, "baseline", BASELINE)
    yield row(table, CONTROL, "time_speedup", f.clocked.speedup(CONTROL), "ratio", timed=True)
    executed = {(p.system.name, p.setting): p.executed for p in (*f.table_points, *f.dev_tuned)}
    for line in lines(f):
        at = {"setting": line.setting, "at": line.at}
        note = {"note": line.note}
        yield row(table, line.system, "score", _score(f, line.predictions), "points", **at, **note)
        yield row(table, line.system, "score_delta", _delta(f, line.predictions), "points", **at)
        spent = executed.get((line.system, line.setting))
        counted = line.layers if spent is None else _speedup_of(spent, n)
        yield row(table, line.system, "layer_speedup", counted, "ratio", **at)
        yield row(table, line.system, "flops_speedup", line.flops, "ratio", **at)
        if line.arm:
            speedup = f.clocked.speedup(line.arm)
            yield row(table, line.system, "time_speedup", speedup, "ratio", **at, **f.clocked.timed(line.arm))
    yield from f.clocked.latency_rows(row, table, CASCADE, f.main.arm, setting=f.main.setting)
    batched = f.batched()
    for system, setting in ((CASCADE, f.main.setting), (BOTH, ""), (CONTROL, "")):
        how = {"setting": setting, "timed": True, "note": "batches of 32"}
        yield row(table, system, "throughput_ratio", batched.speedup(system), "ratio", **how)


def macro(findings: Sequence[Findings]) -> Iterator[Measurement]:
    """The table's last column: for each seed that did all tasks their plain mean, for rows that every task has."""
    for seed, fs in seeds_with_all_tasks(findings).items():
        row = Rows("macro", seed, fs[0].trial.source.backbone, len(fs))
        yield row("table-main", "baseline", "score", _mean(f.points(f.full) for f in fs), "points")
        by_name = [{(line.system, line.setting): line for line in lines(f)} for f in fs]
        for system, setting in by_name[0]:
            if all((system, setting) in known for known in by_name):
                rows = [(f, known[system, setting]) for f, known in zip(fs, by_name, strict=True)]
                yield from _macro_rows(row, rows)


def _macro_rows(row: Rows, rows: Sequence[tuple[Findings, Line]]) -> Iterator[Measurement]:
    system, at = rows[0][1].system, {"setting": rows[0][1].setting}
    score = _mean(f.points(line.predictions) for f, line in rows)
    full = _mean(f.points(f.full) for f, _ in rows)
    yield row("table-main", system, "score", score, "points", **at)
    yield row("table-main", system, "score_delta", score - full, "points", **at)
    yield row("table-main", system, "layer_speedup", _mean(line.layers for _, line in rows), "ratio", **at)
    yield row("table-main", system, "flops_speedup", _mean(line.flops for _, line in rows), "ratio", **at)
    if all(line.arm for _, line in rows):
        time = _mean(f.clocked.speedup(line.arm).value for f, line in rows)
        yield row("table-main", system, "time_speedup", time, "ratio", timed=True, **at)


def thresholds(f: Findings, row: Rows) -> Iterator[Measurement]:
    """The cascade at the thresholds of the authors' released run, and what the closed form says of it."""
    n, first = f.trial.num_layers, f.trial.first
    for point in map(f.threshold, PRINTED_THRESHOLDS):
        at = {"setting": point.setting, "at": point.at}
        passed = (point.outcome.exit_layer == 2).double().numpy()
        yield row("thresholds", CASCADE, "score", _score(f, point.predictions), "points", **at)
        accuracy = bootstrap_mean(100.0 * (point.predictions == f.labels))
        yield row("thresholds", CASCADE, "accuracy", accuracy, "points", **at)
        yield row("thresholds", CASCADE, "passed_on", bootstrap_mean(passed), "fraction", **at)
        yield row("thresholds", CASCADE, "layer_speedup", _speedup_of(point.executed, n), "ratio", **at)
        form = closed_form(float(passed.mean()), first, n)
        yield row("thresholds", CASCADE, "closed_form", form, "ratio", **at)


# -- Figures ----------------------------------------------------------------------------------------------------------


def tradeoff(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score against speed-up in layers: thresholds of the cascades and of DeeBERT, PABEE's patience, first layers."""
    for point in f.curve:
        at = {"setting": point.setting, "at": point.at}
        yield row("figure-tradeoff", point.system.name, "score", f.points(point.predictions), "points", **at)
        yield row("figure-tradeoff", point.system.name, "layer_speedup", f.layer_speedup(point), "ratio", **at)
    for depth in f.trial.truncations:
        at = {"setting": layers(depth), "at": float(depth)}
        yield row("figure-tradeoff", TRUNCATED, "score", f.points(f.truncated(depth)), "points", **at)
        yield row("figure-tradeoff", TRUNCATED, "layer_speedup", f.trial.num_layers / depth, "ratio", **at)
    yield row("figure-tradeoff", "baseline", "score", f.points(f.full), "points")
    yield row("figure-tradeoff", "baseline", "layer_speedup", 1.0, "ratio", note="by definition")


def inversion(f: Findings, row: Rows) -> Iterator[Measurement]:
    """DIS by family and depth: hard is what this model gets wrong; and, where it is known, by true difficulty."""
    for depth in f.trial.settings.shallow:
        at = {"setting": layers(depth), "at": f.trial.twelfths(depth)}
        for family, logits in f.shallow(depth).items():
            confidences, hard = f.knows(logits)
            if hard.any() and not hard.all():
                yield row("figure-dis", family, "dis", inversion_score(confidences, hard), "percent", **at)
            if f.levels is not None:
                true = inversion_score(confidences, f.levels)
                yield row("figure-dis", family, "dis_true_difficulty", true, "percent", **at)


def exited(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Accuracy on the examples that DeeBERT itself let out at a layer: of its exit, and of models as shallow."""
    for depth in f.trial.settings.shallow:
        left = (f.emitted.exit_layer == depth).numpy()
        if left.sum() < 2:
            continue
        at = {"setting": layers(depth), "at": f.trial.twelfths(depth)}
        for family, logits in f.shallow(depth).items():
            right = (logits.argmax(-1).numpy() == f.labels)[left]
            yield row("figure-exited", family, "accuracy", bootstrap_mean(right.astype(float)), "fraction", **at)


# -- Ours -------------------------------------------------------------------------------------------------------------


def regularisation(f: Findings, row: Rows) -> Iterator[Measurement]:
    """What difficulty-aware regularisation does to the small model alone."""
    hard = f.trial.hard
    yield row("regularisation", "labels", "hard_share", float(hard.double().mean()), "fraction", n=len(hard))
    depth = f.trial.first
    for system, logits in (("with DAR", f.dev.calibrated), ("without DAR", f.dev.complete[depth])):
        confidences, wrong = f.knows(logits)
        predictions = logits.argmax(-1).numpy()
        yield row("regularisation", system, "score", _score(f, predictions), "points")
        sure = torch.softmax(logits, -1).amax(-1).numpy()
        yield row("regularisation", system, "confidence", bootstrap_mean(sure), "fraction")
        yield row("regularisation", system, "overconfidence", bootstrap_mean(sure - ~wrong), "fraction")
        if wrong.any() and not wrong.all():
            yield row("regularisation", system, "dis", inversion_score(confidences, wrong), "percent")
        if f.levels is not None:
            true = inversion_score(confidences, f.levels)
            yield row("regularisation", system, "dis_true_difficulty", true, "percent")


def difficulty(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Where difficulty is known: are harder examples passed on, and where does score go?"""
    if f.levels is None:
        return
    passed = (f.main.outcome.exit_layer == 2).numpy()
    small, odds = f.dev.calibrated.argmax(-1).numpy(), log_odds(f.dev.calibrated)
    answers = {CASCADE: f.main.predictions, "baseline": f.full, "small model": small}
    for level in sorted(set(f.levels.tolist())):
        chosen = f.levels == level
        at = {"at": level, "setting": f"level {level}", "n": int(chosen.sum())}
        yield row("difficulty", CASCADE, "passed_on", float(passed[chosen].mean()), "fraction", **at)
        yield row("difficulty", "small model", "log_odds", float(np.median(odds[chosen])), "nats", **at)
        for system, predictions in answers.items():
            right = 100 * float((predictions == f.labels)[chosen].mean())
            yield row("difficulty", system, "accuracy", right, "points", **at)


def costs(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Where the time goes when everyone is passed on, at batch 1; and what the cascade saves of running both."""
    for metric, share in cost_shares(f.clocked.seconds).items():
        yield row("costs", CASCADE, metric, share, "fraction", timed=True, note="everyone passed on, batch 1")
    yield row("costs", SMALL, "time_speedup", f.clocked.speedup(SMALL), "ratio", **f.clocked.timed(SMALL))
    yield row("costs", BOTH, "time_speedup", f.clocked.speedup(BOTH), "ratio", **f.clocked.timed(BOTH))
    both, mine = f.clocked.seconds(BOTH), f.clocked.seconds(f.main.arm)
    over = bootstrap_statistic(lambda b, m, axis=-1: b.sum(axis=axis) / m.sum(axis=axis), both, mine)
    yield row("costs", CASCADE, "speedup_over_both", over, "ratio", timed=True, setting=f.main.setting)
    price = f.cascade.flops(round(float(np.mean(f.trial.encoded.dev.lengths))))
    yield row("costs", CASCADE, "small_flops_share", float(price[0] / price[1]), "fraction")


# -- Numbers with intervals over examples -----------------------------------------------------------------------------


def _score(f: Findings, predictions: Array) -> Interval:
    return score_interval(f.trial.task.metric, predictions, f.labels)


def _delta(f: Findings, predictions: Array) -> Interval:
    """Points gained over the big model on the same examples (negative: lost)."""
    return delta_interval(f.trial.task.metric, predictions, f.full, f.labels)


def _speedup_of(executed: Array, num_layers: int) -> Interval:
    return bootstrap_statistic(lambda e, axis=-1: num_layers / e.mean(axis=axis), executed, resamples=2000)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
