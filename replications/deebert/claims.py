"""The statistics that decide DeeBERT's claims, each with a 95 % interval over seeds and examples.

A claim about "all tasks" or "the best task" is a minimum or maximum over tasks: its interval comes from doing the
whole calculation on every bootstrap replicate. Tasks are independent of each other; seeds of a task share examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from common.claims import Array, Decision, Replicated
from common.early_exit.clock import BASELINE
from common.early_exit.scoring import decide_on_learned, grouped_by_task, is_positive
from common.early_exit.scoring import gain as gain_of
from common.records.measurements import Measurement
from common.records.statistics import Interval, percentile_interval, spearman
from common.replication import Run
from replications.deebert.findings import ALLOWED_DROPS, EQUAL_SAVING, SWEEP, Findings, sweep_arm

Decider = Callable[[dict[str, "list[Findings]"]], "Decision | None"]

STATIC_COMPARISON = frozenset({"sst-2", "qqp", "qqp-sample", "sentiment", "paraphrase"})
"""Where the paper compares with DistilBERT: SST-2 and QQP, and their builtin counterparts."""


def claim_measurements(run: Run, findings: Sequence[Findings]) -> list[Measurement]:
    """One measurement for every claim that this run can decide.

    At the smoke scale nothing is learned that a verdict could rest on, and a layer is so small that the clock sees
    little else than overhead: what follows from the rule alone is decided there. At any scale a task that the
    baseline did not learn is left out of the claims that involve quality.
    """
    by_task = grouped_by_task(findings, lambda f: f.trial.task_name)
    deciders: list[tuple[str, str, Callable[[], Decision | None]]] = [
        ("deebert-monotone-threshold", "correlation", lambda: monotone_threshold(findings)),
    ]
    if run.scale.quality_verdicts:
        deciders += [
            ("deebert-expected-equals-measured", "fraction", lambda: expected_equals_measured(by_task)),
            ("deebert-saves-40", "fraction", lambda: without_unlearned(saves_40, by_task)),
            ("deebert-small-drop-saving", "fraction", lambda: without_unlearned(small_drop_saving, by_task)),
            ("deebert-beats-distilbert-quality", "points", lambda: without_unlearned(beats_static, by_task)),
            ("deebert-last-exit-unchanged", "points", lambda: last_exit_unchanged(findings)),
        ]
    decided = ((claim, unit, decide()) for claim, unit, decide in deciders)
    return [decision.measurement(claim, unit, run) for claim, unit, decision in decided if decision]


def without_unlearned(decide: Decider, by_task: dict[str, list[Findings]]) -> Decision | None:
    """Decide on the tasks that the baseline learned; the others are named in the note."""
    return decide_on_learned(decide, by_task, is_learned)


def is_learned(findings: Sequence[Findings], answers: Callable[[Findings], Array] = lambda f: f.full) -> bool:
    """Whether the baseline (or whoever gave `answers`) beats every constant answer (its 95 % interval does).

    Where it does not, leaving at layer 1 loses nothing, and a saving at no loss would mean nothing.
    """
    return is_positive(gain(findings, answers, lambda f: f.constant), len(findings[0].labels))


# -- Savings at little loss -------------------------------------------------------------------------------------------


def saves_40(by_task: dict[str, list[Findings]]) -> Decision:
    """Largest share of wall time saved, over tasks and Table 1's operating points, at a drop of at most 1 point."""
    rows = [(task, s, drop(fs, s), wall_saving(fs, s)) for task, fs in by_task.items() for s in ALLOWED_DROPS]
    value = max(best_within(d.value, s.value, 1.0) for _, _, d, s in rows)
    replicates = np.max([best_within(d.replicates, s.replicates, 1.0) for _, _, d, s in rows], axis=0)
    within = [(s.value, f"{task} at {name} (drop {d.value:.1f})") for task, name, d, s in rows if d.value <= 1.0 + 1e-9]
    where = max(within)[1] if within else "no operating point within 1 point"
    return Decision(percentile_interval(float(value), replicates, len(rows)), f"best: {where}", timed=True)


def small_drop_saving(by_task: dict[str, list[Findings]]) -> Decision:
    """Smallest share of wall time saved at threshold-1 over tasks; a task that loses over 0.6 points counts as 0."""
    rows = {task: (drop(fs, "threshold-1"), wall_saving(fs, "threshold-1")) for task, fs in by_task.items()}
    value = min(best_within(d.value, s.value, 0.6) for d, s in rows.values())
    replicates = np.min([best_within(d.replicates, s.replicates, 0.6) for d, s in rows.values()], axis=0)
    each = ", ".join(f"{task} {s.value:.0%} at {-d.value:+.1f}" for task, (d, s) in rows.items())
    return Decision(percentile_interval(float(value), replicates, len(rows)), f"threshold-1: {each}", timed=True)


def best_within(lost: Array | float, saved: Array | float, allowed: float) -> Array:
    """`saved` where at most `allowed` points are lost (to rounding), else 0."""
    return np.where(np.asarray(lost) <= allowed + 1e-9, saved, 0.0)


def drop(findings: Sequence[Findings], setting: str) -> Replicated:
    """Points lost against the baseline at an operating point."""
    return gain(findings, lambda f: f.full, lambda f: f.predictions(f.thresholds[setting]))


def gain(
    findings: Sequence[Findings], first: Callable[[Findings], Array], second: Callable[[Findings], Array]
) -> Replicated:
    """Points that predictions `first` score above `second` on the same examples."""
    return gain_of(findings[0].trial.task.metric, [(first(f), second(f), f.labels) for f in findings])


def wall_saving(findings: Sequence[Findings], setting: str) -> Replicated:
    """Share of the baseline's wall time saved at an operating point, on the timed samples."""
    return Replicated.of([(_seconds(f, setting), _seconds(f, BASELINE)) for f in findings], saved_share)


def saved_share(seconds: Array, baseline: Array, axis: int = -1) -> Array:
    """1 - T / T_baseline over a pass."""
    return np.asarray(1 - seconds.sum(axis=axis) / baseline.sum(axis=axis))


def _seconds(f: Findings, arm: str) -> Array:
    return f.clocked.seconds(arm)


def beats_static(by_task: dict[str, list[Findings]]) -> Decision | None:
    """Points that DeeBERT scores above the truncated encoder when it saves as many layers; minimum over the tasks.

    A task where no threshold saves about as much (all but the last exits answer a constant, say) is no comparison,
    nor is one that the truncated encoder did not learn.
    """
    rows = {
        task: gain(fs, lambda f: f.predictions(f.thresholds[EQUAL_SAVING]), lambda f: f.truncated)
        for task, fs in by_task.items()
        if task in STATIC_COMPARISON
        and all(map(saves_as_much_as_truncated, fs))
        and is_learned(fs, lambda f: f.truncated)
    }
    if not rows:
        return None
    value = min(r.value for r in rows.values())
    replicates = np.min([r.replicates for r in rows.values()], axis=0)
    each = ", ".join(f"{task} {r.value:+.1f}" for task, r in rows.items())
    note = f"against the fine-tuned first half of the layers, not DistilBERT: {each}"
    return Decision(percentile_interval(value, replicates, len(rows)), note, timed=False)


def saves_as_much_as_truncated(f: Findings) -> bool:
    """Whether the operating point `equal-saving` deserves its name, to 5 points of layers saved."""
    static = 1 - f.trial.truncated_layers / f.trial.num_layers
    return f.outcome(f.thresholds[EQUAL_SAVING]).layer_saving(f.trial.num_layers) >= static - 0.05


# -- What follows from the rule ---------------------------------------------------------------------------------------


def expected_equals_measured(by_task: dict[str, list[Findings]]) -> Decision:
    """Largest gap between layers saved and wall time saved, over the sweep and the tasks."""
    gaps = [_gap(fs, threshold) for fs in by_task.values() for threshold in SWEEP]
    value = max(abs(g.value) for g in gaps)
    replicates = np.max([np.abs(g.replicates) for g in gaps], axis=0)
    return Decision(percentile_interval(value, replicates, len(gaps)), "batch 1, over the threshold sweep", timed=True)


def _gap(findings: Sequence[Findings], threshold: float) -> Replicated:
    n = findings[0].trial.num_layers

    def gap(exits: Array, seconds: Array, baseline: Array, axis: int = -1) -> Array:
        return np.asarray(1 - exits.mean(axis=axis) / n - saved_share(seconds, baseline, axis=axis))

    def arrays(f: Findings) -> tuple[Array, Array, Array]:
        exits = f.outcome(threshold).exit_layer.numpy()[f.clocked.rows]
        return exits, _seconds(f, sweep_arm(threshold)), _seconds(f, BASELINE)

    return Replicated.of([arrays(f) for f in findings], gap)


def monotone_threshold(findings: Sequence[Findings]) -> Decision:
    """Smallest rank correlation of S and the layers saved, over tasks and seeds.

    Neighbouring thresholds between which no sample changes its exit save equally much; of such ties one is kept.
    """
    return Decision(
        Interval.exact(min(_rank_correlation(f) for f in findings), len(findings)),
        "layer saving, over the threshold sweep, on dev",
        timed=False,
    )


def _rank_correlation(f: Findings) -> float:
    saving = {f.outcome(s).layer_saving(f.trial.num_layers): s for s in reversed(SWEEP)}
    return spearman(list(saving.values()), list(saving)) if len(saving) > 1 else 1.0


def last_exit_unchanged(findings: Sequence[Findings]) -> Decision:
    """Largest change of the last exit's score by stage 2."""
    changes = [abs(f.points(f.full) - f.points(f.logits.stage1.argmax(-1).numpy())) for f in findings]
    return Decision(Interval.exact(max(changes), len(changes)), "dev, before and after stage 2", timed=False)
