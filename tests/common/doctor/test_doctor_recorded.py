"""What is looked at in stored runs: each check bites where its fault was made, and is silent on a healthy run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit.toy_evidence import ToyRecord

from common.doctor import recorded
from common.doctor.findings import Finding
from common.doctor.recorded import Stored
from common.records.measurements import Measurement
from common.records.predictions import Evidence, answers_name, exits_name
from common.records.runs import RunRecord, find_runs

ROOT = Path(__file__).resolve().parents[3]
ROWS, LAYERS = 400, 6
LABELS = np.arange(ROWS) % 2
TASKS = ("mood", "reply", "topic")


class Run(ToyRecord):
    """A record whose evidence is all given."""

    @property
    def all_evidence(self) -> tuple[Evidence, ...]:  # type: ignore[override]
        return self.kept


def wrong(share: float, labels: np.ndarray = LABELS) -> np.ndarray:
    """Answers that are wrong on the first part of the examples."""
    return np.where(np.arange(len(labels)) < share * len(labels), (labels + 1) % 2, labels)


def exits(seed: int) -> np.ndarray:
    return 1 + np.random.default_rng(seed).integers(0, LAYERS, ROWS)


def evidence(task: str = "mood", **arrays: np.ndarray) -> Evidence:
    """A healthy task run: a baseline, and a method at two settings with what was chosen on dev beside one."""
    own = {
        "labels": LABELS,
        "baseline/answers": wrong(0.1),
        **{answers_name("Fast", s): wrong(0.12) for s in ("near", "near (dev-tuned)", "far")},
        exits_name("Fast", "near"): exits(0),
        exits_name("Fast", "near (dev-tuned)"): exits(1),
        exits_name("Fast", "far"): np.full(ROWS, LAYERS),
    }
    return Evidence(task, 0, "accuracy", 2, LAYERS, {**own, **arrays})


def score(value: float = 90.0, task: str = "mood", **fields: Any) -> Measurement:
    own = {"experiment": "table1", "system": "baseline", "metric": "score", "unit": "points", "task": task, "seed": 0}
    more = {"ci_low": value - 2, "ci_high": value + 2, "n": ROWS, "backbone": "tiny", "scale": "mini"}
    return Measurement(**{**own, **more, "value": value, **fields})


ENVIRONMENT = {
    "timing": {"others_load_max": 0.1},
    "libraries": {"torch": "2.13.0+cpu"},
    "devices": {"training": "cpu", "precision": "float32", "timing": "cpu"},
}
TESTED = {"torch": "2.13.0"}


def run(
    *kept: Evidence, rows: tuple[Measurement, ...] = (score(),), name: str = "mini-files", **environment: Any
) -> Run:
    timed = Measurement(experiment="table1", system="baseline", metric="t", value=1.0, unit="ms", timed=True)
    kept = kept or tuple(evidence(task) for task in TASKS)
    return Run(name, (*rows, timed), environment={**ENVIRONMENT, **environment}, kept=kept)


def kinds(found: Any) -> list[str]:
    return [one.kind for one in found]


# -- A healthy run ----------------------------------------------------------------------------------------------------


def test_a_healthy_run_has_no_finding() -> None:
    mine, record = Stored("fast", run(name="mini-files@local")), Stored("fast", run())
    found: list[Finding] = []
    for check in (recorded.stored_answers, recorded.nothing_to_look_at, recorded.label_order, recorded.one_exit):
        found += check(mine.run)
    found += [*recorded.tuned_on_reported(mine.run), *recorded.load_then(mine.run)]
    found += [*recorded.versions_then(mine.run, TESTED), *recorded.precision_then(mine, [record, mine])]
    found += recorded.baseline_beside(mine, [record, mine])
    assert found == []


SLUGS = sorted({path.parents[1].name for path in ROOT.glob("results/*/*/measurements.jsonl")})


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_in_the_committed_records_is_broken(slug: str) -> None:
    """What is doubtful of them is said; the checks that call a number wrong are silent."""
    for one in find_runs(ROOT / "results", slug):
        assert list(recorded.stored_answers(one)) == []
        assert list(recorded.label_order(one)) == []


# -- Scores -----------------------------------------------------------------------------------------------------------


def test_a_printed_score_that_is_not_that_of_the_answers_is_broken() -> None:
    (found,) = recorded.stored_answers(run(evidence(), rows=(score(91.0),)))
    assert found.kind == "broken" and "baseline" in found.what


def test_a_baseline_off_the_record_is_doubtful() -> None:
    mine, record = Stored("fast", run(rows=(score(84.0),), name="mini-files@local")), Stored("fast", run())
    (found,) = recorded.baseline_beside(mine, [mine, record])
    assert found.kind == "doubtful" and "scores 84.0, and 90.0 in the record of fast" in found.what


def test_a_record_is_laid_beside_another_papers_and_never_beside_itself() -> None:
    mine, other = Stored("fast", run(rows=(score(84.0),))), Stored("slow", run())
    (found,) = recorded.baseline_beside(mine, [mine, other])
    assert "in the record of slow" in found.what
    assert kinds(recorded.baseline_beside(mine, [mine])) == [], "a record alone is the measure itself"


@pytest.mark.parametrize("change", [{"backbone": "large"}, {"seed": 1}, {"task": "reply"}])
def test_another_backbone_seed_or_task_is_not_compared(change: dict[str, Any]) -> None:
    mine, record = Stored("fast", run(rows=(score(50.0, **change),), name="mini-files@local")), Stored("fast", run())
    assert kinds(recorded.baseline_beside(mine, [mine, record])) == ["unknown"]


def test_another_dev_set_is_said_before_any_score() -> None:
    mine, record = Stored("fast", run(rows=(score(84.0, n=90),), name="mini-files@local")), Stored("fast", run())
    (found,) = recorded.baseline_beside(mine, [mine, record])
    assert "90 examples are scored, and 400 in the record" in found.what


def test_permuted_labels_are_broken() -> None:
    permuted = evidence(**{"baseline/answers": 1 - wrong(0.1)})
    (found,) = recorded.label_order(run(permuted))
    assert found.kind == "broken" and "baseline" in found.what and "in the order 1, 0" in found.what


def test_permuted_labels_of_several_classes_are_broken() -> None:
    labels = np.arange(ROWS) % 3
    right = np.where(np.arange(ROWS) < 20, (labels + 1) % 3, labels)
    shifted = Evidence("topic", 0, "accuracy", 3, LAYERS, {"labels": labels, "baseline/answers": (right + 1) % 3})
    (found,) = recorded.label_order(run(shifted))
    assert "in the order 2, 0, 1" in found.what


@pytest.mark.parametrize("share", [0.49, 0.5, 0.52])
def test_answers_at_chance_are_no_permutation(share: float) -> None:
    assert kinds(recorded.label_order(run(evidence(**{"baseline/answers": wrong(share)})))) == []


# -- Exits and thresholds ---------------------------------------------------------------------------------------------


def constant(layer: int) -> np.ndarray:
    return np.full(ROWS, layer)


def test_exits_all_at_one_layer_are_doubtful() -> None:
    stuck = {exits_name("Fast", s): constant(1) for s in ("near", "near (dev-tuned)")}
    (found,) = recorded.one_exit(run(evidence(**stuck)))
    assert found.kind == "doubtful" and "Fast lets all texts leave at one layer" in found.what
    assert "mood seed 0 (layer 1, 6)" in found.what


def test_a_method_that_is_stuck_everywhere_is_one_line() -> None:
    stuck = {exits_name("Fast", s): constant(1) for s in ("near", "near (dev-tuned)")}
    (found,) = recorded.one_exit(run(*(evidence(task, **stuck) for task in TASKS)))
    assert all(f"{task} seed 0" in found.what for task in TASKS)


def test_a_static_ladder_and_a_single_setting_are_no_rule_that_fails() -> None:
    stuck = {exits_name("Fast", s): constant(1) for s in ("near", "near (dev-tuned)")}
    assert kinds(recorded.one_exit(run(evidence(**stuck)), static={"Fast"})) == []
    single = Evidence("mood", 0, "accuracy", 2, LAYERS, {"labels": LABELS, exits_name("Fast", "never"): constant(6)})
    assert kinds(recorded.one_exit(run(single))) == []


def test_a_single_setting_that_lets_texts_leave_apart_is_enough() -> None:
    assert kinds(recorded.one_exit(run(evidence(**{exits_name("Fast", "near"): constant(1)})))) == []


def test_settings_that_impose_a_layer_are_not_meant() -> None:
    imposed = Evidence("", 0, "", 0, 12, {exits_name("Fast", f"layer {k}"): constant(k) for k in (2, 6)})
    assert kinds(recorded.one_exit(run(imposed))) == []


def test_thresholds_that_are_all_those_of_dev_are_doubtful() -> None:
    names = ("near", "far")
    same = {exits_name("Fast", f"{s}{end}"): exits(7) for s in names for end in ("", " (dev-tuned)")}
    same |= {answers_name("Fast", f"{s}{end}"): wrong(0.12) for s in names for end in ("", " (dev-tuned)")}
    (found,) = recorded.tuned_on_reported(run(*(evidence(task, **same) for task in TASKS)))
    assert found.kind == "doubtful" and "all 6 settings of Fast" in found.what and "never `dev`" in found.do


def test_one_choice_that_differs_is_enough() -> None:
    names, ends = ("near", "far"), ("", " (dev-tuned)")
    same = {exits_name("Fast", f"{s}{end}"): exits(7) for s in names for end in ends}
    same |= {answers_name("Fast", f"{s}{end}"): wrong(0.12) for s in names for end in ends}
    apart = {**same, exits_name("Fast", "near"): exits(8)}
    kept = [evidence(task, **(apart if task == "mood" else same)) for task in TASKS]
    assert kinds(recorded.tuned_on_reported(run(*kept))) == []


def chosen(setting: str, at: float, task: str) -> Measurement:
    return score(88.0, task, system="Fast", setting=setting, at=at)


def test_the_number_that_was_chosen_counts_where_the_record_has_it() -> None:
    """Two thresholds may let the same texts go; then they were still two choices."""
    names, ends = ("near", "far"), ("", " (dev-tuned)")
    same = {exits_name("Fast", f"{s}{end}"): exits(7) for s in names for end in ends}
    same |= {answers_name("Fast", f"{s}{end}"): wrong(0.12) for s in names for end in ends}
    for apart, expected in ((0.1, []), (0.0, ["doubtful"])):
        rows = tuple(chosen(f"{s}{end}", 0.5 + apart * bool(end), t) for s in names for end in ends for t in TASKS)
        record = run(*(evidence(task, **same) for task in TASKS), rows=rows)
        assert kinds(recorded.tuned_on_reported(record)) == expected


def test_a_few_equal_choices_may_be_an_accident() -> None:
    same = {exits_name("Fast", "near (dev-tuned)"): exits(0)}
    assert kinds(recorded.tuned_on_reported(run(*(evidence(task, **same) for task in TASKS)))) == []


def test_where_no_choice_on_dev_is_kept_the_record_cannot_tell() -> None:
    kept = evidence()
    bare = {name: array for name, array in kept.arrays.items() if "dev-tuned" not in name}
    (found,) = recorded.tuned_on_reported(run(replace(kept, arrays=bare)))
    assert found.kind == "unknown" and "Fast" in found.what


# -- How it was made --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timing", "expected"), [({"others_load_max": 0.9}, ["doubtful"]), ({}, ["unknown"])])
def test_load_while_it_timed(timing: dict[str, float], expected: list[str]) -> None:
    assert kinds(recorded.load_then(run(timing=timing))) == expected


def test_the_times_of_an_untrained_encoder_need_no_quiet() -> None:
    smoke = run(rows=(score(scale="smoke"),), timing={"others_load_max": 0.9})
    assert kinds(recorded.load_then(smoke)) == []


def test_a_run_without_times_needs_no_quiet() -> None:
    assert kinds(recorded.load_then(RunRecord("r", (score(),), environment={"timing": {}}))) == []


@pytest.mark.parametrize(("libraries", "expected"), [({"torch": "2.11.0"}, ["doubtful"]), ({}, ["unknown"])])
def test_versions_of_then(libraries: dict[str, str], expected: list[str]) -> None:
    assert kinds(recorded.versions_then(run(libraries=libraries), TESTED)) == expected


@pytest.mark.parametrize("what", ["training", "precision", "timing"])
def test_another_device_or_precision_than_the_records(what: str) -> None:
    devices = {**ENVIRONMENT["devices"], what: "other"}
    mine, record = Stored("fast", run(name="mini-files@local", devices=devices)), Stored("fast", run())
    (found,) = recorded.precision_then(mine, [record, mine])
    assert found.kind == "doubtful" and "other" in found.what
    assert kinds(recorded.precision_then(record, [record, mine])) == [], "a record is the measure itself"


def test_scores_without_answers_cannot_be_looked_at() -> None:
    bare = RunRecord("mini-files", (score(),))
    assert kinds(recorded.nothing_to_look_at(bare)) == ["unknown"]
