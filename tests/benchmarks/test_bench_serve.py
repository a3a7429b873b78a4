"""A model that was taken home answers as fast as it did in the comparison, and `reproduce predict` starts at once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toy_run import small_run, toy_task

from common.baselines import RECIPES, SMOKE_PLAN
from common.methods import Contender, Setting, find_methods
from common.run.replication import ROOT
from common.serve import load, save
from common.task_run import TaskRun
from common.timing.paired import CONTROL, paired_latency
from common.timing.threads import pinned_threads

SAMPLES, ROUNDS = 16, 4
LEAST = 0.95
"""Of its speed in the comparison."""

START_S = 3.0
"""Seconds until the first answer, Python's start included."""


@dataclass(frozen=True)
class Taken:
    """DeeBERT on MiniLM, which has seen a toy task, and its folder."""

    contender: Contender
    setting: Setting
    folder: Path


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    task = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)
    run = replace(small_run(tmp_path_factory.mktemp("run"), task), backbone="minilm")
    once = replace(RECIPES["smoke"], whole=replace(SMOKE_PLAN, epochs=1))
    contender = find_methods().methods["DeeBERT"].on(TaskRun.of(run, "toy", 0, once))
    setting = contender.settings[len(contender.settings) // 2]
    folder = tmp_path_factory.mktemp("home") / "model"
    save(contender, setting, folder)
    return Taken(contender, setting, folder)


def test_at_home_as_fast_as_in_the_comparison(benchmark: Any, taken: Taken) -> None:
    examples = [replace(e, text_a=" ".join(3 * [e.text_a])) for e in taken.contender.task_run.task.dev[:SAMPLES]]
    answer, model = taken.contender.answer(taken.setting), load(taken.folder)
    arms = {"compared": lambda i: answer([examples[i]]), "home": lambda i: model([examples[i].text_a])}
    with pinned_threads(), torch.inference_mode():
        asked = {"baseline": "compared", "samples": SAMPLES, "rounds": ROUNDS}
        timings = benchmark.pedantic(paired_latency, args=(arms,), kwargs=asked, rounds=1)
    speed, control = timings.speedup("home"), timings.speedup(CONTROL)
    benchmark.extra_info["speed"] = speed.value
    print(f"\nat home over in the comparison: {speed.value:.3f} [{speed.low:.3f}, {speed.high:.3f}]", end="")
    print(f"; control {control.value:.3f} [{control.low:.3f}, {control.high:.3f}]")
    assert speed.high >= LEAST * min(1.0, control.low)


def test_predict_starts_at_once(benchmark: Any, taken: Taken) -> None:
    def first_answer() -> str:
        command = [sys.executable, "-m", "common.cli", "predict", str(taken.folder)]
        done = subprocess.run(command, input="a fine film\n", capture_output=True, text=True, check=True, cwd=ROOT)
        return done.stdout

    answer = benchmark.pedantic(first_answer, rounds=3, warmup_rounds=1)
    assert '"label"' in answer
    assert benchmark.stats.stats.min < START_S
