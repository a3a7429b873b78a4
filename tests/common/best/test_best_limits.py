"""What a user may allow, and too few texts to choose by."""

import pytest

from common.best.limits import LEAST_TEXTS, Limits
from common.errors import UserError


def test_limits_are_read_as_they_are_typed() -> None:
    assert Limits.parse("1") == Limits(1.0, None, 1)
    assert Limits.parse("0.5", "2.5", "32") == Limits(0.5, 2.5, 32)
    assert Limits.parse("0").max_loss == 0
    assert (Limits(1.0).speed, Limits(1.0, batch=8).speed) == ("one by one", "in batches of 8")


@pytest.mark.parametrize("text", ["-1", "101", "a point", "", "nan", "inf", "1e999", "1,5"])
def test_a_loss_that_is_no_number_of_points(text: str) -> None:
    with pytest.raises(UserError, match=r"MAX_LOSS is how many points .* 0 to 100; got .* Type MAX_LOSS=1"):
        Limits.parse(text)


@pytest.mark.parametrize("text", ["0", "-5", "fast", "nan"])
def test_a_time_that_is_no_number_of_milliseconds(text: str) -> None:
    with pytest.raises(UserError, match=r"MAX_MS is how many milliseconds .* Type MAX_MS=5"):
        Limits.parse("1", text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "2000", "9" * 5000])
def test_a_batch_that_is_no_number_of_texts(text: str) -> None:
    with pytest.raises(UserError, match=r"BATCH is how many texts .* Type BATCH=32"):
        Limits.parse("1", "", text)


def test_one_text_must_not_be_worth_more_than_may_be_lost() -> None:
    assert [Limits(loss).least_texts for loss in (0.0, 0.5, 1.0, 2.0, 5.0, 100.0)] == [50, 200, 100, 50, 50, 50]
    Limits(1.0).check_texts("mine", tune=100, dev=100)
    with pytest.raises(UserError, match=r"mine: 99 texts held back from train are too few .* worth 1.0 points") as few:
        Limits(1.0).check_texts("mine", tune=99, dev=400)
    assert str(few.value).endswith("Give more rows, or allow what so many can tell: MAX_LOSS=1.1")
    Limits(1.1).check_texts("mine", tune=99, dev=400)


def test_below_the_least_no_limit_helps() -> None:
    with pytest.raises(UserError, match="mine: 49 texts in dev are too few") as few:
        Limits(100.0).check_texts("mine", tune=200, dev=LEAST_TEXTS - 1)
    assert str(few.value).endswith("Give more rows")


def test_dev_must_fill_a_batch() -> None:
    Limits(1.0, batch=60).check_batch("mine", 60)
    with pytest.raises(UserError, match=r"BATCH=61: mine has 60 texts in dev to time. Type BATCH=60"):
        Limits(1.0, batch=61).check_batch("mine", 60)
