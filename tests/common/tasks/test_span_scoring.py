"""EM and F1 as the official scorer of SQuAD 1.1 computes them."""

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.tasks.spans import Answer, Question
from common.tasks.spans.scoring import best, constant_answers, exact, exact_of, f1, f1_of, normalised


def question(*answers: str) -> Question:
    return Question("q", "Who?", " ".join(answers), tuple(Answer(text, 0) for text in answers))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat!", "cat"),
        ("an apple, a pear and the plum", "apple pear and plum"),
        ("U.S.", "us"),
        ("a-b", "ab"),
        ("theatre", "theatre"),
        ("«the»", "« »"),
        ("Another\tone", "another one"),
        ("the", ""),
        ("it's the 7th", "its 7th"),
    ],
)
def test_texts_are_compared_without_case_punctuation_and_articles(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("predicted", "answer", "em", "score"),
    [
        ("Denver Broncos", "the Denver Broncos!", 1, 1),
        ("Broncos", "Denver Broncos", 0, 2 / 3),
        ("red red wine", "red wine", 0, 2 * (2 / 3) / (1 + 2 / 3)),
        ("Paris", "London", 0, 0),
        ("the", "a", 1, 0),
        ("", "London", 0, 0),
    ],
)
def test_hand_made_cases(predicted: str, answer: str, em: float, score: float) -> None:
    assert exact(predicted, answer) == em
    assert f1(predicted, answer) == pytest.approx(score)


def test_each_metric_takes_the_best_of_several_answers() -> None:
    several = question("Denver", "Denver Broncos of Colorado")
    assert best(exact, "the denver", several) == 1
    assert best(f1, "Denver Broncos", several) == pytest.approx(2 / 3)
    assert f1_of(["Colorado", "Denver"], [several, several]).tolist() == pytest.approx([0.4, 1.0])
    assert exact_of(["Colorado", "Denver"], [several, several]).tolist() == [0, 1]
    with pytest.raises(ValueError):
        f1_of(["Denver"], [several, several])


def test_the_constant_answer_is_the_passage() -> None:
    assert constant_answers([question("red wine", "beer")]) == ["red wine beer"]


# -- The official script's own steps, one by one ----------------------------------------------------------------------


def official(predicted: str, answer: str) -> tuple[bool, float]:
    def steps(text: str) -> list[str]:
        kept = "".join(character for character in text.lower() if character not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    mine, theirs = steps(predicted), steps(answer)
    same = sum((Counter(mine) & Counter(theirs)).values())
    if same == 0:
        return mine == theirs, 0.0
    precision, recall = same / len(mine), same / len(theirs)
    return mine == theirs, 2 * precision * recall / (precision + recall)


WORDS = st.lists(st.sampled_from(["the", "a", "An", "cat", "Cat.", "U.S.", "naïve", "-", "7", "cats"]), max_size=6)


@given(WORDS.map(" ".join), WORDS.map(" ".join))
def test_any_texts_score_as_by_the_official_steps(predicted: str, answer: str) -> None:
    em, score = official(predicted, answer)
    assert exact(predicted, answer) == em
    assert f1(predicted, answer) == pytest.approx(score)
    assert f1(predicted, answer) == pytest.approx(f1(answer, predicted))
