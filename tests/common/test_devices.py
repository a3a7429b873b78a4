"""One place says where models compute, and it counts only what is there."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

from common.devices import available_device
from common.timing.interleave import device_synchroniser, nothing

ROOT = Path(__file__).resolve().parents[2]
ASKED = {"current_accelerator", "current_device_index"}


@pytest.fixture
def cuda_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPI's build of PyTorch for Linux on a machine without a GPU: it names what it was built for."""

    def current_accelerator(check_available: bool = False) -> Any:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", current_accelerator)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_build_for_a_gpu_that_is_not_there_computes_on_the_cpu(cuda_without_a_driver: None) -> None:
    assert available_device() == torch.device("cpu")
    assert device_synchroniser() is nothing
    assert torch.ones(2).to(available_device()).sum() == 2


def test_an_accelerator_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("meta"))
    assert available_device() == torch.device("meta")
    assert device_synchroniser() is torch.accelerator.synchronize


def test_nobody_else_asks_torch_for_the_accelerator() -> None:
    files = [path for folder in ("common", "replications") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        str(path.relative_to(ROOT))
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ASKED
    ]
    assert found == ["common/devices.py"]
