"""Methods are found by folder and asked for by name."""

import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.methods import find_method, find_methods


def test_every_offer_has_a_name_of_its_own() -> None:
    offered = find_methods()
    assert offered.broken == {}
    assert "DeeBERT" in offered.methods
    assert all(name == method.name for name, method in offered.methods.items())


def test_a_name_is_found_in_any_case_and_an_unknown_one_is_answered_with_a_suggestion() -> None:
    assert find_method("deebert") is find_method("DeeBERT")
    with pytest.raises(UserError, match="unknown method 'DeeBRT'; did you mean 'deebert'"):
        find_method("DeeBRT")


def test_a_broken_folder_is_named_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for slug, text in {"good": "METHODS = ()", "bad": "import no_such_module", "none": "OTHER = 1"}.items():
        folder = tmp_path / "offers" / slug
        folder.mkdir(parents=True)
        (folder / "contender.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    offered = find_methods(tmp_path / "offers")
    assert offered.broken.keys() == {"bad", "none"}
    assert "no_such_module" in offered.broken["bad"]
    for name in [name for name in sys.modules if name.startswith("offers")]:
        del sys.modules[name]
