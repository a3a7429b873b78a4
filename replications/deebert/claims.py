"""The statistics that decide DeeBERT's claims, from what the runs kept.

Cells are a task and one of Table 1's operating points, whose thresholds were chosen on examples that are not scored
here, as the paper chose them on dev and scored on test. "At little loss" is a limit on the points lost on dev: it has
to be shown as the saving has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from common.records.claims import (
    Array,
    Cell,
    Check,
    Decide,
    Decision,
    Limit,
    by_task,
    gain,
    has_learned,
    learned_tasks,
    system,
    time_saved,
)
from common.records.effects import Effect, effect_of
from common.records.predictions import TIMED, Evidence, at_layer, static_name
from common.records.runs import RunRecord
from common.tasks.metrics import points_along
from replications.deebert.names import DEEBERT, EQUAL_SAVING, SWEEP, sweep_arm

LITTLE_LOSS, NEARLY_NONE = 1.0, 0.6
"""Points that may be lost: of `deebert-saves-40`, and in Table 1's first row (RoBERTa on RTE loses 0.6)."""

STATIC_COMPARISON = ("sst-2", "qqp", "qqp-sample", "sentiment", "paraphrase")
"""Where the paper compares with DistilBERT: SST-2 and QQP, and their builtin counterparts."""

ABOUT_EQUAL = 0.05
"""How much less than the truncated encoder DeeBERT may save and still count as equally fast (a share of layers)."""

Seeds = Sequence[Evidence]


# -- Savings at little loss -------------------------------------------------------------------------------------------


def saves_40(record: RunRecord) -> Decision | None:
    """Share of wall time saved at the operating points for a loss of at most half a point and one; any of them."""
    return _saved_at_little_loss(record, ("threshold-1", "threshold-2"), LITTLE_LOSS)


def small_drop_saving(record: RunRecord) -> Decision | None:
    """Share of wall time saved at Table 1's first operating point; every task."""
    return _saved_at_little_loss(record, ("threshold-1",), NEARLY_NONE)


def _saved_at_little_loss(record: RunRecord, settings: Sequence[str], allowed: float) -> Decision | None:
    tasks, left_out = learned_tasks(record)
    cells, losses = [], []
    for task, seeds in tasks.items():
        for setting in settings:
            name, lost = f"{task}, {setting}", gain(seeds, system("baseline"), system(DEEBERT, setting))
            cells.append(Cell(name, time_saved(seeds, DEEBERT, setting), task, Limit(lost, allowed)))
            losses.append(f"{name} {_shown(lost)}")
    if not cells:
        return None
    note = f"batch 1; points lost, of at most {allowed:g} allowed: {', '.join(losses)}"
    return Decision(tuple(cells), note, timed=True, left_out=left_out)


def beats_static(record: RunRecord) -> Decision | None:
    """Points that DeeBERT scores above the truncated encoder when it saves as many layers; every task of the paper."""
    known, left_out = learned_tasks(record)
    cells, reasons = [], list(left_out)
    for task, seeds in known.items():
        if task not in STATIC_COMPARISON:
            continue
        static = static_name(seeds[0].layers // 2)
        if not has_learned(seeds, system(static)):
            reasons.append(f"{task}: the truncated encoder did not learn it")
        elif not all(_saves_as_much_as_truncated(e) for e in seeds):
            reasons.append(f"{task}: no threshold saves as many layers as the truncated encoder")
        else:
            cells.append(Cell(task, gain(seeds, system(DEEBERT, EQUAL_SAVING), system(static)), task))
    note = "against the fine-tuned first half of the layers, at as many layers saved"
    return Decision(tuple(cells), note, left_out=tuple(reasons)) if cells else None


def _saves_as_much_as_truncated(e: Evidence) -> bool:
    share = float(e.exits(DEEBERT, EQUAL_SAVING).mean()) / e.layers
    return share <= (e.layers // 2) / e.layers + ABOUT_EQUAL


def _shown(effect: Effect) -> str:
    low, high = effect.interval
    return f"{effect.value:.1f} [{low:.1f}, {high:.1f}]"


# -- Layers predict time ----------------------------------------------------------------------------------------------


def expected_equals_measured(record: RunRecord) -> Decision | None:
    """Layers saved minus wall time saved, both ways, over all settings: how far the prediction is off.

    Time is compared with DeeBERT's own run through all layers, as in the authors' figure: what all off-ramps cost is
    then in both, and whether time follows layers is all that is asked. Where exits are imposed, everyone leaves at one
    layer.
    """
    if not record.quality_counts:
        return None
    cells = [
        Cell(f"{task}, {setting}: {which}", off, task if seeds[0].metric else "")
        for task, seeds in by_task(record.evidence).items()
        for setting, gap in _gaps(seeds)
        for which, off in (("expected above measured", gap), ("measured above expected", -gap))
    ]
    note = "batch 1, against DeeBERT through all layers; n counts timed texts"
    return Decision(tuple(cells), note, timed=True) if cells else None


def _gaps(seeds: Seeds) -> Iterator[tuple[str, Effect]]:
    layers, metric = seeds[0].layers, seeds[0].metric
    settings = [sweep_arm(s) for s in SWEEP] if metric else [at_layer(i) for i in range(layers, 0, -1)]
    full, *others = (s for s in settings if all(f"{DEEBERT}@{s}/seconds" in e for e in seeds))

    def gap(exits: Array, seconds: Array, through_all: Array, axis: int = -1) -> Array:
        expected = 1 - exits.mean(axis=axis) / layers
        return np.asarray(expected - (1 - seconds.sum(axis=axis) / through_all.sum(axis=axis)))

    for setting in others:
        arrays = [
            (e.exits(DEEBERT, setting)[e[TIMED]], e.seconds(DEEBERT, setting), e.seconds(DEEBERT, full)) for e in seeds
        ]
        effect = effect_of(seeds[0].task, arrays, gap)
        yield setting, effect if metric else replace(effect, seeds=0)


# -- What holds by construction ---------------------------------------------------------------------------------------


def monotone_threshold(record: RunRecord) -> Check | None:
    """Share of dev examples, over tasks, seeds and neighbouring thresholds, that a higher one does not keep longer."""
    kept = [
        e.exits(DEEBERT, sweep_arm(high)) <= e.exits(DEEBERT, sweep_arm(low))
        for e in record.evidence
        if e.metric
        for low, high in pairwise(SWEEP)
    ]
    if not kept:
        return None
    share = float(np.mean(np.concatenate(kept)))
    return Check(share == 1.0, share, f"{sum(map(len, kept))} pairs of neighbouring thresholds and examples of dev")


def last_exit_unchanged(record: RunRecord) -> Check | None:
    """Largest change of the last exit's score by stage 2; not one answer may change."""
    trained = [e for e in record.evidence if e.metric]
    if not trained:
        return None
    both = [(e, e.answers("baseline"), e.answers(DEEBERT, at_layer(e.layers))) for e in trained]
    changed = sum(int((before != after).sum()) for _, before, after in both)
    value = max(abs(_points(e, before) - _points(e, after)) for e, before, after in both)
    return Check(not changed, value, f"{changed} answers changed on dev, over {len(trained)} tasks and seeds")


def _points(e: Evidence, answers: Array) -> float:
    return float(points_along(e.metric)(answers, e.labels))


DECIDERS: Mapping[str, Decide] = {
    "deebert-saves-40": saves_40,
    "deebert-small-drop-saving": small_drop_saving,
    "deebert-beats-distilbert-quality": beats_static,
    "deebert-expected-equals-measured": expected_equals_measured,
    "deebert-monotone-threshold": monotone_threshold,
    "deebert-last-exit-unchanged": last_exit_unchanged,
}
