"""What holds for every test: it computes with one thread, so that workers do not wait for each other's cores."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Before torch is loaded, here and in every process that a test starts; benchmarks take the cores that they find.

    Sums do not depend then on the number of cores either.
    """
    if not config.getoption("benchmark_only"):
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def pytest_xdist_auto_num_workers() -> int:
    """Workers of `-n auto`: the cores that this process may use, and at most 8, since each takes a gigabyte."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


@pytest.fixture(autouse=True, scope="session")
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same where torch was loaded before, and where something is timed."""
    if request.config.getoption("benchmark_only"):
        yield
        return
    import torch

    from common.timing import threads

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "usable_cores", lambda: 1)
        yield


@pytest.fixture(autouse=True, scope="module")
def collected_before() -> None:
    """What is loaded by now is no garbage: the collection before each timing passes over it, which saves a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def float32_everywhere() -> Iterator[None]:
    """Tests train in float32, whatever the processor does fast; a test of bfloat16 names it in its plan."""
    from common.devices import float32_training

    with float32_training():
        yield


@pytest.fixture
def machine_as_it_is() -> Iterator[None]:
    """Training in what this machine does fast, as outside the tests."""
    from common import devices

    token = devices._float32_alone.set(False)
    yield
    devices._float32_alone.reset(token)
