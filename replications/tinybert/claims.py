"""The statistics that decide TinyBERT's claims, from what the runs kept.

An average over tasks is a plain mean of each task's own metric, as in the paper. A task that the teacher did not learn
decides nothing, nor does a rival that did not learn it: an ablation that fails to learn is what its table is about, and
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from common.records.claims import (
    Answers,
    Array,
    Cell,
    Check,
    Decide,
    Decision,
    Limit,
    Undecided,
    gain,
    learned,
    learned_tasks,
    system,
)
from common.records.effects import Effect, effect_of, mean_effect
from common.records.predictions import Evidence
from common.records.runs import RunRecord
from common.tasks.metrics import points_along
from replications.tinybert.names import (
    BERT_BASE,
    BERT_TINY,
    BERT_TINY_TD,
    BOTTOM,
    FOUR_LAYERS,
    NARROW,
    REFERENCE,
    TABLE_3,
    TEACHER,
    TINYBERT,
    TINYBERT_4,
    TOP,
    WIDE,
    WITHOUT_ATTN,
    WITHOUT_DA,
    WITHOUT_GD,
    WITHOUT_HIDN,
    WITHOUT_TD,
    WITHOUT_TRM,
)

SMALLER, SHARE_OF_FOUR = 7.4, 0.285
"""What the two claims on parameters are checked against; as in paper.yaml."""

Tasks = Mapping[str, Sequence[Evidence]]

# -- Sizes ------------------------------------------------------------------------------------------------------------


def smaller(record: RunRecord) -> Check | None:
    """Parameters of BERT-base over those of TinyBERT4."""
    return _sizes(record, BERT_BASE, TINYBERT_4, lambda ratio: ratio >= SMALLER)


def share_of_four_layers(record: RunRecord) -> Check | None:
    """Parameters of TinyBERT4 over those of BERT-base with four layers."""
    return _sizes(record, TINYBERT_4, FOUR_LAYERS, lambda ratio: ratio <= SHARE_OF_FOUR)


def _sizes(record: RunRecord, first: str, second: str, holds: Callable[[float], bool]) -> Check | None:
    counts = {m.backbone: m.value for m in record.of("sizes") if m.metric == "encoder_parameters"}
    if not counts:
        return None
    ratio = counts[first] / counts[second]
    return Check(holds(ratio), ratio, f"{counts[first]:,.0f} / {counts[second]:,.0f}, encoders with their poolers")


# -- The clock --------------------------------------------------------------------------------------------------------


def faster(record: RunRecord) -> Decision | None:
    """Time of BERT-base over that of TinyBERT4."""
    return _times(record, BERT_BASE, TINYBERT_4)


def time_of_four_layers(record: RunRecord) -> Decision | None:
    """Time of TinyBERT4 over that of BERT-base with four layers."""
    return _times(record, TINYBERT_4, FOUR_LAYERS)


def _times(record: RunRecord, first: str, second: str) -> Decision | None:
    kept = [e for e in record.evidence if not e.metric]
    if not kept:
        return None

    def ratio(a: Array, b: Array, axis: int = -1) -> Array:
        return np.asarray(a.sum(axis=axis) / b.sum(axis=axis))

    effect = effect_of(kept[0].task, [(e.seconds(first), e.seconds(second)) for e in kept], ratio)
    untrained = replace(effect, seeds=0)
    return Decision((Cell("128 tokens, one by one", untrained),), "random weights", timed=True)


# -- Against the teacher and the same architecture (Table 1) -----------------------------------------------------------


def retained(record: RunRecord) -> Decision | None:
    """The narrow student's mean score over the teacher's, by the delta method: each task has its own metric."""
    tasks, left_out = _taught(record, (TINYBERT, NARROW))
    if not tasks:
        return None
    mean = {
        name: float(np.mean([np.mean([_points(e, answers) for e in seeds]) for seeds in tasks.values()]))
        for name, answers in {TINYBERT: system(TINYBERT, NARROW), TEACHER: system(TEACHER)}.items()
    }
    ratio = mean[TINYBERT] / mean[TEACHER]

    def behind(seeds: Sequence[Evidence]) -> Effect:
        points = points_along(seeds[0].metric)

        def residual(student: Array, teacher: Array, labels: Array, axis: int = -1) -> Array:
            return np.asarray(points(student, labels, axis=axis) - ratio * points(teacher, labels, axis=axis))

        arrays = [(e.answers(TINYBERT, NARROW), e.answers(TEACHER), e.labels) for e in seeds]
        return effect_of(seeds[0].task, arrays, residual)

    effect = mean_effect([behind(seeds) for seeds in tasks.values()]).scaled(1 / mean[TEACHER]).shifted(ratio)
    note = f"{mean[TINYBERT]:.1f} of {mean[TEACHER]:.1f} points, the mean over tasks"
    return Decision((Cell("mean over tasks", effect),), note, left_out=left_out, averaged=tuple(tasks))


def _points(e: Evidence, answers: Answers) -> float:
    return float(points_along(e.metric)(answers(e), e.labels))


def above_direct(record: RunRecord) -> Decision | Undecided | None:
    """Points of the narrow student above BERT-tiny."""
    tasks, left_out = _taught(record, (TINYBERT, NARROW), (BERT_TINY, ""))
    known, not_learned = learned(tasks, system(BERT_TINY), BERT_TINY)
    return _gains(known, system(TINYBERT, NARROW), system(BERT_TINY), "", (*left_out, *not_learned))


def wide_behind_teacher(record: RunRecord) -> Decision | Undecided | None:
    """Points of the teacher above the wide student."""
    tasks, left_out = _taught(record, (TINYBERT, WIDE))
    return _gains(tasks, system(TEACHER), system(TINYBERT, WIDE), "", left_out)


# -- Ablations (Tables 2, 3, 4 and 7) ---------------------------------------------------------------------------------


def every_stage(record: RunRecord) -> Decision | Undecided | None:
    """Points that each of the three procedures is worth, the mean over tasks."""
    return _worth(record, {name: (REFERENCE, name) for name in (WITHOUT_GD, WITHOUT_TD, WITHOUT_DA)})


def task_stages(record: RunRecord) -> Decision | Undecided | None:
    """Points by which doing without general distillation is better than doing without either other."""
    return _worth(record, {f"{name} below {WITHOUT_GD}": (WITHOUT_GD, name) for name in (WITHOUT_TD, WITHOUT_DA)})


def mapping(record: RunRecord) -> Decision | Undecided | None:
    """Points of the uniform mapping above each other one."""
    return _worth(record, {name: (REFERENCE, name) for name in (TOP, BOTTOM)})


def transformer_loss(record: RunRecord) -> Decision | None:
    """Points that the losses on Transformer layers are worth, mean over tasks; a cell for each other row of Table 3.

    All cells have the same effect. What each asks besides is that the student without these losses is not above its
    row: together, that it is the worst.
    """
    others = [name for name in TABLE_3 if name not in (REFERENCE, WITHOUT_TRM)]
    tasks, left_out = _reference_learned(record, WITHOUT_TRM, *others)
    if not tasks:
        return None
    worth = _mean_gain(tasks, REFERENCE, WITHOUT_TRM)
    above = {name: _mean_gain(tasks, WITHOUT_TRM, name) for name in others}
    cells = tuple(Cell(f"beside {name}", worth, limit=Limit(effect, 0.0)) for name, effect in above.items())
    each = ", ".join(f"{name} {effect.value:.1f}" for name, effect in above.items())
    worst = max([WITHOUT_TRM, *others], key=lambda name: above[name].value if name in above else 0.0)
    note = f"the worst is {worst}; points of {WITHOUT_TRM} above {each}; means over tasks"
    return Decision(cells, note, left_out=left_out, averaged=tuple(tasks))


def attention_over_hidden(record: RunRecord) -> Decision | Undecided | None:
    """Points by which doing without hidden states is better than doing without attention."""
    return _ablated(record, WITHOUT_HIDN, WITHOUT_ATTN)


def general_start(record: RunRecord) -> Decision | Undecided | None:
    """Points of a general student above a directly pre-trained one, both distilled on the task without augmentation.

    The latter is a rival, not an ablation.
    """
    tasks, left_out = _reference_learned(record, WITHOUT_DA, BERT_TINY_TD)
    known, not_learned = learned(tasks, system(BERT_TINY_TD), BERT_TINY_TD)
    note = f"{WITHOUT_DA} above {BERT_TINY_TD}"
    return _gains(known, system(WITHOUT_DA), system(BERT_TINY_TD), note, (*left_out, *not_learned))


# -- What they share --------------------------------------------------------------------------------------------------


def _taught(record: RunRecord, *systems: tuple[str, str]) -> tuple[Tasks, tuple[str, ...]]:
    """The tasks that the teacher learned, with the seeds that have all of these systems."""
    known, left_out = learned_tasks(record, TEACHER, "the teacher")
    tasks = {task: [e for e in seeds if all(e.has_answers(*s) for s in systems)] for task, seeds in known.items()}
    return {task: seeds for task, seeds in tasks.items() if seeds}, left_out


def _reference_learned(record: RunRecord, *names: str) -> tuple[Tasks, tuple[str, ...]]:
    """Those of the ablations: where the student itself learned nothing, nothing can be taken from it."""
    tasks, left_out = _taught(record, (REFERENCE, ""), *((name, "") for name in names))
    known, not_learned = learned(tasks, system(REFERENCE), TINYBERT)
    return known, (*left_out, *not_learned)


def _ablated(record: RunRecord, first: str, second: str) -> Decision | Undecided | None:
    """A cell for each task: points of one system above another."""
    tasks, left_out = _reference_learned(record, first, second)
    return _gains(tasks, system(first), system(second), f"{first} above {second}", left_out)


def _gains(
    tasks: Tasks, first: Answers, second: Answers, note: str, left_out: tuple[str, ...]
) -> Decision | Undecided | None:
    cells = tuple(Cell(task, gain(seeds, first, second), task) for task, seeds in tasks.items())
    if not cells:
        return Undecided(left_out) if left_out else None
    return Decision(cells, note, left_out=left_out)


def _worth(record: RunRecord, pairs: Mapping[str, tuple[str, str]]) -> Decision | None:
    """A cell for each pair: points of its first system above its second, the mean over tasks."""
    tasks, left_out = _reference_learned(record, *(name for pair in pairs.values() for name in pair))
    if not tasks:
        return None
    cells = tuple(Cell(name, _mean_gain(tasks, first, second)) for name, (first, second) in pairs.items())
    return Decision(cells, "means over tasks", left_out=left_out, averaged=tuple(tasks))


def _mean_gain(tasks: Tasks, first: str, second: str) -> Effect:
    return mean_effect([gain(seeds, system(first), system(second)) for seeds in tasks.values()])


DECIDERS: Mapping[str, Decide] = {
    "tinybert4-retains-968": retained,
    "tinybert4-smaller": smaller,
    "tinybert4-faster": faster,
    "tinybert4-28-params": share_of_four_layers,
    "tinybert4-31-time": time_of_four_layers,
    "tinybert4-beats-tiny": above_direct,
    "tinybert6-on-par": wide_behind_teacher,
    "tinybert-all-stages-needed": every_stage,
    "tinybert-task-stage-bigger": task_stages,
    "tinybert-transformer-loss-key": transformer_loss,
    "tinybert-attn-over-hidn": attention_over_hidden,
    "tinybert-uniform-mapping": mapping,
    "tinybert-gd-better-init": general_start,
}
