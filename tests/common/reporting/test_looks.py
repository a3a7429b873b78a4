"""A system's colour and marker."""

import pytest
from pydantic import ValidationError

from common.paper import Paper
from common.reporting.looks import Look, declared_look, looks, parse_look
from common.reporting.series import Series


def line(system: str, label: str = "", *, published: bool = False) -> Series:
    return Series("task", label or system, (), published=published, system=system)


def test_a_look_is_a_role_or_a_colour_and_a_marker() -> None:
    assert parse_look("blue-circle") == Look("#0072B2", "o")
    assert parse_look("ladder") == parse_look("grey-square")
    for wrong in ("blue", "circle-blue", "teal-circle", ""):
        with pytest.raises(ValueError, match="no look: expected a role"):
            parse_look(wrong)


def test_roles_look_the_same_whatever_a_paper_declares_for_others() -> None:
    assert declared_look("baseline", {"fast": "blue-star"}) == parse_look("black-circle")
    assert declared_look("truncated 3L", {}) == declared_look("truncated 12L", {}) == parse_look("grey-square")
    assert declared_look("truncated", {}) is None


def test_measured_and_published_share_colour_and_marker_whoever_comes_first() -> None:
    measured, published = line("fast"), line("fast", "published: fast", published=True)
    for order in ([line("other"), measured, published], [published, measured, line("other")]):
        of_label = looks(order, {"fast": "green-star"})
        assert of_label["fast"] == Look("#009E73", "*")
        assert of_label["published: fast"] == Look("#009E73", "*", "none", ":")


def test_published_backbones_differ_in_fill_and_line() -> None:
    of_label = looks([line("fast", name, published=True) for name in ("base", "large")], {"fast": "green-star"})
    assert {look.colour for look in of_label.values()} == {"#009E73"}
    assert len({(look.fill, look.line) for look in of_label.values()}) == 2


def test_settings_of_one_system_are_shades_of_its_colour_from_dark_to_light() -> None:
    of_label = looks([line("fast", f"S={k}") for k in range(3)], {"fast": "blue-square"})
    assert {look.marker for look in of_label.values()} == {"s"}
    brightness = [int(look.colour[1:], 16) for look in of_label.values()]
    assert brightness == sorted(brightness)
    assert len(set(brightness)) == 3


def test_a_system_without_a_look_takes_one_that_is_free() -> None:
    of_label = looks([line(f"system {k}") for k in range(30)], {"system 3": "blue-circle"})
    assert of_label["system 3"] == Look("#0072B2", "o")
    assert len(set(of_label.values())) == 30
    assert len({look.colour for look in list(of_label.values())[:9]}) == 9


def test_paper_yaml_refuses_a_look_that_does_not_exist(paper: Paper) -> None:
    with pytest.raises(ValidationError, match="'teal-circle' is no look"):
        Paper.model_validate(paper.model_dump() | {"systems": {"fast": "teal-circle"}})
