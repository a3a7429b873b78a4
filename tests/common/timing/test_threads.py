from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from common.timing import threads
from common.timing.threads import pinned_threads, usable_cores


@pytest.fixture
def three() -> Iterator[None]:
    """PyTorch computes with three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_threads_are_pinned_and_restored(three: None) -> None:
    with pinned_threads(1) as found:
        assert found == torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_threads_are_restored_after_an_error(three: None) -> None:
    with pytest.raises(RuntimeError, match="inside"), pinned_threads(1):
        raise RuntimeError("inside")
    assert torch.get_num_threads() == 3


def test_no_more_threads_than_processors_to_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_processors", lambda: [5, 7])
    with pinned_threads(3) as found:
        assert found == 2
    with pinned_threads(1) as found:
        assert found == 1


def test_tests_compute_with_one_thread() -> None:
    """Workers would wait for each other's cores otherwise."""
    assert torch.get_num_threads() == 1
    with pinned_threads() as found:
        assert found == 1


def test_default_is_one_thread_per_usable_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", usable_cores)
    with pinned_threads() as found:
        assert found == usable_cores()
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_affinity_limits_the_usable_cores() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_no_threads_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 thread, found 0"), pinned_threads(0):
        pass
