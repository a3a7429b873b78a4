"""The peak of memory that a process reaches when it runs a model, and what a model asks for in all.

The peak is a property of model, input, library and allocator together, and can only be trusted in a process that did
nothing else before, so the callable runs in a fresh one.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Resident memory of a fresh process, in bytes.

    Attributes:
        before: in use when the callable started (the interpreter and what its module imports).
        peak: the most that was in use from the start of the process until the callable returned.
    """

    before: int
    peak: int

    @property
    def increase(self) -> int:
        """What the callable added at its peak."""
        return self.peak - self.before


def peak_memory(function: Callable[..., object], *arguments: object) -> PeakMemory:
    """Run `function(*arguments)` in a fresh process and read how much memory that took.

    The function must be importable by name from its module and the arguments must pickle. Import inside the
    function what is to count towards the increase.

    Raises:
        Exception: whatever the function raises.
        concurrent.futures.process.BrokenProcessPool: the process died (killed for memory, for instance).
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_measured, function, arguments).result()


def _measured(function: Callable[..., object], arguments: tuple[object, ...]) -> PeakMemory:
    import psutil

    before = psutil.Process().memory_info().rss
    function(*arguments)
    return PeakMemory(before=before, peak=_peak_resident_bytes())


def _peak_resident_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its maximum is inherited from the parent process across fork and exec.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(fields["VmHWM"].split()[0]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def requested_bytes(function: Callable[[], object]) -> int:
    """Bytes of all tensors that a call makes, one after the other, freed or not: what a profiler counts as requested.

    Views and results in place ask for nothing. Nothing is computed if the tensors are on the `meta` device, so that the
    largest models are counted at once. It is no peak: memory that is freed is asked for again.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    total = 0

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
            nonlocal total
            made = func(*args, **(kwargs or {}))
            known = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}
            for leaf in tree_leaves(made):
                if _is_tensor(leaf) and leaf.untyped_storage()._cdata not in known:
                    total += leaf.untyped_storage().nbytes()
            return made

    with Counting():
        function()
    return total


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
