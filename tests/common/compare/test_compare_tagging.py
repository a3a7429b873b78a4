"""The comparison on a task of tagged words: everyone measured, kept and judged as on whole texts."""

from pathlib import Path

import pytest
from kit.toy_run import picked, run_steps
from kit.toy_tagging import tagging_run, toy_tagging

from common.compare.experiments import trained_steps
from common.compare.judgement import TaskStandings
from common.compare.names import BASELINE, LADDER
from common.errors import UserError
from common.records.predictions import Evidence
from common.records.tagging import sentence_counts
from common.run.replication import Run
from common.tagging_run import labels_words
from common.tasks.tagging import TaggingTask


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run on the toy under the name of a task that is known to label words."""
    toy = toy_tagging()
    return tagging_run(tmp_path, TaggingTask("badges", toy.tags, toy.metric, "builtin", toy.train, toy.dev, toy.tune))


def test_tagging_tasks_are_told_from_whole_texts(run: Run, tmp_path: Path) -> None:
    assert labels_words(run, "badges") and not labels_words(run, "mood")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.conll").write_text("a O\n")
    files = Run("r", run.scale, "files", tmp_path, (), (0,), run.store, tmp_path, run.progress, run.say)
    assert labels_words(files, "mine") and not labels_words(files, "sst-2")


def test_everyone_is_measured_kept_and_judged(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Evidence] = []
    monkeypatch.setattr(type(run), "keep", lambda self, evidence: kept.append(evidence))
    rows = run_steps(trained_steps(run, ["TOKEE", "SENTEE"]), run, tmp_path)
    shown = picked(rows, experiment="comparison", metric="score_delta")
    assert {m.system for m in shown} == {BASELINE, LADDER, "SENTEE", "TOKEE"}
    assert {m.metric for m in picked(rows, system="TOKEE", setting="2x")} >= {
        "score",
        "time_speedup",
        "throughput_ratio",
    }
    (evidence,) = kept
    for m in picked(rows, metric="score", experiment="comparison"):
        if m.system != "constant answer":
            assert sentence_counts(evidence, evidence.answers(m.system, m.setting)).points == pytest.approx(m.value)
    standings = TaskStandings("badges", kept).standings
    assert {s.method for s in standings} == {LADDER, "SENTEE", "TOKEE"}


def test_methods_of_the_other_kind_are_left_out_and_named_where_none_is_left(run: Run) -> None:
    names = [step.name for step in trained_steps(run, ["SENTEE"])]
    assert not any("TOKEE" in name for name in names)
    with pytest.raises(UserError, match="unknown method 'TOKE'; did you mean 'tokee'"):
        trained_steps(run, ["TOKE"])
