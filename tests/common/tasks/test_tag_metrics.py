"""Span F1 and token accuracy against seqeval and scikit-learn, on any tags, well-formed or not."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score

from common.errors import UserError
from common.tasks.tag_metrics import BEGIN, INSIDE, OUTSIDE, points, span_counts, tag_counts, tag_parts, word_counts

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
PARTS = tag_parts(TAGS)

pairs = st.lists(
    st.integers(1, 7).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)),
    min_size=1,
    max_size=6,
)


def flat(sentences: list[list[int]]) -> np.ndarray:
    return np.array([tag for tags in sentences for tag in tags])


def named(sentences: list[list[int]]) -> list[list[str]]:
    return [[TAGS[tag] for tag in tags] for tags in sentences]


@settings(max_examples=300, deadline=None)
@given(pairs, st.booleans())
def test_span_f1_is_that_of_seqeval_in_both_conventions(found: list[tuple[list[int], list[int]]], strict: bool) -> None:
    true, answered = [list(t) for t, _ in found], [list(a) for _, a in found]
    counts = span_counts(flat(answered), flat(true), np.array([len(t) for t in true]), PARTS, strict=strict)
    how = {"mode": "strict", "scheme": IOB2} if strict else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = 100 * f1_score(named(true), named(answered), **how)
    assert counts.points == pytest.approx(expected)


def test_an_i_that_continues_nothing_begins_a_span_in_one_convention_alone() -> None:
    true, answered = np.array([0, 1, 2]), np.array([0, 2, 2])
    assert span_counts(answered, true, np.array([3]), PARTS).points == 100
    assert span_counts(answered, true, np.array([3]), PARTS, strict=True).points == 0


def test_no_span_goes_on_into_the_next_sentence() -> None:
    tags = np.array([1, 2, 2])
    assert span_counts(tags, tags, np.array([3]), PARTS).true.tolist() == [1]
    assert span_counts(tags, tags, np.array([2, 1]), PARTS).true.tolist() == [1, 1]
    assert span_counts(tags, tags, np.array([2, 1]), PARTS, strict=True).true.tolist() == [1, 0]


@given(pairs)
def test_token_accuracy_is_the_share_of_words(found: list[tuple[list[int], list[int]]]) -> None:
    true, answered = flat([t for t, _ in found]), flat([a for _, a in found])
    counts = word_counts(answered, true, np.array([len(t) for t, _ in found]))
    assert counts.points == pytest.approx(100 * accuracy_score(true, answered))


def test_resampled_sentences_are_scored_at_once() -> None:
    """Rows of drawn sentences, as an interval wants them; narrow types do not overflow."""
    arrays = [np.array(values, dtype=np.int8) for values in ([1, 0, 2], [1, 2, 2], [2, 1, 2])]
    drawn = np.array([[0, 1, 2], [2, 2, 2]])
    rows = points(*(a[drawn] for a in arrays))
    assert rows == pytest.approx([200 * 3 / 10, 100.0])
    many = np.full(500, 100, dtype=np.int8)
    assert points(many, many, many) == 100


def test_without_any_span_the_score_is_0() -> None:
    none = np.zeros(2, dtype=int)
    assert points(none, none, none) == 0


def test_parts_of_tags() -> None:
    assert PARTS.tolist() == [[OUTSIDE, 0], [BEGIN, 1], [INSIDE, 1], [BEGIN, 2], [INSIDE, 2]]
    assert tag_parts(("NOUN", "VERB")).tolist() == [[BEGIN, 1], [BEGIN, 2]]
    assert tag_parts(("B-creative-work",)).tolist() == [[BEGIN, 1]]


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(UserError, match="unknown metric of tagging 'f1'; known: span_f1, token_accuracy"):
        tag_counts("f1", [0], [0], [1], PARTS)
    with pytest.raises(ValueError, match="a tag for each of 2 words"):
        tag_counts("span_f1", [0], [0], [2], PARTS)
