"""The page of findings: one line each with what to do, what was found in order too, broken ones in the exit code."""

from collections.abc import Iterator

from common.doctor.findings import Finding, counted, examine
from common.errors import UserError

BROKEN = Finding("broken", "the sky is green.", "Paint it")
DOUBTFUL = Finding("doubtful", "it may rain.")


def refuses() -> Iterator[Finding]:
    raise UserError("cannot read the sky")
    yield


def test_a_line_a_finding_and_one_for_what_was_in_order() -> None:
    page = examine("outside", {"sky": lambda: [BROKEN], "rain": lambda: [DOUBTFUL], "wind": list, "sun": list})
    assert page.lines() == [
        "outside:",
        "  broken    sky: the sky is green. Paint it",
        "  doubtful  rain: it may rain.",
        "  in order  wind, sun",
    ]
    assert page.is_broken
    assert counted([page, page]) == "2 broken, 2 doubtful"


def test_nothing_found_is_said() -> None:
    page = examine("outside", {"wind": list})
    assert page.lines() == ["outside:", "  in order  wind"]
    assert not page.is_broken and counted([page]) == "nothing found"


def test_only_what_is_broken_breaks() -> None:
    assert not examine("outside", {"rain": lambda: [DOUBTFUL, Finding("unknown", "who knows.")]}).is_broken


def test_what_cannot_be_read_is_broken_and_hinders_no_other_check() -> None:
    page = examine("outside", {"sky": refuses, "rain": lambda: [DOUBTFUL]})
    assert [(name, one.kind) for name, one in page.found] == [("sky", "broken"), ("rain", "doubtful")]
    assert "cannot read the sky" in page.lines()[1]
