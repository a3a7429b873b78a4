"""Estimates of tokens, on which every plan rests."""

import pytest

from common.costs.estimates import PIECES_PER_WORD, SPECIAL_TOKENS, token_estimate
from common.tasks.task import Example

SHORT, LONG = Example("a b", None, 0), Example("a b c d e f", "g h i j", 1)


def test_both_texts_of_a_pair_count() -> None:
    assert token_estimate([SHORT, LONG]) == pytest.approx(2 * SPECIAL_TOKENS + PIECES_PER_WORD * 12)
    assert token_estimate([]) == 0.0


def test_each_text_is_cut_not_their_mean() -> None:
    short = SPECIAL_TOKENS + PIECES_PER_WORD * 2
    assert token_estimate([SHORT, LONG], max_length=8) == pytest.approx(short + 8)
    assert token_estimate([SHORT, LONG], max_length=100) == pytest.approx(token_estimate([SHORT, LONG]))
