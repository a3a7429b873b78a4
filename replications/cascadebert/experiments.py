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
from numpy.typing import NDArray

from common.early_exit.cost_split import ASKED, EVERY_EXIT, nested_shares
from common.early_exit.standard import SPEEDUPS, OperatingTable, with_all_tasks
from common.early_exit.systems import System
from common.records.measurements import Measurement
from common.records.predictions import Array
from common.records.statistics import Interval, bootstrap_mean, bootstrap_statistic
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from replications.cascadebert.complete import check_plain_texts
from replications.cascadebert.contender import require_classes
from replications.cascadebert.difficulty import inversion_score, log_odds
from replications.cascadebert.findings import Findings
from replications.cascadebert.method import closed_form
from replications.cascadebert.names import BOTH, CASCADE, SHARES, SMALL, TARGETS, TRUNCATED, label, layers
from replications.cascadebert.shapes import shape_steps as shape_steps
from replications.cascadebert.small_models import SETTINGS, SmallModels, complete_encoders

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
    for contender in (findings.deebert, findings.pabee):
        yield from contender.training_steps()
        logits = partial(contender.exits, "dev")
        yield Step.making(f"{run.label}: the logits of {contender.name}'s exits", run.scored_seconds, logits)

    def measure() -> list[Measurement]:
        row = Rows(run.task_name, run.seed, run.backbone.backbone, len(findings.scored.labels))
        run.run.keep(findings.evidence())
        experiments = (main_table, thresholds, tradeoff, inversion, exited, regularisation, difficulty, costs)
        return [m for experiment in experiments for m in experiment(findings, row)]

    yield Step(f"{run.label}: timing, tables and figures", run.clock_seconds(14), measure)


def _seconds(findings: Findings, depth: int) -> float:
    return findings.task_run.training_seconds(findings.small.plan, depth)


# -- The main table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A row of the main table for one task run.

    Attributes:
        answers: (N,) on dev.
        layers, flops: speed-ups.
        arm: its name on the clock; none if it is not timed.
        at: the threshold or patience; none for a static model.
    """

    system: str
    setting: str
    answers: Array
    layers: float | Interval
    flops: float
    arm: str | None
    at: float | None = None
    note: str = ""


def lines(f: Findings) -> Iterator[Line]:
    """Every row below the baseline: static models and settings chosen on tune, then those chosen on dev."""
    n = f.num_layers
    for speedup in TARGETS:
        depth = f.layers_at(speedup)
        full, spent = (float(f.task_run.static_flops("dev", k).sum()) for k in (n, depth))
        answers, note = f.scored.static(depth), f"the first {depth} of {n} layers"
        yield Line(TRUNCATED, label(speedup), answers, n / depth, full / spent, f.truncated_arm(depth), note=note)
    for s in (*f.table, *f.dev_tuned):
        arm = s.arm if s in f.timed else None
        yield Line(s.name, s.setting, s.answers(), s.layer_speedup, s.flops_speedup, arm, s.at)


def _table(f: Findings) -> OperatingTable:
    return OperatingTable("table-main", SPEEDUPS, f.scored, f.clock, f.table)


def main_table(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and speed of the big model and, at about 2x, 3x and 4x, of everything that is faster."""
    table, name, clocked = _table(f), "table-main", f.clock.one_by_one
    yield from table.baseline_rows(row)
    yield row(name, "baseline", "layer_speedup", 1.0, "ratio", note="by definition")
    for line in lines(f):
        at = {"setting": line.setting, "at": line.at}
        yield from table.score_rows(row, line.system, line.answers, **at, note=line.note)
        yield row(name, line.system, "layer_speedup", line.layers, "ratio", **at)
        yield row(name, line.system, "flops_speedup", line.flops, "ratio", **at)
        if line.arm is not None:
            speedup = clocked.speedup(line.arm)
            yield row(name, line.system, "time_speedup", speedup, "ratio", **at, **clocked.timed(line.arm))
    yield from clocked.latency_rows(row, name, CASCADE, f.main.arm, setting=f.main.setting)
    batched = f.batched()
    yield from table.batch_rows(row, batched, [f.main])
    how = {"timed": True, "note": "batches of 32"}
    yield row(name, BOTH, "throughput_ratio", batched.speedup(BOTH), "ratio", **how)


def macro(findings: Sequence[Findings]) -> Iterator[Measurement]:
    """The table's last column: for each seed that did all tasks their plain mean, for rows that every task has."""
    by_table = {id(f.scored): f for f in findings}
    for row, tables in with_all_tasks(map(_table, findings)):
        fs = [by_table[id(table.scored)] for table in tables]
        full = _mean(f.scored.points(f.scored.baseline) for f in fs)
        yield row("table-main", "baseline", "score", full, "points")
        by_name = [{(line.system, line.setting): line for line in lines(f)} for f in fs]
        for key in by_name[0]:
            if all(key in known for known in by_name):
                yield from _macro_rows(row, fs, [known[key] for known in by_name], full)


def _macro_rows(row: Rows, fs: Sequence[Findings], rows: Sequence[Line], full: float) -> Iterator[Measurement]:
    name, system, at = "table-main", rows[0].system, {"setting": rows[0].setting}
    score = _mean(f.scored.points(line.answers) for f, line in zip(fs, rows, strict=True))
    yield row(name, system, "score", score, "points", **at)
    yield row(name, system, "score_delta", score - full, "points", **at)
    yield row(name, system, "layer_speedup", _mean(map(_layers, rows)), "ratio", **at)
    yield row(name, system, "flops_speedup", _mean(line.flops for line in rows), "ratio", **at)
    times = [f.clock.one_by_one.speedup(line.arm).value for f, line in zip(fs, rows, strict=True) if line.arm]
    if len(times) == len(rows):
        yield row(name, system, "time_speedup", _mean(times), "ratio", timed=True, **at)


def _layers(line: Line) -> float:
    return line.layers.value if isinstance(line.layers, Interval) else line.layers


def thresholds(f: Findings, row: Rows) -> Iterator[Measurement]:
    """The cascade at the thresholds of the authors' released run, and what the closed form says of it."""
    for system in f.thresholds:
        at, answers = {"setting": system.setting, "at": system.at}, system.answers()
        passed = passed_on(f, system).astype(float)
        yield row("thresholds", CASCADE, "score", f.scored.score(answers), "points", **at)
        accuracy = bootstrap_mean(100.0 * (answers == f.scored.labels))
        yield row("thresholds", CASCADE, "accuracy", accuracy, "points", **at)
        yield row("thresholds", CASCADE, "passed_on", bootstrap_mean(passed), "fraction", **at)
        yield row("thresholds", CASCADE, "layer_speedup", system.layer_speedup, "ratio", **at)
        form = closed_form(float(passed.mean()), f.small.first, f.num_layers)
        yield row("thresholds", CASCADE, "closed_form", form, "ratio", **at)


def passed_on(f: Findings, system: System) -> NDArray[np.bool_]:
    """(N,) whether the big model had to answer, for the paper's cascade."""
    return np.asarray(system.exit_layers() == f.cascade.prices[-1])


# -- Figures ----------------------------------------------------------------------------------------------------------


def tradeoff(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score against speed-up in layers: thresholds of the cascades and of DeeBERT, PABEE's patience, first layers."""
    for system in f.curve:
        at = {"setting": system.setting, "at": system.at}
        yield row("figure-tradeoff", system.name, "score", f.scored.points(system.answers()), "points", **at)
        yield row("figure-tradeoff", system.name, "layer_speedup", system.layer_speedup.value, "ratio", **at)
    for depth in f.truncations:
        at = {"setting": layers(depth), "at": float(depth)}
        yield row("figure-tradeoff", TRUNCATED, "score", f.scored.points(f.scored.static(depth)), "points", **at)
        yield row("figure-tradeoff", TRUNCATED, "layer_speedup", f.num_layers / depth, "ratio", **at)
    yield row("figure-tradeoff", "baseline", "score", f.scored.points(f.scored.baseline), "points")
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
        left = f.emitted.exit_layers() == depth
        if left.sum() < 2:
            continue
        at = {"setting": layers(depth), "at": f.twelfths(depth)}
        for family, logits in f.shallow(depth).items():
            right = (logits.argmax(-1).numpy() == f.scored.labels)[left]
            yield row("figure-exited", family, "accuracy", bootstrap_mean(right.astype(float)), "fraction", **at)


# -- Ours -------------------------------------------------------------------------------------------------------------


def regularisation(f: Findings, row: Rows) -> Iterator[Measurement]:
    """What difficulty-aware regularisation does to the small model alone."""
    hard = f.small.hard
    yield row("regularisation", "labels", "hard_share", float(hard.double().mean()), "fraction", n=len(hard))
    for system, logits in (("with DAR", f.calibrated), ("without DAR", f.without_dar.logits("dev")[:, 0])):
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
    passed = passed_on(f, f.main)
    small, odds = f.calibrated.argmax(-1).numpy(), log_odds(f.calibrated)
    answers = {CASCADE: f.main.answers(), "baseline": f.scored.baseline, "small model": small}
    for level in sorted(set(f.levels.tolist())):
        chosen = f.levels == level
        at = {"at": level, "setting": f"level {level}", "n": int(chosen.sum())}
        yield row("difficulty", CASCADE, "passed_on", float(passed[chosen].mean()), "fraction", **at)
        yield row("difficulty", "small model", "log_odds", float(np.median(odds[chosen])), "nats", **at)
        for system, predictions in answers.items():
            right = 100 * float((predictions == f.scored.labels)[chosen].mean())
            yield row("difficulty", system, "accuracy", right, "points", **at)


def costs(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Where the time goes when everyone is passed on, at batch 1; and what the cascade saves of running both."""
    clocked = f.clock.one_by_one
    for metric, share in nested_shares(clocked.seconds, (SMALL, EVERY_EXIT, ASKED), SHARES).items():
        yield row("costs", CASCADE, metric, share, "fraction", timed=True, note="everyone passed on, batch 1")
    for system, arm in ((SMALL, SMALL), (BOTH, EVERY_EXIT)):
        yield row("costs", system, "time_speedup", clocked.speedup(arm), "ratio", **clocked.timed(arm))
    both, mine = clocked.seconds(EVERY_EXIT), clocked.seconds(f.main.arm)
    over = bootstrap_statistic(lambda b, m, axis=-1: b.sum(axis=axis) / m.sum(axis=axis), both, mine)
    yield row("costs", CASCADE, "speedup_over_both", over, "ratio", timed=True, setting=f.main.setting)
    price = f.cascade.flops_by_model(round(float(np.mean(f.task_run.encoded.dev.lengths))))
    yield row("costs", CASCADE, "small_flops_share", float(price[0] / price[1]), "fraction")


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
