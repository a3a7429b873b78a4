"""The folder of a student taken home: written whole or not at all; what is wrong with it is said in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_student import CORPUS, DESIGN, LABELS, TEXTS

from common.errors import UserError
from replications.sparse_distillation import home as module
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.predictor import Predictor, main
from replications.sparse_distillation.storage import load_student

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
    load_student(home)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_folder_in_use_is_not_touched(single: Predictor, home: Path) -> None:
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    with pytest.raises(UserError, match="expected a new folder"):
        single.save(home)
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_an_empty_folder_is_taken(single: Predictor, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    single.save(tmp_path / "new")
    assert Predictor.load(tmp_path / "new").predict(TEXTS) == single.predict(TEXTS)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=repr)
def test_a_save_that_fails_leaves_nothing(
    single: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(module, "write_json", fail)
    with pytest.raises((KeyboardInterrupt, UserError)):
        single.save(tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(single: Predictor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file.* is no folder that can be written"):
        single.save(tmp_path / "file" / "home")


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
