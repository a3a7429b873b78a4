"""What a run makes of a task: known ones are cut to the scale, the user's own are used whole."""

from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest

from common.errors import UserError
from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.run.runner import Request
from common.scales import SCALES


def run_on(data_dir: Path, scale: str = "smoke") -> Run:
    store = ArtifactStore(data_dir / "cache")
    return Run("r", SCALES[scale], "files", data_dir, (), (0,), store, data_dir, lambda a, b: None, lambda line: None)


def write(folder: Path, train: int, dev: int, header: str = "text,label", row: str = "text {},{}") -> None:
    folder.mkdir()
    for name, count in (("train", train), ("dev", dev)):
        rows = [row.format(f"{name} {i}", i % 2) for i in range(count)]
        (folder / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")


def test_data_of_ones_own_are_used_whole(tmp_path: Path) -> None:
    write(tmp_path / "mine", 3000, 1200)
    task = run_on(tmp_path).task("mine")
    assert task.is_own
    assert (len(task.train), len(task.tune), len(task.dev)) == (3000 - 128, 128, 1200)
    assert Counter(e.label for e in task.tune) == {0: 64, 1: 64}


def test_a_known_task_is_cut_to_the_scale(tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    for name in ("train", "dev"):
        rows = [f"{name} {i}\t{i % 2}" for i in range(600)]
        (tmp_path / "sst2" / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    task = run_on(tmp_path).task("sst-2")
    assert not task.is_own
    assert (len(task.train), len(task.tune), len(task.dev)) == (512, 75, 256)


def test_one_dev_row_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    write(tmp_path / "mine", 40, 1)
    with pytest.raises(UserError, match="mine: 1 evaluation example is too few: expected at least 2"):
        run_on(tmp_path).task("mine")


def test_what_the_user_says_at_most_is_used_and_told(tmp_path: Path) -> None:
    write(tmp_path / "mine", 400, 200)
    (tmp_path / "mine" / "task.yaml").write_text("at_most: {train: 100, dev: 50}\n")
    run = run_on(tmp_path)
    task = run.task("mine")
    assert (len(task.train), len(task.tune), len(task.dev)) == (100, 50, 50)
    assert [line for line in run.describe_data() if "cut by task.yaml" in line]


def test_a_run_tells_what_it_made_of_its_data(tmp_path: Path) -> None:
    write(tmp_path / "mine", 3000, 20)
    write(tmp_path / "sst2", 3000, 1200, header="sentence\tlabel", row="{}\t{}")
    for name in ("train", "dev"):
        (tmp_path / "sst2" / f"{name}.csv").rename(tmp_path / "sst2" / f"{name}.tsv")
    run = run_on(tmp_path, "mini")
    assert run.describe_data() == []
    run.task("mine")
    run.task("sst-2")
    told = run.describe_data()
    assert told[0] == "mine: 3,000 train and 20 dev rows read; 2 classes: 0 1,500, 1 1,500"
    assert told[2].startswith("  warning: 20 dev rows are few")
    assert told[3].startswith("sst-2: 3,000 train and 1,200 dev rows read; 2 classes: negative 1,500, positive 1,500")
    assert "2,500 to train on, 375 of train held back" not in told[1]
    assert "2,500 to train on, 375 of train held back for choosing thresholds, 1,000 of dev" in told[4]
    assert "(cut by SCALE=mini)" in told[4]


def test_two_spellings_on_the_command_line_are_one_task(tmp_path: Path) -> None:
    write(tmp_path / "subj", 40, 40)
    given = {"scale": "smoke", "data": "files", "data_dir": str(tmp_path), "seeds": "1", "tasks": "subj,Subj, SST2"}
    options = Namespace(**given, encoder="", timing_device="auto")
    assert Request.parse(options).tasks == ("subj", "sst-2")
