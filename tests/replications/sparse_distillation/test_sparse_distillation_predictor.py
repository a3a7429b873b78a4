"""A student taken home answers as the formula says, whatever it is shown; what is wrong with it is said in one line."""

import argparse
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
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

from common.errors import UserError
from replications.sparse_distillation import predictor as module
from replications.sparse_distillation.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.predictor import Labels, Prediction, Predictor, fingerprint, main
from replications.sparse_distillation.settings import Design
from replications.sparse_distillation.storage import load_dan
from replications.sparse_distillation.take_home import trained
from replications.sparse_distillation.trial import FT, KD, Trial

CORPUS = (
    "a great film, a GREAT film with great actors",
    "not a great film: the actors are not great and the end is not good",
    "the end is good and the film is not long",
    "Ein großer Film über große Gefühle, und nicht zu lang",
)
LABELS = ("bad", "fair", "good")
TEXTS = (
    "the great film is not a film",
    "not great not great not great",
    "große Gefühle with an unknown word",
    "",
    "I ? !",
    "nothing here is known but film",
)
DESIGN = Design(60, 8, deviation=0.5)
OTHERS = [
    replace(DESIGN, pooling="sum"),
    replace(DESIGN, pooling="max"),
    replace(DESIGN, pooling="attentive"),
    replace(DESIGN, activation="tanh"),
    replace(DESIGN, hidden=(8, 4)),
]


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return build_vocabulary(lambda: CORPUS, DESIGN.vocabulary_size, scratch=tmp_path_factory.mktemp("scratch"))


def student(vocabulary: Vocabulary, design: Design = DESIGN, *, pair: bool = False) -> Predictor:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = design.build(len(vocabulary), len(LABELS), pair=pair)
        for layer in model.layers:
            torch.nn.init.normal_(layer.weight, std=0.5)
    about = Labels(task="mood", labels=LABELS, teacher="large", vocabulary=fingerprint(vocabulary))
    return Predictor(model.eval(), vocabulary, about)


@pytest.fixture(scope="session")
def single(vocabulary: Vocabulary) -> Predictor:
    return student(vocabulary)


@pytest.fixture(scope="session")
def double(vocabulary: Vocabulary) -> Predictor:
    return student(vocabulary, pair=True)


@pytest.fixture
def home(single: Predictor, tmp_path: Path) -> Path:
    single.save(DESIGN, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def pair_home(double: Predictor, tmp_path: Path) -> Path:
    double.save(DESIGN, tmp_path / "pair")
    return tmp_path / "pair"


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
    predictor.save(design, tmp_path / "home")
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


# -- The folder -------------------------------------------------------------------------------------------------------


def test_the_folder_holds_four_files_for_everyone_to_read(home: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()}
    names = ["design.json", "labels.json", "student.safetensors", "vocabulary.safetensors"]
    assert modes == dict.fromkeys(names, 0o644)
    about = json.loads((home / "labels.json").read_text())
    assert len(about.pop("vocabulary")) == 64
    assert about == {"schema_version": 1, "task": "mood", "labels": list(LABELS), "teacher": "large"}


def test_loading_leaves_the_random_numbers_alone(home: Path) -> None:
    before = torch.get_rng_state()
    load_dan(home)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_folder_in_use_is_not_touched(single: Predictor, home: Path) -> None:
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    with pytest.raises(UserError, match="expected a new folder"):
        single.save(DESIGN, home)
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_an_empty_folder_is_taken(single: Predictor, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    single.save(DESIGN, tmp_path / "new")
    assert Predictor.load(tmp_path / "new").predict(TEXTS) == single.predict(TEXTS)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=repr)
def test_a_save_that_fails_leaves_nothing(
    single: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(module, "write_json", fail)
    with pytest.raises((KeyboardInterrupt, UserError)):
        single.save(DESIGN, tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(single: Predictor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file.* is no folder that can be written"):
        single.save(DESIGN, tmp_path / "file" / "home")


# -- What can be wrong with a folder ----------------------------------------------------------------------------------


def rewrite(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

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


def as_large_a_vocabulary(folder: Path) -> None:
    other = build_vocabulary(lambda: [*CORPUS, "not good, not great"], DESIGN.vocabulary_size, scratch=folder.parent)
    assert len(other) == len(Vocabulary.load(folder))
    other.save(folder)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "expected the folder of a student, found no such folder.*predictor save"),
    "foreign folder": (
        lambda folder: [path.unlink() for path in folder.iterdir()],
        "found no labels.json there.*predictor save",
    ),
    "no weights": (lambda folder: (folder / "student.safetensors").unlink(), "student.safetensors.*no such file"),
    "no design": (lambda folder: (folder / "design.json").unlink(), "design.json.*no such file"),
    "no vocabulary": (lambda folder: (folder / "vocabulary.safetensors").unlink(), "vocabulary.*found no file"),
    "labels are no JSON": (
        lambda folder: (folder / "labels.json").write_text("hm"),
        "labels.json: expected the labels",
    ),
    "labels lack the task": (rewrite("labels.json", lambda v: v.pop("task")), "labels.json.*task: Field required"),
    "a newer schema": (
        rewrite("labels.json", lambda v: v.update(schema_version=2)),
        "schema_version: Input should be 1",
    ),
    "two labels for three outputs": (
        rewrite("labels.json", lambda v: v["labels"].pop()),
        r"each of the student's 3 outputs, found 2 \(bad, fair\)",
    ),
    "another vocabulary": (other_vocabulary, "each of the vocabulary's 50 n-grams, found 60 rows"),
    "a vocabulary as large": (as_large_a_vocabulary, "found one of as many n-grams from another corpus"),
    "cut vocabulary": (cut("vocabulary.safetensors"), "vocabulary.safetensors: expected a vocabulary"),
    "cut weights": (cut("student.safetensors"), "student.safetensors.*another or a cut file"),
    "design is no JSON": (lambda folder: (folder / "design.json").write_text("{"), "design.json.*found no JSON"),
    "design is a list": (lambda folder: (folder / "design.json").write_text("[]"), "design.json: expected the design"),
    "design of something else": (rewrite("design.json", lambda v: v.update(layers=2)), "no design has: layers"),
    "design without a number": (rewrite("design.json", lambda v: v.pop("dimension")), "dimension: "),
    "an unknown pooling": (rewrite("design.json", lambda v: v.update(pooling="median")), "nothing is called 'median'"),
    "an unknown activation": (rewrite("design.json", lambda v: v.update(activation="up")), "nothing is called 'up'"),
    "another dimension": (
        rewrite("design.json", lambda v: v.update(dimension=9)),
        r"shape \(60, 8\) where rows have 9",
    ),
    "more layers": (rewrite("design.json", lambda v: v.update(hidden=[8, 8])), "nothing is called 'layers.2.weight'"),
    "another width": (rewrite("design.json", lambda v: v.update(hidden=[7])), "size mismatch for layers.0.weight"),
    "no table": (reweigh(lambda state: state.pop("table")), "nothing is called 'table'"),
    "a table of integers": (reweigh(lambda state: state.update(table=state["table"].int())), "floating point"),
    "a weight too many": (reweigh(lambda state: state.update(more=torch.ones(1))), "Unexpected key.*more"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_is_one_message_and_exit_code_2(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = WRONG[name]
    spoil(home)
    with pytest.raises(UserError, match=message) as caught:
        Predictor.load(home)
    assert str(home) in str(caught.value)
    assert main(["predict", str(home), "text"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err == f"predictor: {caught.value}\n" and output.err.count("\n") == 1


def test_an_old_design_without_a_newer_choice_still_loads(single: Predictor, home: Path) -> None:
    rewrite("design.json", lambda values: values.pop("initialisation"))(home)
    assert Predictor.load(home).predict(TEXTS) == single.predict(TEXTS)


# -- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))


def printed(predictor: Predictor, texts: list) -> str:
    rows = zip(predictor.predict(texts), texts, strict=True)
    return "".join(
        f"{p.label}\t{p.probability:.4f}\t{text if isinstance(text, str) else chr(9).join(text)}\n" for p, text in rows
    )


def test_texts_on_the_command_line(single: Predictor, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(home), "a great film", "", "not good"]) == 0
    assert capsys.readouterr().out == printed(single, ["a great film", "", "not good"])


def test_one_line_for_each_text(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(home), "a great\nfilm"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_texts_on_standard_input(
    single: Predictor, home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed("\ufeffgroße Gefühle\r\n\nnot good\x85not bad".encode())
    assert main(["predict", str(home)]) == 0
    assert capsys.readouterr().out == printed(single, ["große Gefühle", "", "not good\x85not bad"])


def test_nothing_on_standard_input(
    home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed(b"")
    assert main(["predict", str(home)]) == 0
    assert capsys.readouterr().out == ""


def test_pairs_are_parted_by_a_tab(
    double: Predictor, pair_home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed(b"a great film\tnot good\nfilm\t\n")
    assert main(["predict", str(pair_home)]) == 0
    assert main(["predict", str(pair_home), "film\tis"]) == 0
    assert capsys.readouterr().out == printed(double, [("a great film", "not good"), ("film", ""), ("film", "is")])


def test_single_texts_for_a_pair_student(
    pair_home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]
) -> None:
    typed(b"one\ttwo\nthree\n")
    assert main(["predict", str(pair_home)]) == 2
    assert "standard input, line 2: expected two texts with one tab" in capsys.readouterr().err


def test_pairs_for_a_single_student(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(home), "one", "two\tthree"]) == 2
    assert "text 2: expected one text without tabs" in capsys.readouterr().err


def test_bytes_that_are_no_text(home: Path, capsys: pytest.CaptureFixture[str], typed: Callable[[bytes], None]) -> None:
    typed(b"fine\ncaf\xe9\n")
    assert main(["predict", str(home)]) == 2
    assert "line 2: expected UTF-8, found the byte 0xe9 at column 4" in capsys.readouterr().err


def test_an_interruption_is_exit_code_130(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Predictor, __: object) -> Iterator[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict", interrupt)
    assert main(["predict", str(home), "text"]) == 130
    assert "interrupted" in capsys.readouterr().err


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
    large.save(design, tmp_path / "large")
    size = large.model.table.numel() * large.model.table.element_size()
    assert size == 400_000_000
    command = [sys.executable, "-c", FRESH, str(home), str(tmp_path / "large")]
    loaded, touched, heavy = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(loaded) < 0.05 * size
    assert 0.9 * size < int(touched) < 1.1 * size
    assert heavy == "False"  # the teacher's libraries take seconds to import


# -- Trained and saved ------------------------------------------------------------------------------------------------


def test_save_trains_once_and_the_folder_answers_as_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    command = ["--task", "Sentiment", "--scale", "smoke"]
    assert main(["save", str(tmp_path / "first"), *command]) == 0
    assert "about" in (said := capsys.readouterr().err) and "KD+FT/sentiment/seed0: nothing stored yet" in said
    assert main(["save", str(tmp_path / "second"), *command]) == 0
    assert "nothing stored yet" not in capsys.readouterr().err
    for name in ("student.safetensors", "labels.json", "design.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    options = {"task": "sentiment", "scale": "smoke", "data": "builtin", "data_dir": "", "seed": "0"}
    trial = trial_of(argparse.Namespace(**options), monkeypatch)
    texts = [e.text_a for e in trial.lesson.task.dev]
    expected = [trial.lesson.task.labels[i] for i in trial.answers((KD, FT))]
    loaded = Predictor.load(tmp_path / "first")
    assert loaded.vocabulary.ngrams() == trial.vocabulary(trial.design).ngrams()
    assert [p.label for p in loaded.predict(texts)] == expected
    about = loaded.about
    assert (about.task, about.labels, about.teacher) == ("sentiment", ("negative", "positive"), "tiny")


def trial_of(options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """The trial that `trained` makes."""
    made: list[Trial] = []
    folder = Trial.folder
    monkeypatch.setattr(Trial, "folder", lambda self, *rest: made.append(self) or folder(self, *rest))
    trained(options, lambda _: None)
    return made[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--task", "sentimant"], "no task 'sentimant': did you mean sentiment"),
        (["--task", "sentiment,paraphrase"], "--task is one task"),
        (["--seed", "-1"], "--seed is a training seed"),
        (["--seed", "x"], "--seed is a training seed"),
        (["--scale", "tiny"], "unknown scale 'tiny'"),
        (["--data", "web"], "unknown data source 'web'"),
        (["--data", "files"], "needs the folder of the data sets"),
    ],
)
def test_a_wrong_save_is_refused_before_anything_is_made(
    change: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    command = ["save", str(tmp_path / "home"), "--task", "sentiment", "--scale", "smoke"]
    assert main([*command, *change]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_save_looks_at_the_folder_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["save", str(home), "--task", "unknown"]) == 2
    assert "expected a new folder" in capsys.readouterr().err
