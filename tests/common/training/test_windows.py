"""Windows with stride, answers as places among the tokens, and back to the characters of the passage."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.encoders.sources import PretrainedEncoder, load_encoder
from common.errors import UserError
from common.tasks.spans import Answer, Question
from common.training.segments import SegmentLayout
from common.training.windows import TokenisedPassage, Window, encode_questions, surest, tokenised

LAYOUT = SegmentLayout(max_seq=20, max_first=5)
"""Slots of 7 and 13: windows of 12 word pieces."""


@pytest.fixture(scope="module")
def source() -> PretrainedEncoder:
    return load_encoder("random:tiny")


def passage_of(pieces: int) -> TokenisedPassage:
    return TokenisedPassage(tuple(range(pieces)), tuple((3 * i, 3 * i + 2) for i in range(pieces)))


def asked(passage: str, answer: str, text: str = "who?", id_: str = "q1") -> Question:
    return Question(id_, text, passage, (Answer(answer, passage.index(answer)),))


# -- Windows ----------------------------------------------------------------------------------------------------------


def test_windows_begin_a_stride_apart_and_end_with_the_passage() -> None:
    """SQuAD's 292 pieces, 128 apart."""
    assert passage_of(292).windows(292) == [0]
    assert passage_of(293).windows(292) == [0, 128]
    assert passage_of(548).windows(292) == [0, 128, 256]
    assert passage_of(549).windows(292) == [0, 128, 256, 384]
    assert passage_of(30).windows(10, stride=12) == [0, 10, 20], "a window longer than the stride leaves no gap"


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 60))
def test_every_piece_is_in_a_window_and_no_window_is_to_spare(pieces: int, size: int, stride: int) -> None:
    begins = passage_of(pieces).windows(size, stride)
    covered = {i for begin in begins for i in range(begin, min(begin + size, pieces))}
    assert covered == set(range(pieces))
    assert all(begin + size < pieces for begin in begins[:-1]) and begins[-1] < pieces


def test_an_answer_is_every_piece_that_stands_for_one_of_its_characters() -> None:
    passage = passage_of(5)  # Characters 0-1, 3-4, 6-7, 9-10, 12-13.
    assert passage.place_of(Answer("xx", 3)) == (1, 1)
    assert passage.place_of(Answer("xxxxx", 3)) == (1, 2)
    assert passage.place_of(Answer("x", 4)) == (1, 1)
    assert passage.place_of(Answer("x", 5)) is None


# -- Encoding ---------------------------------------------------------------------------------------------------------


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def test_training_drops_windows_without_the_whole_answer_and_use_keeps_all(source: PretrainedEncoder) -> None:
    question = asked(LONG, "thirteen fourteen")
    training = encode_questions(source.tokenizer, [question], LAYOUT, training=True)
    used = encode_questions(source.tokenizer, [question], LAYOUT, training=False)
    assert [place.begin for place in used.places] == [0, 12]
    assert [place.begin for place in training.places] == [12]
    begin, end = training.split.labels[0].tolist()
    ids = training.split.batch([0])
    row = torch.cat([ids.first.input_ids, ids.second.input_ids], dim=1)[0]
    assert source.tokenizer.convert_ids_to_tokens(row[begin : end + 1]) == ["thirteen", "fourteen"]
    assert training.characters(0, begin, end) == (LONG.index("thirteen"), LONG.index("fourteen") + len("fourteen"))


def test_an_answer_across_the_edge_of_a_window_is_in_neither(source: PretrainedEncoder) -> None:
    across = asked(LONG, "twelve thirteen")
    with pytest.raises(UserError, match="no window holds an answer"):
        encode_questions(source.tokenizer, [across], LAYOUT, training=True)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["Élan", "naïve", "U.S.", "it's", "lamps", "(7%)", "x"]), min_size=1, max_size=12),
    st.data(),
)
def test_what_is_encoded_comes_back_as_it_stood(
    source: PretrainedEncoder, words: list[str], data: st.DataObject
) -> None:
    """Any answer of whole words: places among the tokens lead back to the very same characters."""
    passage = "  ".join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    start = len("  ".join(words[:first])) + (2 if first else 0)
    text = "  ".join(words[first : last + 1])
    question = Question("q", "which?", passage, (Answer(text, start),))
    windows = encode_questions(source.tokenizer, [question], SegmentLayout(120, 5), training=True)
    begin, end = windows.characters(0, *windows.split.labels[0].tolist())
    assert passage[begin:end] == text


def test_a_long_question_is_cut_or_refused_by_name(source: PretrainedEncoder) -> None:
    long = asked("red lamp", "lamp", "what is it that the man saw there?", id_="long one")
    cut = encode_questions(source.tokenizer, [long], LAYOUT, training=True)
    assert cut.cut == 1 and len(cut.split.first_ids[0]) == LAYOUT.first_slot
    with pytest.raises(UserError, match="question 'long one': the question has 9 word pieces and its slot holds 5"):
        encode_questions(source.tokenizer, [long], LAYOUT, training=True, may_cut=False)


def test_texts_of_which_the_tokenizer_leaves_nothing_are_refused_by_name(source: PretrainedEncoder) -> None:
    nothing = "\u200b \u200b"
    with pytest.raises(UserError, match="question 'q1': the passage is empty for the tokenizer"):
        encode_questions(source.tokenizer, [Question("q1", "who?", nothing, ())], LAYOUT, training=False)
    with pytest.raises(UserError, match="question 'q1': the question is empty for the tokenizer"):
        encode_questions(source.tokenizer, [Question("q1", nothing, "lamp", ())], LAYOUT, training=False)
    with pytest.raises(UserError, match="no questions"):
        encode_questions(source.tokenizer, [], LAYOUT, training=False)


def test_passages_are_tokenised_without_special_tokens(source: PretrainedEncoder) -> None:
    (found,) = tokenised(source.tokenizer, ["Lamps, red."])
    assert source.tokenizer.convert_ids_to_tokens(found.pieces) == ["lamps", ",", "red", "."]
    assert found.characters == ((0, 5), (5, 6), (7, 10), (10, 11))


# -- Over windows -----------------------------------------------------------------------------------------------------


def test_over_windows_the_surest_answer_counts() -> None:
    places = [Window(0, 0), Window(1, 0), Window(1, 128), Window(1, 256)]
    assert surest(places, torch.tensor([0.1, 0.3, 0.4, 0.4]), 2) == [0, 2]
