"""The statistics that decide ALBERT's claims, from what the runs kept.

A difference of "Avg" is a cell: the mean over the run's tasks of a difference of scores on the same examples. A task
that one of the two models did not learn does not count for that pair. Claims of size and speed are about the paper's
own models, at full size with random weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from common.records.claims import (
    SURE,
    Array,
    ByTask,
    Cell,
    Check,
    Decide,
    Decision,
    by_task,
    gain,
    learned,
    system,
)
from common.records.effects import Component, Effect, effect_of, mean_effect
from common.records.predictions import Evidence, answers_name, seconds_name
from common.records.runs import RunRecord
from replications.albert.names import (
    ALBERT,
    ALL,
    ATTENTION,
    DROPOUT,
    FEED_FORWARD,
    INTRINSIC,
    NARROW,
    NO_DROPOUT,
    NO_TASK,
    NONE,
    NSP,
    PAIR_HITS,
    SIXTH,
    SOP,
    TRAINING,
    WIDE,
    Objective,
    depth_setting,
    embedding_setting,
    hits_name,
    width_setting,
)

Named = tuple[str, str]
"""System and setting."""

Pair = tuple[Named, Named]
"""Which model is to score above which."""

FEWER, SHARE = 18.0, 0.72

OTHER_EMBEDDINGS = tuple(embedding_setting(e, 768) for e in (64, 256, 768))


# -- What is counted --------------------------------------------------------------------------------------------------


def large_has_fewer(record: RunRecord) -> Check | None:
    """Parameters of BERT-large over those of ALBERT-large."""
    found = _parameters(record)
    if not found:
        return None
    ratio = found["BERT-large"] / found["ALBERT-large"]
    return Check(ratio >= FEWER, ratio, _exactly(found, "BERT-large", "ALBERT-large"))


def xxlarge_share(record: RunRecord) -> Check | None:
    """Parameters of ALBERT-xxlarge over those of BERT-large."""
    found = _parameters(record)
    if not found:
        return None
    ratio = found["ALBERT-xxlarge"] / found["BERT-large"]
    return Check(ratio <= SHARE, ratio, _exactly(found, "ALBERT-xxlarge", "BERT-large"))


def _parameters(record: RunRecord) -> dict[str, float]:
    return {m.system: m.value for m in record.of("table1") if m.metric == "parameters"}


def _exactly(found: Mapping[str, float], first: str, second: str) -> str:
    return f"{found[first]:,.0f} and {found[second]:,.0f}, the closed form, without heads"


# -- What is timed ----------------------------------------------------------------------------------------------------


def _throughput(name: str) -> Decide:
    """Training steps of a model in the time of BERT-large's, round by round."""

    def decide(record: RunRecord) -> Decision | None:
        found = [e for e in record.evidence if e.task.startswith(TRAINING) and seconds_name(name) in e]
        if not found:
            return None
        (evidence,) = found
        effect = effect_of(evidence.task, [(evidence.seconds(name), evidence.seconds("BERT-large"))], _times)
        shares = {m.system: m.value for m in record.of("table2-efficiency") if m.metric == "optimiser_share"}
        note = "whole training steps"
        if name in shares and "BERT-large" in shares:
            without = effect.value * (1 - shares["BERT-large"]) / (1 - shares[name])
            note += f"; LAMB takes {shares['BERT-large']:.0%} of BERT-large's, without it the ratio is {without:.2f}"
        return Decision((Cell(name, effect),), note, timed=True)

    return decide


def _times(mine: Array, full: Array, axis: int = -1) -> Array:
    return np.asarray(full.sum(axis=axis) / mine.sum(axis=axis))


# -- What is trained --------------------------------------------------------------------------------------------------


def _above(pairs: Mapping[str, Pair], note: str = "") -> Decide:
    """Points on average over tasks that the first of a pair scores above the second; a cell for each pair."""

    def decide(record: RunRecord) -> Decision | None:
        tasks = _with_all(record, pairs.values())
        cells, averaged, left_out = list[Cell](), dict[str, None](), dict[str, None]()
        for cell, pair in pairs.items():
            known, reasons = _learned_by_both(tasks, pair)
            left_out |= dict.fromkeys(reasons)
            if known:
                cells.append(Cell(cell, mean_over_tasks(list(known.values()), pair)))
                averaged |= dict.fromkeys(known)
        if not cells:
            return None
        about = "; ".join(filter(None, (note, _budget(record))))
        return Decision(tuple(cells), about, left_out=tuple(left_out), averaged=tuple(averaged))

    return decide


def _with_all(record: RunRecord, pairs: Iterable[Pair]) -> dict[str, list[Evidence]]:
    """The tasks on which every model of these pairs was trained, with some seed; none where quality means nothing."""
    trained = by_task([e for e in record.evidence if e.metric]) if record.quality_counts else {}
    names = {name for pair in pairs for name in pair}
    return {task: seeds for task, seeds in trained.items() if all(_has(seeds, name) for name in names)}


def _has(seeds: Sequence[Evidence], name: Named) -> bool:
    return any(answers_name(*name) in e for e in seeds)


def _learned_by_both(tasks: ByTask, pair: Pair) -> tuple[dict[str, list[Evidence]], tuple[str, ...]]:
    """The tasks that both models learned, by the seeds that trained both, and who did not learn the others."""
    both = {task: [e for e in seeds if all(_has([e], name) for name in pair)] for task, seeds in tasks.items()}
    present = {task: seeds for task, seeds in both.items() if seeds}
    found = [learned(present, system(*name), " ".join(filter(None, name))) for name in pair]
    known = {task: seeds for task, seeds in present.items() if all(task in by_one for by_one, _ in found)}
    return known, tuple(reason for _, reasons in found for reason in reasons)


def mean_over_tasks(tasks: Sequence[Sequence[Evidence]], pair: Pair) -> Effect:
    """Points of the first of a pair above the second, the mean over tasks; every task by the same seeds.

    All tasks of a seed start from one pre-trained model, so that what a seed does to them does not average out. The
    seeds' part of the variance is therefore that of their means over tasks, less what the examples put into it; these
    are each task's own.
    """
    first, second = (system(*name) for name in pair)
    gains = [gain(seeds, first, second) for seeds in tasks]
    seeds, count = gains[0].seeds, len(tasks)
    if seeds == 1:
        return mean_effect(gains)
    alone = [[gain([e], first, second) for e in sorted(task, key=lambda e: e.seed)] for task in tasks]
    examples = [one.components[0] for one in gains]
    of_one_seed = [float(np.mean([one.components[0].variance for one in task])) for task in alone]
    own = sum(max(0.0, one - mean.variance) for one, mean in zip(of_one_seed, examples, strict=True)) / (seeds - 1)
    means = np.mean([[one.value for one in task] for task in alone], axis=0)
    between = float(means.var(ddof=1)) / seeds
    training = Component(max(0.0, between - own / count**2), between, seeds - 1)
    parts = (*(part.scaled(1 / count**2) for part in examples), training)
    return Effect(float(means.mean()), parts, sum(one.n for one in gains), seeds)


def _hits(objective: Objective, question: str, chance: float = 50.0) -> Decide:
    """Percent of pairs that a model judges rightly by a question that it was not asked in training.

    A model that is not surely above `chance` on its own question says nothing about another one.
    """

    def decide(record: RunRecord) -> Decision | None:
        name = hits_name(objective, "", question)
        seeds = [e for e in record.evidence if e.task == INTRINSIC and name in e]
        if not seeds or not record.quality_counts:
            return None
        own = _share(seeds, hits_name(objective, "", PAIR_HITS[objective]))
        if own.p_above(chance) > SURE:
            return None
        note = f"on its own question it is right in {own.value:.1f} %"
        cells = (Cell(objective, _share(seeds, name)),)
        return Decision(cells, "; ".join(filter(None, (note, _budget(record)))))

    return decide


AT_CHANCE = 55.0
"""Percent up to which the claim on next-sentence prediction calls a model at chance, on its own question too."""


def _share(seeds: Sequence[Evidence], name: str) -> Effect:
    return effect_of(INTRINSIC, [(e[name],) for e in seeds], np.mean).scaled(100.0)


def _budget(record: RunRecord) -> str:
    """What part of the paper's pre-training this was."""
    found = {m.metric: m.value for m in record.of("budget")}
    if "tokens" not in found:
        return ""
    tokens, share = found["tokens"] / 1e6, 100 * found["tokens_share"]
    return f"pre-trained on at most {tokens:.3g} M tokens, {share:.1g} % of the paper's"


def _against(name: Named, *others: Named) -> dict[str, Pair]:
    return {" ".join(filter(None, other)): (name, other) for other in others}


DECIDERS: Mapping[str, Decide] = {
    "albert-large-18x-fewer": large_has_fewer,
    "albert-large-1-7x-training": _throughput("ALBERT-large"),
    "albert-xxlarge-slower": _throughput("ALBERT-xxlarge"),
    "albert-xxlarge-70pct-params": xxlarge_share,
    "albert-e128-best-shared": _above(_against((ALL, SIXTH), *((ALL, e) for e in OTHER_EMBEDDINGS))),
    "albert-e-bigger-better-unshared": _above({WIDE: ((NONE, WIDE), (NONE, NARROW))}),
    "albert-share-cost-e128": _above({SIXTH: ((NONE, SIXTH), (ALL, SIXTH))}),
    "albert-share-cost-e768": _above({WIDE: ((NONE, WIDE), (ALL, WIDE))}),
    "albert-ffn-sharing-hurts": _above({e: ((ATTENTION, e), (FEED_FORWARD, e)) for e in (SIXTH, WIDE)}),
    "albert-nsp-chance-on-sop": _hits(NSP, PAIR_HITS[SOP], AT_CHANCE),
    "albert-sop-solves-nsp": _hits(SOP, PAIR_HITS[NSP]),
    "albert-sop-downstream": _above(_against((SOP, ""), (NO_TASK, ""), (NSP, ""))),
    "albert-no-dropout": _above({"ALBERT": ((NO_DROPOUT, ""), (DROPOUT, ""))}),
    "albert-depth-saturates": _above({depth_setting(24): ((ALBERT, depth_setting(24)), (ALBERT, depth_setting(48)))}),
    "albert-width-saturates": _above(
        {width_setting(4096): ((ALBERT, width_setting(4096)), (ALBERT, width_setting(6144)))}
    ),
}
