"""A reading task within a run: what is used of it, the plain reader, and that the smoke scale learns it."""

from pathlib import Path

import pytest
from kit.toy_run import quiet, small_run

from common.reading_run import ReadingRun
from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.scales import find_scale
from common.tasks.spans import SpanTask


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> ReadingRun:
    """`lookup` at the smoke scale, with its baseline trained."""
    folder = tmp_path_factory.mktemp("lookup")
    run = Run(
        "smoke-builtin", find_scale("smoke"), "builtin", None, (), (0,), ArtifactStore(folder), folder, quiet, print
    )
    return ReadingRun.of(run, "lookup", 0)


def test_a_run_holds_back_a_part_and_says_what_it_used(reading: ReadingRun) -> None:
    run, task = reading.run, reading.task
    assert isinstance(task, SpanTask) and run.span_task("lookup") is task
    assert len(task.train) + len(task.tune) == 352 and len(task.dev) == 128
    assert 32 <= len(task.tune) <= 36, "a tenth, and whole passages"
    assert run.data_fingerprints() == {"lookup": task.fingerprint}
    assert run.describe_data() == [
        f"lookup: 1,200 train questions read; {len(task.train)} to train on, {len(task.tune)} of train held back for "
        f"choosing, 128 of dev on {len({q.passage for q in task.dev})} passages to score by; metric F1"
    ]
    used = run.facts.tasks["lookup"]
    assert (used.train, used.train_whole, used.dev) == (352, 1200, 128)


@pytest.mark.parametrize(("scale", "whole"), [("smoke", False), ("mini", False), ("base", False), ("paper", True)])
def test_at_scale_paper_alone_the_layout_is_the_published_one(tmp_path: Path, scale: str, whole: bool) -> None:
    """A passage fills its slot, and its positions begin anew."""
    run = Run("r", find_scale(scale), "hub", None, (), (0,), ArtifactStore(tmp_path), tmp_path, quiet, print)
    layout = ReadingRun.of(run, "squad", 0).layout
    assert (layout.max_seq, layout.max_first, layout.whole_slots, layout.runs_on) == (320, 25, whole, not whole)


def test_a_plain_readers_key_has_what_it_depends_on(reading: ReadingRun) -> None:
    """Not where a second segment's positions begin: its own run on."""
    assert reading.facts["layout"] == {"max_seq": 16, "max_first": 3, "whole_slots": False}


def test_the_smoke_scale_learns_it(reading: ReadingRun) -> None:
    """Where nothing is learned, every depth and every loss measure the same."""
    marks, constant = reading.marks(reading.reader_answers()), reading.constant_marks()
    assert marks.f1.mean() >= constant.f1.mean() + 0.2
    assert 0 < marks.exact.mean() <= marks.f1.mean() < 1


def test_what_was_answered_is_kept(reading: ReadingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = reading.reader_answers()
    again = ReadingRun.of(reading.run, "lookup", 0)
    monkeypatch.setattr("common.reading_run.read", lambda *_, **__: pytest.fail("read again"))
    assert again.reader_answers()["dev"].texts(again.windows["dev"]) == before["dev"].texts(reading.windows["dev"])


def test_a_plan_names_the_baseline_and_the_ladder_with_their_cost(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    steps = ReadingRun.of(run, "lookup", 0).reader_steps((2,))
    assert [step.name for step in steps] == [
        "lookup seed 0: the baseline",
        "lookup seed 0: static ladder, 2 of 4 layers",
    ]
    assert steps[0].seconds > steps[1].seconds > 0
