"""The generated reading tasks: answers are where they say, and a bag of words is at chance on the harder levels."""

import re
from collections import Counter

import pytest

from common.errors import UserError
from common.tasks.builtin.lexicon import HELD_OUT, TRAIN
from common.tasks.builtin.reading import Told, _generated, reading_task
from common.tasks.spans import Question, SpanTask
from common.tasks.spans.task import check_ids, check_question


@pytest.fixture(scope="module")
def reading() -> SpanTask:
    return reading_task("reading", train_size=400, dev_size=400)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def sentences(question: Question) -> list[str]:
    return [part for part in question.passage.split(". ") if part]


@pytest.mark.parametrize("name", ["reading", "lookup"])
def test_every_answer_occurs_once_and_where_it_says(name: str) -> None:
    task = reading_task(name)
    for split in (task.train, task.dev):
        for question in split:
            check_question(question, name)
            (answer,) = question.answers
            assert len(re.findall(rf"\b{re.escape(answer.text)}\b", question.passage)) == 1
        check_ids(split, name)
    texts = [(q.text, q.passage) for q in (*task.train, *task.dev)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ["reading", "lookup"])
def test_a_seed_gives_the_same_task_and_levels_have_their_shares(name: str) -> None:
    task = reading_task(name, seed=3, train_size=200, dev_size=100)
    assert task == reading_task(name, seed=3, train_size=200, dev_size=100)
    assert task != reading_task(name, seed=4, train_size=200, dev_size=100)
    assert Counter(q.difficulty for q in task.train) == {1: 80, 2: 60, 3: 40, 4: 20}


def test_dev_shares_no_person_with_train(reading: SpanTask) -> None:
    people, others = set(TRAIN.people), set(HELD_OUT.people)
    assert all(words(q.passage) & people and not words(q.passage) & others for q in reading.train)
    assert all(words(q.passage) & others and not words(q.passage) & people for q in reading.dev)


def test_from_level_2_on_the_right_event_shares_no_more_words_with_the_question_than_a_wrong_one(
    reading: SpanTask,
) -> None:
    for question in reading.dev:
        asked = words(question.text)
        (answer,) = question.answers
        shared = {s: len(words(s) & asked) for s in sentences(question)}
        right = next(s for s in shared if answer.text in s)
        best_wrong = max(count for s, count in shared.items() if s != right)
        if question.difficulty == 1:
            assert shared[right] > best_wrong
        else:
            assert abs(shared[right] - best_wrong) <= (question.difficulty == 2), "an article may differ: a or an"


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no task 'sentiment'.*Known tasks: reading, lookup"):
        reading_task("sentiment")
    with pytest.raises(UserError, match="cannot generate that many"):
        _generated(lambda draw, level: Told("a lamp.", "what?", "lamp"), TRAIN, 10, "seed", set())
