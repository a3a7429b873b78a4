"""The committed records break no rule that must hold whatever came out; each rule is seen to bite on a broken copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.records.invariants import disagreements, violations
from common.records.predictions import Evidence
from common.records.runs import RunRecord, find_runs

ROOT = Path(__file__).resolve().parents[1]
SLUGS = sorted(
    {path.parents[1].name for path in ROOT.glob("results/*/*/predictions.npz") if "@" not in path.parent.name}
)


@pytest.mark.parametrize("slug", SLUGS)
def test_no_record_breaks_a_rule(slug: str) -> None:
    assert [text for run in find_runs(ROOT / "results", slug) for text in violations(run)] == []


def test_papers_have_the_same_dev_sets_and_baselines() -> None:
    runs = [(slug, run) for slug in SLUGS for run in find_runs(ROOT / "results", slug)]
    assert disagreements(runs) == []


@pytest.fixture(scope="module")
def deebert() -> RunRecord:
    return next(run for run in find_runs(ROOT / "results", "deebert") if run.name == "mini-builtin")


class Broken(RunRecord):
    """A record with other evidence in the place of its own."""

    evidence_given: tuple[Evidence, ...]

    @property
    def all_evidence(self) -> tuple[Evidence, ...]:  # type: ignore[override]
        return self.evidence_given


def with_array(run: RunRecord, name: str, change: Any) -> RunRecord:
    """The record, one array of its first evidence changed."""
    first, *others = run.all_evidence
    changed = replace(first, arrays={**first.arrays, name: change(first[name].copy() if name in first else None)})
    broken = Broken(run.name, run.measurements, run.claims, run.environment, run.folder)
    object.__setattr__(broken, "evidence_given", (changed, *others))
    return broken


def flip_first(array: Any) -> Any:
    array[0] = 1 - array[0]
    return array


def beyond(array: Any) -> Any:
    array[0] = 7
    return array


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("DeeBERT@S=0.05/answers", lambda a: a[:-1], "has 999 rows"),
        ("DeeBERT@S=0.05/answers", flip_first, "not those of the layers"),
        ("DeeBERT@S=0.05/exits", beyond, "outside layers 1 to 6"),
        ("DeeBERT@layer 1/answers", beyond, "no class"),
        ("baseline/answers", flip_first, "is printed as"),
        ("DeeBERT@S=0.05/exits", lambda a: a * 0, "outside layers 1 to 6"),
    ],
)
def test_a_broken_record_is_noticed(deebert: RunRecord, name: str, change: Any, said: str) -> None:
    assert any(said in text for text in violations(with_array(deebert, name, change)))


@pytest.mark.parametrize(("layers", "said"), [(0, []), (13, ["odd@x/exits leaves outside layers 1 to 12"])])
def test_who_executes_no_layer_of_the_backbone_leaves_at_none(deebert: RunRecord, layers: int, said: list[str]) -> None:
    """A bag of words stands beside exit methods with layers that are all 0."""
    answers = deebert.all_evidence[0]["baseline/answers"]
    odd = with_array(deebert, "odd@x/answers", lambda _: answers)
    found = violations(with_array(odd, "odd@x/exits", lambda _: np.full(len(answers), layers)))
    assert [text.partition(": ")[2] for text in found] == said


@pytest.mark.parametrize(
    ("name", "said"), [("labels", "different dev sets"), ("baseline/answers", "different baselines")]
)
def test_papers_that_disagree_are_noticed(deebert: RunRecord, name: str, said: str) -> None:
    other = with_array(deebert, name, flip_first)
    assert any(said in text for text in disagreements([("deebert", deebert), ("another", other)]))


def test_a_constant_that_no_constant_answer_reaches_is_noticed(deebert: RunRecord) -> None:
    rows = tuple(replace_score(m) if m.system == "constant answer" else m for m in deebert.measurements)
    broken = RunRecord(deebert.name, rows, deebert.claims, deebert.environment, deebert.folder)
    assert any("constant answer" in text for text in violations(broken))


def replace_score(measurement: Any) -> Any:
    return measurement.model_copy(update={"value": measurement.value + 1})


def test_evidence_without_labels_is_left_alone() -> None:
    assert not np.any([violations(RunRecord("shapes", ()))])
