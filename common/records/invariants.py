"""What must be true of any stored record, whatever came out: a violation is a defect, not a finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from common.records.measurements import Measurement
from common.records.predictions import LABELS, Array, Evidence, answers_name, at_layer
from common.records.runs import RunRecord
from common.records.tagging import labels_words, sentence_counts
from common.tasks.metrics import score

BASELINE, CONSTANT = "baseline", "constant answer"
ANSWERS, EXITS = "/answers", "/exits"
HELD_APART = "test/"
"""What is of another split than dev is named so."""

ON_TEST = "-test"
"""An experiment that reports another split than dev ends so."""


def violations(run: RunRecord) -> list[str]:
    """Of one record, a sentence each: sizes, exits within depth, answers of the exit taken, scores of the answers."""
    found = [f"{run.name}, {text}" for evidence in run.all_evidence for text in _of_evidence(evidence)]
    return found + [f"{run.name}, {text}" for text in _scores(run)]


def disagreements(runs: Sequence[tuple[str, RunRecord]]) -> list[str]:
    """Of several papers' records: one dev set a task, and one baseline where commit and device are the same.

    Args:
        runs: records with the paper's name.
    """
    found: list[str] = []
    for (paper, one), (other_paper, other) in combinations(runs, 2):
        if one.name != other.name:
            continue
        here = {(e.task, e.seed): e for e in one.all_evidence}
        for there in other.all_evidence:
            mine = here.get((there.task, there.seed))
            if mine is None or LABELS not in mine or LABELS not in there:
                continue
            place = f"{one.name}, {there.task} seed {there.seed}: {paper} and {other_paper}"
            if not np.array_equal(mine.labels, there.labels):
                found.append(f"{place} have different dev sets")
            elif _made_alike(one, other) and _differ(mine, there, answers_name(BASELINE)):
                found.append(f"{place} have different baselines")
    return found


def _made_alike(one: RunRecord, other: RunRecord) -> bool:
    return one.commit == other.commit and one.environment.get("devices") == other.environment.get("devices")


def _differ(one: Evidence, other: Evidence, name: str) -> bool:
    return name in one and name in other and not np.array_equal(one[name], other[name])


def _of_evidence(evidence: Evidence) -> Iterator[str]:
    place = f"{evidence.task} seed {evidence.seed}"
    if LABELS not in evidence:
        return
    rows = len(evidence.labels)
    for name, array in evidence.arrays.items():
        if name.startswith(HELD_APART) or not name.endswith((ANSWERS, EXITS)):
            continue
        if len(array) != rows:
            yield f"{place}: {name} has {len(array)} rows, dev has {rows}"
        elif name.endswith(EXITS):
            yield from (f"{place}: {text}" for text in _exits(evidence, name))
        elif evidence.classes and not np.isin(array, np.arange(evidence.classes)).all():
            yield f"{place}: {name} holds what is no class"


def _exits(evidence: Evidence, name: str) -> Iterator[str]:
    exits, system = evidence[name], name.removesuffix(EXITS)
    answers, method = f"{system}{ANSWERS}", system.split("@")[0]
    by_layer = [answers_name(method, at_layer(layer)) for layer in range(1, evidence.layers + 1)]
    known = all(layer in evidence for layer in by_layer)
    # A cascade executes another model's layers as well, at most as many as the backbone has.
    deepest = evidence.layers if known else 2 * evidence.layers
    if not known and not exits.any():
        return  # what executes no layer of the backbone: a bag of words, a student with layers of its own
    if exits.min() < 1 or exits.max() > deepest:
        yield f"{name} leaves outside layers 1 to {deepest}"
    elif known and answers in evidence:
        taken = np.stack([evidence[layer] for layer in by_layer])[exits - 1, np.arange(len(exits))]
        if not np.array_equal(taken, evidence[answers]):
            yield f"{answers} are not those of the layers at which {system} leaves"


def _scores(run: RunRecord) -> Iterator[str]:
    """A printed score that is not that of the stored answers; a constant that no constant answer reaches."""
    evidence = {(e.task, e.seed): e for e in run.all_evidence if LABELS in e and e.metric}
    for m in _headline(run.measurements):
        own = evidence.get((m.task, -1 if m.seed is None else m.seed))
        split = HELD_APART if m.experiment.endswith(ON_TEST) else ""
        if own is None or split + LABELS not in own:
            continue
        labels, answers = own[split + LABELS], own.arrays.get(split + answers_name(m.system, m.setting))
        if m.system == CONSTANT:
            possible = [_score(own, np.full(len(labels), label), labels) for label in range(own.classes)]
        elif answers is not None and len(answers) == len(labels):
            possible = [_score(own, answers, labels)]
        else:
            continue
        if possible and min(abs(100 * value - m.value) for value in possible) > 1e-3:
            yield f"{m.experiment}, {m.task} seed {m.seed}: {m.system} {m.setting} is printed as {m.value:.3f}"


def _score(evidence: Evidence, answers: Array, labels: Array) -> float:
    if labels_words(evidence):
        return sentence_counts(evidence, answers).points / 100
    return score(evidence.metric, answers, labels)


def _headline(measurements: Iterable[Measurement]) -> Iterator[Measurement]:
    return (m for m in measurements if m.metric == "score" and m.unit == "points")
