"""Batches of bags: what is dropped, what is cut, and that examples keep their targets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from replications.sparse_distillation.engine.bags import MAX_NGRAMS, Bag, BagBatch, BagBatches, BagSplit, thin_out
from replications.sparse_distillation.engine.ngrams import Bags

Texts = list[list[int]]


def bags(texts: Texts) -> Bags:
    ids = np.array([i for text in texts for i in text], dtype=np.int64)
    return Bags(ids, np.cumsum([0, *map(len, texts)]).astype(np.int64))


def texts_of(bag: Bag) -> Texts:
    ends = [*bag.offsets.tolist()[1:], len(bag.ids)]
    return [bag.ids[a:b].tolist() for a, b in zip(bag.offsets.tolist(), ends, strict=True)]


def ragged(most: int = 6) -> st.SearchStrategy[Texts]:
    return st.lists(st.lists(st.integers(0, 30), max_size=7), min_size=1, max_size=most)


@settings(max_examples=40, deadline=None)
@given(ragged())
def test_a_bag_knows_its_texts(texts: Texts) -> None:
    bag = Bag.of(bags(texts))
    assert len(bag) == len(texts)
    assert bag.lengths.tolist() == [len(text) for text in texts]
    assert bag.text_of_id.tolist() == [i for i, text in enumerate(texts) for _ in text]
    assert texts_of(bag) == texts


@settings(max_examples=40, deadline=None)
@given(ragged(), st.integers(1, 4), st.booleans())
def test_evaluation_sees_every_example_once_in_order_and_whole(texts: Texts, size: int, pair: bool) -> None:
    second = [text[::-1] for text in texts]
    split = BagSplit(bags(texts), bags(second) if pair else None, torch.arange(len(texts)))
    batches = list(split.in_order(size))
    assert [t for b in batches for t in texts_of(b.first)] == texts
    assert torch.cat([b.targets for b in batches]).tolist() == list(range(len(texts)))
    assert torch.cat([b.rows for b in batches]).tolist() == list(range(len(texts)))
    assert sum(b.tokens for b in batches) == (1 + pair) * sum(map(len, texts))
    if pair:
        assert [t for b in batches for t in texts_of(b.second) if b.second] == second  # type: ignore[arg-type]
    else:
        assert all(b.second is None for b in batches)


def test_evaluation_drops_and_cuts_nothing() -> None:
    long = list(range(MAX_NGRAMS + 100))
    split = BagSplit(bags([long]), None, torch.zeros(1))
    assert texts_of(next(split.in_order(1)).first) == [long]
    assert texts_of(split.batch([0, 0]).first) == [long, long]


@pytest.mark.parametrize("targets", [torch.zeros(2), torch.zeros(4, 3)])
def test_targets_of_another_length_are_refused(targets: torch.Tensor) -> None:
    with pytest.raises(UserError, match=rf"3 texts, found {len(targets)}"):
        BagSplit(bags([[1], [2], []]), None, targets)


# -- Training ---------------------------------------------------------------------------------------------------------


def example_split(count: int = 23, *, pair: bool = True) -> BagSplit:
    """Text i is [10 i, 10 i + 1, ...], its partner the same negated, its target i."""
    texts = [[10 * i + k for k in range(i % 5)] for i in range(count)]
    second = [[-x for x in text] for text in texts]
    return BagSplit(bags(texts), bags(second) if pair else None, torch.arange(count))


def contents(batch: BagBatch) -> list[object]:
    second = None if batch.second is None else texts_of(batch.second)
    return [texts_of(batch.first), second, batch.targets.tolist(), batch.rows.tolist()]


@pytest.mark.parametrize("pair", [False, True])
def test_an_epoch_has_every_example_once_with_its_own_target_and_partner(pair: bool) -> None:
    split = example_split(pair=pair)
    source = BagBatches(split, 5, seed=3, ngram_dropout=0.0)
    batches = list(source.epoch(0))
    assert len(batches) == len(source) == 5
    rows = torch.cat([b.rows for b in batches]).tolist()
    assert sorted(rows) == list(range(23))
    assert rows != sorted(rows)
    for batch in batches:
        assert torch.equal(batch.targets, batch.rows)
        for row, text in zip(batch.rows.tolist(), texts_of(batch.first), strict=True):
            assert text == [10 * row + k for k in range(row % 5)]
        if batch.second is not None:
            assert texts_of(batch.second) == [[-x for x in text] for text in texts_of(batch.first)]
    assert all((b.second is None) is not pair for b in batches)


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    def epoch(seed: int, number: int) -> list[list[object]]:
        return [contents(b) for b in BagBatches(example_split(), 5, seed, 0.3).epoch(number)]

    assert epoch(1, 2) == epoch(1, 2)
    different = [epoch(1, 2), epoch(2, 1), epoch(1, 3), epoch(2, 2)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])


def test_dropout_differs_between_epochs_and_between_the_texts_of_a_pair() -> None:
    text = list(range(200))
    split = BagSplit(bags([text]), bags([text]), torch.zeros(1))
    first, second = (next(BagBatches(split, 1, 0, 0.5).epoch(number)) for number in (0, 1))
    assert first.second is not None
    assert texts_of(first.first) != texts_of(second.first)
    assert texts_of(first.first) != texts_of(first.second)


@settings(max_examples=40, deadline=None)
@given(ragged(), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 5))
def test_what_is_left_of_a_text_is_a_part_of_it_in_order(texts: Texts, dropout: float, seed: int) -> None:
    left = texts_of(Bag.of(thin_out(bags(texts), dropout, np.random.default_rng(seed))))
    assert len(left) == len(texts)
    for found, text in zip(left, texts, strict=True):
        rest = iter(text)
        assert all(any(x == y for y in rest) for x in found)
    if dropout == 0.0:
        assert left == texts
    if dropout == 1.0:
        assert not any(left)


def test_the_share_that_is_dropped_is_the_one_asked_for() -> None:
    thinned = thin_out(bags([list(range(1000))] * 40), 0.1, np.random.default_rng(0))
    assert thinned.lengths.sum() / 40_000 == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5])
def test_long_texts_are_cut_to_2048_at_random_after_dropout(dropout: float) -> None:
    long, short = list(range(3000)), list(range(5))
    just = list(range(MAX_NGRAMS))
    left = texts_of(Bag.of(thin_out(bags([short, long, just]), dropout, np.random.default_rng(0))))
    assert MAX_NGRAMS == 2048
    # Dropout comes first: it is what remains of a text that is cut.
    assert len(left[1]) == (MAX_NGRAMS if dropout < 0.3 else pytest.approx(1500, abs=120))
    assert left[1] == sorted(set(left[1]))
    assert max(left[1]) > MAX_NGRAMS + 800, "the end of a long text must have its chance"
    if dropout == 0.0:
        assert left[0] == short
        assert left[2] == just
