"""Published layouts from small files written here; every way in which a file can be bad."""

import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from common.tasks import load_task
from common.tasks.files import files_task, read_split
from common.tasks.task import Example

PACK: dict[str, Callable[[bytes], bytes]] = {"": lambda raw: raw, ".gz": gzip.compress, ".xz": lzma.compress}
MNLI_TRAIN = "index\tpromptID\tsentence1\tsentence2\tlabel1\tgold_label\n"
MNLI_DEV = "index\tpromptID\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label\n"

# name: (folder, files, first train example)
LAYOUTS: dict[str, tuple[str, dict[str, str], Example]] = {
    "sst-2": (
        "SST-2",
        {"train.tsv": 'sentence\tlabel\nsay "hm \t1\n', "dev.tsv": "sentence\tlabel\nbad \t0\n"},
        Example('say "hm ', None, 1.0),
    ),
    "cola": (
        "CoLA",
        {"train.tsv": "gj04\t0\t*\tThe the.\n", "dev.tsv": "gj04\t1\t\tA dog ran.\n"},
        Example("The the.", None, 0.0),
    ),
    "mrpc": (
        "mrpc",
        {
            "train.tsv": 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\t"A\tB\n',
            "dev.tsv": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\tA\tC\n",
        },
        Example('"A', "B", 1.0),
    ),
    "rte": (
        "RTE",
        {
            "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tnot_entailment\n",
            "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentailment\n",
        },
        Example("A", "B", 1.0),
    ),
    "sts-b": (
        "STS-B",
        {
            "train.tsv": "index\tsentence1\tsentence2\tscore\n0\tA\tB\t3.800\n",
            "dev.tsv": "index\tsentence1\tsentence2\tscore\n0\tA\tB\t5.0\n",
        },
        Example("A", "B", 3.8),
    ),
    "qnli": (
        "qnli",
        {
            "train.tsv": "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tentailment\n",
            "dev.tsv": "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tentailment\n",
        },
        Example("Who?", "He.", 0.0),
    ),
    "qqp-sample": (
        "qqp_sample",
        {
            "train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tA?\tB?\t1\n",
            "dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tA?\tB?\t0\n",
        },
        Example("A?", "B?", 1.0),
    ),
    "mnli": (
        "MNLI",
        {
            "train.tsv": f"{MNLI_TRAIN}0\t1\tA\tB\tneutral\tcontradiction\n",
            "dev_matched.tsv": f"{MNLI_DEV}0\t1\tA\tB\tneutral\tneutral\tneutral\n",
        },
        Example("A", "B", 2.0),
    ),
    "trec": (
        "trec",
        {"train.txt": "HUM:ind Who is it ?\n", "test.txt": "NUM:dist How far is it ?\n"},
        Example("Who is it ?", None, 3.0),
    ),
    "imdb": (
        "imdb",
        {
            "train.tsv": "label\trating\tid\ttext\n1\t9\t0\tGood<br />film\n",
            "test.tsv": "label\trating\tid\ttext\n0\t2\t0\tBad\n",
        },
        Example("Good<br />film", None, 1.0),
    ),
    "ag-news": (
        "ag_news",
        {"train_sample.tsv": "label\ttext\n3\tChips\n", "test.tsv": "label\ttext\n1\tGoal\n"},
        Example("Chips", None, 3.0),
    ),
}


def write(root: Path, folder: str, files: dict[str, str], suffix: str = "") -> None:
    (root / folder).mkdir(exist_ok=True)
    for name, text in files.items():
        (root / folder / f"{name}{suffix}").write_bytes(PACK[suffix](text.encode()))


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path: Path, name: str, suffix: str) -> None:
    folder, files, first = LAYOUTS[name]
    write(tmp_path, folder, files, suffix)
    task = load_task(name.upper(), "files", tmp_path)
    assert task.name == name and task.source == "files"
    assert task.train == (first,)
    assert len(task.dev) == 1 and task.test == ()
    assert task.is_regression == (name == "sts-b")


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    files = {"train.tsv": "\ufeffsentence\tlabel\r\nfine\t1\r\n", "dev.tsv": "sentence\tlabel\r\nbad\t0\r\n"}
    write(tmp_path, "sst2", files)
    assert files_task("sst-2", tmp_path).train == (Example("fine", None, 1.0),)


def test_qnli_without_train(tmp_path: Path) -> None:
    folder, files, _ = LAYOUTS["qnli"]
    write(tmp_path, folder, {"dev.tsv": files["dev.tsv"]})
    with pytest.raises(UserError, match=r"qnli: the training file is missing.*train\.tsv, train\.tsv\.gz"):
        files_task("qnli", tmp_path)
    assert read_split("qnli", tmp_path, "dev") == (Example("Who?", "He.", 0.0),)


HEADER = "sentence\tlabel\n"
BAD_FILES = {
    "wrong number of fields": (
        f"{HEADER}fine\t1\nso\tso\t0\n".encode(),
        r"train\.tsv:3: expected 2 fields \(sentence, label\), found 3",
    ),
    "too few fields": (f"{HEADER}fine\n".encode(), r"train\.tsv:2: expected 2 fields .*found 1"),
    "missing column": (b"text\tlabel\nfine\t1\n", r"train\.tsv:1: no column 'sentence'.*found: text, label"),
    "label outside the set": (f"{HEADER}fine\t2\n".encode(), r"train\.tsv:2: label '2' .*none of: 0, 1"),
    "not UTF-8": (HEADER.encode() + b"fine\t1\ncaf\xe9\t0\n", r"train\.tsv:3: byte 0xe9 at position 4 .*UTF-8"),
    "empty": (b"", r"train\.tsv is empty"),
    "header alone": (HEADER.encode(), r"train\.tsv holds no examples"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_content(tmp_path: Path, case: str) -> None:
    content, message = BAD_FILES[case]
    write(tmp_path, "sst2", {"dev.tsv": f"{HEADER}bad\t0\n"})
    (tmp_path / "sst2" / "train.tsv").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        files_task("sst-2", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "not an archive", "flipped"])
@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_broken_archive(tmp_path: Path, suffix: str, damage: str) -> None:
    good = PACK[suffix]((HEADER + "".join(f"film {i * i}\t1\n" for i in range(2000))).encode())
    middle = len(good) // 2
    bad = {
        "truncated": good[:middle],
        "not an archive": b"sentence\tlabel\nfine\t1\n",
        "flipped": good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :],
    }[damage]
    write(tmp_path, "sst2", {"dev.tsv": f"{HEADER}bad\t0\n"})
    (tmp_path / "sst2" / f"train.tsv{suffix}").write_bytes(bad)
    with pytest.raises(UserError, match=rf"train\.tsv{suffix}"):
        files_task("sst-2", tmp_path)


@pytest.mark.parametrize("score", ["5.1", "-1", "high", "nan", ""])
def test_bad_score(tmp_path: Path, score: str) -> None:
    _, files, _ = LAYOUTS["sts-b"]
    bad = {"train.tsv": f"index\tsentence1\tsentence2\tscore\n0\tA\tB\t{score}\n", "dev.tsv": files["dev.tsv"]}
    write(tmp_path, "stsb", bad)
    with pytest.raises(UserError, match=r"train\.tsv:2: expected a (score|number)"):
        files_task("sts-b", tmp_path)


@pytest.mark.parametrize("line", ["Who is it ?", "HUM:ind", "ANIMAL:dog Which dog ?"])
def test_bad_trec_line(tmp_path: Path, line: str) -> None:
    write(tmp_path, "TREC", {"train.txt": f"HUM:ind Who ?\n{line}\n", "test.txt": "HUM:ind Who ?\n"})
    with pytest.raises(UserError, match=r"train\.txt:2: (expected 'COARSE:fine|label 'ANIMAL'.*ABBR, ENTY)"):
        files_task("trec", tmp_path)


def test_missing_and_ambiguous_folders(tmp_path: Path) -> None:
    write(tmp_path, "cola", {})
    with pytest.raises(UserError, match=r"no folder 'sst-2'.*folders found: cola"):
        files_task("sst-2", tmp_path)
    write(tmp_path, "sst2", {})
    write(tmp_path, "SST-2", {})
    with pytest.raises(UserError, match=r"several folders.*SST-2, sst2"):
        files_task("sst-2", tmp_path)


ROWS = {
    "sst-2": (67_349, 872), "cola": (8_551, 1_043), "mrpc": (3_668, 408), "rte": (2_490, 277),
    "sts-b": (5_749, 1_500), "qqp-sample": (19_895, 3_602), "trec": (5_452, 500), "imdb": (25_000, 25_000),
    "ag-news": (8_791, 7_600),
}  # fmt: skip


@pytest.mark.skipif("DATA_DIR" not in os.environ, reason="set DATA_DIR to check the real data")
@pytest.mark.parametrize("name", ROWS)
def test_published_row_counts(name: str) -> None:
    task = load_task(name, "files", Path(os.environ["DATA_DIR"]))
    assert (len(task.train), len(task.dev)) == ROWS[name]
    positives = {"sst-2": 444, "mrpc": 279, "imdb": 12_500}
    if name in positives:
        assert sum(example.label for example in task.dev) == positives[name]


def test_labels_numbered_from_1_are_not_taken_as_other_classes(tmp_path: Path) -> None:
    rows = "".join(f"{1 + i % 3}\tnews {i}\n" for i in range(9))
    write(tmp_path, "ag_news", {"train.tsv": f"label\ttext\n{rows}", "test.tsv": f"label\ttext\n{rows}"})
    with pytest.raises(UserError, match=r"labels 1, 2, 3 and no 0: is it numbered from 1\? Expected 0 to 3"):
        load_task("ag-news", "files", tmp_path)


def test_a_task_yaml_in_a_published_folder_is_not_ignored(tmp_path: Path) -> None:
    folder, files, _ = LAYOUTS["sst-2"]
    for name in ("task.yaml", "Task.yml"):
        write(tmp_path, folder, {**files, name: "metric: macro_f1\n"})
        with pytest.raises(UserError, match=rf"SST-2/{name} would be ignored: .* read as the published sst-2"):
            load_task("sst-2", "files", tmp_path)
        (tmp_path / folder / name).unlink()
    load_task("sst-2", "files", tmp_path)


def test_a_file_in_two_forms_is_refused(tmp_path: Path) -> None:
    folder, files, _ = LAYOUTS["sst-2"]
    write(tmp_path, folder, files)
    write(tmp_path, folder, files, ".gz")
    with pytest.raises(UserError, match=r"SST-2: train\.tsv and train\.tsv\.gz stand side by side\. Keep one"):
        load_task("sst-2", "files", tmp_path)
