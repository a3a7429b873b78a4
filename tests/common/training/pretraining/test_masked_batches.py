"""Dynamic masking: how much, what, and that any batch of any epoch can be made first."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_text import documents, text_of, words
from torch import Tensor

from common.training.batches import batches_from
from common.training.pretraining.batches import MaskedBatches
from common.training.pretraining.encoded import EncodedText
from common.training.pretraining.masking import Corruption, Masking, Uniform
from common.training.pretraining.rows import PackedRows, SegmentPairs
from common.training.pretraining.words import Words


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> EncodedText:
    return text_of(tmp_path_factory.mktemp("text"), documents(60), shard_tokens=500)


def batches(text: EncodedText, masking: Masking | None = None, seed: int = 3, **more: Corruption) -> MaskedBatches:
    return MaskedBatches(PackedRows(text, words(), 32), words(), masking, batch_size=8, seed=seed, **more)


def originals(batch: object, text: EncodedText) -> Tensor:
    """The ids before masking."""
    ids = batch.input_ids.clone().flatten()  # type: ignore[attr-defined]
    ids[batch.places] = batch.targets  # type: ignore[attr-defined]
    return ids.view_as(batch.input_ids)  # type: ignore[attr-defined, no-any-return]


def masked_by_row(source: MaskedBatches, text: EncodedText, epoch: int) -> dict[tuple[int, ...], list[int]]:
    """What became of each row."""
    found = {}
    for batch in source.epoch(epoch):
        for before, after in zip(originals(batch, text), batch.input_ids, strict=True):
            found[tuple(before.tolist())] = after.tolist()
    return found


def test_of_every_row_fifteen_in_a_hundred_are_chosen_and_no_special_one(text: EncodedText) -> None:
    for batch in batches(text, Uniform()).epoch(0):
        before = originals(batch, text)
        chosen = torch.zeros_like(before, dtype=torch.bool).flatten()
        chosen[batch.places] = True
        chosen = chosen.view_as(before)
        maskable = words().maskable(before)
        assert not (chosen & ~maskable).any()
        assert chosen.sum(1).tolist() == [max(1, round(0.15 * n)) for n in maskable.sum(1).tolist()]


@settings(deadline=None, max_examples=40)
@given(share=st.floats(0.01, 1.0), seed=st.integers(0, 10_000))
def test_uniform_masking_never_touches_what_may_not_be_masked(share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maskable = torch.rand(4, 20, generator=generator) < 0.5
    chosen = Uniform(share)(torch.zeros(4, 20, dtype=torch.long), maskable, generator)
    assert not (chosen & ~maskable).any()
    for row, allowed in zip(chosen.sum(1).tolist(), maskable.sum(1).tolist(), strict=True):
        assert min(1, allowed) <= row <= allowed


def test_of_the_chosen_eight_in_ten_are_masked_one_is_another_word_and_one_stays() -> None:
    ids = torch.full((200, 500), 2003)
    chosen = torch.zeros(200, 500, dtype=torch.bool)
    chosen[:, ::2] = True
    found = Corruption()(ids, chosen, words(), torch.Generator().manual_seed(0))
    assert torch.equal(found[:, 1::2], ids[:, 1::2])
    at = found[:, ::2]
    shares = [(at == words().mask).double().mean(), (at == 2003).double().mean()]
    assert [s.item() for s in shares] == pytest.approx([0.8, 0.1], abs=0.01)
    other = at[(at != words().mask) & (at != 2003)]
    assert len(other.unique()) > 4000
    assert not torch.isin(other, torch.tensor(words().special)).any()


def test_masks_are_drawn_anew_in_every_epoch_over_the_same_rows(text: EncodedText) -> None:
    source = batches(text, Uniform())
    before = [torch.cat([originals(b, text) for b in source.epoch(e)]) for e in (0, 1)]
    sorted_rows = [sorted(map(tuple, rows.tolist())) for rows in before]
    assert sorted_rows[0] == sorted_rows[1]
    assert not torch.equal(before[0], before[1]), "another order"
    masks = [masked_by_row(source, text, epoch) for epoch in (0, 1)]
    assert sum(masks[0][row] != masks[1][row] for row in masks[0]) > 0.9 * len(masks[0])


@pytest.mark.parametrize("first", [0, 1, 5])
def test_an_epoch_can_begin_in_its_middle_without_making_the_batches_before(text: EncodedText, first: int) -> None:
    source = batches(text, Uniform())
    whole = list(source.epoch(2))
    made: list[int] = []

    class Counting:
        def __call__(self, ids: Tensor, maskable: Tensor, generator: torch.Generator) -> Tensor:
            made.append(1)
            return Uniform()(ids, maskable, generator)

    rest = list(batches_from(batches(text, Counting()), 2, first))
    assert len(rest) == len(made) == len(whole) - first
    for ours, theirs in zip(rest, whole[first:], strict=True):
        assert torch.equal(ours.input_ids, theirs.input_ids)
        assert torch.equal(ours.places, theirs.places)


def test_seeds_differ_and_equal_seeds_do_not(text: EncodedText) -> None:
    one, same, other = (next(batches(text, Uniform(), seed=s).epoch(0)) for s in (1, 1, 2))
    assert torch.equal(one.input_ids, same.input_ids)
    assert not torch.equal(one.input_ids, other.input_ids)


def test_without_masking_the_text_stays_and_nothing_is_asked(text: EncodedText) -> None:
    batch = next(batches(text, None).epoch(0))
    assert len(batch.places) == len(batch.targets) == 0
    assert not (batch.input_ids == words().mask).any()


def test_padding_is_never_masked(text: EncodedText) -> None:
    source = MaskedBatches(SegmentPairs(text, words(), 64, "order"), words(), Uniform(0.9), batch_size=16, seed=0)
    batch = next(source.epoch(0))
    assert not batch.present.all()
    assert batch.present.flatten()[batch.places].all()
    assert batch.to(torch.device("cpu")).tokens == batch.input_ids.numel()


def test_where_words_go_on_is_known_of_each_kind_of_tokenizer() -> None:
    continues = words().continues
    ids = torch.tensor(_tokenized("unbelievably fine"))
    assert continues[ids].tolist() == [piece.startswith("##") for piece in _pieces(ids)]
    assert continues[ids].sum() >= 1

    class Bytes:
        mask_token_id, pad_token_id, all_special_ids = 3, 1, [0, 1, 2, 3]

        def __len__(self) -> int:
            return 6

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [["<s>", "<pad>", "</s>", "<mask>", "Ġone", "two"][i] for i in ids]

    from common.training.pretraining.words import _continues

    assert _continues(Bytes())[4:].tolist() == [False, True]


def _tokenized(text: str) -> list[int]:
    from kit.toy_text import tokenizer

    return list(tokenizer()(text, add_special_tokens=False)["input_ids"])


def _pieces(ids: Tensor) -> list[str]:
    from kit.toy_text import tokenizer

    return list(tokenizer().convert_ids_to_tokens(ids.tolist()))


def test_ordinary_words_are_all_but_the_special_ones() -> None:
    found: Words = words()
    assert len(found.ordinary) == found.size - len(found.special)
    assert np.isin(found.special, found.ordinary.numpy()).sum() == 0
