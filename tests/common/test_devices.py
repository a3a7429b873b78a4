"""One place says where models compute, and it counts only what is there."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

from common import devices
from common.devices import available_device, float32_training, timing_device, training_precision
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


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"),
    [(False, False, "float32"), (True, False, "bfloat16"), (False, True, "bfloat16"), (True, True, "bfloat16")],
)
def test_a_cpu_trains_in_bfloat16_if_it_has_the_instructions(
    machine_as_it_is: None, monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert training_precision(CPU) == expected
    with float32_training():
        assert training_precision(CPU) == "float32"
    assert training_precision(CPU) == expected


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo to compare with")
def test_torch_and_the_kernel_agree_on_the_instructions(machine_as_it_is: None) -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    assert (training_precision(CPU) == "bfloat16") == ("avx512_bf16" in flags or "amx_tile" in flags)


def test_a_gpu_trains_in_bfloat16_unless_it_would_emulate_it(
    machine_as_it_is: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for native in (True, False):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, n=native: n or including_emulation
        )
        assert training_precision(torch.device("cuda")) == ("bfloat16" if native else "float32")
    assert training_precision(torch.device("mps")) == "float32"


def test_timing_is_where_training_is_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_device", lambda: torch.device("cuda"))
    assert timing_device("auto") == torch.device("cuda")
    assert timing_device("cpu") == CPU


def test_nobody_else_asks_torch_for_the_accelerator() -> None:
    files = [path for folder in ("common", "replications") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        str(path.relative_to(ROOT))
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ASKED
    ]
    assert found == ["common/devices.py"]
