"""Estimates of tokens, on which every plan rests."""

import pytest

from common.costs import estimates
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


@pytest.mark.parametrize(("rate", "times"), [(180e9, 1.0), (90e9, 2.0)])
def test_a_machine_of_half_the_rate_takes_twice_as_long(
    monkeypatch: pytest.MonkeyPatch, rate: float, times: float
) -> None:
    asked: list[tuple[tuple[int, ...], str]] = []
    monkeypatch.setattr(estimates, "matmul_rate", lambda *shape, precision: asked.append((shape, precision)) or rate)
    assert estimates.slowness("bfloat16") == pytest.approx(times)
    assert asked == [((512, 384, 1536), "bfloat16")]
