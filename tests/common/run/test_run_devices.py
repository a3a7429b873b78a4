"""On what a run trains and times: smoke trains in float32 everywhere, timing is moved to the CPU on request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from common.devices import training_precision
from common.environment import CHECKOUT
from common.records.measurements import Measurement
from common.run.artifacts import ArtifactStore
from common.run.progress import RunProgress
from common.run.replication import Journal, Run, Step, execute
from common.scales import find_scale


def run_at(scale: str, folder: Path, **changes: Any) -> Run:
    def silent(*_: object) -> None:
        pass

    return Run(
        "r", find_scale(scale), "builtin", None, (), (0,), ArtifactStore(folder), folder, silent, silent, **changes
    )


@pytest.mark.parametrize(("scale", "expected"), [("smoke", "float32"), ("mini", "bfloat16"), ("paper", "bfloat16")])
def test_the_steps_of_smoke_train_in_float32_on_every_machine(
    machine_as_it_is: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scale: str, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("common.devices.available_device", lambda: torch.device("cpu"))
    seen = []

    def measure() -> list[Measurement]:
        seen.append(training_precision(torch.device("cpu")))
        return []

    run = run_at(scale, tmp_path)
    execute([Step("s", 1.0, measure)], Journal(tmp_path / "journal"), RunProgress.on_stderr(["s"], [1.0]), run)
    assert seen == [expected] == [run.devices["precision"]]
    assert training_precision(torch.device("cpu")) == "bfloat16"


def test_a_run_trains_on_the_accelerator_and_times_where_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("common.devices.available_device", lambda: torch.device("cuda"))
    assert run_at("smoke", tmp_path).devices == {"training": "cuda", "precision": "float32", "timing": "cuda"}
    apart = run_at("smoke", tmp_path, timing="cpu")
    assert apart.timing_device == torch.device("cpu")
    assert apart.devices == {"training": "cuda", "precision": "float32", "timing": "cpu"}


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_wants_otherwise(given: dict[str, str], expected: str) -> None:
    code = (
        "import os, sys; from common import cli; loaded = 'torch' in sys.modules; cli.main(['list']); "
        "print(loaded, os.environ['OMP_WAIT_POLICY'])"
    )
    bare = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**bare, **given}, capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout.splitlines()[-1] == f"False {expected}"
