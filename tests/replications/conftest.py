"""What holds for the tests of every paper: intervals of clear cases, from fewer resamples than a record's."""

from collections.abc import Iterator

import pytest

from common.early_exit import scoring
from common.records import effects


@pytest.fixture(autouse=True, scope="module")
def fewer_resamples() -> Iterator[None]:
    """Enough for what is meant to be clear; how good intervals are is tested in `tests/common/records`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "RESAMPLES", 500)
        patch.setattr(scoring, "RESAMPLES", 200)
        yield
