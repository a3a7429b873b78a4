"""A run from request to records: what is written, what an interruption leaves, and what the next command does."""

from __future__ import annotations

import argparse
import errno
import functools
import json
import os
import shutil
import signal
import subprocess
import time
import weakref
from pathlib import Path

import pytest
import torch
from kit.fake_paper import FakePaper

from common import cli, environment
from common.errors import UserError
from common.records.measurements import Measurement, read_claims, read_measurements, write_measurements
from common.run import command, runner
from common.run.artifacts import ArtifactStore
from common.run.progress import RunProgress
from common.run.replication import Run, choose
from common.run.runner import Request
from common.scales import find_scale
from common.tasks.catalogue import known_tasks
from replications.deebert.experiments import TASKS

SMOKE = ["run", "fake-paper", "--scale", "smoke"]
CHECKOUT = Path(__file__).resolve().parents[3]


def request(**options: str) -> Request:
    defaults = {"scale": "smoke", "data": "builtin", "data_dir": "", "seeds": "1", "tasks": "", "encoder": ""}
    defaults["timing_device"] = "auto"
    return Request.parse(argparse.Namespace(**{**defaults, **options}))


# -- The request ------------------------------------------------------------------------------------------------------


def test_tasks_are_named_once_and_canonically() -> None:
    assert request(tasks=" Sentiment,,sentiment, SST2 ,My Reviews").tasks == ("sentiment", "sst-2", "My Reviews")


@pytest.mark.parametrize("seeds", ["1", "100"])
def test_the_number_of_seeds_is_taken_as_it_is(seeds: str) -> None:
    assert request(seeds=seeds).seeds == int(seeds)


@pytest.mark.parametrize("seeds", ["", "0", "-1", "x", "1.5", "101", "1000", "9" * 5000, "²"])
def test_a_number_of_seeds_that_makes_no_sense_is_refused(seeds: str) -> None:
    with pytest.raises(UserError, match=r"SEEDS is how many seeds, 1 to 100; .* Type SEEDS=3"):
        request(seeds=seeds)


def test_the_home_of_nobody_is_no_data_folder() -> None:
    with pytest.raises(UserError, match=r"DATA_DIR: ~no-such-user/data: .* Type DATA_DIR="):
        request(data="files", data_dir="~no-such-user/data")


# -- A whole run ------------------------------------------------------------------------------------------------------


def test_a_run_leaves_records_verdicts_and_no_journal(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(SMOKE) == 0
    folder = fake.own_folder()
    measured = read_measurements(folder / "measurements.jsonl")
    layers = {m.system: m.value for m in measured if m.metric == "layers"}
    assert layers == {"first": 1, "second": 2, "third": 3}
    assert {(m.scale, m.data) for m in measured} == {("smoke", "builtin")}
    (claim,) = read_claims(folder / "claims.json")
    assert (claim.id, claim.verdict, claim.measured, claim.run) == (
        "fake-claim",
        "reproduced",
        pytest.approx(0.9),
        "smoke-builtin@local",
    )
    about = json.loads((folder / "environment.json").read_text())
    assert (about["run"], about["seeds"], about["scale"]) == ("smoke-builtin", [0], "smoke")
    assert fake.journals() == []
    out, err = capsys.readouterr()
    assert "reproduced" in out and "[3/3] third" in err


def test_above_smoke_the_shapes_are_a_run_of_their_own(fake: FakePaper) -> None:
    assert cli.main(["run", "fake-paper", "--seeds", "2"]) == 0
    assert fake.calls() == ["first", "second", "third", "shapes"]
    assert {p.name for p in (fake.results / fake.slug).iterdir()} == {"mini-builtin@local", "shapes@local"}
    (shape, _) = read_measurements(fake.own_folder("shapes") / "measurements.jsonl")
    assert (shape.scale, shape.data) == ("mini", "none")
    assert json.loads((fake.own_folder("mini-builtin") / "environment.json").read_text())["seeds"] == [0, 1]


def test_a_finished_run_lets_go_of_its_data(fake: FakePaper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Architectures at full size need the memory in which the trained run kept its tasks."""
    runs: list[weakref.ref[Run]] = []
    alive: list[bool] = []
    run_steps = runner.run_steps

    def watched(prepared: runner.Prepared, progress: RunProgress, first: int) -> list[Measurement]:
        alive.extend(run() is not None for run in runs)
        runs.append(weakref.ref(prepared.run))
        return run_steps(prepared, progress, first)

    monkeypatch.setattr(command, "run_steps", watched)
    assert cli.main(["run", "fake-paper", "--tasks", "sentiment"]) == 0
    assert alive == [False]


def test_planning_runs_and_writes_nothing(
    fake: FakePaper, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.costs.estimates.slowness", lambda precision: 2.5)
    monkeypatch.setattr("common.devices.available_device", lambda: torch.device("cpu"))
    assert cli.main(["plan", "fake-paper"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("first", "second", "third", "shapes", "mini-builtin: 3 steps, about 3 s"))
    assert "in all about 4 s on two CPU cores, 10 s on this machine as busy as it is;" in out
    assert fake.calls() == [] and not fake.results.exists() and not fake.cache.exists()


def test_paths_outside_the_checkout_are_printed_in_full(tmp_path: Path) -> None:
    assert command.shown(tmp_path) == tmp_path
    assert command.shown(CHECKOUT / "results" / "x") == Path("results/x")


# -- Interruptions ----------------------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_was(fake: FakePaper, capsys: pytest.CaptureFixture[str]) -> None:
    fake.trouble(second="interrupt")
    assert cli.main(SMOKE) == 130
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("reproduce: interrupted") and "Traceback" not in message
    assert not fake.results.exists() and len(fake.journals()) == 1
    fake.trouble()
    assert cli.main(SMOKE) == 0
    assert fake.calls() == ["first", "second", "second", "third"]
    counted = {m.system: m.n for m in read_measurements(fake.own_folder() / "measurements.jsonl") if not m.timed}
    assert counted == {"first": 1, "second": 3, "third": 4}, "the first step's numbers are those of before"


def test_a_run_finished_before_the_interruption_is_not_run_again(fake: FakePaper) -> None:
    """The shapes come after the trained run, and the command ends with both."""
    fake.trouble(shapes="interrupt")
    assert cli.main(["run", "fake-paper"]) == 130
    before = fake.everything()
    assert any("mini-builtin@local" in path for path in before)
    fake.trouble()
    assert cli.main(["run", "fake-paper"]) == 0
    assert fake.calls() == ["first", "second", "third", "shapes", "shapes"]
    now = fake.everything()
    assert {path: now[path] for path in before} == before and fake.journals() == []


def test_a_record_that_was_thrown_away_is_written_again(fake: FakePaper) -> None:
    fake.trouble(shapes="interrupt")
    assert cli.main(["run", "fake-paper"]) == 130
    shutil.rmtree(fake.own_folder("mini-builtin"))
    fake.trouble()
    assert cli.main(["run", "fake-paper"]) == 0
    assert (fake.own_folder("mini-builtin") / "environment.json").exists()


def test_a_finished_run_is_measured_afresh(fake: FakePaper) -> None:
    assert cli.main(SMOKE) == 0
    assert cli.main(SMOKE) == 0
    assert fake.calls() == ["first", "second", "third"] * 2


@pytest.mark.parametrize("change", ["code", "facts", "seeds", "scale"])
def test_another_request_or_other_code_starts_anew(fake: FakePaper, change: str) -> None:
    fake.trouble(second="interrupt")
    assert cli.main(SMOKE) == 130
    fake.trouble()
    arguments = list(SMOKE)
    if change == "code":
        (fake.folder / "method.py").write_text("# new\n")
    elif change == "facts":
        fake.edit_paper(name="Renamed")
    elif change == "seeds":
        arguments += ["--seeds", "2"]
    else:
        arguments[-1] = "mini"
    assert cli.main(arguments) == 0
    assert fake.calls()[2:5] == ["first", "second", "third"]


def test_changed_data_starts_anew(fake: FakePaper) -> None:
    data = fake.root / "data" / "mine"
    data.mkdir(parents=True)
    rows = [f"text {i},{i % 2}" for i in range(16)]
    (data / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (data / "dev.csv").write_text("text,label\na,0\nb,1\n")
    arguments = [*SMOKE, "--data", "files", "--data-dir", str(data.parent), "--tasks", "mine"]
    fake.trouble(second="interrupt")
    assert cli.main(arguments) == 130
    assert cli.main(arguments) == 130
    assert fake.calls() == ["first", "second", "second"], "the same data: goes on"
    (data / "dev.csv").write_text("text,label\na,0\nc,1\n")
    fake.trouble()
    assert cli.main(arguments) == 0
    assert fake.calls()[3:] == ["first", "second", "third"]


def test_a_defect_in_a_step_is_shown_as_one(fake: FakePaper) -> None:
    fake.trouble(second="fail")
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main(SMOKE)
    assert fake.everything() == {}


def wait_until_hanging(fake: FakePaper, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not (fake.folder / "hanging").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_killed_run_loses_the_step_in_progress_alone(fake: FakePaper, number: int, code: int) -> None:
    assert cli.main(SMOKE) == 0
    before = fake.everything()
    fake.trouble(second="hang")
    with subprocess.Popen(fake.command(*SMOKE), cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) as process:
        wait_until_hanging(fake, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in err
    assert fake.everything() == before
    fake.trouble()
    assert cli.main(SMOKE) == 0
    assert fake.calls()[3:] == ["first", "second", "second", "third"]


# -- The disk is full -------------------------------------------------------------------------------------------------


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_record(
    fake: FakePaper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(SMOKE) == 0
    before = fake.everything()
    capsys.readouterr()
    monkeypatch.setattr(os, "fsync", full_disk)
    assert cli.main(SMOKE) == 2
    message = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reproduce:")]
    assert len(message) == 1 and "cannot write" in message[0] and "No space left on device" in message[0]
    assert fake.everything() == before


def test_a_disk_that_fills_up_at_the_end_costs_no_step(fake: FakePaper, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(SMOKE) == 0
    before = fake.everything()

    def write_onto_a_full_disk(path: Path, measurements: list[Measurement]) -> None:
        with monkeypatch.context() as filled:
            filled.setattr(os, "fsync", full_disk)
            write_measurements(path, measurements)

    with monkeypatch.context() as patched:
        patched.setattr(runner, "write_measurements", write_onto_a_full_disk)
        assert cli.main(SMOKE) == 2
    assert fake.everything() == before
    assert cli.main(SMOKE) == 0
    assert fake.calls() == ["first", "second", "third"] * 2, "two runs, and the third command only wrote"


# -- A real paper -----------------------------------------------------------------------------------------------------


def test_every_default_task_exists() -> None:
    for source, tasks in TASKS.items():
        assert set(tasks) <= set(known_tasks(source))


def test_a_task_of_a_run_is_cut_to_its_scale(tmp_path: Path) -> None:
    scale = find_scale("smoke")
    store, silent = ArtifactStore(tmp_path), lambda *_: None
    run = Run("smoke-builtin", scale, "builtin", None, (), (0,), store, tmp_path, silent, silent)
    task = run.task("sentiment")
    assert (len(task.train), len(task.tune), len(task.dev)) == (512, 128, 256)
    assert run.task("sentiment") is task
    assert run.data_fingerprints() == {"sentiment": task.fingerprint}


@pytest.mark.parametrize(("scale", "seeds"), [("smoke", (4,)), ("mini", (4,)), ("paper", (4, 5))])
def test_a_costly_task_has_one_seed_below_the_papers_scale(tmp_path: Path, scale: str, seeds: tuple[int, ...]) -> None:
    store, silent = ArtifactStore(tmp_path), lambda *_: None
    run = Run("any", find_scale(scale), "builtin", None, (), (4, 5), store, tmp_path, silent, silent)
    assert run.seeds_of("long", {"long"}) == seeds
    assert run.seeds_of("short", {"long"}) == (4, 5)


def test_deebert_from_the_command_line_to_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way once, small; then again with everything trained: the same numbers, clock aside."""
    results = tmp_path / "results"
    record = functools.partial(command.record, results=results, tables=tmp_path / "tables")
    monkeypatch.setattr(command, "reproduce", record)  # At the smoke scale the command itself writes no record.
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    arguments = ["run", "DeeBERT", "--scale", "smoke", "--tasks", "Sentiment"]
    assert cli.main(arguments) == 0
    trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "objects").iterdir()}
    assert list((tmp_path / "cache" / "journal").iterdir()) == []
    (deebert,) = choose("deebert")
    (prepared,) = runner.prepare(deebert, request(tasks="sentiment"), tmp_path / "cache")
    again = runner.run_steps(prepared)
    folder = results / "deebert" / "smoke-builtin"
    measured = read_measurements(folder / "measurements.jsonl")
    assert {m.experiment for m in measured} >= {"table1", "figure2", "figure3", "figure4", "figure6"}
    assert {(m.scale, m.data, m.task) for m in measured if m.task} == {("smoke", "builtin", "sentiment")}
    assert [m for m in again if not m.timed] == [m for m in measured if not m.timed]
    assert [m.value for m in again if m.timed] != [m.value for m in measured if m.timed]
    again_there = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "objects").iterdir()}
    assert trained and again_there == trained, "nothing is trained twice"
    claims = read_claims(folder / "claims.json")
    assert {c.run for c in claims} == {"smoke-builtin"}
    empirical = {c.verdict for c in claims if c.subject == "quality" and c.type == "empirical"}
    assert empirical == {"not run"}, "smoke decides nothing about quality"
    about = json.loads((folder / "environment.json").read_text())
    assert about["timing"].keys() == {"others_load_mean", "others_load_max"}
    assert about["tasks"] == ["sentiment"] and set(environment.environment()) <= set(about)
    assert (tmp_path / "tables" / "deebert" / "table1.tex").stat().st_size > 0
