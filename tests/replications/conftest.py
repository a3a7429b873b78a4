"""What holds for the tests of every paper: fewer resamples and shorter random texts than a record's."""

from collections.abc import Iterator

import pytest

from common.early_exit import imposed, scoring
from common.records import effects


@pytest.fixture(autouse=True, scope="module")
def fewer_resamples() -> Iterator[None]:
    """Enough for what is meant to be clear; how good intervals are is tested in `tests/common/records`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "RESAMPLES", 500)
        patch.setattr(scoring, "RESAMPLES", 200)
        yield


@pytest.fixture(autouse=True, scope="module")
def short_texts() -> Iterator[None]:
    """What is timed at full size in a record is looked at for its rows here, on random texts of 8 tokens for 64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imposed, "TOKENS", 8)
        yield
