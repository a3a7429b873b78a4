"""A stored run, a record or a user's own: what its files say about why a number may be off.

Everything is read from measurements, predictions and environment; nothing is trained or timed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.doctor.findings import Finding
from common.doctor.machine import Versions, same_version
from common.records.invariants import ANSWERS, BASELINE, EXITS, HELD_APART, ON_TEST, violations
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Array, Evidence, answers_name, exits_name
from common.records.runs import LOCAL, RunRecord
from common.timing.quiet import QUIET

DEV_TUNED = " (dev-tuned)"
"""Ends the name of a setting that was chosen on the reported examples, beside the one chosen on held-back ones."""

ENOUGH_CHOICES = 6
"""So many choices that all fall together with those on the reported examples are no accident."""

CERTAIN = 4.0
"""Standard errors by which permuted answers must beat the constant one, for an accident to be out of the question."""

AT_A_LAYER = ("layer ", "layers")
"""The name of a setting at which everyone is meant to leave at one layer begins or ends so."""


@dataclass(frozen=True)
class Stored:
    """A run of a paper, as it lies in `results/`."""

    paper: str
    run: RunRecord

    @property
    def of(self) -> str:
        """The run's name, whoever made it."""
        return self.run.name.removesuffix(LOCAL)

    @property
    def is_local(self) -> bool:
        """Whether it is a user's own."""
        return self.run.name.endswith(LOCAL)

    @property
    def place(self) -> str:
        """How it is called on the page."""
        return f"results/{self.paper}/{self.run.name}"


# -- Defects of the files ---------------------------------------------------------------------------------------------


def stored_answers(run: RunRecord) -> Iterator[Finding]:
    """What no record may hold whatever came out, e.g. a printed score that is not that of the stored answers."""
    for text in violations(run):
        yield Finding("broken", f"{text}.", "The files do not belong together: run the same command again")


def nothing_to_look_at(run: RunRecord) -> Iterator[Finding]:
    """A run whose scores stand without the answers behind them."""
    if not run.all_evidence and any(m.metric == "score" for m in run.measurements):
        yield Finding(
            "unknown",
            "it has scores and no predictions.npz: answers, exits and thresholds cannot be looked at.",
            "Run it again to have them",
        )


# -- Scores -----------------------------------------------------------------------------------------------------------


def baseline_beside(stored: Stored, records: Sequence[Stored]) -> Iterator[Finding]:
    """The baseline's own score against the recorded one of the same task and seed: its paper's, else another's.

    Different is what lies outside the 95 % interval over the examples of either: the same recipe on the same texts
    differs by less from machine to machine.
    """
    mine = _baselines(stored.run)
    known = _recorded_baselines(stored, records)
    if not mine:
        return
    beside = [key for key in mine if key in known]
    if not beside and stored.is_local:
        yield Finding("unknown", "no record holds this baseline on these tasks and seeds.", "Nothing to compare with")
    for key in beside:
        paper, recorded = known[key]
        if mine[key].n != recorded.n:
            yield Finding(
                "doubtful",
                f"{_place(key)}: {mine[key].n} examples are scored, and {recorded.n} in the record of {paper}.",
                "Another data set does not compare: look at DATA_DIR, SCALE and at_most in task.yaml",
            )
        elif not _agree(mine[key], recorded):
            yield Finding(
                "doubtful",
                f"{_place(key)}: the baseline scores {mine[key].value:.1f}, and {recorded.value:.1f} in the record of "
                f"{paper}.",
                "Everything is compared with it: look at versions, precision and data before believing a difference",
            )


Key = tuple[str, int | None, str]
"""Task, seed and backbone."""


def _baselines(run: RunRecord) -> dict[Key, Measurement]:
    return {
        (m.task, m.seed, m.backbone): m
        for m in run.measurements
        if m.system == BASELINE and m.metric == "score" and m.unit == "points" and m.task != "macro"
        if not m.experiment.endswith(ON_TEST) and m.ci_low is not None and not m.setting
    }


def _recorded_baselines(stored: Stored, records: Sequence[Stored]) -> dict[Key, tuple[str, Measurement]]:
    """Of the runs of the same name that are not this one; the paper's own counts first."""
    others = [r for r in records if r.of == stored.of and not r.is_local and r.place != stored.place]
    others.sort(key=lambda r: r.paper != stored.paper)
    known: dict[Key, tuple[str, Measurement]] = {}
    for other in others:
        for key, measurement in _baselines(other.run).items():
            known.setdefault(key, (other.paper, measurement))
    return known


def _agree(one: Measurement, other: Measurement) -> bool:
    def within(value: float, interval: Measurement) -> bool:
        low, high = interval.ci_low, interval.ci_high
        return low is not None and high is not None and low <= value <= high

    return within(one.value, other) or within(other.value, one)


def _place(key: Key) -> str:
    task, seed, _ = key
    return f"{task} seed {seed}" if seed is not None else task


def label_order(run: RunRecord) -> Iterator[Finding]:
    """Answers beneath the constant one that beat it once labels are permuted: trained and scored by other orders."""
    for evidence in run.all_evidence:
        if evidence.classes < 2 or LABELS not in evidence:
            continue
        for name, array in _of_dev(evidence, ANSWERS):
            alike = len(array) == len(evidence.labels)
            order = _better_order(array, evidence.labels, evidence.classes) if alike else None
            if order is not None:
                yield Finding(
                    "broken",
                    f"{evidence.task} seed {evidence.seed}: {name.removesuffix(ANSWERS)} answers worse than a constant "
                    f"and better with its labels read in the order {', '.join(map(str, order))}.",
                    "Labels are in another order in training than in scoring: look at `labels` in task.yaml",
                )


def _better_order(answers: Array, labels: Array, classes: int) -> list[int] | None:
    """For each answered class the one that it stands for, if that beats the constant answer for certain."""
    from scipy.optimize import linear_sum_assignment

    both = np.zeros((classes, classes))
    np.add.at(both, (answers.astype(int), labels.astype(int)), 1)
    count, constant = len(labels), both.sum(axis=0).max()
    if np.trace(both) >= constant:
        return None
    rows, order = linear_sum_assignment(both, maximize=True)
    share = both[rows, order].sum() / count
    error = np.sqrt(max(share * (1 - share), 1 / count) / count)
    return [int(label) for label in order] if share - constant / count > CERTAIN * error else None


# -- Exits and thresholds ---------------------------------------------------------------------------------------------


def one_exit(run: RunRecord, static: Collection[str] = ()) -> Iterator[Finding]:
    """Methods with exits at every setting of which all texts leave at one layer: the rule decides nothing.

    Args:
        run: a stored run.
        static: systems that are meant to stop everyone at one layer, e.g. a static ladder under a paper's own name.
    """
    stuck: dict[str, list[str]] = defaultdict(list)
    for evidence in run.all_evidence:
        settings: dict[str, list[Array]] = defaultdict(list)
        for name, layers in _of_dev(evidence, EXITS):
            method, setting = _setting_of(name)
            if method not in static and not _imposes_a_layer(setting):
                settings[method].append(layers)
        for method, exits in settings.items():
            # A single setting may be one at which nobody is meant to leave early.
            if len(exits) > 1 and all(np.ptp(layers) == 0 for layers in exits):
                depths = ", ".join(map(str, sorted({int(layers[0]) for layers in exits})))
                stuck[method].append(f"{evidence.task} seed {evidence.seed} (layer {depths})")
    for method, places in stuck.items():
        yield Finding(
            "doubtful",
            f"{method} lets all texts leave at one layer, whatever its setting, on {', '.join(places)}.",
            "The rule decides nothing: look at its direction, and whether the exits learned",
        )


def _imposes_a_layer(setting: str) -> bool:
    return setting.startswith(AT_A_LAYER[0]) or setting.endswith(AT_A_LAYER[1])


def tuned_on_reported(run: RunRecord, static: Collection[str] = ()) -> Iterator[Finding]:
    """Settings said to be chosen on held-back examples that are, each of them, those chosen on the reported ones.

    A record holds no answers on held-back examples. It can tell where a method also keeps what was chosen on dev.
    """
    chosen: dict[str, list[bool]] = defaultdict(list)
    for evidence in run.all_evidence:
        for name in evidence.arrays:
            method, setting = _setting_of(name)
            twin = exits_name(method, f"{setting}{DEV_TUNED}")
            if name.endswith(EXITS) and setting and twin in evidence:
                chosen[method].append(_same_choice(run, evidence, method, setting))
    for method, same in chosen.items():
        if len(same) >= ENOUGH_CHOICES and all(same):
            yield Finding(
                "doubtful",
                f"all {len(same)} settings of {method} that are said to be chosen on held-back examples are those "
                "chosen on the reported ones.",
                "Look at which split its thresholds are chosen on: `tune`, never `dev`",
            )
    kept = [_setting_of(name) for e in run.all_evidence for name, _ in _of_dev(e, EXITS)]
    methods = {method for method, setting in kept if method not in static and not _imposes_a_layer(setting)}
    silent = sorted(methods - chosen.keys())
    if silent and run.quality_counts:
        yield Finding(
            "unknown",
            f"on which examples the settings of {'; '.join(silent)} were chosen: no choice on dev is kept beside.",
            "The code says it: see operating points in its experiments.py",
        )


def _setting_of(name: str) -> tuple[str, str]:
    """Method and setting of an array of exits."""
    method, _, setting = name.removesuffix(EXITS).partition("@")
    return method, setting


def _same_choice(run: RunRecord, evidence: Evidence, method: str, setting: str) -> bool:
    """By the number that was chosen where the record has it, else by answers and exits."""
    numbers = [
        {m.at for m in run.measurements if (m.system, m.setting, m.task, m.seed) == (method, s, *_of(evidence))}
        for s in (setting, f"{setting}{DEV_TUNED}")
    ]
    if all(len(found - {None}) == 1 for found in numbers):
        return numbers[0] == numbers[1]
    names = [(kind(method, setting), kind(method, f"{setting}{DEV_TUNED}")) for kind in (answers_name, exits_name)]
    return all(one in evidence and np.array_equal(evidence[one], evidence[twin]) for one, twin in names)


def _of(evidence: Evidence) -> tuple[str, int]:
    return evidence.task, evidence.seed


def _of_dev(evidence: Evidence, ending: str) -> Iterator[tuple[str, Array]]:
    """Arrays of a kind over dev, with something in them, by name."""
    for name, array in sorted(evidence.arrays.items()):
        if name.endswith(ending) and not name.startswith(HELD_APART) and len(array):
            yield name, array


# -- How it was made --------------------------------------------------------------------------------------------------


def load_then(run: RunRecord) -> Iterator[Finding]:
    """How busy others kept the machine while something was timed; nobody believes the times of an untrained encoder."""
    if not run.quality_counts or not any(m.timed for m in run.measurements):
        return
    others = run.facts.others
    if others is None:
        yield Finding("unknown", "it does not say how busy others were while it timed.", "Times decide nothing")
    elif others > QUIET:
        yield Finding(
            "doubtful",
            f"others kept up to {others:.1f} cores busy while it timed: its times decide nothing.",
            "Run it again on a quiet machine; scores are not touched",
        )


def versions_then(run: RunRecord, tested: Versions) -> Iterator[Finding]:
    """Libraries that the run had in another version than the tested one."""
    had = run.environment.get("libraries")
    if not had:
        yield Finding("unknown", "it does not say which versions it was made with.")
        return
    off = [name for name, version in had.items() if name in tested and not same_version(version, tested[name])]
    if off:
        each = ", ".join(f"{name} {had[name]} (now tested: {tested[name]})" for name in off)
        yield Finding("doubtful", f"it was made with {each}.", "A difference to a new run may be the library's")


def precision_then(stored: Stored, records: Sequence[Stored]) -> Iterator[Finding]:
    """Whether a user's own run was trained as the record of the same name was, on a like device."""
    record = next((r for r in records if not r.is_local and (r.paper, r.of) == (stored.paper, stored.of)), None)
    mine, theirs = (_devices(s) for s in (stored, record))
    if not stored.is_local or not mine or not theirs:
        return
    for what in ("training", "precision", "timing"):
        if mine.get(what) != theirs.get(what):
            words = {"training": "trained on", "precision": "trained in", "timing": "timed on"}[what]
            yield Finding(
                "doubtful",
                f"it was {words} {mine.get(what)}, and the record {words} {theirs.get(what)}.",
                "Times do not compare" if what == "timing" else "Compare means over seeds: SEEDS=3",
            )


def _devices(stored: Stored | None) -> dict[str, str]:
    return dict(stored.run.environment.get("devices") or {}) if stored else {}
