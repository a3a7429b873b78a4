"""The opened encoder against the model of transformers itself, with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor, nn

from common.encoders.checkpoints import CONFIG, WEIGHTS
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import Shape, random_encoder
from common.errors import UserError

MODEL_TYPES = ["bert", "roberta", "albert", "mpnet"]
TOLERANCE = 1e-5


def small_shape(model_type: str, **changes: object) -> Shape:
    values: dict[str, object] = {
        "model_type": model_type,
        "layers": 3,
        "hidden": 24,
        "heads": 3,
        "intermediate": 40,
        "vocab": 50,
        "embedding": 8 if model_type == "albert" else None,
        "positions": 32,
        "token_types": {"roberta": 1, "mpnet": 0}.get(model_type, 2),
        "pad_token_id": 1 if model_type in ("roberta", "mpnet") else 0,
    }
    return Shape(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(params=MODEL_TYPES)
def encoder(request: pytest.FixtureRequest) -> LayeredEncoder:
    return random_encoder(small_shape(request.param), seed=3)


@pytest.fixture(
    params=[*((name, "sdpa") for name in MODEL_TYPES if name != "mpnet"), *((name, "eager") for name in MODEL_TYPES)]
)
def kernel(request: pytest.FixtureRequest) -> LayeredEncoder:
    """An encoder of each type under each attention kernel that it has."""
    model_type, attention = request.param
    encoder = random_encoder(small_shape(model_type), seed=3)
    encoder.set_attention(attention)
    return encoder


def batch(encoder: LayeredEncoder, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Random ids with ragged right padding, and token types of a pair where the model has them."""
    generator = torch.Generator().manual_seed(7)
    width = max(lengths)
    ids = torch.randint(5, 50, (len(lengths), width), generator=generator)
    mask = (torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]).long()
    ids = ids.where(mask.bool(), torch.tensor(encoder.config.pad_token_id))
    types = (torch.arange(width)[None, :] >= 2).long().expand(len(lengths), -1)
    return ids, mask, types * (getattr(encoder.config, "type_vocab_size", 1) - 1)


@pytest.mark.parametrize("lengths", [[7, 3, 1, 5], [6, 6, 6]], ids=["ragged", "unpadded"])
def test_every_hidden_state_is_that_of_the_model(kernel: LayeredEncoder, lengths: list[int]) -> None:
    encoder = kernel
    ids, mask, types = batch(encoder, lengths)
    with torch.no_grad():
        expected = encoder.model(input_ids=ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True)
        states = encoder.hidden_states(ids, mask, types)
        last = encoder(ids, mask, types)
    assert len(states) == len(expected.hidden_states) == encoder.num_layers + 1
    for ours, theirs in zip(states, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(last, expected.last_hidden_state, rtol=0, atol=TOLERANCE)


def test_embed_then_layers_gives_the_last_hidden_state(encoder: LayeredEncoder) -> None:
    ids, mask, types = batch(encoder, [4, 6])
    with torch.no_grad():
        h, prepared = encoder.embed(ids, mask, types)
        assert h.shape == (2, 6, encoder.hidden_size)
        for i in range(1, encoder.num_layers + 1):
            h = encoder.layer(i, h, prepared)
        torch.testing.assert_close(h, encoder(ids, mask, types), rtol=0, atol=0)


def test_token_types_and_padding_matter(encoder: LayeredEncoder) -> None:
    """Guards the equality tests: they would pass with an encoder that ignores its inputs on both sides."""
    ids, mask, types = batch(encoder, [4, 6])
    with torch.no_grad():
        full = encoder(ids, mask, types)
        assert not torch.allclose(full[0, 0], encoder(ids, torch.ones_like(mask), types)[0, 0], atol=1e-4)
        same = torch.allclose(full, encoder(ids, mask, torch.zeros_like(types)), atol=1e-4)
    assert same == (encoder.config.model_type in ("roberta", "mpnet"))


@pytest.mark.parametrize("model_type", ["roberta", "mpnet"])
def test_models_with_one_token_type_or_none_ignore_those_of_a_pair(model_type: str) -> None:
    encoder = random_encoder(small_shape(model_type))
    ids, mask, _ = batch(encoder, [4, 6])
    with torch.no_grad():
        torch.testing.assert_close(encoder(ids, mask, torch.ones_like(ids)), encoder(ids, mask))


def test_mask_has_one_row_per_example_and_is_none_without_padding(kernel: LayeredEncoder) -> None:
    encoder = kernel
    ids, mask, types = batch(encoder, [3, 7, 7])
    if encoder.config.model_type == "mpnet":
        # The relative position bias is always there.
        assert encoder.embed(ids, mask)[1].shape == (3, 3, 7, 7)  # type: ignore[union-attr]
        assert encoder.embed(ids, None)[1].shape == (3, 3, 7, 7)  # type: ignore[union-attr]
        return
    assert encoder.embed(ids, mask, types)[1].shape == (3, 1, 7, 7)  # type: ignore[union-attr]
    assert encoder.embed(ids[:1, :3], mask[:1, :3], types[:1, :3])[1] is None
    assert encoder.embed(ids, None, types)[1] is None
    # Length 1 with padding is still padding.
    assert encoder.embed(ids, mask * 0 + (torch.arange(7) < 1).long(), types)[1] is not None


@pytest.mark.parametrize("rows", [[2], [3, 0], [1, 2, 3]])
@pytest.mark.parametrize("lengths", [[7, 3, 7, 5], [7, 7, 7, 7]], ids=["ragged", "unpadded"])
def test_selected_rows_go_on_as_if_they_were_alone(kernel: LayeredEncoder, lengths: list[int], rows: list[int]) -> None:
    encoder = kernel
    ids, mask, types = batch(encoder, lengths)
    index = torch.tensor(rows)
    with torch.no_grad():
        h, prepared = encoder.embed(ids, mask, types)
        h = encoder.layer(1, h, prepared)
        h, prepared = h[index], None if prepared is None else prepared[index]
        for i in range(2, encoder.num_layers + 1):
            h = encoder.layer(i, h, prepared)
        alone = encoder(ids[index], mask[index], types[index])
    torch.testing.assert_close(h, alone, rtol=0, atol=TOLERANCE)


def test_positions_can_be_given() -> None:
    """A text encoded alone, at the positions it has in a pair, embeds as it does in the pair."""
    bert = random_encoder(small_shape("bert"))
    ids, mask, types = batch(bert, [7])
    with torch.no_grad():
        pair, _ = bert.embed(ids, mask, types)
        second, _ = bert.embed(ids[:, 3:], mask[:, 3:], types[:, 3:], position_ids=torch.arange(3, 7)[None])
    torch.testing.assert_close(second, pair[:, 3:])


@pytest.mark.parametrize("lengths", [[7, 3, 1, 5], [6, 6, 6]], ids=["ragged", "unpadded"])
def test_positions_are_those_that_the_model_gives_itself(encoder: LayeredEncoder, lengths: list[int]) -> None:
    ids, mask, types = batch(encoder, lengths)
    with torch.no_grad():
        own, _ = encoder.embed(ids, mask, types)
        given, _ = encoder.embed(ids, mask, types, encoder.positions(ids))
    assert torch.equal(own, given)


def test_positions_moved_on_are_those_behind_another_text(encoder: LayeredEncoder) -> None:
    """RoBERTa's and MPNet's padding stays where it is."""
    ids, mask, types = batch(encoder, [9, 6])
    with torch.no_grad():
        pair, _ = encoder.embed(ids, mask, types)
        second, _ = encoder.embed(ids[:, 3:], mask[:, 3:], types[:, 3:], encoder.positions(ids[:, 3:], 3))
    torch.testing.assert_close(second, pair[:, 3:])


def test_positions_end_with_the_table(encoder: LayeredEncoder) -> None:
    """32 rows, of which RoBERTa and MPNet leave two."""
    room = 30 if encoder.config.model_type in ("roberta", "mpnet") else 32
    ids = torch.full((2, 10), 7)
    with torch.no_grad():
        encoder.embed(ids, None, None, encoder.positions(ids, room - 10))
    with pytest.raises(UserError, match=rf"positions {room - 9} to {room} .* ends at {room - 1}\."):
        encoder.positions(ids, room - 9)


def test_gradients_reach_every_weight_but_the_poolers(encoder: LayeredEncoder) -> None:
    encoder.train()
    ids, mask, types = batch(encoder, [4, 6])
    (encoder(ids, mask, types) * torch.linspace(-1, 1, encoder.hidden_size)).sum().backward()
    without = {name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()}
    assert without and all(name.startswith("model.pooler") for name in without)


def test_layers_are_counted_from_one(encoder: LayeredEncoder) -> None:
    for i in (0, -1, encoder.num_layers + 1):
        with pytest.raises(IndexError, match="layers 1 to 3"):
            encoder.layer_module(i)
        with pytest.raises(IndexError):
            encoder.first_layers(i)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_first_layers_is_a_copy_that_ends_after_layer_k(encoder: LayeredEncoder, k: int) -> None:
    ids, mask, types = batch(encoder, [4, 6])
    short = encoder.first_layers(k)
    with torch.no_grad():
        expected = encoder.hidden_states(ids, mask, types)[k]
        torch.testing.assert_close(short(ids, mask, types), expected, rtol=0, atol=0)
        whole = short.model(input_ids=ids, attention_mask=mask, token_type_ids=types)
        torch.testing.assert_close(whole.last_hidden_state, expected, rtol=0, atol=TOLERANCE)
        for p in short.parameters():
            p.zero_()
        torch.testing.assert_close(encoder.hidden_states(ids, mask, types)[k], expected, rtol=0, atol=0)
    assert short.num_layers == short.config.num_hidden_layers == k
    assert encoder.num_layers == encoder.config.num_hidden_layers == 3
    short.set_attention("eager")
    if encoder.config.model_type != "mpnet":
        assert encoder.embed(ids, mask, types)[1].dtype == torch.bool  # type: ignore[union-attr]


def test_first_layers_holds_no_weights_of_dropped_layers() -> None:
    bert = random_encoder(small_shape("bert"))
    layer = sum(p.numel() for p in bert.layer_module(1).parameters())
    dropped = sum(p.numel() for p in bert.parameters()) - sum(p.numel() for p in bert.first_layers(1).parameters())
    assert dropped == 2 * layer


class TestMPNet:
    @pytest.fixture
    def mpnet(self) -> LayeredEncoder:
        """With a bias of trained size: that of the released checkpoint reaches from -11 to 3."""
        mpnet = random_encoder(small_shape("mpnet", heads=4, layers=2, positions=200), seed=4)
        torch.nn.init.normal_(mpnet.model.encoder.relative_attention_bias.weight, std=4.0)
        return mpnet

    @pytest.mark.parametrize("lengths", [[150, 3, 40], [150]], ids=["ragged", "unpadded"])
    def test_equals_the_model_where_all_distances_occur(self, mpnet: LayeredEncoder, lengths: list[int]) -> None:
        ids, mask, _ = batch(mpnet, lengths)
        with torch.no_grad():
            expected = mpnet.model(input_ids=ids, attention_mask=mask).last_hidden_state
            torch.testing.assert_close(mpnet(ids, mask), expected, rtol=0, atol=TOLERANCE)
            mpnet.model.encoder.relative_attention_bias.weight.zero_()
            assert not torch.allclose(mpnet(ids, mask), expected, atol=0.01)

    def test_positions_do_not_count_padding(self, mpnet: LayeredEncoder) -> None:
        ids, _, _ = batch(mpnet, [6])
        shifted = torch.cat([torch.full((1, 3), 1), ids], dim=1)
        with torch.no_grad():
            torch.testing.assert_close(mpnet.embed(shifted, None)[0][:, 3:], mpnet.embed(ids, None)[0])

    def test_the_bias_is_computed_once_a_pass(self, mpnet: LayeredEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []
        compute = mpnet.model.encoder.compute_position_bias
        monkeypatch.setattr(mpnet.model.encoder, "compute_position_bias", lambda h: calls.append(len(h)) or compute(h))
        mpnet(*batch(mpnet, [4, 6])[:2])
        assert calls == [1]

    def test_half_precision_masks_stay_finite(self, mpnet: LayeredEncoder) -> None:
        """The least number there is, and a negative bias on top: beyond it would be minus infinity."""
        half = mpnet.to(torch.bfloat16)
        ids, mask, _ = batch(half, [7, 3])
        prepared = half.embed(ids, mask)[1]
        assert prepared is not None and bool(prepared.isfinite().all()) and bool(half(ids, mask).isfinite().all())

    def test_has_no_fused_attention(self, mpnet: LayeredEncoder) -> None:
        with pytest.raises(UserError, match="type 'mpnet' has eager attention only: no sdpa"):
            mpnet.set_attention("sdpa")


def test_albert_shares_one_layer() -> None:
    albert = random_encoder(small_shape("albert"))
    assert albert.layer_module(1) is albert.layer_module(3)
    assert sum(p.numel() for p in albert.first_layers(1).parameters()) == sum(p.numel() for p in albert.parameters())


def test_pooler_dense_gives_the_pooler_output(encoder: LayeredEncoder) -> None:
    ids, mask, types = batch(encoder, [4, 6])
    assert isinstance(encoder.pooler_dense, nn.Linear)
    with torch.no_grad():
        pooled = torch.tanh(encoder.pooler_dense(encoder(ids, mask, types)[:, 0]))
        expected = encoder.model(input_ids=ids, attention_mask=mask, token_type_ids=types).pooler_output
    torch.testing.assert_close(pooled, expected, rtol=0, atol=TOLERANCE)


def test_an_architecture_without_pooler_has_none() -> None:
    assert random_encoder(small_shape("bert", has_pooler=False)).pooler_dense is None


@pytest.mark.parametrize("has_pooler", [True, False])
def test_save_and_load_give_the_same_encoder(encoder: LayeredEncoder, has_pooler: bool, tmp_path: Path) -> None:
    encoder = random_encoder(small_shape(encoder.config.model_type, has_pooler=has_pooler), seed=5)
    encoder.pooler_is_pretrained = has_pooler
    encoder.save(tmp_path / "encoder")
    loaded = LayeredEncoder.load(tmp_path / "encoder")
    assert loaded.pooler_is_pretrained == has_pooler and not loaded.training
    state, expected = loaded.state_dict(), encoder.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    ids, mask, types = batch(encoder, [4, 6])
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids, mask, types), encoder(ids, mask, types), rtol=0, atol=0)
    assert sorted(p.name for p in (tmp_path / "encoder").iterdir()) == [CONFIG, WEIGHTS]


def test_transformers_itself_reads_what_was_saved(encoder: LayeredEncoder, tmp_path: Path) -> None:
    encoder.first_layers(2).save(tmp_path)
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    ids, mask, types = batch(encoder, [4, 6])
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        torch.testing.assert_close(theirs, encoder.hidden_states(ids, mask, types)[2], rtol=0, atol=TOLERANCE)


def test_loading_leaves_the_global_random_state_alone(encoder: LayeredEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    LayeredEncoder.load(tmp_path)
    random_encoder(small_shape("bert"))
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_another_architecture_over_it_never_mixes_the_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_encoder(small_shape("bert")).save(tmp_path)
    other = random_encoder(small_shape("bert", hidden=12))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("common.encoders.layered.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        other.save(tmp_path)
    with pytest.raises(UserError, match=WEIGHTS):
        LayeredEncoder.load(tmp_path)
    monkeypatch.undo()
    other.save(tmp_path)
    assert LayeredEncoder.load(tmp_path).hidden_size == 12


def test_a_kill_while_saving_the_same_architecture_keeps_the_earlier_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = random_encoder(small_shape("bert"), seed=1)
    first.save(tmp_path)

    def killed(state: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("common.encoders.layered.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        random_encoder(small_shape("bert"), seed=2).save(tmp_path)
    kept = LayeredEncoder.load(tmp_path).state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in first.state_dict().items())
    assert sorted(p.name for p in tmp_path.iterdir()) == [CONFIG, WEIGHTS]


class TestLoadRefuses:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        random_encoder(small_shape("bert")).save(tmp_path)
        return tmp_path

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no encoder in"):
            LayeredEncoder.load(tmp_path / "nothing")

    def test_pickled_weights(self, folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        torch.save({}, folder / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"pytorch_model.bin only, a pickled file"):
            LayeredEncoder.load(folder)

    def test_truncated_weights(self, folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match=WEIGHTS):
            LayeredEncoder.load(folder)

    def test_a_broken_configuration(self, folder: Path) -> None:
        (folder / CONFIG).write_text("{")
        with pytest.raises(UserError, match="not a model configuration"):
            LayeredEncoder.load(folder)

    def test_another_kind_of_model(self, folder: Path) -> None:
        (folder / CONFIG).write_text('{"model_type": "gpt2"}')
        with pytest.raises(UserError, match="type 'gpt2': expected one of bert, roberta, albert, mpnet"):
            LayeredEncoder.load(folder)

    def test_weights_of_another_width(self, folder: Path) -> None:
        wider = random_encoder(small_shape("bert", hidden=48))
        (folder / CONFIG).write_text(wider.config.to_json_string(use_diff=False))
        with pytest.raises(UserError, match="cannot load the encoder"):
            LayeredEncoder.load(folder)

    def test_fewer_layers_than_configured(self, folder: Path) -> None:
        deeper = random_encoder(small_shape("bert", layers=4))
        (folder / CONFIG).write_text(deeper.config.to_json_string(use_diff=False))
        with pytest.raises(UserError, match=r"are missing, the first is encoder.layer.3"):
            LayeredEncoder.load(folder)

    def test_weights_from_elsewhere(self, folder: Path) -> None:
        LayeredEncoder.load(folder).model.save_pretrained(folder)
        with pytest.raises(UserError, match="not written by this project"):
            LayeredEncoder.load(folder)


class TestCanary:
    """What this project relies on inside transformers. A failure here names the version that moved it."""

    HINT = (
        f"transformers {transformers.__version__} changed what common/encoders/layered.py relies on: install the "
        "tested version (pip install -c constraints.txt transformers) or adapt that file"
    )

    def test_a_layer_takes_hidden_states_and_mask_and_returns_a_tensor(self, encoder: LayeredEncoder) -> None:
        h, mask = encoder.embed(*batch(encoder, [4, 6]))
        out = encoder.layer_module(1)(h, mask)
        if encoder.config.model_type == "mpnet":
            assert isinstance(out, tuple), self.HINT
            out = out[0]
        assert isinstance(out, Tensor) and out.shape == h.shape, self.HINT

    def test_a_moved_part_is_named(self, encoder: LayeredEncoder) -> None:
        part = "albert_layer_groups" if encoder.config.model_type == "albert" else "layer"
        delattr(encoder.model.encoder, part)
        message = f"transformers {transformers.__version__} lays out .* no 'encoder.{part}'.*pip install"
        with pytest.raises(UserError, match=message):
            LayeredEncoder(encoder.model, pooler_is_pretrained=False)

    def test_a_moved_bias_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mpnet = random_encoder(small_shape("mpnet"))
        monkeypatch.delattr(type(mpnet.model.encoder), "compute_position_bias")
        with pytest.raises(UserError, match=r"no 'encoder.compute_position_bias'.*pip install"):
            LayeredEncoder(mpnet.model, pooler_is_pretrained=False)

    def test_an_unknown_type_is_refused(self) -> None:
        config = transformers.AutoConfig.for_model("gpt2", n_layer=1, n_embd=8, n_head=1, vocab_size=9, n_positions=8)
        with pytest.raises(UserError, match="type 'gpt2'"):
            LayeredEncoder(transformers.AutoModel.from_config(config), pooler_is_pretrained=False)

    def test_an_albert_with_several_groups_is_refused(self) -> None:
        config = small_shape("albert").config()
        config.num_hidden_groups = 3
        with pytest.raises(UserError, match="num_hidden_groups"):
            LayeredEncoder(transformers.AutoModel.from_config(config), pooler_is_pretrained=False)


# -- Chosen layers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["tiny", "tiny-roberta", "tiny-mpnet"])
def test_chosen_layers_run_one_after_the_other(shape: str) -> None:
    encoder = random_encoder(shape)
    chosen = encoder.with_layers((1, 4))
    ids = torch.randint(5, 1000, (2, 7), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        h, mask = encoder.embed(ids, None)
        expected = encoder.layer(4, encoder.layer(1, h, mask), mask)
        torch.testing.assert_close(chosen(ids, None), expected)
    assert chosen.num_layers == 2 and encoder.num_layers == 4
    assert chosen.layer_module(2) is not encoder.layer_module(4)


def test_a_layer_that_is_not_there_cannot_be_chosen() -> None:
    for outside in ((0, 1), (1, 5)):
        with pytest.raises(IndexError):
            random_encoder("tiny").with_layers(outside)
