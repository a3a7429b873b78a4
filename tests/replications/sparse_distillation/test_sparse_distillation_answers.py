"""What the record keeps of a run: every score in a table can be had again from it, and every claim reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.records.claims import Decision, by_task
from common.records.measurements import Measurement
from common.records.predictions import Evidence, compact, write_predictions
from common.records.runs import RunRecord
from replications.sparse_distillation.claims import DECIDERS, budgets_of
from replications.sparse_distillation.names import STUDENT, kept_setting, table_shape_name

Kept = tuple[list[Measurement], list[Evidence]]


def test_the_evidence_gives_every_score_again(whole_run: Kept) -> None:
    rows, kept = whole_run
    by_place = {(e.task, e.seed): e for e in kept}
    assert set(by_place) == {("imdb", 0), ("sst-2", 0)}
    seen = set()
    for row in rows:
        if row.metric != "score" or row.system == "constant answer" or row.experiment == "language":
            continue
        e = by_place[row.task, row.seed or 0]
        assert row.experiment != "figure5" or row.at is not None
        setting = kept_setting((row.at or 0) / 100, row.setting) if row.experiment == "figure5" else row.setting
        assert 100 * np.mean(e.answers(row.system, setting) == e.labels) == pytest.approx(row.value), row
        seen.add(row.experiment)
    assert seen == {"table2", "table5", "table6", "table8", "table10", "figure1", "figure5"}


def test_every_claim_on_quality_finds_what_it_reads(whole_run: Kept, tmp_path: Path) -> None:
    _, kept = whole_run
    # A toy's teacher learns nothing, and TREC and QQP are not in it: the same arrays, with answers that are right.
    good = [replace(e, task=name, arrays=taught(e)) for e in kept for name in names_for(e.task)]
    write_predictions(tmp_path / "predictions.npz", good)
    record = RunRecord("toy", (), folder=tmp_path)
    decided = {claim: decide(record) for claim, decide in DECIDERS.items()}
    assert {claim for claim, decision in decided.items() if decision is None} == {"sd-1b-params", "sd-speed-600-cpu"}
    assert all(isinstance(d, Decision) and d.seeds == 1 for d in decided.values() if d is not None)


def names_for(task: str) -> tuple[str, ...]:
    return {"imdb": ("imdb",), "sst-2": ("sst-2", "trec", "qqp-sample")}[task]


def taught(e: Evidence) -> dict[str, np.ndarray]:
    """The arrays with answers that are right but for a few texts, of which there are ten times as many."""
    systems = sorted(name for name in e.arrays if name.endswith("/answers"))
    wrong = {name: i % 3 for i, name in enumerate(systems)} | {"teacher/answers": 0, "DAN (from scratch)/answers": 8}
    right = {name: np.where(np.arange(len(e.labels)) < n, 1 - e.labels, e.labels) for name, n in wrong.items()}
    long = {name: np.tile(array, 10) for name, array in {**right, "labels": e.labels}.items()}
    return {**e.arrays, **long}


def test_the_tables_of_a_budget_are_kept_with_their_true_size(whole_run: Kept) -> None:
    _, kept = whole_run
    (e,) = by_task(kept)["imdb"][:1]
    assert sorted(budgets_of(e)) == ["small", "unfilled"]
    asked, there, dimension = e[table_shape_name("small")].T
    assert (asked.tolist(), there.tolist(), dimension.tolist()) == ([100, 200], [100, 200], [8, 4])
    ((asked, there, _),) = e[table_shape_name("unfilled")]
    assert (asked, there < 10_000) == (50_000, True), "a toy's corpus has no 50,000 n-grams"
    assert "sst-2" not in {k.task for k in kept if budgets_of(k)}


def test_what_is_kept_is_small(whole_run: Kept) -> None:
    _, kept = whole_run
    answers = [a for e in kept for name, a in e.arrays.items() if name.endswith("/answers")]
    assert {compact(a).dtype for a in answers} == {np.dtype(np.int8)}
    assert f"{STUDENT}/answers" in kept[0].arrays
    assert {"coverage", "cross_entropy"} <= set(kept[0].arrays)
