"""Several papers in one command: one progress, what fails stops no other, what was done is not done again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from kit.fake_paper import FakePaper

from common import cli
from common.run.replication import find_replications


@pytest.fixture
def two_papers(fake: FakePaper, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a second paper, which comes after the first."""
    other = fake.folder.with_name("other_paper")
    other.mkdir()
    for path in fake.folder.iterdir():
        (other / path.name).write_text(path.read_text())
    paper = yaml.safe_load((fake.folder / "paper.yaml").read_text())
    (other / "paper.yaml").write_text(yaml.safe_dump({**paper, "slug": "other_paper"}))
    both = find_replications(fake.folder.parent)
    assert [replication.slug for replication in both] == ["fake_paper", "other_paper"]
    monkeypatch.setattr("common.run.replication.find_replications", lambda: both)
    for module in ("", ".experiments", ".claims"):  # An earlier test's paper of the same name lies elsewhere.
        monkeypatch.delitem(sys.modules, f"replications.other_paper{module}", raising=False)
    return other


def test_many_papers_have_one_progress(two_papers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "all", "--scale", "smoke"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert lines[0].startswith("[1/6] paper 1 of 2, fake_paper: first")
    assert lines[-1].startswith("[6/6] paper 2 of 2, other_paper: third")
    assert len(lines) == 6, "without a terminal, a line a step"


def test_of_many_papers_what_one_refuses_is_said_first_and_stops_no_other(
    two_papers: Path, fake: FakePaper, capsys: pytest.CaptureFixture[str]
) -> None:
    (two_papers / "paper.yaml").write_text("slug: [")
    assert cli.main(["run", "all", "--scale", "smoke"]) == 1
    err = capsys.readouterr().err
    assert "other_paper/paper.yaml" in err and err.index("the other papers go on") < err.index("first")
    assert "failed: other_paper" in err
    assert fake.own_folder().is_dir() and not (fake.results / "other_paper").exists()


def test_a_paper_that_fails_midway_stops_no_other(
    two_papers: Path, fake: FakePaper, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.trouble(second="fail")
    assert cli.main(["run", "all", "--scale", "smoke"]) == 1
    err = capsys.readouterr().err
    assert "RuntimeError: a defect" in err and "failed: fake_paper" in err
    assert not fake.own_folder().exists()
    assert (fake.results / "other_paper" / "smoke-builtin@local" / "measurements.jsonl").exists()


def test_the_plan_of_many_papers_shows_what_one_would_refuse(
    two_papers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (two_papers.parent / "fake_paper" / "paper.yaml").write_text("slug: [")
    assert cli.main(["plan", "all", "--scale", "smoke"]) == 2
    out = capsys.readouterr().out
    assert "fake_paper: would not run: " in out and "other_paper:\nsmoke-builtin: 3 steps" in out


def test_what_every_paper_refuses_is_an_error_like_any_other(
    two_papers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "all", "--scale", "smoke", "--tasks", "sentimnt"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("reproduce: ") and err.count("\n") == 1 and "no task 'sentimnt'" in err


def test_of_many_papers_those_done_before_an_interruption_are_not_run_again(two_papers: Path, fake: FakePaper) -> None:
    (two_papers / "trouble.json").write_text('{"second": "interrupt"}')
    assert cli.main(["run", "all", "--scale", "smoke"]) == 130
    (two_papers / "trouble.json").write_text("{}")
    assert cli.main(["run", "all", "--scale", "smoke"]) == 0
    assert fake.calls() == ["first", "second", "third"]
    assert (two_papers / "calls.log").read_text().split() == ["first", "second", "second", "third"]
    assert fake.journals() == []


def test_of_many_papers_one_that_failed_goes_on_and_the_others_are_measured_afresh(
    two_papers: Path, fake: FakePaper
) -> None:
    """The command came to its end, so that the same one is a new one, but for what is still to do."""
    fake.trouble(second="fail")
    assert cli.main(["run", "all", "--scale", "smoke"]) == 1
    fake.trouble()
    assert cli.main(["run", "all", "--scale", "smoke"]) == 0
    assert fake.calls() == ["first", "second", "second", "third"]
    assert (two_papers / "calls.log").read_text().split() == ["first", "second", "third"] * 2
