"""SENTEE and TOKEE at a run's scale: operating points, curves, variants, exit layers. Full size is in `shapes.py`.

Thresholds are chosen on the data set's own development split, or on sentences held back from train; scores are on its
test split. SENTEE's answers follow from every layer's logits, collected once; TOKEE's do not, since halted words change
what is computed above, so it is run for every setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from common.early_exit.clock import BASELINE, TRUNCATED
from common.records.measurements import Measurement
from common.records.predictions import at_layer, static_name
from common.rows import Rows
from common.run.replication import Run, Step
from common.tagging_run import TaggingRun
from common.tasks.catalogue import SMOKE_TAGGING
from common.tasks.tag_metrics import SPAN_F1
from common.timing.paired import CONTROL, PairedThroughput
from replications.token_early_exit.contender import (
    SETTINGS,
    CopiedAfterNorm,
    ExitedSilent,
    Sentee,
    StageOneAlone,
    Tokee,
    TokenContender,
)
from replications.token_early_exit.names import FULL_DEPTH, SENTEE, SPEEDS, speed_name
from replications.token_early_exit.shapes import shape_steps as shape_steps
from replications.token_early_exit.systems import OnTheClock, Scored, System, depth_at, evidence_of, points_at_speeds

TASKS = {
    "builtin": ("entities",),
    "files": ("wnut-17", "ud-english-ewt"),
    "hub": ("wnut-17", "ud-english-ewt", "conll-2003"),
}
"""English sets that can be had: of the paper's ten CoNLL-2003 alone, at the Hub."""

CURVE_WINDOWS = (1, 5, 15)
CURVE_THRESHOLDS = (0.001, 0.01, 0.05, 0.1, 0.25)
SHOWN_SPEED = 3
"""At which exit layers are shown by kind of word."""

SENTENCE_THRESHOLDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)


def trained_steps(run: Run) -> list[Step]:
    """Train and measure every task and seed."""
    smoke = run.scale.name == "smoke" and run.data == "builtin"
    tasks = run.task_names or (SMOKE_TAGGING if smoke else TASKS[run.data])
    recipe = SETTINGS[run.scale.name].recipe
    runs = [TaggingRun.of(run, task, seed, recipe) for task in tasks for seed in run.seeds]
    return [step for tagging_run in runs for step in _steps_of(tagging_run)]


def _steps_of(run: TaggingRun) -> Iterator[Step]:
    findings = Findings(run)
    yield from run.static_steps(findings.depths)
    for contender in findings.contenders:
        yield from contender.training_steps()
    tuned, scored = run.pass_seconds("tune", run.num_layers / 2), run.pass_seconds("dev", run.num_layers / 2)
    for contender in findings.contenders:
        passes = 1.0 if isinstance(contender, Sentee) else 20 * tuned
        points = lambda contender=contender: points_at_speeds(contender)  # noqa: E731
        yield Step.making(f"{run.label}: {contender.name}, thresholds for each speed", passes, points)
    seconds = 10 + scored * (3 * len(findings.contenders) + len(CURVE_WINDOWS) * len(CURVE_THRESHOLDS))
    yield Step(f"{run.label}: timing, tables and figures", seconds, findings.measure)


class Findings:
    """What one tagging run says, table by table."""

    def __init__(self, run: TaggingRun) -> None:
        self.run, self.scored = run, Scored(run)
        same_speed = (depth_at(speed, run.num_layers) for speed in SPEEDS)
        self.depths = sorted({*run.recipe.depths(run.num_layers), *(depth for depth in same_speed if depth)})
        self.sentee, self.tokee = Sentee(run), Tokee(run)
        self.variants: list[Tokee] = [StageOneAlone(run), ExitedSilent(run)]
        first = run.seed == run.run.seeds[0] or not run.run.scale.spares
        if first and SETTINGS[run.run.scale.name].after_norm:
            self.variants.append(CopiedAfterNorm(run))

    @property
    def contenders(self) -> list[TokenContender]:
        """SENTEE, TOKEE and its variants."""
        return [self.sentee, self.tokee, *self.variants]

    def measure(self) -> list[Measurement]:
        """Everything, the record's evidence kept."""
        main = [*points_at_speeds(self.sentee), *points_at_speeds(self.tokee)]
        variants = [system for variant in self.variants for system in points_at_speeds(variant)]
        self.clock = OnTheClock(self.run, main)
        batched = self.clock.in_batches()
        self.run.run.keep(evidence_of(self.scored, self.clock, self.depths, [*main, *variants], batched))
        row = Rows(self.run.task_name, self.run.seed, self.run.backbone.backbone, len(self.run.task.dev))
        shown = [system for system in main if system.setting == speed_name(SHOWN_SPEED)]
        rows = [*self.main_results(row, main, batched), *self.stage_two(row, variants)]
        rows += [*self.curves(row), *self.by_layer(row), *self.by_kind(row, shown)]
        return [*rows, *self.by_difficulty(row, shown)]

    # -- The main table -----------------------------------------------------------------------------------------------

    def main_results(self, row: Rows, systems: Sequence[System], batched: PairedThroughput) -> Iterator[Measurement]:
        """Score and speed of the baseline, the static ladder, SENTEE and TOKEE."""
        name, scored, clocked = "main-results", self.scored, self.clock.one_by_one
        yield row(name, "constant answer", "score", scored.counts(scored.constant).points, "points")
        statics = {"baseline": (scored.baseline, 1.0)}
        statics |= {static_name(k): (scored.static(k), scored.static_speed(k)) for k in self.depths}
        for static, (answers, speed) in statics.items():
            yield from self._scores(row, name, static, answers)
            yield row(name, static, "flops_speedup", speed, "ratio")
        for system in systems:
            at = {"setting": system.setting, "at": system.rule.threshold}
            yield from self._scores(row, name, system.name, system.outcome().answers, **at)
            yield row(name, system.name, "flops_speedup", system.speed("dev"), "ratio", **at)
            yield row(
                name,
                system.name,
                "time_speedup",
                clocked.speedup(system.arm),
                "ratio",
                **at,
                **clocked.timed(system.arm),
            )
            how = {**at, "timed": True, "note": "batches of 32"}
            yield row(name, system.name, "throughput_ratio", batched.speedup(system.arm), "ratio", **how)
        for arm, static in ((TRUNCATED, static_name(self.run.half)), (CONTROL, CONTROL)):
            yield row(name, static, "time_speedup", clocked.speedup(arm), "ratio", timed=True)
        yield row(
            name, CONTROL, "throughput_ratio", batched.speedup(CONTROL), "ratio", timed=True, note="batches of 32"
        )
        yield from clocked.latency_rows(row, name, "baseline", BASELINE)

    def _scores(
        self, row: Rows, experiment: str, name: str, answers: np.ndarray, **at: object
    ) -> Iterator[Measurement]:
        """Score and what is gained over the baseline; of spans by the strict convention, too."""
        yield row(experiment, name, "score", self.scored.score(answers), "points", **at)
        yield row(experiment, name, "score_delta", self.scored.gain(answers), "points", **at)
        if self.run.task.metric == SPAN_F1:
            strict = self.run.counts("dev", answers, strict=True).points
            yield row(experiment, name, "score_strict", strict, "points", **at)

    # -- Variants, curves ---------------------------------------------------------------------------------------------

    def stage_two(self, row: Rows, variants: Sequence[System]) -> Iterator[Measurement]:
        """What self-sampling, the copy's place and the silence of exited words are worth, at like speeds."""
        for system in (*points_at_speeds(self.tokee), *variants):
            at = {"setting": system.setting, "at": system.rule.threshold}
            yield row("stage-two", system.name, "score", self.scored.score(system.outcome().answers), "points", **at)
            yield row(
                "stage-two", system.name, "score_delta", self.scored.gain(system.outcome().answers), "points", **at
            )
            yield row("stage-two", system.name, "flops_speedup", system.speed("dev"), "ratio", **at)
        final = {self.tokee.name: self.tokee, self.variants[0].name: self.variants[0]}
        for name, contender in final.items():
            answers, at = contender.full_depth(), {"setting": FULL_DEPTH, "at": 0.0}
            yield row("stage-two", name, "score", self.scored.score(answers), "points", **at)
            yield row("stage-two", name, "score_delta", self.scored.gain(answers), "points", **at)

    def curves(self, row: Rows) -> Iterator[Measurement]:
        """Score against speed over thresholds, for SENTEE and for TOKEE at each window; static models beside."""
        found = [System(self.sentee, "", self.sentee.rule(1, d)) for d in SENTENCE_THRESHOLDS]
        for window in CURVE_WINDOWS:
            found += [System(self.tokee, f"W={window}", self.tokee.rule(window, d)) for d in CURVE_THRESHOLDS]
        for system in found:
            contender, setting, rule = system.contender, system.setting, system.rule
            at = {"setting": setting, "at": rule.threshold}
            points = self.run.counts("dev", contender.outcome("dev", rule).answers).points
            yield row("curves", contender.name, "score", points, "points", **at)
            yield row("curves", contender.name, "flops_speedup", contender.speed("dev", rule), "ratio", **at)
        for depth in (*self.depths, self.run.num_layers):
            points, at = self.run.counts("dev", self.scored.static(depth)).points, {"at": float(depth)}
            yield row("curves", "static ladder", "score", points, "points", **at)
            yield row("curves", "static ladder", "flops_speedup", self.scored.static_speed(depth), "ratio", **at)

    def by_layer(self, row: Rows) -> Iterator[Measurement]:
        """Score of each layer's classifier after stage 1, when every word is made to leave there."""
        for layer, logits in enumerate(self.sentee.exits["dev"].unbind(1), 1):
            points = self.run.counts("dev", logits.argmax(-1).numpy()).points
            yield row("layers", SENTEE, "score", points, "points", setting=at_layer(layer), at=layer)

    # -- Who leaves when ----------------------------------------------------------------------------------------------

    def by_kind(self, row: Rows, systems: Sequence[System]) -> Iterator[Measurement]:
        """Mean exit layer of words by what they are: outside, or a span's type; a part of speech."""
        tags, labels = self.run.task.tags, self.run.labels("dev")
        kinds = np.array([tag.split("-", 1)[-1] if self.run.task.metric == SPAN_F1 else tag for tag in tags])[labels]
        yield from self._exits(row, "kinds", systems, {str(kind): kinds == kind for kind in sorted(set(kinds))})

    def by_difficulty(self, row: Rows, systems: Sequence[System]) -> Iterator[Measurement]:
        """The same by difficulty, where it is known."""
        levels = self.run.difficulty("dev")
        groups = {f"level {level}": levels == level for level in sorted(set(levels.tolist()) - {0})}
        yield from self._exits(row, "difficulty", systems, groups)

    def _exits(
        self, row: Rows, experiment: str, systems: Sequence[System], groups: Mapping[str, np.ndarray]
    ) -> Iterator[Measurement]:
        """Exit layer and accuracy of each group of words."""
        right = self.scored.baseline == self.run.labels("dev")
        for number, (group, chosen) in enumerate(groups.items(), 1):
            at = {"at": float(number), "n": int(chosen.sum())}
            yield row(experiment, "baseline", "accuracy", float(right[chosen].mean()), "fraction", setting=group, **at)
            for system in systems:
                name, outcome = system.name, system.outcome()
                correct = float((outcome.answers == self.run.labels("dev"))[chosen].mean())
                layer = float(outcome.exits[chosen].mean())
                yield row(experiment, name, "exit_layer", layer, "layers", setting=group, **at)
                yield row(experiment, name, "accuracy", correct, "fraction", setting=group, **at)
