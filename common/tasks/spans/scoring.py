"""Exact match and F1 of answers, as the official scorer of SQuAD 1.1 computes them.

Texts are compared in lower case, without punctuation (ASCII's), without the articles a, an and the, and with single
blanks. A question counts the best of its answers, for each of the two metrics by itself. Where nothing is left of an
answer (`the`), it shares no word with anything: its F1 is 0, and its exact match is that of two empty texts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from common.tasks.spans.task import Question

ANSWER_F1 = "answer_f1"
"""The metric of reading tasks, wherever a task's metric is named: mean over questions of F1."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

Compare = Callable[[str, str], float]


def normalised(text: str) -> str:
    """Lower case, then no punctuation, then no articles, then single blanks: in this order."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact(predicted: str, answer: str) -> float:
    """1 if both read the same, else 0."""
    return float(normalised(predicted) == normalised(answer))


def f1(predicted: str, answer: str) -> float:
    """Harmonic mean of precision and recall over the bags of words."""
    mine, theirs = normalised(predicted).split(), normalised(answer).split()
    shared = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * shared / (len(mine) + len(theirs)) if shared else 0.0


def best(compare: Compare, predicted: str, question: Question) -> float:
    """The best over the question's answers."""
    return max(compare(predicted, answer.text) for answer in question.answers)


def f1_of(predicted: Sequence[str], questions: Sequence[Question]) -> NDArray[np.float64]:
    """(N,) F1 of each question, 0..1; their mean is the score.

    Raises:
        ValueError: not one prediction for each question.
    """
    return np.array([best(f1, text, q) for text, q in zip(predicted, questions, strict=True)], dtype=float)


def exact_of(predicted: Sequence[str], questions: Sequence[Question]) -> NDArray[np.float64]:
    """(N,) whether each question was answered exactly, 0 or 1.

    Raises:
        ValueError: not one prediction for each question.
    """
    return np.array([best(exact, text, q) for text, q in zip(predicted, questions, strict=True)], dtype=float)


def constant_answers(questions: Sequence[Question]) -> list[str]:
    """What a reader says that looks at no question: the whole passage, which shares words with every answer."""
    return [question.passage for question in questions]
