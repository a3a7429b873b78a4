"""What is looked at on the machine: each check bites on its fault and is silent where all is well."""

from pathlib import Path

import pytest
from filelock import FileLock

from common.doctor import machine
from common.doctor.findings import Finding
from common.run import preflight
from common.run.preflight import AT_WORK, GIB, alone_at_work, someone_at_work

TESTED = {"torch": "2.13.0", "numpy": "2.5.2"}
NEEDED = ["torch", "numpy"]


def kinds(found: object) -> list[str]:
    assert not isinstance(found, list)
    return [one.kind for one in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("version", "expected"), [("3.11.9", []), ("3.13.1", []), ("3.10.2", ["broken"]), ("3.14.0", ["broken"])]
)
def test_python(version: str, expected: list[str]) -> None:
    assert kinds(machine.python_version(version)) == expected


def test_this_python_is_supported() -> None:
    assert kinds(machine.python_version()) == []


@pytest.mark.parametrize("torch", ["2.13.0", "2.13.0+cpu"])
def test_tested_versions_are_silent_whatever_they_were_built_for(torch: str) -> None:
    assert kinds(machine.versions_off({**TESTED, "torch": torch}, TESTED, NEEDED)) == []


def test_other_versions_are_named_with_the_tested_ones() -> None:
    (found,) = machine.versions_off({**TESTED, "torch": "2.11.0+cpu", "another": "1"}, TESTED, NEEDED)
    assert found.kind == "doubtful" and "torch 2.11.0+cpu (tested: 2.13.0)" in found.what
    assert "numpy" not in found.what and "another" not in found.what
    assert "pip install -c constraints.txt" in found.do


def test_a_missing_library_is_broken_only_if_it_is_needed() -> None:
    (found,) = machine.versions_off({"numpy": "2.5.2"}, TESTED, NEEDED)
    assert found.kind == "broken" and found.what.startswith("torch: not installed")
    assert kinds(machine.versions_off({"numpy": "2.5.2"}, TESTED, ["numpy"])) == []


def test_the_projects_own_lists_are_read() -> None:
    tested, needed = machine.tested_versions(), machine.needed_libraries()
    assert {"torch", "pyyaml", "huggingface-hub"} <= set(needed) <= set(tested)
    assert set(needed) <= set(machine.installed_versions())


@pytest.mark.parametrize(("cores", "expected"), [(0.4, []), (0.6, ["doubtful"])])
def test_load_of_others(cores: float, expected: list[str]) -> None:
    assert kinds(machine.load_of_others(cores)) == expected


def test_another_run_at_work(tmp_path: Path) -> None:
    assert not someone_at_work(tmp_path)
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"
    with alone_at_work(tmp_path):
        pass
    assert not someone_at_work(tmp_path)
    with FileLock(tmp_path / "locks" / AT_WORK):
        assert someone_at_work(tmp_path)
    assert kinds(machine.other_run(False)) == [] and kinds(machine.other_run(True)) == ["doubtful"]


@pytest.mark.parametrize(("free", "expected"), [(1, ["broken"]), (30, ["doubtful"]), (1000, [])])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, expected: list[str]) -> None:
    usage = preflight.shutil.disk_usage(tmp_path)._replace(free=free * GIB)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage)
    assert kinds(machine.disk(tmp_path / "cache", GIB, 50)) == expected


@pytest.mark.parametrize(("available", "expected"), [(4, ["doubtful"]), (16, [])])
def test_memory(available: int, expected: list[str]) -> None:
    found = list(machine.memory(available * GIB, GIB))
    assert [one.kind for one in found] == expected
    assert all("about 9.5" in one.what for one in found)


def test_a_finding_says_what_to_do() -> None:
    found: list[Finding] = [*machine.python_version("3.9.0"), *machine.load_of_others(2), *machine.other_run(True)]
    assert all(one.do for one in found)
