"""The statistics that decide DeFormer's claims, from what the runs kept.

Reading tasks keep F1 of every question, so that a difference is one of means over the same questions; pair tasks keep
answers. FLOPs and memory are counted; what follows from the closed form is checked, what the paper measured otherwise
is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from common.records.claims import (
    Array,
    Cell,
    Check,
    Decide,
    Decision,
    by_task,
    constant_answer,
    learned_tasks,
    speedup,
    system,
)
from common.records.effects import Effect, effect_of
from common.records.predictions import Evidence
from common.records.runs import RunRecord
from common.tasks.metrics import points_along
from common.tasks.spans.scoring import ANSWER_F1
from replications.deformer.names import (
    BASELINE,
    CONSTANT,
    DEFORMER,
    F1,
    NO_LRS,
    PLAIN,
    TEACHER,
    at_k,
    depth_of,
    marks_name,
    timed_shape,
    variance_name,
)

SURE = 0.025

DUPLICATES = ("qqp", "qqp-sample", "paraphrase")
"""Tasks of QQP's kind."""

EARLY = 0.25
"""Layers 1 to 3 of 12, as a share of the depth."""

TAUGHT = 0.8
"""Of what the baseline scores above the constant answer, the share that the joint model in two segments has to keep.

Nothing is apart in it: it has the baseline's layers and reads the same words. What it lacks, training in this layout
did not bring. DeFormer, which learns in that layout and from it, would be judged by this, not by its separation.
"""

NOT_TAUGHT = "the joint model in two segments did not learn it"

ByTask = Mapping[str, Sequence[Evidence]]
Cells = Callable[[str, Sequence[Evidence]], Sequence[Cell]]


# -- Reading tasks ----------------------------------------------------------------------------------------------------


def reading(record: RunRecord) -> tuple[ByTask, tuple[str, ...]]:
    """The reading tasks that baseline and teacher learned, and why the others decide nothing."""
    if not record.quality_counts:
        return {}, ()
    tasks = by_task([e for e in record.evidence if e.metric == ANSWER_F1])
    reasons = {task: _not_learned(seeds) for task, seeds in tasks.items()}
    known = {task: seeds for task, seeds in tasks.items() if not reasons[task]}
    return known, tuple(f"{task}: {reason}" for task, reason in reasons.items() if reason)


def _not_learned(seeds: Sequence[Evidence]) -> str:
    """Why a reading task decides nothing; empty where it counts."""
    if _f1_gain(seeds, BASELINE, CONSTANT).p_above(0.0) > SURE:
        return "the baseline did not learn it"
    constant, baseline, teacher = (
        float(np.mean([_marks(e, name).mean() for e in seeds])) for name in (CONSTANT, BASELINE, TEACHER)
    )
    return "" if is_taught(constant, baseline, teacher) else NOT_TAUGHT


def is_taught(constant: float, baseline: float, teacher: float) -> bool:
    """Whether the joint model in two segments scores near enough to the baseline for what it teaches to count."""
    return teacher - constant >= TAUGHT * (baseline - constant)


def _marks(evidence: Evidence, name: str, setting: str = "") -> Array:
    return evidence[marks_name(name, setting, F1)]


def _having(seeds: Sequence[Evidence], *systems: tuple[str, str]) -> list[Evidence]:
    """The seeds that have all of these systems: costly ones may be left to the first."""
    return [e for e in seeds if all(marks_name(name, setting, F1) in e for name, setting in systems)]


def _f1_gain(seeds: Sequence[Evidence], first: str, second: str, at: str = "", beside: str = "") -> Effect:
    """Points of F1 that `first` at a setting is above `second`, on the same questions."""
    ahead = [(_marks(e, first, at) - _marks(e, second, beside),) for e in seeds]
    return effect_of(seeds[0].task, ahead, np.mean).scaled(100.0)


def _retained(seeds: Sequence[Evidence], name: str, at: str) -> Effect:
    def share(mine: Array, base: Array, axis: int = -1) -> Array:
        return np.asarray(mine.mean(axis=axis) / base.mean(axis=axis))

    return effect_of(seeds[0].task, [(_marks(e, name, at), _marks(e, BASELINE)) for e in seeds], share)


def _decided(record: RunRecord, cells: Cells, note: str) -> Decision | None:
    tasks, left_out = reading(record)
    found = tuple(cell for task, seeds in tasks.items() for cell in cells(task, seeds))
    return Decision(found, note, left_out=left_out) if found else None


def qa_drop(record: RunRecord) -> Decision | None:
    """F1 that DeFormer loses against the baseline on each reading task."""

    def cells(task: str, seeds: Sequence[Evidence]) -> list[Cell]:
        at = _main(seeds)
        return [Cell(task, -_f1_gain(seeds, DEFORMER, BASELINE, at), task)]

    return _decided(record, cells, "points of F1 lost, with auxiliary losses, against the plain fine-tuned model")


def retain_squad(record: RunRecord) -> Decision | None:
    """The share of the baseline's F1 that DeFormer keeps."""

    def cells(task: str, seeds: Sequence[Evidence]) -> list[Cell]:
        return [Cell(task, _retained(seeds, DEFORMER, _main(seeds)), task)]

    return _decided(record, cells, "F1 of DeFormer over the baseline's, same questions")


def aux_helps(record: RunRecord) -> Decision | None:
    """F1 with KD and LRS above F1 without both."""

    def cells(task: str, seeds: Sequence[Evidence]) -> list[Cell]:
        at = _main(seeds)
        return [Cell(task, _f1_gain(seeds, DEFORMER, PLAIN, at, at), task)]

    return _decided(record, cells, "the published loss weights")


def lrs_helps(record: RunRecord) -> Decision | None:
    """F1 with KD and LRS above F1 with KD alone."""

    def cells(task: str, seeds: Sequence[Evidence]) -> list[Cell]:
        at = _main(seeds)
        having = _having(seeds, (NO_LRS, at))
        return [Cell(task, _f1_gain(having, DEFORMER, NO_LRS, at, at), task)] if having else []

    return _decided(record, cells, "the published loss weights")


def early_split(record: RunRecord) -> Decision | None:
    """F1 that the plain DeFormer loses at each depth up to a quarter of the layers."""

    def cells(task: str, seeds: Sequence[Evidence]) -> list[Cell]:
        found = []
        for k in range(1, int(EARLY * seeds[0].layers) + 1):
            swept = _having(seeds, (PLAIN, at_k(k)))
            if swept:
                found.append(Cell(f"{task}, {at_k(k)}", -_f1_gain(swept, PLAIN, BASELINE, at_k(k)), task))
        return found

    return _decided(record, cells, "without auxiliary losses; the costly depths may have the first seed alone")


def last_cliff(record: RunRecord) -> Decision | None:
    """F1 lost when one layer stays joint, above that lost when three do; both without auxiliary losses."""

    def cells(task: str, seeds: Sequence[Evidence]) -> list[Cell]:
        last, before = at_k(seeds[0].layers - 1), at_k(seeds[0].layers - 3)
        swept = _having(seeds, (PLAIN, last), (PLAIN, before))
        return [Cell(task, _f1_gain(swept, PLAIN, PLAIN, before, last), task)] if swept else []

    return _decided(record, cells, "without auxiliary losses; the costly depths may have the first seed alone")


def lower_stable(record: RunRecord) -> Decision | None:
    """Question's share of a passage's variance in the upper half of the layers above that in the lower half."""

    def cells(task: str, seeds: Sequence[Evidence]) -> list[Cell]:
        half = seeds[0].layers // 2

        def rise(e: Evidence) -> Array:
            layers = [e[variance_name(i)] for i in range(1, e.layers + 1)]
            return np.asarray(np.mean(layers[half:], axis=0) - np.mean(layers[:half], axis=0))

        return [Cell(task, effect_of(task, [(rise(e),) for e in seeds], np.mean), task)]

    return _decided(record, cells, "the full model in DeFormer's layout; a passage under five questions")


def _main(seeds: Sequence[Evidence]) -> str:
    return at_k(depth_of(seeds[0].layers))


# -- Pair tasks -------------------------------------------------------------------------------------------------------


def retain_qqp(record: RunRecord) -> Decision | None:
    """The share of the baseline's score that DeFormer keeps on duplicate questions."""
    learned, left_out = learned_tasks(record, among=DUPLICATES)
    tasks = {task: seeds for task, seeds in learned.items() if _pair_is_taught(seeds)}
    left_out += tuple(f"{task}: {NOT_TAUGHT}" for task in learned if task not in tasks)
    cells = []
    for task, seeds in tasks.items():
        points, at = points_along(seeds[0].metric), at_k(depth_of(seeds[0].layers))
        mine, base = system(DEFORMER, at), system(BASELINE)

        def share(a: Array, b: Array, labels: Array, axis: int = -1, points: object = points) -> Array:
            scores = [points(answers, labels, axis=axis) for answers in (a, b)]  # type: ignore[operator]
            return np.asarray(scores[0] / scores[1])

        cells.append(Cell(task, effect_of(task, [(mine(e), base(e), e.labels) for e in seeds], share), task))
    return Decision(tuple(cells), "the task loss alone, as in table 2", left_out=left_out) if cells else None


def _pair_is_taught(seeds: Sequence[Evidence]) -> bool:
    points = points_along(seeds[0].metric)
    constant, baseline, teacher = (
        float(np.mean([points(answers(e), e.labels) for e in seeds]))
        for answers in (constant_answer, system(BASELINE), system(TEACHER))
    )
    return is_taught(constant, baseline, teacher)


# -- Counted and clocked at full size ---------------------------------------------------------------------------------


def _counted(record: RunRecord, table: str, metric: str, backbone: str = "bert-base") -> dict[str, float]:
    rows = [m for m in record.of(table) if m.metric == metric and m.system == DEFORMER and m.backbone == backbone]
    return {m.task: m.value for m in rows if m.seed is None}


def _table3(record: RunRecord, name: str, backbone: str) -> float | None:
    rows = [m for m in record.of("table3") if m.metric == "flops" and (m.system, m.backbone) == (name, backbone)]
    return rows[0].value if rows else None


def large_speedup(record: RunRecord) -> Check | None:
    """FLOPs of BERT-large over those of DeFormer on it."""
    full, cached = _table3(record, BASELINE, "bert-large"), _table3(record, DEFORMER, "bert-large")
    if full is None or cached is None:
        return None
    return Check(full / cached >= 4.2, full / cached, "SQuAD's lengths, k = 20, in closed form")


def base_speedup(record: RunRecord) -> Check | None:
    """FLOPs of BERT-base over those of DeFormer on it."""
    found = _counted(record, "table1", "flops_speedup")
    return Check(found["squad"] >= 3.1, found["squad"], "320 tokens, 27 live, k = 9") if "squad" in found else None


def qa_speedup(record: RunRecord) -> Check | None:
    """The least speed-up in FLOPs over BERT-base's three reading tasks."""
    found = _counted(record, "table1", "flops_speedup")
    least = min(found.values(), default=0.0)
    note = f"{', '.join(found)}; XLNet is outside of the closed form"
    return Check(least >= 2.7, least, note) if found else None


def large_cheaper(record: RunRecord) -> Check | None:
    """FLOPs of BERT-base over those of DeFormer on BERT-large."""
    base, large = _table3(record, BASELINE, "bert-base"), _table3(record, DEFORMER, "bert-large")
    if base is None or large is None:
        return None
    return Check(base / large > 1, base / large, "the text says 1.6, which is the ratio of memory; table 3 has 1.22")


def pair_speedup(record: RunRecord) -> Decision | None:
    """Speed-up in FLOPs on MNLI and QQP."""
    found = _counted(record, "table2", "flops_speedup")
    cells = tuple(Cell(task, Effect.exact(value)) for task, value in found.items())
    note = "QQP's printed 2.0 needs about 33 live tokens of 100, and its slot has 42"
    return Decision(cells, note) if cells else None


def memory_reduction(record: RunRecord) -> Decision | None:
    """Percent of the requested memory that is not asked for, on BERT-base's three reading tasks."""
    found = _counted(record, "table1", "memory_reduction")
    cells = tuple(Cell(task, Effect.exact(100 * value)) for task, value in found.items())
    return Decision(cells, "bytes of all intermediate results, counted operation by operation") if cells else None


def latency(record: RunRecord) -> Decision | None:
    """Times as fast as BERT-base on SQuAD's lengths, the cache read from disk."""
    names = {timed_shape("bert-base", "squad", count): count for count in (1, 8)}
    kept = {e.task: e for e in record.evidence if e.task in names}
    cells = tuple(Cell(name, speedup([e], DEFORMER, baseline=BASELINE)) for name, e in kept.items())
    return Decision(cells, "on this machine's CPU alone, random weights", timed=True) if cells else None


DECIDERS: Mapping[str, Decide] = {
    "deformer-speedup-4-3": large_speedup,
    "deformer-base-speedup-3-2": base_speedup,
    "deformer-qa-drop-1-8": qa_drop,
    "deformer-qa-speedup-min": qa_speedup,
    "deformer-memory-65": memory_reduction,
    "deformer-retain-squad-98-4": retain_squad,
    "deformer-retain-qqp-99-8": retain_qqp,
    "deformer-large-faster-than-base": large_cheaper,
    "deformer-latency-3x": latency,
    "deformer-aux-base": aux_helps,
    "deformer-lrs-helps": lrs_helps,
    "deformer-early-split-free": early_split,
    "deformer-last-layers-cliff": last_cliff,
    "deformer-lower-layers-stable": lower_stable,
    "deformer-pairs-2x": pair_speedup,
}
