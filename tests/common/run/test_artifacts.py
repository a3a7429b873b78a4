"""The artifact store in one process: addresses, messages, resuming, damage, a full disk."""

from __future__ import annotations

import errno
import json
import math
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from common.errors import UserError
from common.run import artifacts
from common.run.artifacts import ArtifactStore, default_root, differences, find_damage, recipe_key

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
recipes = st.dictionaries(st.text(), values, max_size=5)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(inner) for inner in value] if isinstance(value, list) else value


def typed(value: Any) -> Any:
    """A value together with its types, since 1 == True == 1.0 in Python but not in a recipe."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (type(value).__name__, repr(value))


@given(recipes)
def test_the_order_of_keys_does_not_matter(recipe: dict[str, Any]) -> None:
    assert recipe_key(reordered(recipe)) == recipe_key(recipe)


@given(recipes, recipes)
def test_keys_are_equal_exactly_for_equal_recipes(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert (recipe_key(first) == recipe_key(second)) == (typed(first) == typed(second))


@given(recipes.filter(bool), values, st.data())
def test_changing_one_value_changes_the_key(recipe: dict[str, Any], value: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(recipe)))
    changed = {**recipe, name: value}
    assert (recipe_key(changed) == recipe_key(recipe)) == (typed(value) == typed(recipe[name]))


@given(recipes)
def test_a_recipe_survives_its_manifest(recipe: dict[str, Any]) -> None:
    assert recipe_key(json.loads(json.dumps(recipe, indent=2, ensure_ascii=True))) == recipe_key(recipe)


@given(recipes, recipes)
def test_two_recipes_differ_exactly_if_their_keys_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert bool(differences(first, second)) == (recipe_key(first) != recipe_key(second))


def test_the_key_is_stable_across_versions() -> None:
    """Changing the canonical form would silently orphan every cache. The digest is that of sha256sum."""
    canonical = '{"a":{"\\u00e9":"x"},"b":[1,2.5,null]}'
    digest = subprocess.run(["sha256sum"], input=canonical, capture_output=True, text=True, check=True).stdout
    assert recipe_key({"b": [1, 2.5, None], "a": {"é": "x"}}) == digest.split()[0]


@pytest.mark.parametrize(
    ("recipe", "error"),
    [({"a": math.nan}, ValueError), ({"a": Path("x")}, TypeError), ({"a": {1: 2}}, TypeError), ({1: 2}, TypeError)],
)
def test_what_has_no_json_form_is_refused(recipe: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        recipe_key(recipe)


RECIPE: dict[str, Any] = {"kind": "backbone", "learning_rate": 2e-5, "data": {"name": "sst-2", "size": 100}}
NAME = "deebert/backbone/sst-2/seed0"


class Maker:
    """Writes two files and counts how often it was asked to."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / "model.bin").write_bytes(self.content)
        (folder / "notes.txt").write_text("trained")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "cache")


def test_asked_for_twice_made_once(store: ArtifactStore) -> None:
    maker = Maker()
    said: list[str] = []
    first = store.get(NAME, RECIPE, maker, said.append)
    second = store.get("another name", reordered(RECIPE), maker, said.append)
    assert first == second == store.root / "objects" / recipe_key(RECIPE)
    assert (first / "deep" / "model.bin").read_bytes() == b"weights"
    assert maker.calls == 1 and said == [], "the first time there is nothing to explain"
    assert not (store.root / "partial" / recipe_key(RECIPE)).exists()


def test_the_manifest_describes_the_artifact(store: ArtifactStore) -> None:
    manifest = json.loads((store.get(NAME, RECIPE, Maker()) / "manifest.json").read_text())
    assert manifest["name"] == NAME and manifest["recipe"] == RECIPE
    assert manifest["files"].keys() == {"deep/model.bin", "notes.txt"}
    expected = subprocess.run(["sha256sum"], input=b"weights", capture_output=True, check=True).stdout.split()[0]
    assert manifest["files"]["deep/model.bin"] == {"size": 7, "sha256": expected.decode()}


def test_by_default_the_sentence_goes_to_standard_error(
    store: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(store.get(NAME, RECIPE, Maker()))
    store.get(NAME, RECIPE, Maker())
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"training {NAME} again: ") and err.count("\n") == 1


def said_for(store: ArtifactStore, recipe: dict[str, Any], name: str = NAME) -> str:
    """The one sentence that is said while the artifact is made; empty if there is none."""
    said: list[str] = []
    maker = Maker()
    store.get(name, recipe, maker, said.append)
    assert maker.calls == 1 and len(said) <= 1
    return "".join(said)


def test_a_miss_names_what_changed_against_the_nearest_recipe(store: ArtifactStore) -> None:
    store.get(NAME, {**RECIPE, "learning_rate": 1e-4, "data": {"name": "mrpc", "size": 7}}, Maker())
    store.get(NAME, RECIPE, Maker())
    said = said_for(store, {**RECIPE, "learning_rate": 3e-5})
    assert said == f"training {NAME}: learning_rate was 2e-05 in the stored one, now 3e-05"


def test_a_miss_under_another_name_needs_no_reason(store: ArtifactStore) -> None:
    store.get(NAME, RECIPE, Maker())
    assert said_for(store, {**RECIPE, "kind": "exits"}, name="other") == ""


@pytest.mark.parametrize(
    ("changed", "clause"),
    [
        ({**RECIPE, "data": {"name": "sst-2", "size": 99}}, "data.size was 100 in the stored one, now 99"),
        ({**RECIPE, "dropout": 0.1}, "dropout is new (0.1)"),
        ({"kind": "backbone", "data": RECIPE["data"]}, "learning_rate is gone (was 2e-05 in the stored one)"),
        ({**RECIPE, "kind": "x" * 60}, f'kind was "backbone" in the stored one, now "{"x" * 39}...'),
    ],
)
def test_differences_are_put_into_words(store: ArtifactStore, changed: dict[str, Any], clause: str) -> None:
    store.get(NAME, RECIPE, Maker())
    assert said_for(store, changed) == f"training {NAME}: {clause}"


def test_values_that_look_alike_when_shortened_just_changed() -> None:
    assert differences({"a": "x" * 50 + "1"}, {"a": "x" * 50 + "2"}) == ["a changed"]


def test_many_differences_are_counted(store: ArtifactStore) -> None:
    store.get(NAME, {name: 0 for name in "abcde"}, Maker())
    said = said_for(store, {name: 1 for name in "abcde"})
    assert said.count("was 0 in the stored one") == 3 and said.endswith("; and 2 more")


def test_an_interrupted_maker_gets_its_folder_back(store: ArtifactStore) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "checkpoint").mkdir()
        (folder / "checkpoint" / "step").write_text("3")
        raise KeyboardInterrupt

    def resumed(folder: Path) -> None:
        assert (folder / "checkpoint" / "step").read_text() == "3"
        (folder / "model.bin").write_text("done")

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        store.get(NAME, RECIPE, interrupted, said.append)
    folder = store.get(NAME, RECIPE, resumed, said.append)
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "model.bin"]
    assert said == [f"resuming {NAME}: it was interrupted"]


def test_a_failing_maker_publishes_nothing_and_its_error_is_seen(store: ArtifactStore) -> None:
    def failing(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        store.get(NAME, RECIPE, failing)
    assert not (store.root / "objects").exists()
    # The lock is free again.
    assert store.get(NAME, RECIPE, Maker()).is_dir()


@pytest.mark.parametrize("file", [None, "manifest.json"])
def test_a_maker_that_leaves_nothing_or_a_manifest_is_at_fault(store: ArtifactStore, file: str | None) -> None:
    def make(folder: Path) -> None:
        if file:
            (folder / file).write_text("{}")

    with pytest.raises(ValueError, match=NAME):
        store.get(NAME, RECIPE, make)
    assert not (store.root / "objects").exists()


def truncate(folder: Path) -> None:
    (folder / "deep" / "model.bin").write_bytes(b"weig")


def flip(folder: Path) -> None:
    (folder / "deep" / "model.bin").write_bytes(b"weighTs")


def lose(folder: Path) -> None:
    (folder / "notes.txt").unlink()


def cut_manifest(folder: Path) -> None:
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(content[:-20])


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def foreign_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["recipe"]["learning_rate"] = 1.0
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "clause"),
    [
        (truncate, "deep/model.bin of the stored one is damaged (4 bytes, expected 7)"),
        (flip, "deep/model.bin of the stored one is damaged (its SHA-256 is not the recorded one)"),
        (lose, "notes.txt of the stored one is missing"),
        (cut_manifest, "manifest.json of the stored one cannot be read"),
        (lose_manifest, "the stored one has no manifest.json"),
        (foreign_manifest, "manifest.json of the stored one describes another artifact"),
    ],
)
def test_a_damaged_artifact_is_made_again(store: ArtifactStore, damage: Callable[[Path], None], clause: str) -> None:
    maker = Maker()
    said: list[str] = []
    folder = store.get(NAME, RECIPE, maker)
    damage(folder)
    assert find_damage(folder) == clause
    again = store.get(NAME, RECIPE, maker, said.append)
    assert said == [f"training {NAME} again: {clause}"]
    assert again == folder and maker.calls == 2 and find_damage(folder) is None
    assert (folder / "deep" / "model.bin").read_bytes() == b"weights"


def test_a_damaged_manifest_does_not_disturb_other_artifacts(store: ArtifactStore) -> None:
    cut_manifest(store.get(NAME, RECIPE, Maker()))
    assert said_for(store, {**RECIPE, "kind": "exits"}) == ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_while_making_is_explained(store: ArtifactStore, number: int) -> None:
    def full(folder: Path) -> None:
        (folder / "model.bin").write_text("half")
        raise OSError(number, "No space left on device")

    with pytest.raises(UserError, match=r"the disk is full .* Free some space"):
        store.get(NAME, RECIPE, full)
    assert not (store.root / "objects").exists()
    assert store.get(NAME, RECIPE, Maker()).is_dir()


def test_a_full_disk_behind_another_error_is_found(store: ArtifactStore) -> None:
    def full(folder: Path) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("could not save") from error

    with pytest.raises(UserError, match="the disk is full"):
        store.get(NAME, RECIPE, full)


def write_plain(folder: Path) -> None:
    (folder / "model.bin").write_bytes(bytes(300_000))


def write_safetensors(folder: Path) -> None:
    save_file({"a": torch.zeros(100_000)}, folder / "model.safetensors")


@pytest.mark.parametrize("make", [write_plain, write_safetensors])
def test_a_file_size_limit_is_explained_like_a_full_disk(store: ArtifactStore, make: Callable[[Path], None]) -> None:
    """The kernel refuses to write further, as it does on a full disk; the writers' own errors are the real ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match="the disk is full"):
            store.get(NAME, RECIPE, make)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (store.root / "objects").exists()
    folder = store.get(NAME, RECIPE, make)
    assert find_damage(folder) is None


def test_an_error_without_a_number_counts_as_a_full_disk_only_if_it_is_full(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(folder: Path) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    with pytest.raises(RuntimeError, match="PytorchStreamWriter"):
        store.get(NAME, RECIPE, failing)
    usage = shutil.disk_usage(store.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(UserError, match=r"the disk is full .PytorchStreamWriter"):
        store.get(NAME, RECIPE, failing)


def test_a_root_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write the cache folder .*REPRODUCE_CACHE"):
        ArtifactStore(tmp_path / "file" / "cache").get(NAME, RECIPE, Maker())


def test_the_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("REPRODUCE_CACHE")
    assert default_root() == Path(__file__).resolve().parents[3] / ".cache" / "reproduce"


def test_the_store_is_importable_without_torch() -> None:
    code = "import sys, common.run.artifacts; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_files_are_hashed_once_a_process_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, hashed = ArtifactStore(tmp_path), []
    folder = store.get("a", {"kind": "a"}, lambda path: (path / "weights").write_bytes(b"first") and None)
    real = artifacts.find_damage
    monkeypatch.setattr(artifacts, "find_damage", lambda path: hashed.append(path) or real(path))
    for _ in range(3):
        store.get("a", {"kind": "a"}, pytest.fail)
    assert len(hashed) == 1
    (folder / "weights").write_bytes(b"other")
    store.get("a", {"kind": "a"}, lambda path: (path / "weights").write_bytes(b"first") and None)
    assert (folder / "weights").read_bytes() == b"first"
