"""The statistics that decide FastBERT's claims, from what the runs kept.

"BERT" is, as in the paper, the teacher at full depth. Speedups are the paper's own, a ratio of FLOPs by its count. Its
12 layers allow 11.75x and fewer layers less, so all claims on speed are judged in one unit that means the same at any
depth: the share saved of the FLOPs that everyone leaving at layer 1 would save. 0 is as slow as BERT, 1 the ceiling; at
12 layers 2x is 0.546, 4.2x 0.833 and 6.57x 0.926.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from common.records.claims import (
    Answers,
    Array,
    Cell,
    Decide,
    Decision,
    Limit,
    gain,
    has_learned,
    learned,
    learned_tasks,
    system,
)
from common.records.effects import Effect, effect_of
from common.records.ordering import dense_ranks, share_in_order
from common.records.predictions import Evidence, at_layer, static_name
from common.records.runs import RunRecord
from common.tasks.metrics import points_along
from replications.fastbert.names import (
    COUNT,
    FASTBERT,
    FROM_LABELS,
    TEACHER,
    UNDISTILLED,
    as_deep_as,
    as_fast_as,
    figure_4_layers,
    quarter_layers,
    speed_setting,
    uncertainty_at,
)

BOOK_REVIEW = ("sentiment", "sst-2")
"""What stands for Book review, the two-class sentiment task of the paper's ablation and figures."""

TABLE_3 = (0.2, 0.7)
"""Speeds of the ablation."""

SMALL_LOSS, ALMOST_NO_LOSS = 9.23, 1.0
"""Points that may be lost: at Speed 0.8 the most that Table 2 prints; at Speed 0.5 ours, 0.24 are printed."""

ABOUT_EQUAL = 0.05
"""How far two mean depths may lie apart and still be called equal (a share of the layers)."""

LEAST_ERRORS = 10
"""A classifier with fewer wrong (or right) answers has none to tell apart."""

Seeds = Sequence[Evidence]
Tasks = Mapping[str, Seeds]

# -- By construction --------------------------------------------------------------------------------------------------


def classifier_share(record: RunRecord) -> Decision | None:
    """FLOPs of a classifier over those of a layer at BERT-base size, by Table 1's count."""
    totals = {m.system: m.value for m in record.of("table1") if m.setting == "total" and m.backbone == "bert-base"}
    if not totals:
        return None
    share = totals["Classifier"] / totals["Transformer"]
    return Decision((Cell("BERT-base, 128 tokens", Effect.exact(share)),), "closed form; linear maps alone")


def widest_range(record: RunRecord) -> Decision | None:
    """Speedup of everyone leaving at layer 1 of BERT-base: Speed 1 lets everyone go there, whatever was learned."""
    ladder = {m.at: m.value for m in record.of("flops-model") if m.metric == "printed_speedup"}
    if not ladder:
        return None
    cell = Cell("BERT-base, everyone leaves at layer 1", Effect.exact(ladder[1]))
    return Decision((cell,), f"closed form; at the other end, all 12 layers are {ladder[12]:.3f}x")


# -- Speed ------------------------------------------------------------------------------------------------------------


def twice_as_fast(record: RunRecord) -> Decision | None:
    """Share of the possible saving at Speed 0.1; mean over the tasks."""
    tasks, left_out = _tasks(record)
    cells = tuple(Cell(task, _saved(seeds, speed_setting(0.1)), task) for task, seeds in tasks.items())
    return Decision(cells, _speedups(tasks, 0.1), left_out=left_out) if cells else None


def seven_to_eleven(record: RunRecord) -> Decision | None:
    """Share of the possible saving at Speed 0.8 for a loss of at most Table 2's largest; every task."""
    tasks, left_out = _tasks(record)
    setting, cells = speed_setting(0.8), []
    for task, seeds in tasks.items():
        limit = Limit(_lost(seeds, system(TEACHER), setting), SMALL_LOSS)
        cells.append(Cell(task, _saved(seeds, setting), task, limit))
    return Decision(tuple(cells), _with_losses(_speedups(tasks, 0.8), cells), left_out=left_out) if cells else None


def cuts_flops(record: RunRecord) -> Decision | None:
    """Share of the possible saving that distilling adds at Speed 0.5, for almost no loss; mean over sentiment tasks.

    Before it the trained teacher stands above students that learned nothing, as at the start of Figure 7's second half.
    """
    tasks, left_out = _tasks(record, BOOK_REVIEW)
    setting, cells = speed_setting(0.5), []
    for task, seeds in tasks.items():
        limit = Limit(_lost(seeds, system(UNDISTILLED, setting), setting), ALMOST_NO_LOSS)
        cells.append(Cell(task, _saved(seeds, setting, over=UNDISTILLED), task, limit))
    if not cells:
        return None
    before = _speedups(tasks, 0.5, UNDISTILLED)
    note = f"{_with_losses(_speedups(tasks, 0.5), cells)}; before self-distillation {before}"
    return Decision(tuple(cells), note, left_out=left_out)


def first_exit(record: RunRecord) -> Decision | None:
    """Share of examples that leave at the first layer at Speed 0.8; mean over sentiment tasks."""
    tasks, left_out = _tasks(record, BOOK_REVIEW)

    def at_first(seeds: Seeds) -> Effect:
        leaving = [(e.exits(FASTBERT, speed_setting(0.8)) == 1,) for e in seeds]
        return effect_of(seeds[0].task, leaving, np.mean)

    cells = tuple(Cell(task, at_first(seeds), task) for task, seeds in tasks.items())
    return Decision(cells, left_out=left_out) if cells else None


# -- Scores -----------------------------------------------------------------------------------------------------------


def lossless(record: RunRecord) -> Decision | None:
    """Points lost against the teacher at Speed 0.1; every task."""
    tasks, left_out = _tasks(record)
    setting = speed_setting(0.1)
    cells = tuple(Cell(task, _lost(seeds, system(TEACHER), setting), task) for task, seeds in tasks.items())
    return Decision(cells, _speedups(tasks, 0.1), left_out=left_out) if cells else None


def distillation_gain(record: RunRecord) -> Decision | None:
    """Points gained over learning from labels at equal Speed, mean of Table 3's two; mean over the ablated tasks."""
    tasks, left_out = _tasks(record)
    ablated = {task: seeds for task, seeds in tasks.items() if all(_has(e, FROM_LABELS) for e in seeds)}
    taught, unlearned = learned(ablated, lambda e: e.answers(FROM_LABELS, at_layer(e.layers)), "the model from labels")
    cells = tuple(Cell(task, _mean_gain(seeds), task) for task, seeds in taught.items())
    if not cells:
        return None
    each = (f"Speed {s:g}: {_speedups(taught, s)}, without {_speedups(taught, s, FROM_LABELS)}" for s in TABLE_3)
    return Decision(cells, f"at equal Speed, not at equal cost; {'; '.join(each)}", left_out=(*left_out, *unlearned))


def _mean_gain(seeds: Seeds) -> Effect:
    """The two Speeds are of one model on the same examples: one statistic, not two cells."""
    points = points_along(seeds[0].metric)

    def statistic(a: Array, b: Array, c: Array, d: Array, labels: Array, axis: int = -1) -> Array:
        gains = [points(x, labels, axis=axis) - points(y, labels, axis=axis) for x, y in ((a, b), (c, d))]
        return np.asarray(np.mean(gains, axis=0))

    names = [(who, speed_setting(speed)) for speed in TABLE_3 for who in (FASTBERT, FROM_LABELS)]
    return effect_of(seeds[0].task, [(*(e.answers(*name) for name in names), e.labels) for e in seeds], statistic)


def adaptive_gain(record: RunRecord) -> Decision | None:
    """Points gained over everyone leaving after a quarter of the layers, at as many layers; mean over sentiment tasks.

    The paper's fixed layer is 2 of 12; of 6 layers a sixth is the first alone, where nothing can adapt.
    """
    return _against(
        record,
        BOOK_REVIEW,
        lambda layers: as_deep_as(quarter_layers(layers)),
        lambda layers: (FASTBERT, at_layer(quarter_layers(layers))),
        lambda layers: quarter_layers(layers),
    )


# -- Against static encoders ------------------------------------------------------------------------------------------


def beats_quarter(record: RunRecord) -> Decision | None:
    """Points above an encoder of a quarter of the layers, at its FLOPs; mean over the tasks that have one."""
    return _against(
        record,
        (),
        lambda layers: as_fast_as(quarter_layers(layers)),
        lambda layers: (static_name(quarter_layers(layers)), ""),
        lambda layers: quarter_layers(layers),
    )


def beats_one_layer(record: RunRecord) -> Decision | None:
    """Points above an encoder of one layer at Speed 0.8, mean over the tasks that have one."""
    return _against(record, (), lambda layers: speed_setting(0.8), lambda layers: (static_name(1), ""), None)


def _against(
    record: RunRecord,
    of: Sequence[str],
    setting_of: Callable[[int], str],
    rival_of: Callable[[int], tuple[str, str]],
    equal_to: Callable[[int], int] | None,
) -> Decision | None:
    """Points that FastBERT gains over a static rival, on the seeds that have it.

    Args:
        record: the run.
        of: these tasks; empty for all.
        setting_of: FastBERT's setting, for a depth.
        rival_of: the rival and its setting.
        equal_to: the layers that the rival executes, where FastBERT has to execute about as many.
    """
    tasks, left_out = _tasks(record, of)
    cells, reasons, depths = [], list(left_out), []
    for task, all_seeds in tasks.items():
        layers = all_seeds[0].layers
        setting, rival = setting_of(layers), rival_of(layers)
        seeds = [e for e in all_seeds if e.has_answers(*rival)]
        if not seeds:
            continue
        depth = float(np.mean([e.exits(FASTBERT, setting).mean() for e in seeds]))
        if not has_learned(seeds, system(*rival)):
            reasons.append(f"{task}: {' at '.join(filter(None, rival))} did not learn it")
        elif equal_to is not None and abs(depth - equal_to(layers)) > ABOUT_EQUAL * layers:
            reasons.append(f"{task}: no Speed executes about {equal_to(layers)} layers ({depth:.2f})")
        else:
            cells.append(Cell(task, gain(seeds, system(FASTBERT, setting), system(*rival)), task))
            depths.append(f"{task} {depth:.2f}")
    note = f"layers executed: {', '.join(depths)}"
    return Decision(tuple(cells), note, left_out=tuple(reasons)) if cells else None


# -- Uncertainty ------------------------------------------------------------------------------------------------------


def luha(record: RunRecord) -> Decision | None:
    """How often a wrong answer is less certain than a right one; every classifier of Figure 4 on every task."""
    tasks, left_out = _tasks(record)
    cells, reasons = [], list(left_out)
    for task, seeds in tasks.items():
        for who, layer in figure_4_layers(seeds[0].layers).items():
            name = f"{task}, {who}"
            right = [e.answers(FASTBERT, at_layer(layer)) == e.labels for e in seeds]
            if min(min(r.sum(), (~r).sum()) for r in right) < LEAST_ERRORS:
                reasons.append(f"{name}: fewer than {LEAST_ERRORS} answers are wrong, or right")
                continue
            ranked = [dense_ranks(e[uncertainty_at(layer)]) for e in seeds]
            effect = effect_of(task, [(rank, ~r) for rank, r in zip(ranked, right, strict=True)], share_in_order)
            cells.append(Cell(name, effect, task))
    return Decision(tuple(cells), left_out=tuple(reasons)) if cells else None


# -- Parts ------------------------------------------------------------------------------------------------------------


def _tasks(record: RunRecord, of: Sequence[str] = ()) -> tuple[dict[str, list[Evidence]], tuple[str, ...]]:
    """The tasks that the teacher learned (of these alone, where some are named), and why the others do not count."""
    return learned_tasks(record, TEACHER, "the teacher", of)


def _lost(seeds: Seeds, reference: Answers, setting: str) -> Effect:
    """Points that FastBERT loses against `reference`."""
    return gain(seeds, reference, system(FASTBERT, setting))


def _saved(seeds: Seeds, setting: str, over: str = "") -> Effect:
    """Share saved of the FLOPs that layer 1 for everyone would save; less that of the system `over` if one is given."""
    whole, layer = (float(flops) for flops in seeds[0][COUNT])
    arrays = [tuple(e.exits(who, setting) for who in (FASTBERT, over) if who) for e in seeds]

    def statistic(exits: Array, others: Array | None = None, axis: int = -1) -> Array:
        spared = whole / layer if others is None else others.mean(axis=axis)
        return np.asarray((spared - exits.mean(axis=axis)) / (whole / layer - 1))

    return effect_of(seeds[0].task, arrays, statistic)


def _speedups(tasks: Tasks, speed: float, who: str = FASTBERT) -> str:
    """The paper's Speedup on each task, for a note."""

    def listed() -> Iterator[str]:
        for task, seeds in tasks.items():
            depth = float(np.mean([e.exits(who, speed_setting(speed)).mean() for e in seeds]))
            whole, layer = (float(flops) for flops in seeds[0][COUNT])
            yield f"{task} {whole / (layer * depth):.2f}x of at most {whole / layer:.2f}x"

    return ", ".join(listed())


def _with_losses(note: str, cells: Sequence[Cell]) -> str:
    limits = [(cell.task, cell.limit) for cell in cells if cell.limit is not None]
    each = ", ".join(f"{task} {limit.effect.value:.1f}" for task, limit in limits)
    return f"{note}; points lost, of at most {limits[0][1].value:g} allowed: {each}"


def _has(evidence: Evidence, variant: str) -> bool:
    return evidence.has_answers(variant, at_layer(evidence.layers))


DECIDERS: Mapping[str, Decide] = {
    "fastbert-flops-classifier-share": classifier_share,
    "fastbert-speed01-lossless": lossless,
    "fastbert-speed01-2x": twice_as_fast,
    "fastbert-range-12x": widest_range,
    "fastbert-7-to-11": seven_to_eleven,
    "fastbert-beats-distilbert-3": beats_quarter,
    "fastbert-beats-distilbert-1": beats_one_layer,
    "fastbert-ablation-distill": distillation_gain,
    "fastbert-ablation-adaptive": adaptive_gain,
    "fastbert-luha": luha,
    "fastbert-first-exit-61": first_exit,
    "fastbert-distill-cuts-flops": cuts_flops,
}
