"""A student taken home answers as the formula says, whatever it is shown."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from toy_student import DESIGN, LABELS, TEXTS, student

from common.errors import UserError
from replications.sparse_distillation import home as module
from replications.sparse_distillation.design import Design
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.home import Prediction, Predictor

OTHERS = [
    replace(DESIGN, pooling="sum"),
    replace(DESIGN, pooling="max"),
    replace(DESIGN, pooling="attentive"),
    replace(DESIGN, activation="tanh"),
    replace(DESIGN, hidden=(8, 4)),
]


# -- The answers ------------------------------------------------------------------------------------------------------


def means(predictor: Predictor, texts: list[str]) -> NDArray[np.float64]:
    """(N, d_e) h, from scikit-learn's counts."""
    vectorizer = CountVectorizer(ngram_range=(1, 4), vocabulary=predictor.vocabulary.ngrams())
    counts = vectorizer.transform(texts).toarray()
    return counts @ predictor.model.table.detach().numpy() / np.maximum(counts.sum(1), 1)[:, None]


def formula(predictor: Predictor, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, C) softmax(W_2 ReLU(W_1 h + b_1) + b_2)."""
    (w1, b1), (w2, b2) = ([p.detach().numpy() for p in layer.parameters()] for layer in predictor.model.layers)
    logits = np.maximum(features @ w1.T + b1, 0) @ w2.T + b2
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def check(predictions: list[Prediction], probabilities: NDArray[np.float64]) -> None:
    assert [p.label for p in predictions] == [LABELS[i] for i in probabilities.argmax(1)]
    np.testing.assert_allclose([p.probability for p in predictions], probabilities.max(1), rtol=1e-5)


def test_a_loaded_student_answers_as_the_formula_on_counts(single: Predictor, home: Path) -> None:
    loaded = Predictor.load(home)
    check(loaded.predict(TEXTS), formula(single, means(single, list(TEXTS))))
    assert len({p.label for p in loaded.predict(TEXTS)}) > 1  # else labels in any order would pass


def test_a_loaded_pair_student_answers_as_the_formula(double: Predictor, pair_home: Path) -> None:
    first, second = list(TEXTS), list(reversed(TEXTS))
    h1, h2 = means(double, first), means(double, second)
    expected = formula(double, np.concatenate([h1, h2, h1 * h2, np.abs(h1 - h2)], axis=1))
    check(Predictor.load(pair_home).predict(list(zip(first, second, strict=True))), expected)


@pytest.mark.parametrize("design", OTHERS, ids=lambda d: f"{d.pooling}-{d.activation}-{len(d.hidden)}")
def test_every_design_comes_back_as_it_was(design: Design, vocabulary: Vocabulary, tmp_path: Path) -> None:
    predictor = student(vocabulary, design)
    predictor.save(tmp_path / "home")
    assert Predictor.load(tmp_path / "home").predict(TEXTS) == predictor.predict(TEXTS)
    assert predictor.predict(TEXTS) != student(vocabulary).predict(TEXTS)


@given(st.text(alphabet="qxyz .,!?\n\té日\udc80", max_size=40))
def test_without_known_ngrams_every_text_gets_the_answer_of_h_0(single: Predictor, text: str) -> None:
    assert single.predict([text]) == single.predict([""])
    check(single.predict([text]), formula(single, np.zeros((1, DESIGN.dimension))))


@given(st.lists(st.sampled_from(TEXTS), max_size=12))
def test_what_a_text_is_answered_does_not_depend_on_its_company(single: Predictor, texts: list[str]) -> None:
    together, alone = single.predict(texts), [single.predict([text])[0] for text in texts]
    assert [p.label for p in together] == [p.label for p in alone]
    np.testing.assert_allclose([p.probability for p in together], [p.probability for p in alone], rtol=1e-5)


def test_more_texts_than_a_batch_are_answered_in_order(single: Predictor) -> None:
    many = list(TEXTS) * 100
    assert len(many) > 2 * module.BATCH
    check(single.predict(many), np.tile(formula(single, means(single, list(TEXTS))), (100, 1)))


def test_a_text_of_a_million_words(single: Predictor) -> None:
    words = "film is not good "  # a circle of n-grams: long or short, the mean is nearly the same
    (answer,) = single.predict([words * 250_000])
    expected = formula(single, means(single, [words * 2_000]))
    assert answer.label == LABELS[expected.argmax()]
    assert answer.probability == pytest.approx(expected.max(), abs=2e-3)


def test_long_texts_are_not_read_together(single: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHARACTERS", 30)
    read: list[int] = []
    bags = Vocabulary.bags
    monkeypatch.setattr(Vocabulary, "bags", lambda self, texts: read.append(len(texts)) or bags(self, texts))
    check(single.predict(TEXTS), formula(single, means(single, list(TEXTS))))
    assert sum(read) == len(TEXTS) and len(read) > 2


@pytest.mark.parametrize(
    "texts", [[("a", "b")], ["fine", ("a", "b")], [None], [b"bytes"]], ids=["pair", "mixed", "none", "bytes"]
)
def test_a_single_student_refuses_all_but_texts(single: Predictor, texts: list) -> None:
    with pytest.raises(UserError, match=f"text {len(texts)}: expected a single text.*mood"):
        single.predict(texts)


@pytest.mark.parametrize("text", ["one", ("one", "two", "three"), ("one", None)], ids=str)
def test_a_pair_student_refuses_all_but_pairs(double: Predictor, text: object) -> None:
    with pytest.raises(UserError, match="text 1: expected a pair of texts.*mood"):
        double.predict([text])


def test_a_text_alone_is_no_list_of_texts(single: Predictor) -> None:
    with pytest.raises(UserError, match="expected a list of texts"):
        single.predict("a great film")


# -- Memory and time: in a process of its own -------------------------------------------------------------------------

FRESH = """
import sys, psutil
from pathlib import Path
from replications.sparse_distillation.predictor import Predictor
resident = lambda: psutil.Process().memory_info().rss
small, large = map(Path, sys.argv[1:])
Predictor.load(small).predict(["a great film"])
before = resident()
student = Predictor.load(large)
student.predict(["a great film"])
loaded = resident()
student.model.table.sum()
print(loaded - before, resident() - before, "transformers" in sys.modules)
"""


def test_the_table_is_mapped_not_read(home: Path, tmp_path: Path) -> None:
    words = [f"word{number}" for number in np.random.default_rng(0).integers(0, 3_000, 10_000)]
    vocabulary = build_vocabulary(lambda: [" ".join(words), "a great film"], 10_000, scratch=tmp_path)
    design = Design(len(vocabulary), 10_000, hidden=(2,), deviation=0.0)
    large = student(vocabulary, design)
    large.save(tmp_path / "large")
    size = large.model.table.numel() * large.model.table.element_size()
    assert size == 400_000_000
    command = [sys.executable, "-c", FRESH, str(home), str(tmp_path / "large")]
    loaded, touched, heavy = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(loaded) < 0.05 * size
    assert 0.9 * size < int(touched) < 1.1 * size
    assert heavy == "False"  # the teacher's libraries take seconds to import
