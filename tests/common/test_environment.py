from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from common import environment as module
from common.environment import environment, git_state, library_versions, machine

GIT = shutil.which("git")


def git(folder: Path, *arguments: str) -> str:
    assert GIT is not None
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run([GIT, "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if GIT is None:
        pytest.skip("git is not installed")
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_fingerprint_survives_json_and_names_the_versions() -> None:
    fingerprint = environment()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert fingerprint["libraries"]["torch"] == metadata.version("torch")
    assert fingerprint["python"].endswith(".".join(map(str, sys.version_info[:3])))
    taken = datetime.fromisoformat(fingerprint["date"])
    assert abs(datetime.now(UTC) - taken) < timedelta(minutes=1)


def test_fingerprint_says_nothing_about_who_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "secret-host")
    text = json.dumps(environment())
    assert "secret-host" not in text
    assert str(Path.home()) not in text
    assert str(module.CHECKOUT) not in text
    assert f'"{getpass.getuser()}"' not in text


def test_machine_is_the_same_twice() -> None:
    assert machine() == machine()
    assert machine()["logical_cores"] >= 1


def test_threads_are_asked_of_torch_only_if_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert environment()["state"]["threads"] == torch.get_num_threads()
    monkeypatch.delitem(sys.modules, "torch")
    assert environment()["state"]["threads"] == "unknown"
    assert "torch" not in sys.modules


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; from common.environment import environment; environment(); "
        "print([m for m in ('torch', 'transformers', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=module.CHECKOUT)
    assert done.stdout.strip() == "[]"


def test_absent_library_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIBRARIES", ("numpy", "no-such-library"))
    assert list(library_versions()) == ["numpy"]


def test_git_state_of_a_clean_and_a_dirty_checkout(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout) == {"commit": head, "dirty": False}
    (checkout / "code.py").write_text("x = 2\n")
    assert git_state(checkout) == {"commit": head, "dirty": True}


def test_results_do_not_make_the_code_dirty(checkout: Path) -> None:
    for name in ("results", "tables"):
        (checkout / name).mkdir()
        (checkout / name / "new.json").write_text("{}")
    (checkout / "README.md").write_text("a summary\n")
    assert git_state(checkout)["dirty"] is False
    (checkout / "new.py").write_text("y = 1\n")
    assert git_state(checkout)["dirty"] is True


def test_folder_in_somebody_elses_repository_is_unknown(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert git_state(checkout / "site-packages") == {"commit": "unknown", "dirty": "unknown"}


def test_outside_git_is_unknown(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": "unknown", "dirty": "unknown"}


def test_machine_without_git_and_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(Path, "read_text", no_file)
    fingerprint = environment()
    assert fingerprint["git"] == {"commit": "unknown", "dirty": "unknown"}
    assert fingerprint["machine"]["cpu"]
    assert fingerprint["machine"]["cpu_flags"] == []
    assert fingerprint["machine"]["accelerators"] == []


def test_accelerator_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB, 570.1'\necho 'NVIDIA H200, 143771 MiB, 570.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert machine()["accelerators"] == ["NVIDIA H200, 143771 MiB, 570.1"] * 2


def test_failing_tool_names_no_accelerator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'no driver'\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert machine()["accelerators"] == []
