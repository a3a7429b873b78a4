"""A student taken home answers as the formula says, whatever it is shown; its files are read as they were written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.feature_extraction.text import CountVectorizer
from toy_student import CORPUS, DESIGN, LABELS, TEXTS, saved, student

from common.errors import UserError
from common.serve import Answer, Model, load
from common.serve.about import MODEL, SETTINGS, About
from common.serve.home import Parts
from replications.sparse_distillation import home as module
from replications.sparse_distillation.design import Design, Student
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.home import ngrams
from replications.sparse_distillation.storage import load_student

OTHERS = [
    replace(DESIGN, pooling="sum"),
    replace(DESIGN, pooling="max"),
    replace(DESIGN, pooling="attentive"),
    replace(DESIGN, activation="tanh"),
    replace(DESIGN, hidden=(8, 4)),
]


# -- The answers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_home(single: Student, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(saved(single, vocabulary, tmp_path_factory.mktemp("homes") / "single"))


def means(model: Student, vocabulary: Vocabulary, texts: list[str]) -> NDArray[np.float64]:
    """(N, d_e) h, from scikit-learn's counts."""
    vectorizer = CountVectorizer(ngram_range=(1, 4), vocabulary=vocabulary.ngrams())
    counts = vectorizer.transform(texts).toarray()
    return counts @ model.table.detach().numpy() / np.maximum(counts.sum(1), 1)[:, None]


def formula(model: Student, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, C) softmax(W_2 ReLU(W_1 h + b_1) + b_2)."""
    (w1, b1), (w2, b2) = ([p.detach().numpy() for p in layer.parameters()] for layer in model.layers)
    logits = np.maximum(features @ w1.T + b1, 0) @ w2.T + b2
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def check(answers: Sequence[Answer], probabilities: NDArray[np.float64]) -> None:
    assert [a.label for a in answers] == [LABELS[i] for i in probabilities.argmax(1)]
    np.testing.assert_allclose([a.probability for a in answers], probabilities.max(1), rtol=1e-5)
    assert {a.exit_layer for a in answers} == {0}


def test_a_student_at_home_answers_as_the_formula_on_counts(
    single: Student, vocabulary: Vocabulary, at_home: Model
) -> None:
    check(at_home(TEXTS), formula(single, means(single, vocabulary, list(TEXTS))))
    assert len({a.label for a in at_home(TEXTS)}) > 1  # else labels in any order would pass


def test_a_pair_student_answers_as_the_formula(double: Student, vocabulary: Vocabulary, pair_home: Path) -> None:
    first, second = list(TEXTS), list(reversed(TEXTS))
    h1, h2 = means(double, vocabulary, first), means(double, vocabulary, second)
    expected = formula(double, np.concatenate([h1, h2, h1 * h2, np.abs(h1 - h2)], axis=1))
    check(load(pair_home)(list(zip(first, second, strict=True))), expected)


@pytest.mark.parametrize("design", OTHERS, ids=lambda d: f"{d.pooling}-{d.activation}-{len(d.hidden)}")
def test_every_design_comes_back_as_it_was(
    design: Design, vocabulary: Vocabulary, at_home: Model, tmp_path: Path
) -> None:
    model = student(vocabulary, design)
    answers = load(saved(model, vocabulary, tmp_path / "home"))(TEXTS)
    logits = model(module.bag_batch(vocabulary, TEXTS)).softmax(-1).amax(-1)
    assert [a.probability for a in answers] == pytest.approx(logits.tolist())
    assert answers != at_home(TEXTS)


@given(st.text(alphabet="qxyz .,!?\n\té日\udc80", max_size=40))
def test_without_known_ngrams_every_text_gets_the_answer_of_h_0(at_home: Model, single: Student, text: str) -> None:
    assert at_home([text]) == at_home([""])
    check(at_home([text]), formula(single, np.zeros((1, DESIGN.dimension))))


@given(st.lists(st.sampled_from(TEXTS), max_size=12))
def test_what_a_text_is_answered_does_not_depend_on_its_company(at_home: Model, texts: list[str]) -> None:
    together, alone = at_home(texts), [at_home([text])[0] for text in texts]
    assert [a.label for a in together] == [a.label for a in alone]
    np.testing.assert_allclose([a.probability for a in together], [a.probability for a in alone], rtol=1e-5)


def test_more_texts_than_are_looked_up_together_are_answered_in_order(
    single: Student, vocabulary: Vocabulary, at_home: Model
) -> None:
    many = list(TEXTS) * 100
    assert len(many) > 2 * module.AT_ONCE
    check(at_home(many), np.tile(formula(single, means(single, vocabulary, list(TEXTS))), (100, 1)))


def test_it_reads_no_further_than_in_training(at_home: Model) -> None:
    words = "film is not good " * 250
    assert at_home([words + "great " * 250_000]) == at_home([words]) != at_home([words[: len(words) // 2] + " great"])


# -- What can be wrong with its files ---------------------------------------------------------------------------------


def rewrite(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "design.json").read_text())
        change(values)
        (folder / "design.json").write_text(json.dumps(values))

    return spoil


def reweigh(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        state = {name: tensor.clone() for name, tensor in load_file(folder / "student.safetensors").items()}
        change(state)
        save_file(state, folder / "student.safetensors")

    return spoil


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-7]) and None


def other_vocabulary(folder: Path) -> None:
    build_vocabulary(lambda: CORPUS, 50, scratch=folder.parent).save(folder)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no files": (shutil.rmtree, "design.json.*no such file"),
    "no weights": (lambda folder: (folder / "student.safetensors").unlink(), "student.safetensors.*no such file"),
    "no design": (lambda folder: (folder / "design.json").unlink(), "design.json.*no such file"),
    "no vocabulary": (lambda folder: (folder / "vocabulary.safetensors").unlink(), "vocabulary.*found no file"),
    "another vocabulary": (other_vocabulary, "each of the vocabulary's 50 n-grams, found 60 rows"),
    "cut vocabulary": (cut("vocabulary.safetensors"), "vocabulary.safetensors: expected a vocabulary"),
    "cut weights": (cut("student.safetensors"), "student.safetensors.*another or a cut file"),
    "design is no JSON": (lambda folder: (folder / "design.json").write_text("{"), "design.json.*found no JSON"),
    "design is a list": (lambda folder: (folder / "design.json").write_text("[]"), "design.json: expected the design"),
    "design of something else": (rewrite(lambda v: v.update(layers=2)), "no design has: layers"),
    "design without a number": (rewrite(lambda v: v.pop("dimension")), "dimension: "),
    "an unknown pooling": (rewrite(lambda v: v.update(pooling="median")), "nothing is called 'median'"),
    "an unknown activation": (rewrite(lambda v: v.update(activation="up")), "nothing is called 'up'"),
    "another dimension": (rewrite(lambda v: v.update(dimension=9)), r"shape \(60, 8\) where rows have 9"),
    "more layers": (rewrite(lambda v: v.update(hidden=[8, 8])), "nothing is called 'layers.2.weight'"),
    "another width": (rewrite(lambda v: v.update(hidden=[7])), "size mismatch for layers.0.weight"),
    "no table": (reweigh(lambda state: state.pop("table")), "nothing is called 'table'"),
    "a table of integers": (reweigh(lambda state: state.update(table=state["table"].int())), "floating point"),
    "a weight too many": (reweigh(lambda state: state.update(more=torch.ones(1))), "Unexpected key.*more"),
}


def parts_of(home: Path, **changes: object) -> Parts:
    """The folder's parts, not looked at."""
    return Parts(home, About.model_validate({**json.loads((home / SETTINGS).read_text()), **changes}))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_one_message_that_names_them(name: str, home: Path) -> None:
    spoil, message = WRONG[name]
    spoil(home / MODEL)
    with pytest.raises(UserError, match=message) as caught:
        ngrams(parts_of(home))
    assert str(home) in str(caught.value) and "\n" not in str(caught.value)


def test_two_labels_for_three_outputs_are_refused(home: Path) -> None:
    with pytest.raises(UserError, match=r"each of the student's 3 outputs, found 2 \(bad, fair\)"):
        ngrams(parts_of(home, labels=LABELS[:2]))


def test_an_old_design_without_a_newer_choice_still_loads(at_home: Model, home: Path) -> None:
    rewrite(lambda values: values.pop("initialisation"))(home / MODEL)
    parts = parts_of(home)
    assert Model(parts.about, ngrams(parts))(TEXTS) == at_home(TEXTS)


def test_loading_leaves_the_random_numbers_alone(home: Path) -> None:
    before = torch.get_rng_state()
    load_student(home / MODEL)
    assert torch.equal(torch.get_rng_state(), before)


# -- Memory: in a process of its own ----------------------------------------------------------------------------------

FRESH = """
import sys, psutil
from pathlib import Path
from common.serve import load
from replications.sparse_distillation.storage import load_student
resident = lambda: psutil.Process().memory_info().rss
small, large = sys.argv[1:]
load(small)(["a great film"])
before = resident()
student = load(large)
student(["a great film"])
loaded = resident()
kept = load_student(Path(large) / "model")
kept.table.sum()
print(loaded - before, resident() - before, "transformers" in sys.modules)
"""


def test_the_table_is_mapped_not_read(home: Path, tmp_path: Path) -> None:
    words = [f"word{number}" for number in np.random.default_rng(0).integers(0, 3_000, 10_000)]
    vocabulary = build_vocabulary(lambda: [" ".join(words), "a great film"], 10_000, scratch=tmp_path)
    large = student(vocabulary, Design(len(vocabulary), 10_000, hidden=(2,), deviation=0.0))
    saved(large, vocabulary, tmp_path / "large")
    size = large.table.numel() * large.table.element_size()
    assert size == 400_000_000
    command = [sys.executable, "-c", FRESH, str(home), str(tmp_path / "large")]
    loaded, touched, heavy = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(loaded) < 0.05 * size
    assert 0.9 * size < int(touched) < 1.1 * size
    assert heavy == "False"  # the teacher's libraries take seconds to import
