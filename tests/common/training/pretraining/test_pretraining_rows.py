"""Rows of a corpus: windows that lose and repeat nothing, and pairs of segments with what is asked of their order."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_text import documents, text_of, tokenizer, words

from common.errors import UserError
from common.training.pretraining.encoded import EncodedText
from common.training.pretraining.rows import PackedRows, SegmentPairs, held_out

CLS, SEP = 101, 102


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> EncodedText:
    return text_of(tmp_path_factory.mktemp("text"), documents(40), shard_tokens=200)


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_windows_hold_the_text_in_order_framed_and_without_padding(text: EncodedText) -> None:
    rows = PackedRows(text, words(), 16)
    batch = rows.batch(range(len(rows)), drawn())
    assert batch.ids.shape == (len(rows), 16)
    assert batch.attention_mask is None and batch.token_type_ids is None
    assert (batch.ids[:, 0] == CLS).all() and (batch.ids[:, -1] == SEP).all()
    start = 0
    for shard in text.shards:
        count = len(shard.tokens) // 14
        assert batch.ids[start : start + count, 1:-1].flatten().tolist() == shard.tokens[: 14 * count].tolist()
        start += count
    assert start == len(rows)


def test_any_rows_can_be_asked_for_in_any_order(text: EncodedText) -> None:
    rows = PackedRows(text, words(), 16)
    some = [len(rows) - 1, 0, len(rows) // 2]
    assert torch.equal(rows.batch(some, drawn()).ids, rows.batch(range(len(rows)), drawn()).ids[some])


def test_too_little_text_for_a_row_is_refused(tmp_path: Path) -> None:
    text = text_of(tmp_path, [["One short sentence."]])
    with pytest.raises(UserError, match="has 5 tokens: not enough for one row of 32"):
        PackedRows(text, words(), 32)


def segments(ids: list[int]) -> tuple[list[int], list[int]]:
    """The two texts of a pair, without frame and padding."""
    ids = ids[: len(ids) - ids[::-1].index(SEP)]
    middle = ids.index(SEP)
    return ids[1:middle], ids[middle + 1 : -1]


def sentence_ids(text: EncodedText) -> list[list[list[int]]]:
    return [
        [shard.tokens[a:b].tolist() for a, b in shard.sentences[first:end]]
        for shard in text.shards
        for first, end in zip(shard.documents, shard.documents[1:], strict=False)
    ]


@settings(deadline=None, max_examples=30)
@given(length=st.integers(32, 60), seed=st.integers(0, 1000))
def test_segments_are_whole_consecutive_sentences_of_one_document(text: EncodedText, length: int, seed: int) -> None:
    rows = SegmentPairs(text, words(), length, seed=seed)
    batch = rows.batch(range(len(rows)), torch.Generator().manual_seed(seed))
    assert batch.order is None
    assert batch.ids.shape[1] <= length
    parts = [d[i:j] for d in sentence_ids(text) for i in range(5) for j in range(i + 2, 6)]
    flat = {tuple(token for sentence in part for token in sentence) for part in parts}
    for ids in batch.ids.tolist():
        a, b = segments(ids)
        assert a and b
        assert tuple(a + b) in flat


def test_types_and_mask_follow_the_segments(text: EncodedText) -> None:
    batch = SegmentPairs(text, words(), 48).batch([0, 1, 2, 3], drawn())
    assert batch.token_type_ids is not None and batch.attention_mask is not None
    for ids, types, mask in zip(batch.ids, batch.token_type_ids, batch.attention_mask, strict=True):
        a, b = segments(ids.tolist())
        assert types.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1) + [0] * int((mask == 0).sum())
        assert mask.tolist() == [1] * (len(a) + len(b) + 3) + [0] * (len(ids) - len(a) - len(b) - 3)
        assert (ids[mask == 0] == words().padding).all()


def test_a_pair_is_framed_as_the_tokenizer_frames_it(text: EncodedText) -> None:
    batch = SegmentPairs(text, words(), 48).batch([5], drawn())
    a, b = (tokenizer().decode(part) for part in segments(batch.ids[0].tolist()))
    assert tokenizer()(a, b)["input_ids"] == batch.ids[0].tolist()


def test_order_prediction_swaps_the_two_segments_of_one_document(text: EncodedText) -> None:
    rows, plain = SegmentPairs(text, words(), 48, "order", short=0), SegmentPairs(text, words(), 48, short=0)
    assert len(rows) == len(plain)
    flat = {tuple(t for s in d for t in s) for d in sentence_ids(text)}
    order = []
    for number in range(len(rows)):
        batch = rows.batch([number], torch.Generator().manual_seed(number))
        assert batch.order is not None
        a, b = segments(batch.ids[0].tolist())
        joined = tuple(b + a) if batch.order.item() else tuple(a + b)
        assert any(joined == d[i : i + len(joined)] for d in flat for i in range(len(d)))
        order.append(batch.order.item())
    assert 0.2 < sum(order) / len(order) < 0.8


def test_next_sentence_prediction_takes_the_second_segment_from_another_document(tmp_path: Path) -> None:
    """A document names its own day, so which one a segment is of can be read off it; of two, half the draws are its."""
    rows = SegmentPairs(text_of(tmp_path, documents(2, sentences=40)), words(), 48, "next sentence", short=0)
    seen = set()
    for number in range(len(rows)):
        batch = rows.batch([number], torch.Generator().manual_seed(number))
        assert batch.order is not None and batch.ids.shape[1] <= 48
        days = [
            tokenizer().decode(part).split("day ")[1].split(".")[0].strip() for part in segments(batch.ids[0].tolist())
        ]
        assert (days[0] != days[1]) == bool(batch.order.item())
        seen.add(batch.order.item())
    assert seen == {0, 1}


def test_pairs_need_a_document_of_two_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no document of the text has two sentences"):
        SegmentPairs(text_of(tmp_path, [["One."], ["Two."]]), words(), 32)


def test_a_sentence_longer_than_a_row_is_left_out(tmp_path: Path) -> None:
    rows = SegmentPairs(text_of(tmp_path, [["One.", "word " * 99, "Two.", "Three."]]), words(), 32, short=0)
    (ids,) = rows.batch(range(len(rows)), drawn()).ids.tolist()
    assert [tokenizer().decode(part) for part in segments(ids)] == ["two.", "three."]


def test_what_is_held_back_is_not_trained_on(text: EncodedText, tmp_path: Path) -> None:
    rows = PackedRows(text, words(), 16)
    train, held = held_out(rows, share=0.2)
    assert len(train) + len(held) == len(rows) and len(held) == int(0.2 * len(rows))
    assert torch.equal(held.batch([0], drawn()).ids, rows.batch([len(train)], drawn()).ids)
    assert len(held_out(rows, share=0.2, most=3)[1]) == 3
    assert len(held_out(rows, share=0.0)[1]) == len(rows) // 10, "of few rows a tenth"
    with pytest.raises(UserError, match="gives one row"):
        held_out(PackedRows(text_of(tmp_path, documents(1)), words(), 50))
