"""Pruning, coverage and frequencies against counts made one text at a time."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_texts import students_of

from common.run.replication import Run
from common.tasks.task import Example, Task
from replications.sparse_distillation.distillation import SYSTEMS, dan_logits
from replications.sparse_distillation.engine.bags import BagSplit
from replications.sparse_distillation.engine.ngrams import Bags
from replications.sparse_distillation.findings import (
    Findings,
    count_ngrams,
    restricted,
    score,
)
from replications.sparse_distillation.method import DAN
from replications.sparse_distillation.names import CNN_STUDENT, LSTM_STUDENT, SMALL, STUDENT, TEACHER


def ngrams(text: str) -> list[str]:
    words = re.findall(r"\b\w\w+\b", text.lower())
    return [" ".join(words[i : i + n]) for n in range(1, 5) for i in range(len(words) - n + 1)]


def bags(texts: list[list[int]]) -> Bags:
    return Bags(np.array([i for t in texts for i in t], dtype=np.int64), np.cumsum([0, *map(len, texts)]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5), st.sets(st.integers(0, 9)))
def test_restricted_bags_lose_what_is_not_kept(texts: list[list[int]], kept: set[int]) -> None:
    keep = np.isin(np.arange(10), sorted(kept))
    found = restricted(bags(texts), keep)
    ours = [found.ids[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    assert ours == [[i for i in text if i in kept] for text in texts]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ab cé.,1", max_size=30), min_size=1, max_size=5))
def test_ngrams_are_counted_with_repetitions(texts: list[str]) -> None:
    assert count_ngrams(texts).tolist() == [len(ngrams(text)) for text in texts]


@pytest.fixture
def findings(toy_run: Run) -> Findings:
    return Findings(students_of(toy_run, "sst-2"))


def test_the_most_frequent_are_the_highest_counts_ties_by_id(findings: Findings) -> None:
    counts = np.array([5, 1, 7, 5, 0, 5, 2, 2, 2, 2])
    assert np.flatnonzero(findings.most_frequent(0.1, counts)).tolist() == [2]
    assert np.flatnonzero(findings.most_frequent(0.3, counts)).tolist() == [0, 2, 3]
    assert findings.most_frequent(1.0, counts).all()
    assert findings.most_frequent(0.001, counts).sum() == 1


def test_frequencies_of_train_are_those_of_its_texts(findings: Findings) -> None:
    wanted: dict[str, int] = {}
    for example in findings.students.train:
        for ngram in ngrams(example.text_a):
            wanted[ngram] = wanted.get(ngram, 0) + 1
    known = findings.vocabulary.ngrams()
    assert findings.train_counts.tolist() == [wanted.get(ngram, 0) for ngram in known]
    assert (findings.train_counts <= findings.vocabulary.counts).all(), "C is counted there too"


def test_coverage_is_the_share_of_known_ngrams(findings: Findings) -> None:
    known = set(findings.vocabulary.ngrams())
    wanted = []
    for example in findings.students.dev:
        there = ngrams(example.text_a)
        wanted.append(sum(ngram in known for ngram in there) / len(there))
    np.testing.assert_allclose(findings.coverage, wanted)
    assert 0 < findings.coverage.min() < findings.coverage.max() <= 1


def test_coverage_of_pairs_and_of_empty_texts(findings: Findings) -> None:
    vocabulary = findings.vocabulary
    word = next(ngram for ngram in vocabulary.ngrams() if " " not in ngram)
    examples = (Example(f"{word} zzz", "zzz", 0.0), Example("", ".", 0.0))
    split = BagSplit(vocabulary.bags([e.text_a for e in examples]), vocabulary.bags(["zzz", "."]), torch.zeros(2))
    invented = Findings(SimpleNamespace(dev=examples))  # type: ignore[arg-type]
    invented.__dict__["split"] = split
    np.testing.assert_allclose(invented.coverage, [1 / 4, 0.0])  # of zzz, its bigram and the other zzz none is known


@pytest.mark.parametrize("pair", [False, True])
def test_pruned_predictions_average_over_what_remains(pair: bool) -> None:
    torch.manual_seed(0)
    model = DAN(6, 4, 3, pair=pair).eval()
    texts, keep = [[0, 1, 2], [3], [4, 4, 5]], np.array([True, False, True, False, True, True])
    left = [[0, 2], [], [4, 4, 5]]
    invented: Any = Findings(SimpleNamespace())  # type: ignore[arg-type]
    split = BagSplit(bags(texts), bags(texts[::-1]) if pair else None, torch.zeros(3))
    invented.__dict__.update({"split": split, "_student": model})
    wanted = BagSplit(bags(left), bags(left[::-1]) if pair else None, torch.zeros(3))
    np.testing.assert_array_equal(invented.pruned(keep), dan_logits(model, wanted).argmax(-1).numpy())
    np.testing.assert_array_equal(invented.pruned(np.ones(6, bool)), dan_logits(model, split).argmax(-1).numpy())
    nothing = invented.pruned(np.zeros(6, bool))
    assert len(set(nothing.tolist())) == 1, "without n-grams every text is the same"


def test_the_constant_answer_is_the_best_one(findings: Findings) -> None:
    for labels in ([0, 1, 1], [2, 2, 0, 1]):
        invented = Findings(findings.students)
        invented.__dict__["labels"] = np.array(labels)
        accuracies = [(np.array(labels) == c).mean() for c in range(3)]
        assert (invented.constant == labels).mean() == max(accuracies)
        assert len(set(invented.constant.tolist())) == 1


@pytest.mark.parametrize(
    ("name", "metric", "expected", "constant"),
    [("mine", "f1", 50.0, 1), ("mine", "macro_f1", 100 * (6 / 7 + 1 / 2) / 2 , 0), ("qqp", "f1", 77.78, 0)],
)  # fmt: skip
def test_scores_are_of_the_tasks_metric_but_for_the_papers_own_tasks(
    findings: Findings, name: str, metric: str, expected: float, constant: int
) -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1])
    examples = (Example("a", None, 0.0),)
    task = Task(name, ("no", "yes"), metric, "files", examples, examples)
    invented = Findings(students_of(replace(findings.task_run.run, _tasks={name: task}), name))
    invented.__dict__["labels"] = labels
    answers = np.array([0, 0, 0, 0, 0, 0, 1, 1, 0])
    assert score(invented, answers).value == pytest.approx(expected, abs=0.01)
    assert score(invented, answers, labels == 1).n == 2
    assert set(invented.constant.tolist()) == {constant}


def test_cross_entropy_is_that_of_the_gold_label(findings: Findings) -> None:
    probabilities = findings.student_logits.softmax(-1).numpy()
    wanted = -np.log(probabilities[np.arange(len(findings.labels)), findings.labels])
    np.testing.assert_allclose(findings.cross_entropy, wanted, rtol=1e-4)


def test_every_system_of_table_2_answers_every_example(findings: Findings) -> None:
    found = findings.predictions
    assert list(found) == [TEACHER, SMALL, LSTM_STUDENT, CNN_STUDENT, *SYSTEMS]
    assert STUDENT in SYSTEMS
    assert all(answers.shape == findings.labels.shape for answers in found.values())
    task = findings.students.task
    assert findings.labels.tolist() == [int(e.label) for e in task.dev]
