"""Reading tasks: what a record must be, SQuAD's files, and how they are cut."""

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.scales import find_scale
from common.tasks import load_task
from common.tasks.spans import Answer, Question, SpanTask, is_span_task, load_span_task
from common.tasks.spans.limits import SpanSummary, at_scale
from common.tasks.spans.squad import read_squad
from common.tasks.spans.task import check_question

PASSAGE = "Anna saw a red lamp. The lamp was in the garden."


def question(number: int, passage: str = PASSAGE) -> Question:
    return Question(f"q{number}", "What was red?", passage, (Answer("lamp", passage.index("lamp")),))


def squad(**changes: Any) -> dict[str, Any]:
    """A file with one article, one paragraph and one question, parts of which are changed."""
    answer = {"text": "lamp", "answer_start": 15, **changes.pop("answer", {})}
    qa = {"id": "q1", "question": "What was red?", "answers": [answer], **changes.pop("qa", {})}
    paragraph = {"context": PASSAGE, "qas": [qa], **changes.pop("paragraph", {})}
    return {"version": "1.1", "data": [{"title": "T", "paragraphs": [paragraph]}], **changes}


def written(folder: Path, content: object) -> Path:
    path = folder / "dev-v1.1.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# -- Records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": {"answer_start": 3}}, r"question 'q1': answer_start 3 points at 'a sa', not at the answer 'lamp'"),
        ({"answer": {"answer_start": -4}}, r"question 'q1': answer_start -4 points at"),
        ({"answer": {"text": "blue lamp"}}, r"question 'q1': the answer 'blue lamp' does not occur in the passage"),
        ({"answer": {"text": " "}}, r"question 'q1': an answer is empty"),
        ({"paragraph": {"context": " "}}, r"question 'q1': the passage is empty"),
        ({"qa": {"question": ""}}, r"question 'q1': the question is empty"),
        ({"qa": {"answers": []}}, r"question 'q1': no answer. Expected at least one; unanswerable"),
        ({"qa": {"answers": "lamp"}}, r"question 'q1': 'answers' is str, not list"),
        ({"answer": {"answer_start": "15"}}, r"question 'q1', answers\[0\]: 'answer_start' is str, not int"),
        ({"qa": {"id": 7}}, r"data\[0\].paragraphs\[0\].qas\[0\]: 'id' is int, not str"),
        ({"data": []}, r"holds no questions; expected the layout of SQuAD"),
        ({"data": {"paragraphs": 1}}, r"the file: 'data' is dict, not list"),
    ],
)
def test_a_record_of_no_use_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_squad(written(tmp_path, squad(**change)))


@pytest.mark.parametrize("content", ["[1, 2", '["a"]', '{"rows": []}', "[" * 100_000])
def test_a_file_that_is_not_squad_says_what_was_expected(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match="expected the layout of SQuAD 1.1"):
        read_squad(written(tmp_path, content))


def test_an_id_stands_once(tmp_path: Path) -> None:
    content = squad()
    content["data"] *= 2
    with pytest.raises(UserError, match="question 'q1' stands there twice"):
        read_squad(written(tmp_path, content))


def test_a_sound_record_is_read_as_it_stands(tmp_path: Path) -> None:
    (found,) = read_squad(written(tmp_path, squad()))
    assert found == Question("q1", "What was red?", PASSAGE, (Answer("lamp", 15),))
    check_question(found, "here")


# -- Tasks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """SQuAD as people have it, compressed, beside a set of one's own."""
    for folder in ("squad1.1", "mine"):
        (tmp_path / folder).mkdir()
        for split in ("train", "dev"):
            content = squad(qa={"id": f"{folder} {split}"})
            with lzma.open(tmp_path / folder / f"{split}-v1.1.json.xz", "wt") as stream:
                json.dump(content, stream)
    return tmp_path


@pytest.mark.parametrize("name", ["squad", "SQuAD-1.1", "squad_v1.1"])
def test_squad_is_found_by_its_names(data_dir: Path, name: str) -> None:
    task = load_span_task(name, "files", data_dir)
    assert (task.name, task.source, task.is_own) == ("squad", "files", False)
    assert task.train[0].id == "squad1.1 train" and task.dev[0].id == "squad1.1 dev"


def test_a_folder_of_ones_own_in_the_same_layout_is_a_reading_task(data_dir: Path) -> None:
    assert is_span_task("mine", "files", data_dir) and is_span_task("squad", "files", data_dir)
    assert not is_span_task("sst-2", "files", data_dir) and not is_span_task("absent", "files", data_dir)
    assert load_span_task("mine", "files", data_dir).is_own


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda folder: load_span_task("absent", "files", folder), "no folder 'absent'.*mine, squad1.1"),
        (lambda folder: load_span_task("sst-2", "files", folder), "no task 'sst-2'.*Known tasks: squad"),
        (lambda folder: load_span_task("squat", "hub"), "did you mean squad"),
        (lambda folder: load_span_task("squad", "files"), "add DATA_DIR="),
        (lambda folder: load_span_task("reading", "disk"), "unknown data source"),
        (lambda folder: load_task("squad", "files", folder), "squad asks for spans of passages"),
        (
            lambda folder: load_task("reading", "builtin"),
            "reading asks for spans of passages, and whole",
        ),
    ],
)
def test_what_there_is_not_is_refused(data_dir: Path, load: Callable[[Path], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(data_dir)


def test_two_folders_of_one_name_are_refused(data_dir: Path) -> None:
    (data_dir / "squad").mkdir()
    with pytest.raises(UserError, match="squad matches several folders"):
        load_span_task("squad", "files", data_dir)


# -- Cutting ----------------------------------------------------------------------------------------------------------


def task_of(passages: int, each: int, name: str = "squad") -> SpanTask:
    train = tuple(question(i, f"{PASSAGE} {i // each}") for i in range(passages * each))
    return SpanTask(name, "files", train, train[:4])


def test_a_passage_is_held_back_with_all_its_questions() -> None:
    held = task_of(10, 5).hold_back(12)
    assert {q.passage for q in held.train} & {q.passage for q in held.tune} == set()
    assert len(held.tune) == 15 and len(held.train) == 35
    assert task_of(10, 5).hold_back(12) == held
    assert task_of(2, 5).hold_back(100).train, "one passage stays to be trained on"


def test_a_scale_holds_back_a_tenth_of_what_it_uses() -> None:
    cut = at_scale(task_of(3_000, 2), find_scale("mini"))
    assert len(cut.train) + len(cut.tune) == 4_400
    assert 400 <= len(cut.tune) <= 450
    assert SpanSummary(6_000, cut).lines()[0].startswith("squad: 6,000 train questions read; ")
    whole = at_scale(task_of(3_000, 2, "mine"), find_scale("mini"))
    assert len(whole.train) + len(whole.tune) == 6_000, "one's own is used whole"


def test_too_few_questions_or_passages_are_refused() -> None:
    with pytest.raises(UserError, match="10 training and 4 evaluation questions are too few"):
        at_scale(task_of(2, 5), find_scale("mini"))
    with pytest.raises(UserError, match="all training questions are on one passage"):
        at_scale(task_of(1, 60), find_scale("mini"))


def test_a_fingerprint_follows_the_content() -> None:
    first, second = task_of(10, 5), task_of(10, 5)
    assert first.fingerprint == second.fingerprint != first.hold_back(5).fingerprint
