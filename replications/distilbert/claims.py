"""The statistics that decide DistilBERT's claims, from what the runs kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from common.records.claims import (
    SURE,
    Array,
    Cell,
    Check,
    Decide,
    Decision,
    by_task,
    gain,
    has_learned,
    learned_tasks,
    speedup,
    system,
)
from common.records.effects import Effect, effect_of, mean_effect
from common.records.predictions import Evidence
from common.records.runs import RunRecord
from common.tasks.metrics import AxisScore, points_along
from replications.distilbert.names import (
    ABLATIONS,
    BASELINE,
    CONSTANT,
    DISTILBERT,
    EXACT,
    F1,
    LOSSES,
    NO_CE,
    NO_COS,
    NO_MLM,
    RANDOM,
    REFERENCE,
    TWICE,
    marks_name,
)

SMALLER, TIMED_SETTING = 0.39, "bert-base, batch 1, 32 tokens"
"""Of `distilbert-40-smaller`; and what of the clock decides `distilbert-60-faster`: about STS-B's texts, one by one."""

Seeds = Sequence[Evidence]
AxisStatistic = Callable[..., Array]


# -- Quality ----------------------------------------------------------------------------------------------------------


def retains_97(record: RunRecord) -> Decision | None:
    """Mean score of the student over the tasks, over the baseline's."""
    tasks, left_out = _learned_texts(record)
    if not tasks:
        return None
    cell = Cell("macro", ratio_of_scores(tasks))
    each = ", ".join(f"{task} {ratio_of_scores({task: seeds}).value:.3f}" for task, seeds in tasks.items())
    return Decision((cell,), f"by task: {each}", left_out=left_out, averaged=tuple(tasks))


def ratio_of_scores(tasks: Mapping[str, Seeds]) -> Effect:
    """Mean over tasks of the student's score over the baseline's mean, by the delta method.

    The ratio r = A / B varies as (A - r B) / B does near its value, and A - r B is a mean of independent tasks.
    """
    means = [
        np.mean([np.mean([_points(e)(e.answers(name), e.labels) for e in seeds]) for seeds in tasks.values()])
        for name in (DISTILBERT, "baseline")
    ]
    ratio = float(means[0] / means[1])

    def residual(points: AxisScore) -> AxisStatistic:
        def statistic(student: Array, baseline: Array, labels: Array, axis: int = -1) -> Array:
            return np.asarray(points(student, labels, axis=axis) - ratio * points(baseline, labels, axis=axis))

        return statistic

    parts = []
    for task, seeds in tasks.items():
        arrays = [(e.answers(DISTILBERT), e.answers("baseline"), e.labels) for e in seeds]
        parts.append(effect_of(task, arrays, residual(_points(seeds[0]))))
    return mean_effect(parts).scaled(1 / float(means[1])).shifted(ratio)


def imdb_gap(record: RunRecord) -> Decision | None:
    """Points of the baseline above the student on IMDb."""
    known, left_out = _learned_texts(record)
    tasks = {task: seeds for task, seeds in known.items() if task == "imdb"}
    cells = [Cell(task, gain(seeds, system("baseline"), system(DISTILBERT)), task) for task, seeds in tasks.items()]
    return Decision(tuple(cells), "dev is IMDb's test split", left_out=left_out) if cells else None


def _learned_texts(record: RunRecord) -> tuple[dict[str, list[Evidence]], tuple[str, ...]]:
    """The tasks of whole texts that the baseline learned, and why the others decide nothing."""
    texts = [e.task for e in record.evidence if e.has_answers(BASELINE)]
    return learned_tasks(record, among=texts) if texts else ({}, ())


# -- Questions --------------------------------------------------------------------------------------------------------


def squad_gap(record: RunRecord) -> Decision | None:
    """Points of the baseline above the student, F1 and exact match."""
    return _questions(record, [(metric, BASELINE, DISTILBERT) for metric in (F1, EXACT)])


def squad_two_step(record: RunRecord) -> Decision | None:
    """Points of the baseline above the twice distilled student, F1 and exact match."""
    return _questions(record, [(metric, BASELINE, TWICE) for metric in (F1, EXACT)])


def two_step_helps(record: RunRecord) -> Decision | None:
    """Points of F1 of the twice distilled student above the once distilled."""
    return _questions(record, [(F1, TWICE, DISTILBERT)])


def _questions(record: RunRecord, pairs: Sequence[tuple[str, str, str]]) -> Decision | None:
    """The first systems' marks above the second's, on SQuAD where it was measured."""
    if not record.quality_counts:
        return None
    tasks = by_task([e for e in record.evidence if marks_name(TWICE, F1) in e])
    task = "squad" if "squad" in tasks else next(iter(tasks), "")
    if not task or above(tasks[task], F1, BASELINE, CONSTANT).p_above(0.0) > SURE:
        return None
    cells = [Cell(f"{task}, {m}", above(tasks[task], m, first, second), task) for m, first, second in pairs]
    return Decision(tuple(cells), "dev questions; the teacher of (D) is the baseline")


def above(seeds: Seeds, metric: str, first: str, second: str) -> Effect:
    """Points that one system's marks are above another's, on the same questions."""
    arrays = [(e[marks_name(first, metric)].astype(float) - e[marks_name(second, metric)],) for e in seeds]
    return effect_of(seeds[0].task, arrays, np.mean).scaled(100.0)


# -- Ablations --------------------------------------------------------------------------------------------------------


def init_matters(record: RunRecord) -> Decision | None:
    """Points, mean over tasks, that each student without one loss scores above the one drawn at random."""
    return _ordered(record, [(f"{name} above {RANDOM}", name, RANDOM) for name in LOSSES])


def mlm_little(record: RunRecord) -> Decision | None:
    """Points, mean over tasks, that the student without L_mlm scores above those without L_ce and without L_cos."""
    return _ordered(record, [(f"{NO_MLM} above {name}", NO_MLM, name) for name in (NO_CE, NO_COS)])


def _ordered(record: RunRecord, pairs: Sequence[tuple[str, str, str]]) -> Decision | None:
    known, left_out = _learned_texts(record)
    known = {task: seeds for task, seeds in known.items() if seeds[0].has_answers(REFERENCE)}
    tasks = {task: seeds for task, seeds in known.items() if has_learned(seeds, system(REFERENCE))}
    reasons = [*left_out, *(f"{task}: the student did not learn it" for task in known if task not in tasks)]
    if not tasks:
        return None
    cells = [
        Cell(name, mean_effect([gain(seeds, system(first), system(second)) for seeds in tasks.values()]))
        for name, first, second in pairs
    ]
    deltas = ", ".join(f"{name} {_mean_delta(tasks, name):.1f}" for name in ABLATIONS)
    note = f"against the triple loss on as much text, mean over tasks: {deltas}; one pre-training of each"
    return Decision(tuple(cells), note, left_out=tuple(reasons), averaged=tuple(tasks))


def _mean_delta(tasks: Mapping[str, Seeds], name: str) -> float:
    return mean_effect([gain(seeds, system(name), system(REFERENCE)) for seeds in tasks.values()]).value


# -- Size and time ----------------------------------------------------------------------------------------------------


def smaller_by_40(record: RunRecord) -> Check | None:
    """One minus the encoders' ratio of parameters."""
    found = {m.system: m.value for m in record.of("table3") if m.metric == "encoder_parameters"}
    if not {"baseline", DISTILBERT} <= set(found):
        return None
    saved = 1 - found[DISTILBERT] / found["baseline"]
    return Check(saved >= SMALLER, saved, f"{found[DISTILBERT]:,.0f} of {found['baseline']:,.0f}, heads left out")


def faster_by_60(record: RunRecord) -> Decision | None:
    """Times as fast as BERT-base on random texts of 32 tokens, one by one."""
    found = [e for e in record.evidence if e.task == TIMED_SETTING]
    if not found:
        return None
    others = [e for e in record.evidence if not e.metric and e.task != TIMED_SETTING]
    beside = ", ".join(f"{e.task.partition(', ')[2]} {speedup([e], DISTILBERT).value:.2f}" for e in others)
    effect = speedup(found, DISTILBERT)
    cell = Cell(TIMED_SETTING, Effect(effect.value, effect.components, effect.n, 0))
    return Decision((cell,), f"beside it: {beside}" if beside else "", timed=True)


def _points(e: Evidence) -> AxisScore:
    return points_along(e.metric)


DECIDERS: Mapping[str, Decide] = {
    "distilbert-retains-97": retains_97,
    "distilbert-40-smaller": smaller_by_40,
    "distilbert-60-faster": faster_by_60,
    "distilbert-imdb-gap": imdb_gap,
    "distilbert-squad-gap": squad_gap,
    "distilbert-squad-two-step": squad_two_step,
    "distilbert-two-step-helps": two_step_helps,
    "distilbert-init-matters": init_matters,
    "distilbert-mlm-little": mlm_little,
}
