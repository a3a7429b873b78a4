"""Batches: every example once per epoch, padded to the batch, the same for the same seed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.tasks.task import Example
from common.training.batches import BucketedBatches, EncodedSplit, encode, filled_up, length_buckets, padded_ids


def split_of(lengths: list[int]) -> EncodedSplit:
    ids = tuple(tuple(range(1, length + 1)) for length in lengths)
    return EncodedSplit(ids, None, torch.arange(len(lengths)), padding_id=0)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 5))
def test_every_example_is_in_an_epoch_once(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = length_buckets(lengths, batch_size, torch.Generator().manual_seed(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)


def test_padding_is_to_the_batch_and_masked() -> None:
    batch = split_of([2, 5, 3]).batch([0, 2])
    assert batch.input_ids.tolist() == [[1, 2, 0], [1, 2, 3]]
    assert batch.attention_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.labels.tolist() == [0, 2]
    assert batch.rows.tolist() == [0, 2]
    assert batch.tokens == 6


def test_rows_are_filled_up_to_the_longest_or_to_what_is_asked() -> None:
    assert filled_up([(5, 6), (7,), ()], -1).tolist() == [[5, 6], [7, -1], [-1, -1]]
    assert filled_up([(), ()], 0).dtype == torch.long
    ids, mask = padded_ids([(5, 6), (0,)], padding_id=1, at_least=3)
    assert (ids.tolist(), mask.tolist()) == ([[5, 6, 1], [0, 1, 1]], [[1, 1, 0], [1, 0, 0]])


def test_bucketing_wastes_little() -> None:
    lengths = torch.randint(4, 60, (2000,), generator=torch.Generator().manual_seed(0)).tolist()
    source = BucketedBatches(split_of(lengths), 16, seed=0)
    padded = sum(batch.tokens for batch in source.epoch(0))
    assert padded < 1.1 * sum(lengths)


def test_epochs_differ_and_seeds_repeat() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        source = BucketedBatches(split_of(list(range(1, 40))), 4, seed)
        return [row for batch in source.epoch(epoch) for row in batch.rows.tolist()]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_evaluation_order_is_by_length_and_complete() -> None:
    batches = list(split_of([5, 2, 9, 1]).by_length(2))
    assert [b.rows.tolist() for b in batches] == [[3, 1], [0, 2]]


def test_nothing_to_tokenise_is_an_error() -> None:
    with pytest.raises(UserError, match="no examples"):
        encode(None, [], regression=False, max_length=8)


def test_pairs_reach_the_tokenizer_as_pairs() -> None:
    class Tokenizer:
        pad_token_id = 0

        def __call__(self, first: list[str], second: list[str] | None, **_: object) -> dict[str, list[list[int]]]:
            assert first == ["a"]
            assert second == ["b"]
            return {"input_ids": [[7, 8]], "token_type_ids": [[0, 1]]}

    encoded = encode(Tokenizer(), [Example("a", "b", 1)], regression=False, max_length=8)
    assert encoded.token_type_ids == ((0, 1),)
    assert encoded.labels.dtype == torch.long
    assert encode(Tokenizer(), [Example("a", "b", 2.5)], regression=True, max_length=8).labels.tolist() == [2.5]
