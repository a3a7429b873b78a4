"""The statistics that decide Bort's claims, from what the runs kept.

Sizes are counted, speeds are of random weights at full size, and the search's errors of small counterparts of the
candidates. What rests on the paper's pre-trained weights or on test servers is not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from common.records.claims import (
    Array,
    Cell,
    Check,
    Decide,
    Decision,
    by_task,
    gain,
    learned_tasks,
    speedup,
    system,
)
from common.records.effects import Effect, effect_of
from common.records.predictions import Evidence, seconds_name
from common.records.runs import RunRecord
from replications.bort.exact import MAXIMUM_POINTS, ROBERTA, size_factor
from replications.bort.method import BORT, SPACE, closed_form, fptas, in_order, w_coefficient
from replications.bort.names import (
    AGORA,
    ARMS,
    AS_COUNTED,
    BERT_BASE,
    BERT_LARGE,
    BY_ROW,
    DISTILLED,
    ERRORS,
    MASKS,
    ONCE,
    PRETRAINING_EVIDENCE,
    RELEASED,
    ROBERTA_LARGE,
    SEARCH_EVIDENCE,
    SELF_SUPERVISED,
    STEPS,
    THETAS_OF_AGORA,
    TRIED,
    right_name,
    tried_name,
)
from replications.bort.names import BORT as BORT_NAME

ORDERED = in_order(SPACE.candidates)

# -- Size and speed ------------------------------------------------------------------------------------------------


def _counted(record: RunRecord, metric: str, reading: str) -> float | None:
    rows = [m for m in record.of("readme-architecture") if (m.metric, m.setting) == (metric, reading)]
    return rows[0].value if rows else None


def as_counted(record: RunRecord, *, metric: str, limit: float) -> Check | None:
    """A share of BERT-large's parameters for the sizes that the printed counts fit."""
    share = _counted(record, metric, AS_COUNTED)
    return None if share is None else Check(share <= limit, share, f"{BORT_NAME} {AS_COUNTED}")


def as_released(record: RunRecord, *, metric: str) -> Decision | None:
    """The same for the released weights."""
    share = _counted(record, metric, RELEASED)
    return None if share is None else Decision((Cell(RELEASED, Effect.exact(share)),))


def cpu_speed(record: RunRecord, *, rival: str) -> Decision | None:
    """Times as fast as a rival: a cell for each reading, length and batch that were timed."""
    cells = [
        Cell(f"{arm}, {name}", speedup(seeds, arm, baseline=rival))
        for name, seeds in by_task(record.evidence).items()
        for arm in ARMS.values()
        if all(seconds_name(arm) in e and seconds_name(rival) in e for e in seeds)
    ]
    note = "random weights; no batch or length of the paper's is known, so the best of those timed counts"
    return Decision(tuple(cells), note, timed=True) if cells else None


# -- The search ----------------------------------------------------------------------------------------------------


def _kept(record: RunRecord, name: str) -> Sequence[Evidence]:
    return by_task(record.evidence).get(name, ())


EPS = (*range(1, 11), 20, 50, 100, 200)
"""At which the algorithm is run again, where there are so many candidates."""


def fptas_bound(record: RunRecord) -> Check | None:
    """The largest share of the best W that the algorithm loses, over |1 - eps|; at eps = 1 nothing may be lost."""
    losses = [loss for e in _kept(record, SEARCH_EVIDENCE) for n in _steps_of(e) for loss in _lost_by_eps(e, n)]
    if not losses:
        return None
    most = max((lost / (eps - 1) for eps, lost in losses if eps > 1), default=0.0)
    exact = all(lost <= 0 for eps, lost in losses if eps == 1)
    note = f"{len(losses)} searches, {'nothing' if exact else 'something'} lost at eps = 1"
    return Check(exact and most <= 1, most, note)


def _steps_of(evidence: Evidence) -> list[int]:
    """Every n."""
    return [int(name.removesuffix(TRIED).removeprefix("n=")) for name in evidence.arrays if name.endswith(TRIED)]


def _lost_by_eps(evidence: Evidence, steps: int) -> Iterator[tuple[int, float]]:
    """For each maximum point and eps: which share of the largest W of all that were trained the winner lacks."""
    tried, by_theta = [ORDERED[place] for place in evidence[tried_name(steps)]], _named(evidence, steps, ERRORS)
    errors = {(xi, theta): float(e) for theta in by_theta for xi, e in zip(tried, evidence[theta], strict=True)}
    intervals = [eps for eps in EPS if eps <= len(tried)]
    for maximum in MAXIMUM_POINTS.values():
        top = closed_form(maximum)
        w = {one: w_coefficient(top, closed_form(one[0]), error) for one, error in errors.items()}
        for eps in intervals:
            found = fptas(tried, by_theta, lambda xi, theta: errors[xi, theta], eps=eps, maximum=maximum).winner
            yield eps, 1 - w[found.architecture, found.theta] / max(w.values())


def _named(evidence: Evidence, steps: int, ending: str) -> list[str]:
    """Arrays of one kind after n steps, one for each theta."""
    return [name for name in evidence.arrays if name.endswith(f", n={steps}{ending}")]


def search_winner(record: RunRecord) -> Decision | None:
    """W of 4-8-1024-768 over the largest W of any other candidate, after the paper's n steps.

    Each candidate has its best theta. Theta and rival are the best by the mean over seeds. The rival is therefore a
    little too good on the rows that chose it, which counts against the claim.
    """
    seeds = _kept(record, SEARCH_EVIDENCE)
    thetas = _named(seeds[0], STEPS, BY_ROW) if seeds else []
    if not thetas:
        return None
    tried = [ORDERED[place] for place in seeds[0][tried_name(STEPS)]]
    errors = np.mean([[e[theta].sum(axis=1) / e[MASKS].sum() for theta in thetas] for e in seeds], axis=0)
    factors = np.array([size_factor(xi, MAXIMUM_POINTS[ROBERTA]) for xi in tried])
    best, w, mine = errors.argmin(axis=0), factors / errors.min(axis=0), tried.index(BORT)
    rival = max((place for place in range(len(tried)) if place != mine), key=lambda place: float(w[place]))

    def ratio(own: Array, other: Array, axis: int = -1) -> Array:
        return np.asarray(factors[mine] / factors[rival] * other.sum(axis=axis) / own.sum(axis=axis))

    rows = [tuple(e[thetas[best[place]]][place] for place in (mine, rival)) for e in seeds]
    effect = effect_of(SEARCH_EVIDENCE, rows, ratio)
    return Decision((Cell(f"{BORT.name} over {tried[rival].name}", effect),), f"n = {STEPS}, {ROBERTA}")


# -- Pre-training and Agora ----------------------------------------------------------------------------------------


def distilled_pretraining(record: RunRecord) -> Decision | None:
    """Points of masked tokens right, distilled minus self-supervised, on the same masks of held-out text."""
    seeds = _kept(record, PRETRAINING_EVIDENCE) if record.quality_counts else ()
    if not seeds:
        return None

    def ahead(mine: Array, other: Array, masks: Array, axis: int = -1) -> Array:
        return np.asarray(100 * (mine.sum(axis=axis) - other.sum(axis=axis)) / masks.sum(axis=axis))

    arrays = [(e[right_name(DISTILLED)], e[right_name(SELF_SUPERVISED)], e[MASKS]) for e in seeds]
    effect = effect_of(PRETRAINING_EVIDENCE, arrays, ahead)
    return Decision((Cell("held-out text", effect),), "equal steps, held-out text")


def agora_bound(record: RunRecord) -> Decision | None:
    """Accuracy of Agora over that of training once and picking, divided by 2 (1 - 2^-|Theta|)."""
    tasks, left_out = learned_tasks(record, ONCE, "Bort trained once")
    cells = tuple(Cell(task, _over_bound(seeds), task) for task, seeds in tasks.items())
    return Decision(cells, "on dev", left_out=left_out) if cells else None


def _over_bound(seeds: Sequence[Evidence]) -> Effect:
    bound = 2 * (1 - 2.0 ** -float(seeds[0][THETAS_OF_AGORA][0]))

    def ratio(mine: Array, once: Array, labels: Array, axis: int = -1) -> Array:
        return np.asarray((mine == labels).mean(axis=axis) / (once == labels).mean(axis=axis) / bound)

    return effect_of(seeds[0].task, [(e.answers(AGORA), e.answers(ONCE), e.labels) for e in seeds], ratio)


def agora_not_below_once(record: RunRecord) -> Decision | None:
    """Points of Agora above training once with each theta and picking."""
    tasks, left_out = learned_tasks(record, ONCE, "Bort trained once")
    cells = tuple(Cell(task, gain(seeds, system(AGORA), system(ONCE)), task) for task, seeds in tasks.items())
    return Decision(cells, "both chosen on held-back examples", left_out=left_out) if cells else None


DECIDERS: Mapping[str, Decide] = {
    "bort-effective-5-5": partial(as_counted, metric="effective_size", limit=0.0555),
    "bort-effective-5-5-released": partial(as_released, metric="effective_size"),
    "bort-net-16": partial(as_counted, metric="net_size", limit=0.165),
    "bort-net-16-released": partial(as_released, metric="net_size"),
    "bort-cpu-7-9x": partial(cpu_speed, rival=BERT_LARGE),
    "bort-cpu-7-9x-bert-base": partial(cpu_speed, rival=BERT_BASE),
    "bort-cpu-20x": partial(cpu_speed, rival=BERT_LARGE),
    "bort-cpu-20x-roberta-large": partial(cpu_speed, rival=ROBERTA_LARGE),
    "fptas-bound": fptas_bound,
    "bort-fptas-winner": search_winner,
    "bort-distilled-pretraining": distilled_pretraining,
    "agora-bound": agora_bound,
    "agora-not-below-once": agora_not_below_once,
}
