"""The statistics that decide ALBERT's claims, from what the runs kept.

A difference of "Avg" is a cell: the mean over the run's tasks of a difference of scores on the same examples. Tasks
that the model which shares nothing did not learn decide nothing. Claims of size and speed are about the paper's own
models, at full size with random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from common.records.claims import SURE, Array, Cell, Check, Decide, Decision, gain, learned_tasks, system
from common.records.effects import Effect, effect_of, mean_effect
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


def _above(pairs: Mapping[str, tuple[Named, Named]], note: str = "") -> Decide:
    """Points on average over tasks that the first of a pair scores above the second; a cell for each pair."""

    def decide(record: RunRecord) -> Decision | None:
        tasks, left_out = learned_tasks(record, f"{NONE}@{WIDE}", "the model that shares nothing")
        known = {
            task: seeds
            for task, seeds in tasks.items()
            if all(_has(seeds, name) for both in pairs.values() for name in both)
        }
        if not known:
            return None
        cells = []
        for cell, (first, second) in pairs.items():
            gains = [gain(_with(seeds, first, second), system(*first), system(*second)) for seeds in known.values()]
            cells.append(Cell(cell, mean_effect(gains)))
        about = "; ".join(filter(None, (note, _budget(record))))
        return Decision(tuple(cells), about, left_out=left_out, averaged=tuple(known))

    return decide


def _has(seeds: Sequence[Evidence], name: Named) -> bool:
    return any(answers_name(*name) in e for e in seeds)


def _with(seeds: Sequence[Evidence], first: Named, second: Named) -> list[Evidence]:
    """The seeds that trained both."""
    return [e for e in seeds if _has([e], first) and _has([e], second)]


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
    return f"pre-trained on {found['tokens'] / 1e6:.3g} M tokens, {100 * found['tokens_share']:.1g} % of the paper's"


def _against(name: Named, *others: Named) -> dict[str, tuple[Named, Named]]:
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
