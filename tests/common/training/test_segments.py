"""Two texts as two segments: slots, padding, special tokens, and where the second text's own tokens are."""

import pytest
import torch

from common.encoders.sources import PretrainedEncoder, load_encoder
from common.errors import UserError
from common.tasks.task import Example
from common.training.batches import BucketedBatches
from common.training.segments import SegmentLayout, encode_pairs, padded, text_of_second

PAIRS = [
    Example("the lamp is red", "a red lamp", 1.0),
    Example("one two three four five six seven", "yes", 0.0),
    Example("hello", "one two three four five six seven eight nine ten", 1.0),
]
LAYOUT = SegmentLayout(max_seq=16, max_first=5)


@pytest.fixture(scope="module")
def source() -> PretrainedEncoder:
    return load_encoder("random:tiny")


def test_slots_share_what_there_is() -> None:
    """SQuAD of the card: 27 live tokens of the question, windows of 292 word pieces."""
    squad = SegmentLayout(max_seq=320, max_first=25)
    assert (squad.first_slot, squad.second_slot, squad.second_pieces) == (27, 293, 292)
    with pytest.raises(UserError, match="leave no room"):
        SegmentLayout(max_seq=27, max_first=25)


def test_each_text_has_its_special_tokens_and_is_cut_to_its_own_slot(source: PretrainedEncoder) -> None:
    tokenizer = source.tokenizer
    split = encode_pairs(tokenizer, PAIRS, LAYOUT, regression=False)
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    words = tokenizer.convert_ids_to_tokens
    assert words(split.first_ids[0]) == ["[CLS]", "the", "lamp", "is", "red", "[SEP]"]
    assert words(split.second_ids[0]) == ["a", "red", "lamp", "[SEP]"]
    assert words(split.first_ids[1]) == ["[CLS]", "one", "two", "three", "four", "five", "[SEP]"]
    assert words(split.second_ids[2]) == ["one", "two", "three", "four", "five", "six", "seven", "eight", "[SEP]"]
    assert all(ids[0] == cls and ids[-1] == sep for ids in split.first_ids)
    assert all(ids[0] != cls and ids[-1] == sep for ids in split.second_ids)


@pytest.mark.parametrize("whole", [True, False])
def test_the_first_segment_fills_its_slot_and_the_second_its_batch_or_its_slot(
    source: PretrainedEncoder, whole: bool
) -> None:
    layout = SegmentLayout(16, 5, whole_slots=whole)
    batch = encode_pairs(source.tokenizer, PAIRS, layout, regression=False).batch([0, 1])
    assert batch.first.input_ids.shape == (2, 7)
    assert batch.second.input_ids.shape == (2, 9 if whole else 4)
    assert batch.first.attention_mask.sum(1).tolist() == [6, 7]
    assert batch.second.attention_mask.sum(1).tolist() == [4, 2]
    assert batch.tokens == batch.attention_mask.numel()
    assert batch.second.token_type_ids.unique().tolist() == [1], "on padding too"
    assert batch.first.token_type_ids.unique().tolist() == [0]


def test_at_scale_paper_positions_begin_anew_and_below_it_they_run_on_behind_the_slot(
    source: PretrainedEncoder,
) -> None:
    """Behind the slot, not behind the question: the same for every text."""
    assert (LAYOUT.at_scale("paper").whole_slots, LAYOUT.at_scale("paper").runs_on) == (True, False)
    for scale in ("smoke", "mini", "base"):
        layout = LAYOUT.at_scale(scale)
        assert (layout.max_seq, layout.max_first, layout.whole_slots, layout.runs_on) == (16, 5, False, True)
    for scale, begin in (("paper", 0), ("mini", 7)):
        layout = LAYOUT.at_scale(scale)
        assert (layout.first_position(0), layout.first_position(1)) == (0, begin)
        batch = encode_pairs(source.tokenizer, PAIRS, layout, regression=False).batch([0, 2])
        for second in (batch.second, batch.to(torch.device("cpu")).second, batch.second.rows(torch.tensor([1]))):
            assert (second.first_position, second.token_type) == (begin, 1)
        assert batch.first.first_position == 0


def test_the_second_texts_own_tokens_are_neither_its_end_nor_padding_nor_the_first_text() -> None:
    second = padded([[5, 6, 102], [5, 102]], 0, 1, 4)
    own = text_of_second(3, second.attention_mask)
    assert own.long().tolist() == [[0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0, 0]]


def test_an_epoch_has_every_pair_once_and_is_the_same_again(source: PretrainedEncoder) -> None:
    split = encode_pairs(source.tokenizer, PAIRS * 5, LAYOUT, regression=False)
    batches = BucketedBatches(split, 4, seed=1)
    first, again, second = (list(batches.epoch(number)) for number in (0, 0, 1))
    rows = [torch.cat([b.rows for b in epoch]).tolist() for epoch in (first, again, second)]
    assert sorted(rows[0]) == list(range(15)) and rows[0] == rows[1] != rows[2]
    assert len(batches) == len(first)
    assert split.first(4).labels.tolist() == split.labels[:4].tolist() and len(split.first(4)) == 4


def test_single_texts_have_no_second_segment(source: PretrainedEncoder) -> None:
    with pytest.raises(UserError, match="two segments want pairs"):
        encode_pairs(source.tokenizer, [Example("alone", None, 0.0)], LAYOUT, regression=False)
    with pytest.raises(UserError, match="no examples"):
        encode_pairs(source.tokenizer, [], LAYOUT, regression=False)
