"""The search for one task's system: contenders cheapest first, each tried when it is made, then all on one clock.

Settings are chosen on `tune`, which no reported score touches. What is kept of the run, and what the choice is then
read from (`common.best.judgement`), are answers and times, example by example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from common.best.choice import Standing, is_dominated, loses_at_most
from common.best.floor import at_home, by_rungs, floor_answer, floor_name, seconds_to_make
from common.best.judgement import BATCHED, TUNE_LABELS, points_lost, tune_answers_name
from common.best.limits import Limits
from common.best.times import Times, timed, timed_rows
from common.compare.experiments import Entrants, Entry
from common.compare.names import BASELINE
from common.compare.rivals import Baseline
from common.early_exit.clock import BATCH_SIZE
from common.early_exit.systems import Array, Scored, answers_of
from common.errors import UserError
from common.methods import ONLY, Answer, Contender, Setting
from common.records.claims import SURE, constant_answer, gain, system
from common.records.measurements import Measurement
from common.records.predictions import LABELS, TIMED, Evidence, answers_name, exits_name, seconds_name
from common.rows import Rows
from common.run.progress import duration
from common.run.replication import Run, Step
from common.serve.home import find_home, package_of
from common.tagging_run import labels_words
from common.task_run import TaskRun
from common.timing.paired import CONTROL

SEED = 0
"""One model is taken home, so one of each method is trained."""

DEAR = 4.0
"""A method whose training costs more than so many baselines is asked by name alone."""

FEW = 5
"""A method with at most so many settings stands for choice with its two fastest that keep the score.

The second is there in case that dev contradicts the first; of a threshold the next setting would say nothing new.
"""


@dataclass(eq=False)
class Search:
    """What is tried on one task, within which limits.

    Attributes:
        task_run: the data, the backbone and the baseline.
        contenders: cheapest first; the baseline is not among them.
        not_asked: methods that are left out because they are dear, with their estimated seconds.
        limits: what the user allows.
    """

    task_run: TaskRun
    contenders: Sequence[Contender]
    not_asked: Mapping[str, float]
    limits: Limits
    _entries: dict[int, list[Entry]] = field(default_factory=dict)
    _verdicts: dict[int, str | None] = field(default_factory=dict)

    @staticmethod
    def of(run: Run, task: str, limits: Limits, names: Sequence[str] = ()) -> Search:
        """The contenders of these names; of no names all that are not dear.

        Raises:
            UserError: an unknown name, a task whose words are labelled, or too few texts for a choice.
        """
        if labels_words(run, task):
            raise UserError(
                f"{task} labels words, and a system is chosen for whole texts alone. Type make compare TASKS={task}"
            )
        task_run = TaskRun.of(run, task, SEED)
        limits.check_texts(task, len(task_run.task.tune), len(task_run.task.dev))
        limits.check_batch(task, len(task_run.task.dev))
        able = [one for one in Entrants.asked(names, run.say).on(task_run) if has_a_home(one, run.say)]
        offered = [rung for one in able for rung in by_rungs(one)]
        most = math.inf if names else DEAR * seconds_to_make(Baseline(task_run))
        return Search(task_run, *without_the_dear(offered, most), limits)

    # -- The steps ----------------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """The baseline; each contender, trained and tried unless it is dominated by then; the clock of all.

        What several contenders begin with (a rung in another engine, say) is a step of the first of them.
        """
        run = self.task_run
        known = Step.making(f"{run.label}: whether the baseline learned", 1.0, self._check_learned)
        own: dict[str, Step] = {}
        for index in range(len(self.contenders)):
            for step in self._steps_of(index):
                own.setdefault(step.name, step)
        arms = 2 * (1 + len(self.contenders))
        last = Step(f"{run.label}: the answers and the clock of all", run.clock_seconds(arms), self.measure)
        return [*Baseline(run).training_steps(), known, *own.values(), last]

    def _steps_of(self, index: int) -> Iterator[Step]:
        for step in self.contenders[index].training_steps():
            yield self._unless_dominated(index, step)
        if floors := self._floors(index):
            seconds = self.task_run.clock_seconds(2 + len(floors))
            tried = Step.making(f"{self._name(index)}: tried", seconds, lambda: self._try(index))
            yield self._unless_dominated(index, tried)

    def _name(self, index: int) -> str:
        contender = self.contenders[index]
        depth = f", {contender.settings[0].name}" if contender.name in self._several else ""
        return f"{self.task_run.label}: {contender.name}{depth}"

    @cached_property
    def _several(self) -> set[str]:
        names = [contender.name for contender in self.contenders]
        return {name for name in names if names.count(name) > 1}

    def _unless_dominated(self, index: int, step: Step) -> Step:
        """The step, which does nothing if by then its contender is dominated; the reason is said once."""

        def measure() -> Sequence[Measurement]:
            is_news = index not in self._verdicts
            why = self.why_dominated(index)
            if why is None:
                return step.measure()
            if is_news:
                self.task_run.run.say(f"{self._name(index)}: not trained: {why}")
            return []

        return Step(step.name, step.seconds, measure)

    def _check_learned(self) -> None:
        """Nothing can be lost where the baseline knows no more than the constant answer.

        Raises:
            UserError: it does not.
        """
        run, evidence = self.task_run, self._evidence_of([])
        if gain([evidence], system(BASELINE), constant_answer).p_above(0.0) > SURE:
            raise UserError(
                f"{run.task_name}: the baseline is not surely better than a constant answer, so there is nothing to "
                "lose and nothing to choose by. Give more rows, look at the labels, or take a larger SCALE"
            )

    # -- One contender ------------------------------------------------------------------------------------------------

    def entries(self, index: int) -> list[Entry]:
        """The settings of a contender that stand for choice; where none keeps the score on tune, the nearest."""
        if index not in self._entries:
            self._entries[index] = entries_of(self.contenders[index], self.limits.max_loss)
        return self._entries[index]

    def _floors(self, index: int) -> list[int]:
        """The floors, in layers, of those that come later."""
        return sorted({contender.least_layers for contender in self.contenders[index + 1 :]} - {0})

    def _try(self, index: int) -> None:
        """Time a contender's settings beside the baseline and the floors of those that come later."""
        run = self.task_run
        floors = {floor_name(layers): floor_answer(run, layers) for layers in self._floors(index)}
        timed(run, self._answers(self.entries(index)) | floors, self.limits.batch).save(self._trial(index))

    def _trial(self, index: int) -> Path:
        return self.task_run.run.scratch / f"trial-{index:03d}.npz"

    def _answers(self, entries: Sequence[Entry]) -> dict[str, Answer]:
        baseline = {BASELINE: Baseline(self.task_run).answer(ONLY)}
        return baseline | {entry.arm: entry.contender.answer(entry.setting) for entry in entries}

    def why_dominated(self, index: int) -> str | None:
        """The reason why a contender is not trained, once those before it were tried; None: it is."""
        if index not in self._verdicts:
            self._verdicts[index] = self._why_dominated(index, self.contenders[index].least_layers)
        return self._verdicts[index]

    def _why_dominated(self, index: int, layers: int) -> str | None:
        earlier = range(index) if layers else range(0)
        ahead = [standing for other in earlier for standing in self._below_the_floor(other, layers)]
        if not is_dominated(ahead, self.limits):
            return None
        names = " and ".join(dict.fromkeys(standing.name for standing in ahead if standing.keeps(self.limits)))
        computed = "one layer" if layers == 1 else f"{layers} layers"
        return f"to compute {computed} of the backbone, as it does for every text, takes longer than {names} in all"

    def _below_the_floor(self, index: int, layers: int) -> Iterator[Standing]:
        path = self._trial(index)
        if path.exists():
            times = Times.load(path, self.limits.batch)
            for entry in self.entries(index):
                if times.surely_below(entry.arm, floor_name(layers)):
                    yield self._standing(entry, times)

    def _standing(self, entry: Entry, times: Times) -> Standing:
        evidence, name, shown, arm = self._evidence_of([entry]), entry.contender.name, entry.shown, entry.arm
        lost = -gain([evidence], system(name, shown), system(BASELINE))
        refuted = lost.p_above(self.limits.max_loss) <= SURE
        faster = times.surely_faster(arm)
        tune_loss = points_lost(evidence, name, shown)
        return Standing(name, shown, tune_loss, refuted, faster, times.typical(arm), times.p50_ms(arm))

    # -- All of them --------------------------------------------------------------------------------------------------

    def tried(self) -> list[Entry]:
        """Every system that is not dominated."""
        indices = (index for index in range(len(self.contenders)) if self.why_dominated(index) is None)
        return [entry for index in indices for entry in self.entries(index)]

    def measure(self) -> list[Measurement]:
        """Rows of every system; the record's evidence is kept."""
        run, entries = self.task_run, [Entry(Baseline(self.task_run), ONLY, ""), *self.tried()]
        arms = self._answers(entries[1:])
        alone, together = timed(run, arms, 1), timed(run, arms, self.batched)
        run.run.keep(self._evidence_of(entries[1:], {"": alone, BATCHED: together}))
        scored = Scored(run)
        row = Rows(run.task_name, run.seed, run.backbone.backbone, len(scored.labels))
        rows = [measured for entry in entries for measured in self._rows(row, scored, entry, alone, together)]
        how = {"timed": True, "note": "the baseline against itself"}
        rows.append(row("best", CONTROL, "time_speedup", alone.speedup(CONTROL), "ratio", **how))
        return [*rows, row("best", CONTROL, "throughput_ratio", together.speedup(CONTROL), "ratio", **how)]

    @property
    def batched(self) -> int:
        """Texts in a batch where batches are timed: as many as the user asks for, else as everywhere."""
        texts = len(self.task_run.task.dev)
        return self.limits.batch if self.limits.batch > 1 else min(BATCH_SIZE, texts)

    def _rows(self, row: Rows, scored: Scored, entry: Entry, alone: Times, together: Times) -> Iterator[Measurement]:
        name, at, arm = entry.contender.name, {"setting": entry.shown, "at": entry.setting.at}, entry.arm
        yield row("best", name, "score", scored.score(entry.answers), "points", **at)
        yield row("best", name, "score_delta", scored.gain(entry.answers), "points", **at)
        flops = float(self.task_run.baseline_flops("dev").sum() / entry.flops.sum())
        yield row("best", name, "flops_speedup", flops, "ratio", **at)
        yield row("best", name, "time_speedup", alone.speedup(arm), "ratio", timed=True, **at)
        yield row("best", name, "throughput_ratio", together.speedup(arm), "ratio", timed=True, **at)
        texts = len(alone.seconds[arm])
        yield row("best", name, "latency_p50", alone.p50_ms(arm), "ms", n=texts, timed=True, **at)

    def _evidence_of(self, entries: Sequence[Entry], clocks: dict[str, Times] | None = None) -> Evidence:
        """What the baseline and these systems answer on tune and dev; with clocks, what they took.

        Clocks are by what is put after an array's name: nothing one by one, `BATCHED` in batches.
        """
        run, tune = self.task_run, Scored(self.task_run, "tune")
        arrays: dict[str, np.ndarray] = {LABELS: Scored(run).labels, TUNE_LABELS: tune.labels}
        for entry in (Entry(Baseline(run), ONLY, ""), *entries):
            name = (entry.contender.name, entry.shown)
            arrays[answers_name(*name)], arrays[exits_name(*name)] = entry.answers, entry.layers
            arrays[tune_answers_name(*name)] = tune_answers(entry)
            for suffix, times in (clocks or {}).items():
                arrays[seconds_name(*name) + suffix] = times.seconds[entry.arm]
        for suffix, times in (clocks or {}).items():
            arrays[seconds_name(CONTROL) + suffix] = times.seconds[CONTROL]
        if clocks:
            arrays[TIMED] = timed_rows(run, 1)
        return Evidence(run.task_name, run.seed, run.task.metric, len(run.task.labels), run.num_layers, arrays)

    def system(self, standing: Standing) -> tuple[Contender, Setting]:
        """The contender and the setting behind a standing, to be saved."""
        same = (index for index, contender in enumerate(self.contenders) if contender.name == standing.method)
        entries = (entry for index in same for entry in self.entries(index) if entry.shown == standing.setting)
        entry = next(entries)
        return at_home(entry.contender), entry.setting

    # -- In words -----------------------------------------------------------------------------------------------------

    def plan_lines(self, steps: Sequence[Step]) -> list[str]:
        """What is about to run and what it will cost."""
        names = ", ".join(dict.fromkeys(contender.name for contender in self.contenders))
        cost = duration(sum(step.seconds for step in steps))
        lines = [f"{self.task_run.label}: about {cost} on two CPU cores, cheapest first: {BASELINE}, {names}"]
        if self.not_asked:
            dear = ", ".join(f"{name} (about {duration(seconds)})" for name, seconds in self.not_asked.items())
            lines.append(f"  left out, training costs over {DEAR:g} baselines; METHODS= asks by name: {dear}")
        return lines


def without_the_dear(offered: Sequence[Contender], most: float) -> tuple[list[Contender], dict[str, float]]:
    """The contenders that take at most `most` seconds to make, cheapest first; of the others the names and seconds.

    What a cheaper one makes already (a rung that another engine runs, say) is not counted again.
    """
    asked: list[Contender] = []
    dear: dict[str, float] = {}
    made: set[str] = set()
    for contender in sorted(offered, key=seconds_to_make):
        new = {step.name: step.seconds for step in contender.training_steps() if step.name not in made}
        if sum(new.values()) > most:
            dear[contender.name] = sum(new.values())
        else:
            asked.append(contender)
            made |= new.keys()
    return asked, dear


def has_a_home(contender: Contender, say: Callable[[str], None]) -> bool:
    """Whether it can be taken home; of who cannot it is said that he is left out."""
    try:
        find_home(package_of(contender), contender.name)
    except UserError as error:
        say(f"{contender.name} is left out: {error}")
        return False
    return True


def tune_answers(entry: Entry) -> Array:
    """(N,) of a system on tune."""
    return answers_of(entry.contender.outcome("tune", entry.setting).logits, entry.contender.task_run)


def entries_of(contender: Contender, max_loss: float) -> list[Entry]:
    """The settings of a contender that stand for choice, by tune alone.

    Of those that lose at most `max_loss` points the one that spends the fewest FLOPs, and where the method has few
    settings the next. Where none loses so little, the one that loses least.
    """
    tune = Scored(contender.task_run, "tune")
    full = tune.points(tune.baseline)
    entries = [Entry(contender, setting, setting.name) for setting in contender.settings]
    lost = {entry: full - tune.points(tune_answers(entry)) for entry in entries}
    spent = {entry: float(contender.flops("tune", entry.setting).sum()) for entry in entries}
    within = [entry for entry in entries if loses_at_most(lost[entry], max_loss)]
    if not within:
        return [min(entries, key=lambda entry: (lost[entry], spent[entry]))]
    fastest = sorted(within, key=lambda entry: (spent[entry], lost[entry]))
    return fastest[: 2 if len(entries) <= FEW else 1]
