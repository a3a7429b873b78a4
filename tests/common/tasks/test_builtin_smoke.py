"""The tasks of the smoke scale: the words tell the label, except where a coin does."""

import re
from collections import Counter

import pytest

from common.tasks import load_task
from common.tasks.builtin.smoke import AGREEING, DENYING, HAPPY, SAD
from common.tasks.catalogue import SMOKE_TASKS
from common.tasks.task import Example, Task

TELLERS = {"mood": (SAD, HAPPY), "reply": (DENYING, AGREEING)}


def told(task: Task, example: Example) -> int:
    """How many words speak for label 1, less those for label 0."""
    words = re.findall(r"[a-z]+", (example.text_b or example.text_a).lower())
    against, for_it = TELLERS[task.name]
    return sum((word in for_it) - (word in against) for word in words)


@pytest.mark.parametrize("name", SMOKE_TASKS)
def test_the_majority_of_telling_words_is_the_label_but_on_the_last_level(name: str) -> None:
    task = load_task(name, "builtin")
    for e in task.train + task.dev + task.test:
        margin = told(task, e)
        assert margin == 0 if e.difficulty == 4 else (margin > 0) == (e.label == 1), e


@pytest.mark.parametrize("name", SMOKE_TASKS)
def test_examples_are_balanced_distinct_and_enough_for_an_unlabelled_corpus_too(name: str) -> None:
    task = load_task(name, "builtin")
    assert (len(task.train), len(task.dev), len(task.test)) == (2_400, 1_200, 1_200)
    everything = [(e.text_a, e.text_b) for e in task.train + task.dev + task.test]
    assert len(set(everything)) == len(everything)
    assert task.is_pair == (name == "reply")
    for split in (task.train, task.dev, task.test):
        assert Counter(e.label for e in split) == {0.0: len(split) / 2, 1.0: len(split) / 2}
        assert Counter(e.difficulty for e in split)[4] == len(split) / 10
