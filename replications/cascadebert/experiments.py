"""CascadeBERT's main table, difficulty map and bars at a run's scale, and what cascading costs.

Scores come from simulations on logits collected once; the clock runs the real cascade, the big model on what is passed
on alone. The paper's speed-up counts layers; it is given here in layers, FLOPs, wall clock at batch 1 and throughput in
batches. Sizes are in `shapes.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from common.early_exit.clock import BASELINE
from common.records.measurements import Measurement
from common.records.statistics import Interval, bootstrap_mean, bootstrap_statistic
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.timing.paired import CONTROL
from replications.cascadebert.complete import check_plain_texts
from replications.cascadebert.contender import SETTINGS, SmallModels, complete_encoders, require_classes
from replications.cascadebert.difficulty import inversion_score, log_odds
from replications.cascadebert.evidence import evidence_of
from replications.cascadebert.findings import PRINTED_THRESHOLDS, Array, Findings
from replications.cascadebert.method import closed_form
from replications.cascadebert.names import CASCADE, TARGETS, TRUNCATED, label, layers
from replications.cascadebert.shapes import shape_steps as shape_steps
from replications.cascadebert.timing import BOTH, SMALL, cost_shares

TASKS = {
    "builtin": ("sentiment", "entailment"),
    "files": ("sst-2", "mrpc", "rte", "cola", "qqp-sample"),
    "hub": ("mnli", "mrpc", "qnli", "qqp", "rte", "sst-2"),
}
"""The paper's tasks where they can be had; of the generated ones two, which is what ten minutes allow."""

FIRST_SEED_ALONE = frozenset({"mrpc", "rte", "cola"})
"""What takes long for its length or its epochs: one seed where the scale spares."""

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
            task_run = TaskRun.of(run, task, seed, SETTINGS[run.scale.name].baseline)
            require_classes(task_run)
            all_findings.append(Findings(task_run, SmallModels(task_run, complete)))
            steps.extend(_steps_of(all_findings[-1]))

    return [*steps, Step("averages", 4.0 * len(all_findings), lambda: list(macro(all_findings)))]


def _steps_of(findings: Findings) -> Iterator[Step]:
    run, small = findings.task_run, findings.small
    yield from run.static_steps(findings.truncations)
    for depth in small.depths:
        make = partial(small.plain_folder, depth)
        yield Step.making(f"{run.label}: a complete model of {layers(depth)}", _seconds(findings, depth), make)
    if run.seed == run.run.seeds[0]:
        ways = small.settings.labels
        seconds = ways.seeds * (ways.folds - 1) * _seconds(findings, small.first)
        yield Step.making(f"{run.label}: difficulty labels, for every seed", seconds, small.labels_folder)
    calibrated = _seconds(findings, small.first)
    yield Step.making(f"{run.label}: the small model, calibrated", calibrated, small.calibrated_folder)
    for name, contender in findings.exits.items():
        yield from contender.training_steps()
        logits = partial(contender.exits, "dev")
        yield Step.making(f"{run.label}: the logits of {name}'s exits", run.scored_seconds, logits)

    def measure() -> list[Measurement]:
        row = Rows(run.task_name, run.seed, run.backbone.backbone, len(findings.labels))
        run.run.keep(evidence_of(findings))
        experiments = (main_table, thresholds, tradeoff, inversion, exited, regularisation, difficulty, costs)
        return [m for experiment in experiments for m in experiment(findings, row)]

    yield Step(f"{run.label}: timing, tables and figures", run.clock_seconds(14), measure)


def _seconds(findings: Findings, depth: int) -> float:
    return findings.task_run.training_seconds(findings.small.plan, depth)


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
    depth, n = f.layers_at(speedup), f.num_layers
    full, spent = (f.task_run.static_flops("dev", k).sum() for k in (n, depth))
    arm, note = f.truncated_arm(depth), f"the first {depth} of {n} layers"
    return Line(TRUNCATED, label(speedup), f.scored.static(depth), n / depth, float(full / spent), arm, note=note)


def main_table(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and speed of the big model and, at about 2x, 3x and 4x, of everything that is faster."""
    table, n = "table-main", f.num_layers
    yield row(table, "constant answer", "score", f.scored.points(f.scored.constant), "points")
    yield row(table, "baseline", "score", f.scored.score(f.full), "points")
    yield row(table, "baseline", "layer_speedup", 1.0, "ratio", note="by definition")
    yield row(table, "baseline", "time_speedup", 1.0, "ratio", note="by definition")
    yield from f.clocked.latency_rows(row, table, "baseline", BASELINE)
    yield row(table, CONTROL, "time_speedup", f.clocked.speedup(CONTROL), "ratio", timed=True)
    executed = {(p.system.name, p.setting): p.executed for p in (*f.table_points, *f.dev_tuned)}
    for line in lines(f):
        at = {"setting": line.setting, "at": line.at}
        note = {"note": line.note}
        yield row(table, line.system, "score", f.scored.score(line.predictions), "points", **at, **note)
        yield row(table, line.system, "score_delta", f.scored.gain(line.predictions), "points", **at)
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
    for seed, fs in _with_all_tasks(findings).items():
        row = Rows("macro", seed, fs[0].task_run.backbone.backbone, len(fs))
        yield row("table-main", "baseline", "score", _mean(f.scored.points(f.full) for f in fs), "points")
        by_name = [{(line.system, line.setting): line for line in lines(f)} for f in fs]
        for system, setting in by_name[0]:
            if all((system, setting) in known for known in by_name):
                rows = [(f, known[system, setting]) for f, known in zip(fs, by_name, strict=True)]
                yield from _macro_rows(row, rows)


def _with_all_tasks(findings: Sequence[Findings]) -> dict[int, list[Findings]]:
    """By seed, those that did all tasks; none if there is one task."""
    by_seed: dict[int, list[Findings]] = defaultdict(list)
    for found in findings:
        by_seed[found.task_run.seed].append(found)
    most = max(map(len, by_seed.values()), default=0)
    return {seed: found for seed, found in by_seed.items() if len(found) == most >= 2}


def _macro_rows(row: Rows, rows: Sequence[tuple[Findings, Line]]) -> Iterator[Measurement]:
    system, at = rows[0][1].system, {"setting": rows[0][1].setting}
    score = _mean(f.scored.points(line.predictions) for f, line in rows)
    full = _mean(f.scored.points(f.full) for f, _ in rows)
    yield row("table-main", system, "score", score, "points", **at)
    yield row("table-main", system, "score_delta", score - full, "points", **at)
    yield row("table-main", system, "layer_speedup", _mean(line.layers for _, line in rows), "ratio", **at)
    yield row("table-main", system, "flops_speedup", _mean(line.flops for _, line in rows), "ratio", **at)
    if all(line.arm for _, line in rows):
        time = _mean(f.clocked.speedup(line.arm).value for f, line in rows)
        yield row("table-main", system, "time_speedup", time, "ratio", timed=True, **at)


def thresholds(f: Findings, row: Rows) -> Iterator[Measurement]:
    """The cascade at the thresholds of the authors' released run, and what the closed form says of it."""
    n, first = f.num_layers, f.small.first
    for point in map(f.threshold, PRINTED_THRESHOLDS):
        at = {"setting": point.setting, "at": point.at}
        passed = (point.outcome.exit_layer == 2).double().numpy()
        yield row("thresholds", CASCADE, "score", f.scored.score(point.predictions), "points", **at)
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
        yield row("figure-tradeoff", point.system.name, "score", f.scored.points(point.predictions), "points", **at)
        yield row("figure-tradeoff", point.system.name, "layer_speedup", f.layer_speedup(point), "ratio", **at)
    for depth in f.truncations:
        at = {"setting": layers(depth), "at": float(depth)}
        yield row("figure-tradeoff", TRUNCATED, "score", f.scored.points(f.scored.static(depth)), "points", **at)
        yield row("figure-tradeoff", TRUNCATED, "layer_speedup", f.num_layers / depth, "ratio", **at)
    yield row("figure-tradeoff", "baseline", "score", f.scored.points(f.full), "points")
    yield row("figure-tradeoff", "baseline", "layer_speedup", 1.0, "ratio", note="by definition")


def inversion(f: Findings, row: Rows) -> Iterator[Measurement]:
    """DIS by family and depth: hard is what this model gets wrong; and, where it is known, by true difficulty."""
    for depth in f.settings.shallow:
        at = {"setting": layers(depth), "at": f.twelfths(depth)}
        for family, logits in f.shallow(depth).items():
            confidences, hard = f.knows(logits)
            if hard.any() and not hard.all():
                yield row("figure-dis", family, "dis", inversion_score(confidences, hard), "percent", **at)
            if f.levels is not None:
                true = inversion_score(confidences, f.levels)
                yield row("figure-dis", family, "dis_true_difficulty", true, "percent", **at)


def exited(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Accuracy on the examples that DeeBERT itself let out at a layer: of its exit, and of models as shallow."""
    for depth in f.settings.shallow:
        left = (f.emitted.exit_layer == depth).numpy()
        if left.sum() < 2:
            continue
        at = {"setting": layers(depth), "at": f.twelfths(depth)}
        for family, logits in f.shallow(depth).items():
            right = (logits.argmax(-1).numpy() == f.labels)[left]
            yield row("figure-exited", family, "accuracy", bootstrap_mean(right.astype(float)), "fraction", **at)


# -- Ours -------------------------------------------------------------------------------------------------------------


def regularisation(f: Findings, row: Rows) -> Iterator[Measurement]:
    """What difficulty-aware regularisation does to the small model alone."""
    hard = f.small.hard
    yield row("regularisation", "labels", "hard_share", float(hard.double().mean()), "fraction", n=len(hard))
    for system, logits in (("with DAR", f.calibrated), ("without DAR", f.without_dar.dev[:, 0])):
        confidences, wrong = f.knows(logits)
        predictions = logits.argmax(-1).numpy()
        yield row("regularisation", system, "score", f.scored.score(predictions), "points")
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
    small, odds = f.calibrated.argmax(-1).numpy(), log_odds(f.calibrated)
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
    price = f.cascade.flops(round(float(np.mean(f.task_run.encoded.dev.lengths))))
    yield row("costs", CASCADE, "small_flops_share", float(price[0] / price[1]), "fraction")


# -- Numbers with intervals over examples -----------------------------------------------------------------------------


def _speedup_of(executed: Array, num_layers: int) -> Interval:
    return bootstrap_statistic(lambda e, axis=-1: num_layers / e.mean(axis=axis), executed, resamples=2000)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
