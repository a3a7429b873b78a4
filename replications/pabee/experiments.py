"""Table 1, the trade-off and patience figures, and the overthinking question of PABEE at a run's scale.

Scores and exit layers come from simulations on logits collected once; the clock runs the real model, one text at a
time as in the paper, interleaved with the baseline. The paper's speed-up is a ratio whose making is not stated: it is
given here in layers, FLOPs, wall clock at batch 1 and throughput in batches. Sizes are in `shapes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import numpy as np

from common.costs.flops import classifier_flops
from common.early_exit.cost import pooled_head_flops
from common.early_exit.standard import (
    SPEEDUPS,
    OperatingTable,
    average_rows,
    cost_rows,
    score_by_difficulty,
    score_by_exit,
    standard_evidence,
    with_all_tasks,
)
from common.early_exit.systems import OnTheClock, Scored, System
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Array, Evidence, answers_name
from common.records.statistics import bootstrap_mean, bootstrap_statistic
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.timing.paired import PairedThroughput
from replications.pabee.contender import SETTINGS, BranchyNet, OtherRule, PatientExits, ShallowDeep, Tolerant
from replications.pabee.names import (
    AT_EQUAL_SPEED,
    PABEE,
    PRINTED_SPEEDUPS,
    TEST,
    matched_setting,
    saving_of,
    speed_setting,
)
from replications.pabee.overthinking import Overthinking
from replications.pabee.shapes import shape_steps as shape_steps

TASKS = {
    "builtin": ("sentiment", "entailment", "paraphrase"),
    "files": ("sst-2", "mrpc", "rte", "cola", "sts-b", "qqp-sample"),
    "hub": ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst-2", "sts-b"),
}
"""The paper's eight tasks where they can be had; elsewhere what comes nearest."""

FIRST_SEED_ALONE = frozenset({"mrpc", "rte", "cola"})
"""What takes long for its length or its epochs: one seed where the scale spares."""

CURVE = (1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4)
"""Speed-ups in layers at which the confidence exits' curves are drawn: about those of the paper's figure."""


# -- The steps of a run -----------------------------------------------------------------------------------------------


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed, then average over tasks."""
    steps: list[Step] = []
    findings: list[Findings] = []
    for task in run.tasks_or(TASKS):
        for seed in run.seeds_of(task, FIRST_SEED_ALONE):
            findings.append(Findings(PatientExits(TaskRun.of(run, task, seed, SETTINGS[run.scale.name].baseline))))
            steps.extend(_steps_of(findings[-1]))
    return [*steps, Step("averages", 3.0 * len(findings), partial(averages, findings))]


def _steps_of(findings: Findings) -> Iterator[Step]:
    pabee, run = findings.pabee, findings.task_run
    yield from run.static_steps([run.half])
    yield from pabee.training_steps()
    yield Step.making(f"{run.label}: every exit's logits", 1.3 * run.scored_seconds, lambda: pabee.exits("dev"))
    yield Step(f"{run.label}: timing, tables and figures", run.clock_seconds(6 + run.num_layers), findings.measure)


def averages(findings: Sequence[Findings]) -> list[Measurement]:
    """Table 1's last column: the plain mean over tasks, for each seed that did and each system that does them all."""
    return [
        m
        for row, tables in with_all_tasks(f.table1 for f in findings)
        for m in average_rows("table1", tables, row, [tables[0].scored.task_run.half])
    ]


# -- One task run -----------------------------------------------------------------------------------------------------


class Findings:
    """What one task run says: operating points, then table by table."""

    def __init__(self, pabee: PatientExits) -> None:
        self.pabee, self.task_run = pabee, pabee.task_run
        self.scored = Scored(pabee.task_run)

    def measure(self) -> list[Measurement]:
        """Everything, the record's evidence kept."""
        run = self.task_run
        run.run.keep(self.evidence())
        row = Rows(run.task_name, run.seed, run.backbone.backbone, len(self.scored.labels))
        parts = (self.table1_rows, self.test_scores, self.tradeoff, self.patience_curve, self.overthinking)
        rows = [m for part in (*parts, self.costs, self.tolerance) for m in part(row)]
        return [*rows, *score_by_difficulty(row, self.scored, self.main)]

    # -- Operating points ---------------------------------------------------------------------------------------------

    @cached_property
    def patiences(self) -> list[System]:
        """PABEE at every patience 1..n-1."""
        return [System(self.pabee, s.name, s.at) for s in self.pabee.settings]

    @cached_property
    def main(self) -> System:
        """PABEE at half the depth, the paper's main patience."""
        return self.patiences[self.pabee.half - 1]

    def best_patience(self, split: str, setting: str) -> System:
        """PABEE at the patience that scores best on `split`; of equals the fastest."""
        best = max(self.pabee.swept(split), key=lambda point: (point.score, point.layer_saving))
        return System(self.pabee, setting, best.threshold)

    @cached_property
    def rivals(self) -> list[OtherRule]:
        """The confidence exits on PABEE's model; none for a regression, which they cannot do."""
        return [] if self.task_run.task.is_regression else [BranchyNet(self.pabee), ShallowDeep(self.pabee)]

    def rival_at(self, rival: OtherRule, speedup: float) -> System:
        """A confidence exit at the setting whose speed-up in layers on tune is nearest."""
        points = rival.swept("tune")
        at = min(points, key=lambda p: abs(p.layer_saving - saving_of(speedup))).threshold
        return System(rival, speed_setting(speedup), at)

    def matched(self, rival: OtherRule, system: System, setting: str) -> System:
        """A confidence exit that saves as many layers on tune as `system` does there."""
        saving = system.outcome("tune").layer_saving(self.task_run.num_layers)
        return System.at_saving(rival, setting, saving)

    @cached_property
    def at_printed_speeds(self) -> list[System]:
        """The confidence exits where Table 1 has them."""
        return [self.rival_at(rival, PRINTED_SPEEDUPS[rival.name]) for rival in self.rivals]

    @cached_property
    def chosen(self) -> list[System]:
        """Table 1's rows: PABEE; for classes also the confidence exits at their printed and at PABEE's speed.

        A tuned patience is one of the sweep's, and runs on the clock under that name. The official script prints every
        patience's dev score and leaves the choice to its user: `dev-tuned`.
        """
        equal = [self.matched(rival, self.main, AT_EQUAL_SPEED) for rival in self.rivals]
        tuned = [self.best_patience("tune", "tuned"), self.best_patience("dev", "tuned (dev-tuned)")]
        return [self.main, *tuned, *self.at_printed_speeds, *equal]

    @cached_property
    def curves(self) -> list[System]:
        """The confidence exits at the speeds of the figure, and as fast as each patience; on no clock."""
        drawn = [self.rival_at(rival, speed) for rival in self.rivals for speed in CURVE]
        return drawn + [self.matched(r, t, matched_setting(int(t.at))) for r in self.rivals for t in self.patiences]

    # -- The clock ----------------------------------------------------------------------------------------------------

    @cached_property
    def clock(self) -> OnTheClock:
        """Every patience and the confidence exits at their printed speeds; the rule asked in vain is the main one."""
        return OnTheClock(self.task_run, [*self.patiences, *self.at_printed_speeds], self.main)

    @cached_property
    def batched(self) -> PairedThroughput:
        """Whole passes at the main patience."""
        return self.clock.in_batches([self.main])

    @cached_property
    def table1(self) -> OperatingTable:
        """Score and speed of the baseline, half the static ladder, PABEE and the confidence exits."""
        return OperatingTable("table1", SPEEDUPS, self.scored, self.clock, self.chosen)

    # -- What is kept -------------------------------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        """The standard arrays, and of the test split labels and two systems' answers."""
        run = self.task_run
        systems = [*self.patiences, *self.chosen, *self.curves, *self.tolerances]
        exits = {PABEE: self.pabee.exits("dev")}
        kept = standard_evidence(self.scored, self.clock, [run.half], systems, exits, self.batched)
        more: dict[str, Array] = {}
        if "test" in run.splits:
            test = Scored(run, "test")
            more = {TEST + LABELS: test.labels, TEST + answers_name("baseline"): test.baseline}
            more[TEST + answers_name(PABEE, self.main.setting)] = self.main.answers("test")
        return Evidence(kept.task, kept.seed, kept.metric, kept.classes, kept.layers, {**kept.arrays, **more})

    # -- Tables and figures -------------------------------------------------------------------------------------------

    def table1_rows(self, row: Rows) -> Iterator[Measurement]:
        """Table 1."""
        yield from self.table1.rows(row, [self.task_run.half])
        main = self.main
        yield from self.clock.one_by_one.latency_rows(row, "table1", PABEE, main.arm, setting=main.setting)
        yield from self.table1.batch_rows(row, self.batched, [main])

    def test_scores(self, row: Rows) -> Iterator[Measurement]:
        """Table 1's lower half: baseline and PABEE on the test split, where it has labels."""
        if "test" not in self.task_run.splits:
            return
        test, at = Scored(self.task_run, "test"), {"setting": self.main.setting}
        early = self.main.answers("test")
        yield row("table1-test", "baseline", "score", test.score(test.baseline), "points")
        yield row("table1-test", PABEE, "score", test.score(early), "points", **at)
        yield row("table1-test", PABEE, "score_delta", test.gain(early), "points", **at)

    def tradeoff(self, row: Rows) -> Iterator[Measurement]:
        """Score against speed-up in layers: PABEE over patience, the confidence exits over thresholds."""
        drawn = [s for s in self.curves if s.mixture is None]
        for system in [*self.patiences, *drawn]:
            at = {"setting": system.setting, "at": system.at}
            score, layers = self.scored.points(system.answers()), system.layer_speedup.value
            yield row("figure-tradeoff", system.name, "score", score, "points", **at)
            yield row("figure-tradeoff", system.name, "layer_speedup", layers, "ratio", **at)
        yield row("figure-tradeoff", "baseline", "score", self.scored.points(self.scored.baseline), "points")
        yield row("figure-tradeoff", "baseline", "layer_speedup", 1.0, "ratio", note="by definition")

    def patience_curve(self, row: Rows) -> Iterator[Measurement]:
        """Score and speed at every patience, beside the baseline's score."""
        plain, clocked = self.scored.points(self.scored.baseline), self.clock.one_by_one
        for system in self.patiences:
            at = {"setting": system.setting, "at": system.at}
            yield row("figure-patience", PABEE, "score", self.scored.score(system.answers()), "points", **at)
            yield row("figure-patience", PABEE, "layer_speedup", system.layer_speedup, "ratio", **at)
            yield row("figure-patience", PABEE, "flops_speedup", system.flops_speedup, "ratio", **at)
            speedup, timed = clocked.speedup(system.arm), clocked.timed(system.arm)
            yield row("figure-patience", PABEE, "time_speedup", speedup, "ratio", **at, **timed)
            yield row("figure-patience", "baseline", "score", plain, "points", **at)

    def overthinking(self, row: Rows) -> Iterator[Measurement]:
        """How often an earlier exit is right where the last is wrong, and the bound of the earliest correct exit.

        A regression has no right and wrong; there each exit's score alone is given.
        """
        exits, name = self.pabee.exits("dev"), "overthinking"
        yield from score_by_exit(row, name, "exit", self.scored, exits)
        if self.task_run.task.is_regression:
            return
        seen, n = Overthinking.of(exits, self.scored.labels), self.task_run.num_layers
        last = seen.right[:, -1]
        for layer in range(1, n + 1):
            at, right = {"setting": f"layer {layer}", "at": layer}, seen.right[:, layer - 1]
            yield row(name, "exit", "error_rate", bootstrap_mean(~right), "fraction", **at)
            yield row(name, "exit", "right_where_last_wrong", float((right & ~last).mean()), "fraction", **at)
            yield row(name, "exit", "wrong_where_last_right", float((~right & last).mean()), "fraction", **at)
        patient = self.main.answers() == self.scored.labels
        shares = {
            ("last exit", "accuracy", ""): last,
            ("last exit", "earlier_right_last_wrong", ""): seen.earlier_right,
            ("last exit", "last_right_earlier_wrong", ""): seen.later_right,
            (PABEE, "accuracy", self.main.setting): patient,
            ("oracle", "accuracy", ""): seen.ever_right,
        }
        for (system, metric, setting), happens in shares.items():
            share = bootstrap_mean(happens.astype(float))
            yield row(name, system, metric, share, "fraction", setting=setting)
        yield row(name, PABEE, "layer_speedup", self.main.layer_speedup, "ratio", setting=self.main.setting)
        earliest = bootstrap_statistic(lambda e, axis=-1: n / e.mean(axis=axis), seen.earliest_right, resamples=2000)
        yield row(name, "oracle", "layer_speedup", earliest, "ratio")

    def costs(self, row: Rows) -> Iterator[Measurement]:
        """Where the time of a full-depth run goes, and the exits' share of its FLOPs."""
        yield from cost_rows(row, PABEE, self.clock)
        shape, outputs = self.task_run.shape, self.task_run.outputs
        tokens = round(float(np.mean(self.task_run.encoded.dev.lengths)))
        exits = (shape.layers - 1) * pooled_head_flops(shape, outputs)
        share = exits / (classifier_flops(shape, tokens, outputs) + exits)
        yield row("costs", PABEE, "exits_flops_share", share, "fraction", note=f"{tokens} tokens, the mean of dev")

    @cached_property
    def tolerances(self) -> list[System]:
        """PABEE on a regression at the main patience and other tolerances."""
        tolerant = Tolerant(self.pabee)
        return [System(tolerant, s.name, s.at) for s in tolerant.settings] if self.task_run.task.is_regression else []

    def tolerance(self, row: Rows) -> Iterator[Measurement]:
        """For a regression: what the tolerance does to score and speed at the main patience."""
        for system in self.tolerances:
            at = {"setting": system.setting, "at": system.at}
            yield row("tolerance", PABEE, "score", self.scored.score(system.answers()), "points", **at)
            yield row("tolerance", PABEE, "layer_speedup", system.layer_speedup, "ratio", **at)
