"""What a run makes of a task: known ones are cut to the scale, the user's own are used whole."""

from collections import Counter
from pathlib import Path

import pytest

from common.artifacts import ArtifactStore
from common.errors import UserError
from common.replication import Run
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
