"""Table 1 and Figures 2, 3, 4 and 6 of DeeBERT at a run's scale. Figure 5 and the sizes are in `shapes.py`.

Scores and exit layers come from simulations on logits collected once; the clock runs the real model, one sample at
a time as in the paper, interleaved with the baseline. Thresholds of Table 1 are chosen on a held-back part of
train; the paper chose them on the dev set, which is shown beside as `dev-tuned`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.scoring import delta_interval, score_interval
from common.records.measurements import Measurement
from common.records.statistics import Interval, bootstrap_statistic
from common.replication import Run, Step
from common.rows import Rows
from common.timing.paired import CONTROL
from replications.deebert.evidence import evidence_of
from replications.deebert.findings import Findings
from replications.deebert.names import SWEEP, sweep_arm
from replications.deebert.shapes import shape_steps as shape_steps
from replications.deebert.trial import Trial

TASKS = {
    "builtin": ("sentiment", "entailment", "paraphrase"),
    "files": ("sst-2", "mrpc", "rte", "qqp-sample"),
    "hub": ("sst-2", "mrpc", "qnli", "rte", "qqp", "mnli"),
}
"""The paper's six tasks where they can be had; elsewhere what comes nearest."""

FIGURE_6 = (0.01, 0.05, 0.4)
"""Thresholds of Figure 6 for BERT-base."""


# -- The steps of a run -----------------------------------------------------------------------------------------------


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed."""
    steps: list[Step] = []
    for task in run.tasks_or(TASKS):
        for seed in run.seeds:
            trial = Trial(run, task, seed)
            steps.extend(_steps_of(trial, Findings(trial)))
    return steps


def _steps_of(trial: Trial, findings: Findings) -> Iterator[Step]:
    label, cost = f"{trial.task_name} seed {trial.seed}", trial.estimate

    yield Step.making(
        f"{label}: stage 1, the classifier", cost.stage1, lambda: trial.classifier_folder(trial.num_layers)
    )
    yield Step.making(
        f"{label}: the truncated baseline", cost.truncated, lambda: trial.classifier_folder(trial.truncated_layers)
    )
    yield Step.making(f"{label}: stage 2, the off-ramps", cost.stage2, trial.off_ramps_folder)
    yield Step.making(f"{label}: every exit's logits", cost.logits, trial.logits)

    def measure() -> list[Measurement]:
        row = Rows(trial.task_name, trial.seed, trial.source.backbone, len(findings.labels))
        trial.run.keep(evidence_of(findings))
        experiments = (table1, figure2, figure3, figure4, figure6, difficulty)
        return [m for experiment in experiments for m in experiment(findings, row)]

    yield Step(f"{label}: timing, tables and figures", cost.timing, measure)


# -- One function per table or figure ---------------------------------------------------------------------------------


def table1(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score and time of the baseline, the truncated encoder, and DeeBERT at its operating points."""
    yield row("table1", "constant answer", "score", f.points(f.constant), "points")
    yield row("table1", "baseline", "score", _score(f, f.full), "points")
    yield from f.clocked.latency_rows(row, "table1", "baseline", BASELINE)
    yield row("table1", CONTROL, "time_saving", f.clocked.saving(CONTROL), "fraction", timed=True)
    truncated = f"truncated {f.trial.truncated_layers}L"
    yield row("table1", truncated, "score", _score(f, f.truncated), "points")
    yield row("table1", truncated, "score_delta", _delta(f, f.truncated), "points")
    yield row("table1", truncated, "time_saving", f.clocked.saving(TRUNCATED), "fraction", **f.clocked.timed(TRUNCATED))
    saved = 1 - f.trial.truncated_layers / f.trial.num_layers
    yield row("table1", truncated, "layer_saving", saved, "fraction")
    for setting, threshold in f.thresholds.items():
        predictions = f.predictions(threshold)
        at = {"setting": setting, "at": threshold}
        yield row("table1", "DeeBERT", "score", _score(f, predictions), "points", **at)
        yield row("table1", "DeeBERT", "score_delta", _delta(f, predictions), "points", **at)
        yield row("table1", "DeeBERT", "layer_saving", _layer_saving(f, threshold), "fraction", **at)
        yield row("table1", "DeeBERT", "flops_saving", f.flops_saving(threshold), "fraction", **at)
        if "dev-tuned" not in setting:
            saving = f.clocked.saving(setting)
            yield row("table1", "DeeBERT", "time_saving", saving, "fraction", **at, **f.clocked.timed(setting))
    yield from f.clocked.latency_rows(row, "table1", "DeeBERT", "threshold-2", setting="threshold-2")
    for system, setting in (("DeeBERT", "threshold-2"), (CONTROL, "")):
        how = {"setting": setting, "timed": True, "note": "batches of 32"}
        yield row("table1", system, "throughput_ratio", f.batched.speedup(system), "ratio", **how)


def figure2(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score against wall time saved, over thresholds; the static models as single points."""
    for threshold in SWEEP:
        at = {"setting": sweep_arm(threshold), "at": threshold}
        yield row("figure2", "DeeBERT", "score", f.points(f.predictions(threshold)), "points", **at)
        yield row("figure2", "DeeBERT", "layer_saving", _layer_saving(f, threshold), "fraction", **at)
        saving = f.clocked.saving(sweep_arm(threshold))
        yield row("figure2", "DeeBERT", "time_saving", saving, "fraction", timed=True, **at)
    yield row("figure2", "baseline", "score", f.points(f.full), "points")
    yield row("figure2", "baseline", "time_saving", 0.0, "fraction", note="by definition")
    truncated = f"truncated {f.trial.truncated_layers}L"
    yield row("figure2", truncated, "score", f.points(f.truncated), "points")
    yield row("figure2", truncated, "time_saving", f.clocked.saving(TRUNCATED), "fraction", timed=True)


def figure3(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Layers saved against wall time saved, on the same samples (the timed ones)."""
    for threshold in SWEEP:
        at = {"setting": sweep_arm(threshold), "at": threshold, "n": len(f.clocked.rows)}
        yield row("figure3", "DeeBERT", "expected_saving", expected_on_timed(f, threshold), "fraction", **at)
        saving = f.clocked.saving(sweep_arm(threshold))
        yield row("figure3", "DeeBERT", "measured_saving", saving, "fraction", timed=True, **at)


def figure4(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Score of each exit when every sample is made to leave there."""
    for layer in range(1, f.trial.num_layers + 1):
        predictions = f.logits.dev[:, layer - 1].argmax(-1).numpy()
        yield row("figure4", "DeeBERT", "score", _score(f, predictions), "points", setting=f"layer {layer}", at=layer)


def figure6(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Share of samples that leave at each layer, at the paper's three thresholds, with saving and drop."""
    for threshold in FIGURE_6:
        setting = sweep_arm(threshold)
        shares = f.outcome(threshold).histogram(f.trial.num_layers).tolist()
        for layer, share in enumerate(shares, 1):
            yield row("figure6", "DeeBERT", "exit_share", share, "fraction", setting=setting, at=layer)
        yield row("figure6", "DeeBERT", "layer_saving", _layer_saving(f, threshold), "fraction", setting=setting)
        delta = _delta(f, f.predictions(threshold))
        yield row("figure6", "DeeBERT", "score_delta", delta, "points", setting=setting)


def difficulty(f: Findings, row: Rows) -> Iterator[Measurement]:
    """Ours, where difficulty is known (builtin tasks): do harder examples stay longer, and where does score go?"""
    levels = np.array([e.difficulty if e.difficulty is not None else 0 for e in f.trial.task.dev])
    threshold = f.thresholds["threshold-2"]
    exits, right = f.outcome(threshold).exit_layer.numpy(), f.predictions(threshold) == f.labels
    for level in sorted(set(levels.tolist()) - {0}):
        chosen = levels == level
        at = {"at": level, "setting": f"level {level}", "n": int(chosen.sum())}
        yield row("difficulty", "DeeBERT", "exit_layer", float(exits[chosen].mean()), "layers", **at)
        yield row("difficulty", "DeeBERT", "score", 100 * float(right[chosen].mean()), "points", **at)
        full = 100 * float((f.full == f.labels)[chosen].mean())
        yield row("difficulty", "baseline", "score", full, "points", **at)


# -- Numbers with intervals over examples -----------------------------------------------------------------------------


def _score(f: Findings, predictions: np.ndarray) -> Interval:
    return score_interval(f.trial.task.metric, predictions, f.labels)


def _delta(f: Findings, predictions: np.ndarray) -> Interval:
    """Points gained over the baseline on the same examples (negative: lost)."""
    return delta_interval(f.trial.task.metric, predictions, f.full, f.labels)


def _layer_saving(f: Findings, threshold: float) -> Interval:
    exits = f.outcome(threshold).exit_layer.numpy()
    return bootstrap_statistic(lambda e, axis=-1: 1 - e.mean(axis=axis) / f.trial.num_layers, exits, resamples=2000)


def expected_on_timed(f: Findings, threshold: float) -> float:
    """Layers saved on the samples that were timed."""
    exits = f.outcome(threshold).exit_layer.numpy()[f.clocked.rows]
    return 1 - float(exits.mean()) / f.trial.num_layers
