"""The physical ceiling: how fast this machine multiplies dense matrices, and what that makes of a FLOP count.

Printed beside a measured latency it tells two kinds of slowness apart: a model near its ceiling has to compute less,
a model far from it is held up by something else (memory traffic, small kernels, Python).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from common.costs.flops import linear_flops
from common.timing.interleave import Stopwatch, collector_off, device_synchroniser


def matmul_rate(
    m: int,
    k: int,
    n: int,
    *,
    repeats: int = 20,
    device: str = "cpu",
    precision: str = "float32",
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Best measured rate of a product [m, k] x [k, n], in FLOP/s (2 per multiply-add).

    It uses as many threads as PyTorch does at the call: measure it inside the same `pinned_threads` as the model. A
    model of this shape cannot be expected to run faster, but a much larger product may reach a higher rate.

    Args:
        m: rows of the left matrix, e.g. tokens.
        k: inner size, e.g. hidden.
        n: columns of the right matrix, e.g. intermediate.
        repeats: timed products; the fastest counts.
        device: where to multiply.
        precision: of both matrices and of the product, as PyTorch names it.
        clock: seconds, monotonic.
    """
    import torch

    dtype: torch.dtype = getattr(torch, precision)
    left = torch.randn(m, k, device=device, dtype=dtype)
    right = torch.randn(k, n, device=device, dtype=dtype)
    product = torch.empty(m, n, device=device, dtype=dtype)

    def multiply(_: int) -> None:
        torch.mm(left, right, out=product)

    stopwatch = Stopwatch(device_synchroniser(), clock)
    with torch.inference_mode(), collector_off():
        multiply(0)  # the first product pays for thread start-up and kernel selection
        best = min(stopwatch.seconds(multiply, 0) for _ in range(repeats))
    return linear_flops(k, n, rows=m) / best


def ceiling_seconds(flops: float, rate: float) -> float:
    """Seconds that `flops` take at `rate` FLOP/s: no pass can be expected to end sooner.

    Raises:
        ValueError: `rate` is not positive.
    """
    if rate <= 0:
        raise ValueError(f"expected a positive rate in FLOP/s, found {rate}")
    return flops / rate
