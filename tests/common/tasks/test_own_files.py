"""A data set of one's own: formats, recognised columns, task.yaml and its errors."""

import gzip
from pathlib import Path

import pytest

from common.errors import UserError
from common.tasks import load_task
from common.tasks.task import Example, Task

CSV = 'text,label\n"one, ""two""\nthree",good\nfour,bad\n'


def make(root: Path, files: dict[str, str], name: str = "mine") -> Path:
    (root / name).mkdir(exist_ok=True)
    for file, text in files.items():
        raw = text.encode()
        (root / name / file).write_bytes(gzip.compress(raw) if file.endswith(".gz") else raw)
    return root


def load(root: Path) -> Task:
    return load_task("mine", "files", root)


def test_csv_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    task = load(make(tmp_path, {"train.csv": CSV, "dev.csv": "label,text\ngood,five\n"}))
    assert task == Task(
        "mine", ("bad", "good"), "accuracy", "files",
        (Example('one, "two"\nthree', None, 1.0), Example("four", None, 0.0)),
        (Example("five", None, 1.0),),
    )  # fmt: skip


def test_jsonl_pairs_with_numeric_labels_in_numeric_order(tmp_path: Path) -> None:
    rows = "".join(f'{{"premise": "p{i}", "hypothesis": "h", "label": {i}, "id": null}}\n' for i in (10, 9))
    task = load(make(tmp_path, {"train.jsonl.gz": rows, "validation.jsonl": rows}))
    assert task.labels == ("9", "10") and task.is_pair
    assert task.train == (Example("p10", "h", 1.0), Example("p9", "h", 0.0))


def test_tsv_is_read_without_quoting(tmp_path: Path) -> None:
    task = load(make(tmp_path, {"train.tsv": 'sentence\tlabel\n"a\t1\nb"\t0\n', "test.tsv": "sentence\tlabel\nc\t0\n"}))
    assert [example.text_a for example in task.train] == ['"a', 'b"']
    assert len(task.dev) == 1


def test_task_yaml_names_columns_labels_and_metric(tmp_path: Path) -> None:
    facts = "columns: {text_a: review, label: stars}\nmetric: f1\nlabels: [poor, good]\n"
    rows = "stars,text,review\ngood,x,nice\npoor,x,dull\n"
    task = load(make(tmp_path, {"train.csv": rows, "dev.csv": rows, "task.yaml": facts}))
    assert (task.labels, task.metric) == (("poor", "good"), "f1")
    assert task.train == (Example("nice", None, 1.0), Example("dull", None, 0.0))


def test_regression(tmp_path: Path) -> None:
    rows = "sentence1,sentence2,label\na,b,2.5\nc,d, -1e0 \n"
    task = load(make(tmp_path, {"train.csv": rows, "dev.csv": rows, "task.yaml": "labels: []\n"}))
    assert task.is_regression and task.metric == "spearman"
    assert task.train == (Example("a", "b", 2.5), Example("c", "d", -1.0))


def test_labels_from_yaml_may_be_numbers(tmp_path: Path) -> None:
    rows = "text,label\na,1\nb,0\n"
    task = load(make(tmp_path, {"train.csv": rows, "dev.csv": rows, "task.yaml": "labels: [1, 0]\n"}))
    assert task.labels == ("1", "0")
    assert [example.label for example in task.train] == [0.0, 1.0]


GOOD = "text,label\na,x\nb,y\n"
BAD = {
    "no train": ({"dev.csv": GOOD}, r"no train file in .*train\.csv, train\.jsonl, train\.tsv.*\.gz"),
    "no dev": ({"train.csv": GOOD}, r"no dev file in .*dev\.csv.*validation\.csv"),
    "no text column": (
        {"train.csv": "review,label\na,x\n", "dev.csv": GOOD},
        r"train\.csv:1: no text column; columns found: review, label.*task\.yaml",
    ),
    "no label column": (
        {"train.csv": "text,class\na,x\n", "dev.csv": GOOD},
        r"train\.csv:1: no column 'label'; columns found: text, class",
    ),
    "unseen label in dev": (
        {"train.csv": GOOD, "dev.csv": "text,label\na,x\nb,z\n"},
        r"dev\.csv:3: label 'z' .*none of: x, y",
    ),
    "wrong number of fields": (
        {"train.csv": "text,label\na,x\nb, c,y\n", "dev.csv": GOOD},
        r"train\.csv:3: expected 2 fields \(text, label\), found 3",
    ),
    "unclosed quote": ({"train.csv": 'text,label\n"a,x\n', "dev.csv": GOOD}, r"train\.csv:\d+: not valid CSV"),
    "empty": ({"train.csv": "", "dev.csv": GOOD}, r"train\.csv holds no examples"),
    "empty tsv": ({"train.tsv": "", "dev.csv": GOOD}, r"train\.tsv is empty"),
    "empty dev": ({"train.csv": GOOD, "dev.csv": "text,label\n"}, r"dev\.csv holds no examples"),
    "one label": ({"train.csv": "text,label\na,x\n", "dev.csv": GOOD}, r"only one label in train: 'x'"),
    "a fraction": (
        {"train.csv": "text,label\na,1\nb,2.5\n", "dev.csv": GOOD},
        r"train\.csv:3: label '2\.5' is a fraction.*labels: \[\]",
    ),
    "not JSON": ({"train.jsonl": '{"text": "a", "label": 1}\n{"text"\n', "dev.csv": GOOD}, r"train\.jsonl:2: not"),
    "not an object": ({"train.jsonl": '["a", 1]\n', "dev.csv": GOOD}, r"train\.jsonl:1: expected a JSON object"),
    "null text": (
        {"train.jsonl": '{"text": "a", "label": 1}\n{"text": null, "label": 0}\n', "dev.csv": GOOD},
        r"train\.jsonl:2: no column 'text'",
    ),
    "unknown key": (
        {"train.csv": GOOD, "dev.csv": GOOD, "task.yaml": "metrics: f1\n"},
        r"task\.yaml: metrics: .*Known keys: columns",
    ),
    "not YAML": ({"train.csv": GOOD, "dev.csv": GOOD, "task.yaml": "labels: [a\n"}, r"task\.yaml:2: not readable"),
    "unknown metric": (
        {"train.csv": GOOD, "dev.csv": GOOD, "task.yaml": "metric: f2\n"},
        r"task\.yaml: metric: unknown metric 'f2'; known: accuracy",
    ),
    "metric of another kind": (
        {"train.csv": GOOD, "dev.csv": GOOD, "task.yaml": "metric: pearson\n"},
        r"'pearson' does not fit classes; use one of accuracy",
    ),
    "f1 of three": (
        {"train.csv": f"{GOOD}c,z\n", "dev.csv": GOOD, "task.yaml": "metric: f1\n"},
        r"'f1' is for two labels, here are 3",
    ),
    "text for a number": (
        {"train.csv": GOOD, "dev.csv": GOOD, "task.yaml": "labels: []\n"},
        r"train\.csv:2: expected a number in column 'label', found 'x'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path: Path, case: str) -> None:
    files, message = BAD[case]
    with pytest.raises(UserError, match=message):
        load(make(tmp_path, files))


def test_unknown_folder_suggests(tmp_path: Path) -> None:
    make(tmp_path, {"train.csv": GOOD, "dev.csv": GOOD}, name="reviews")
    with pytest.raises(UserError, match="did you mean reviews"):
        load_task("review", "files", tmp_path)
