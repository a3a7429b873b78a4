"""Data sets of one's own that two readers would understand differently: each is refused, or read as it was meant."""

# ruff: noqa: E501  (a case a line)

import csv
import io
import json
import re
from pathlib import Path
from typing import Literal

import pytest

from common.errors import UserError
from common.tasks import canonical_names, load_task
from common.tasks.task import Task

GOOD = "text,label\na,x\nb,y\n"
ROWS = [("one", "x"), ("two", "y"), ("three", "x")]


def make(root: Path, files: dict[str, str | bytes], name: str = "mine") -> Path:
    (root / name).mkdir(exist_ok=True)
    for file, content in files.items():
        (root / name / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def load(root: Path, files: dict[str, str | bytes]) -> Task:
    return load_task("mine", "files", make(root, {"dev.csv": GOOD, **files}))


def rows(*pairs: tuple[str, str], header: str = "text,label") -> str:
    return "\n".join([header, *(",".join(pair) for pair in pairs)]) + "\n"


REFUSED: dict[str, tuple[dict[str, str | bytes], str]] = {
    # -- the same thing twice -----------------------------------------------------------------------------------------
    "a text column twice": ({"train.csv": "text,label,text\na,x,b\nc,y,d\n"}, r"train\.csv:1: the column 'text' is there twice"),
    "a label column twice": ({"train.csv": "text,label,label\na,x,y\nc,y,x\n"}, r"the column 'label' is there twice"),
    "a column twice in TSV": ({"train.tsv": "text\tlabel\ttext\na\tx\tb\n"}, r"train\.tsv:1: the column 'text' is there twice"),
    "a column twice but for blanks": ({"train.csv": "text,label, text\na,x,b\n"}, r"the column 'text' is there twice"),
    "a JSON key twice": (
        {"train.jsonl": '{"text": "a", "label": 1}\n{"text": "a", "label": 1, "label": 0}\n'},
        r"train\.jsonl:2: the key 'label' is given twice",
    ),
    "two train files": ({"train.csv": GOOD, "train.jsonl": ""}, r"train\.csv and train\.jsonl stand side by side"),
    "a train file packed and not": ({"train.csv": GOOD, "train.csv.gz": b""}, r"train\.csv and train\.csv\.gz stand side"),
    "two dev files": ({"train.csv": GOOD, "valid.tsv": "text\tlabel\na\tx\n"}, r"dev\.csv and valid\.tsv stand side"),
    # -- labels -------------------------------------------------------------------------------------------------------
    "labels that differ by case": (
        {"train.csv": rows(*ROWS, ("four", "X"))}, r"train\.csv:5: labels 'X' and 'x' \(line 2\) differ in spelling alone"
    ),
    "labels that differ by leading zeros": ({"train.csv": rows(("a", "1"), ("b", "01"))}, "'01' and '1' .* differ in spelling"),
    "labels that differ by an invisible character": (
        {"train.csv": rows(*ROWS, ("four", "x\u200b"))}, "differ in spelling alone"
    ),
    "an empty label": ({"train.csv": rows(*ROWS, ("four", ""))}, r"train\.csv:5: label '' .*without a gold label"),
    "a blank label": ({"train.csv": rows(*ROWS, ("four", "  "))}, r"train\.csv:5: label '' .*without a gold label"),
    "SNLI's mark": ({"train.csv": rows(*ROWS, ("four", "-"))}, r"train\.csv:5: label '-' .*gold label \(as SNLI's"),
    "SNLI's mark among numbers": (
        {"train.csv": rows(("a", "0"), ("b", "1"), ("c", "-1"))}, r"train\.csv:4: label '-1' .*without a gold label"
    ),
    "a mark of pandas": ({"train.csv": rows(*ROWS, ("four", "NaN"))}, "label 'NaN' .*without a gold label"),
    "a label of many digits": (
        {"train.csv": rows(("a", "1"), ("b", "7" * 5000))}, r"train\.csv:3: a label of 5,000 characters .*is this the label"
    ),
    # -- quotation marks ----------------------------------------------------------------------------------------------
    "a stray quotation mark swallows a row": (
        {"train.csv": rows(*ROWS, ('"four', "x"), ('five"', "y"), ("six", "y"))},
        r"train\.csv:5: the quotation mark that opens here runs on into line 6 and swallows",
    ),
    "one swallows two rows": (
        {"train.csv": rows(*ROWS, ('"four', "x"), ("five", "y"), ('six"', "y"))},
        r"train\.csv:5: the quotation mark that opens here runs on into line 6",
    ),
    "the label comes first": (
        {"train.csv": rows(("x", "one"), ("y", '"two'), ("x", 'three"'), ("y", "four"), header="label,text")},
        r"train\.csv:3: the quotation mark that opens here runs on into line",
    ),
    "a quotation mark that nobody closes": (
        {"train.csv": rows(*ROWS, ('"four', "x"), ("five", "y"))},
        r"train\.csv:5: not valid CSV: unexpected end of data\. A quotation mark is opened in this row and never closed",
    ),
    "a blank before a quotation mark": (
        {"train.csv": 'text, label\na, x\nb, y\n"c, d", x\n"e", "x, y"\n'}, r"found 3\. A quotation mark opens a field"
    ),
    "a line break in TSV": (
        {"train.tsv": 'text\tlabel\na\tx\n"b\nc"\ty\n'}, r"train\.tsv:3: .*found 1\. .*TSV is read line by line"
    ),
    # -- numbers ------------------------------------------------------------------------------------------------------
    "1_5 is no number": ({"train.csv": rows(("a", "1_5"), ("b", "2")), "task.yaml": "labels: []\n"}, "expected a number .*'1_5'"),
    "Arabic digits": ({"train.csv": rows(("a", "\u0661\u0665"), ("b", "2")), "task.yaml": "labels: []\n"}, "expected a number"),
    "1e300": ({"train.csv": rows(("a", "1e300"), ("b", "2")), "task.yaml": "labels: []\n"}, r"at most 1,000,000 .*'1e300'.*Rescale"),
    "one target": (
        {"train.csv": rows(("a", "2"), ("b", "2")), "dev.csv": rows(("a", "2")), "task.yaml": "labels: []\n"},
        "every row has the same value in column 'label'",
    ),
    # -- JSON ---------------------------------------------------------------------------------------------------------
    "half of a surrogate pair": (
        {"train.jsonl": '{"text": "a", "label": "x"}\n{"text": "b \\ud83d", "label": "y"}\n'},
        r"train\.jsonl:2: 'text' holds half of a surrogate pair",
    ),
    "a number of 5,000 digits": ({"train.jsonl": f'{{"text": "a", "label": {"7" * 5000}}}\n'}, r"train\.jsonl:1: not readable as JSON"),
    "JSON 100,000 deep": ({"train.jsonl": '{"text": ' + "[" * 100_000}, r"train\.jsonl:1: .*nested too deeply"),
    # -- other formats ------------------------------------------------------------------------------------------------
    "a workbook": ({"train.csv": b"PK\x03\x04\x14\x00rest"}, r"train\.csv is a zip archive.*Excel workbook, save it as CSV"),
    "an old workbook": ({"train.csv": b"\xd0\xcf\x11\xe0\xa1\xb1"}, r"train\.csv is an old Excel"),
    "Parquet": ({"train.csv": b"PAR1\x15\x00"}, r"is a Parquet file"),
    "a packed file without its ending": ({"train.csv": b"\x1f\x8b\x08\x00"}, r"must end with \.gz"),
    "UTF-16": ({"train.csv": GOOD.encode("utf-16")}, r"train\.csv is UTF-16.*iconv -f utf-16"),
    "UTF-16 without a mark": ({"train.csv": GOOD.encode("utf-16-le")}, r"train\.csv is UTF-16"),
    "semicolons": ({"train.csv": "text;label\na;x\nb;y\n"}, r"train\.csv:1: the columns are parted by semicolons.*save it with commas"),
    "tabs": ({"train.csv": "text\tlabel\na\tx\nb\ty\n"}, r"train\.csv:1: the columns are parted by tabs.*name it \.tsv"),
    "commas in a TSV": ({"train.tsv": GOOD}, r"train\.tsv:1: the columns are parted by commas.*name it \.csv"),
    "a file of another name": ({"Train.csv": GOOD}, r"no train file .*files found: Train\.csv, dev\.csv"),
    # -- columns ------------------------------------------------------------------------------------------------------
    "text beside a pair": (
        {"train.csv": "text,question,sentence,label\na,b,c,x\nd,e,f,y\n"},
        r"train\.csv:1: the text may be question \+ sentence, or text: name the one that is meant",
    ),
    "text and sentence": ({"train.csv": "text,sentence,label\na,b,x\nc,d,y\n"}, "the text may be text, or sentence"),
    "two pairs": ({"train.csv": "text_a,text_b,premise,hypothesis,label\na,b,c,d,x\n"}, "the text may be"),
    "a wrong header is reported at the header": (
        {"train.csv": rows(*ROWS, header="text,class")}, r"train\.csv:1: no column 'label'; columns found: text, class"
    ),
    "a wrong header of dev too": (
        {"train.csv": GOOD, "dev.csv": rows(("a", "x"), ("b", "y"), header="body,label")}, r"dev\.csv:1: no column 'text'"
    ),
    # -- task.yaml ----------------------------------------------------------------------------------------------------
    "text is label": ({"train.csv": GOOD, "task.yaml": "columns: {text_a: label}\n"}, "text_a and label are the same column"),
    "text twice": (
        {"train.csv": GOOD, "task.yaml": "columns: {text_a: text, text_b: text}\n"}, "text_a and text_b are the same column"
    ),
    "text_b alone": ({"train.csv": GOOD, "task.yaml": "columns: {text_b: text}\n"}, "text_b is named without text_a"),
    "a label twice": ({"train.csv": GOOD, "task.yaml": "labels: [x, y, x]\n"}, "labels: 'x' is listed twice"),
    "a label twice but for blanks": ({"train.csv": GOOD, "task.yaml": 'labels: [x, y, " x"]\n'}, "'x' is listed twice"),
    "one label": ({"train.csv": GOOD, "task.yaml": "labels: [x]\n"}, "labels: one label is no task"),
    "an empty label in task.yaml": ({"train.csv": GOOD, "task.yaml": 'labels: [x, ""]\n'}, "labels: an empty label"),
    "a key twice": ({"train.csv": GOOD, "task.yaml": "metric: f1\nmetric: accuracy\n"}, r"task\.yaml:2: .*'metric' is given twice"),
    "a key twice within": ({"train.csv": GOOD, "task.yaml": "columns: {label: a, label: b}\n"}, "'label' is given twice"),
    "task.yml": ({"train.csv": GOOD, "task.yml": ""}, r"task\.yml is not read: name it task\.yaml"),
    "Task.yaml": ({"train.csv": GOOD, "Task.yaml": ""}, r"Task\.yaml is not read: name it task\.yaml"),
    "YAML 100,000 deep": ({"train.csv": GOOD, "task.yaml": "[" * 100_000}, r"task\.yaml"),
    "a misspelt key": ({"train.csv": GOOD, "task.yaml": "metrik: f1\n"}, r"did you mean 'metric'.*Known keys"),
    "no rows at most": ({"train.csv": GOOD, "task.yaml": "at_most: {train: 0}\n"}, r"at_most\.train: .*greater than or equal to 2"),
    "one label is used": ({"train.csv": rows(("a", "x")), "task.yaml": "labels: [x, y]\n"}, "every row has the same value"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path: Path, case: str) -> None:
    files, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        load(tmp_path, files)


@pytest.mark.parametrize(
    "word", ["yes", "no", "true", "True", "01", "2024-01-01", "1:30", "~", "null", "0x1F", "1.50", "1_000"]
)
def test_words_that_yaml_reads_as_something_else_are_to_be_quoted(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match=rf'task\.yaml:2: .*YAML reads {word} as .*quote it, "{word}"'):
        load(tmp_path, {"train.csv": GOOD, "task.yaml": f"metric: accuracy\nlabels: [x, {word}]\n"})
    train = rows(("a", "x"), ("b", word))
    task = load(tmp_path, {"train.csv": train, "dev.csv": train, "task.yaml": f'labels: [x, "{word}"]\n'})
    assert task.labels == ("x", word)


def test_numbers_that_are_written_as_they_are_read_need_no_quotes(tmp_path: Path) -> None:
    train = rows(("a", "-1"), ("b", "2.5"))
    task = load(tmp_path, {"train.csv": train, "dev.csv": train, "task.yaml": "labels: [-1, 2.5]\n"})
    assert task.labels == ("-1", "2.5")


# -- Read as it was meant ---------------------------------------------------------------------------------------------


def test_blanks_around_labels_and_column_names_mean_nothing(tmp_path: Path) -> None:
    task = load(tmp_path, {"train.csv": "text, label\na, x\nb,y \nc,x\n", "dev.csv": "text ,label\na,x\nb, y\n"})
    assert task.labels == ("x", "y")
    assert [e.label for e in (*task.train, *task.dev)] == [0, 1, 0, 0, 1]


def test_column_names_are_recognised_in_any_case(tmp_path: Path) -> None:
    task = load(tmp_path, {"train.csv": "Text,LABEL\na,x\nb,y\n"})
    assert [e.text_a for e in task.train] == ["a", "b"]
    pair = load(
        tmp_path,
        {"train.csv": "Premise,Hypothesis,Label\na,b,x\nc,d,y\n", "dev.csv": "premise,hypothesis,label\na,b,x\n"},
    )
    assert pair.train[1].text_b == "d"


def test_labels_listed_in_task_yaml_may_be_whatever_they_are(tmp_path: Path) -> None:
    train = rows(("a", "-1"), ("b", "0"), ("c", "-"), ("d", "Good"), ("e", "good"))
    task = load(tmp_path, {"train.csv": train, "dev.csv": train, "task.yaml": 'labels: [-1, 0, "-", Good, good]\n'})
    assert [e.label for e in task.train] == [0, 1, 2, 3, 4]


def test_minus_one_against_one_are_two_classes(tmp_path: Path) -> None:
    train = rows(("a", "-1"), ("b", "1"))
    assert load(tmp_path, {"train.csv": train, "dev.csv": train}).labels == ("-1", "1")


HARD = ['say "hi"', "a\ttab", "two\nlines", '"quoted"', "", "plain", '""', 'end"', "comma, here"]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("name", ["train.csv", "train.tsv"])
def test_what_pandas_writes_is_read_as_it_was(tmp_path: Path, name: str, quoting: Literal[0, 1]) -> None:
    written = io.StringIO()
    writer = csv.writer(  # the one that pandas writes with
        written, delimiter="\t" if name.endswith("tsv") else ",", quoting=quoting, lineterminator="\n"
    )
    writer.writerows([("text", "label"), *((text, f"c{i % 2}") for i, text in enumerate(HARD))])
    make(tmp_path, {name: written.getvalue()})
    task = load(tmp_path, {"dev.csv": "text,label\na,c0\nb,c1\n"})
    assert [e.text_a for e in task.train] == HARD


def test_a_tsv_whose_header_is_in_quotation_marks_is_quoted(tmp_path: Path) -> None:
    task = load(tmp_path, {"train.tsv": '"text"\t"label"\n"a b"\t"x"\n"c"\t"y"\n'})
    assert [e.text_a for e in task.train] == ["a b", "c"]
    assert task.labels == ("x", "y")


def test_a_long_text_is_read_from_csv_as_from_json(tmp_path: Path) -> None:
    long = "word " * 40_000
    task = load(tmp_path, {"train.csv": rows((long, "x"), ("b", "y"))})
    assert task.train[0].text_a == long
    before = csv.field_size_limit()
    assert before == 131_072, "the limit of the whole process stays"
    lines = "".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ((long, "x"), ("b", "y")))
    assert (
        load_task("other", "files", make(tmp_path, {"train.jsonl": lines, "dev.csv": GOOD}, "other")).train
        == task.train
    )


def test_texts_of_many_lines_stay_whole(tmp_path: Path) -> None:
    train = 'text,label\n"Dear all,\n\nit works, x\nBye",x\n"one, ""two""\nthree",y\n'
    assert [e.text_a.count("\n") for e in load(tmp_path, {"train.csv": train}).train] == [3, 1]


def test_a_test_file_beside_dev_is_left_alone(tmp_path: Path) -> None:
    assert len(load(tmp_path, {"train.csv": GOOD, "test.csv": "whatever"}).dev) == 2


# -- Names ------------------------------------------------------------------------------------------------------------


def test_names_of_signs_are_names_of_their_own(tmp_path: Path) -> None:
    for name in ("++", "c++", "c#"):
        make(tmp_path, {"train.csv": GOOD, "dev.csv": GOOD}, name)
    assert load_task("C++", "files", tmp_path).name == "c++"
    assert load_task("++", "files", tmp_path).name == "++"
    for wrong in ("--", "c", "c+", "-"):
        with pytest.raises(UserError, match=re.escape(f"no task '{wrong}'")):
            load_task(wrong, "files", tmp_path)


def test_one_task_in_two_spellings_is_one_task(tmp_path: Path) -> None:
    make(tmp_path, {}, "My-Task")
    assert canonical_names(("my_task", "My-Task", "MYTASK", "SST2", "sst-2"), "files", tmp_path) == ("My-Task", "sst-2")
    assert canonical_names(("nothing", "Nothing"), "files", tmp_path) == ("nothing", "Nothing")
    assert canonical_names(("Sentiment", "sentiment"), "builtin", None) == ("sentiment",)


def test_the_folder_of_the_task_itself_is_no_data_folder(tmp_path: Path) -> None:
    make(tmp_path, {"train.csv": GOOD, "dev.csv": GOOD})
    for name in ("mine", "sst-2"):
        with pytest.raises(UserError, match=rf"mine holds train\.csv.*DATA_DIR={tmp_path} TASKS=mine"):
            load_task(name, "files", tmp_path / "mine")


def test_how_much_is_used_is_for_the_user_to_say(tmp_path: Path) -> None:
    task = load(tmp_path, {"train.csv": GOOD, "task.yaml": "at_most: {train: 20, dev: 5}\n"})
    assert task.limits == (20, 5)
    assert load(tmp_path, {"train.csv": GOOD, "task.yaml": ""}).limits == (None, None)
