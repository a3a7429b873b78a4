"""Token-level exits at BERT-base shape against their target: 128 pieces, the active share falling to a tenth."""

from typing import Any

import pytest

from replications.token_early_exit.shapes import BACKBONE, SAMPLES, TOKENS, Bench, active_pieces


@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", [1, 32])
def test_bench_token_exits_reach_their_flops_speedup(benchmark: Any, size: int) -> None:
    bench = Bench.of(BACKBONE)
    active = active_pieces(bench.shape.layers, TOKENS, 0.1)
    timings = benchmark.pedantic(lambda: bench.timed({"exits": active}, size, SAMPLES[size]), rounds=1)
    flops, speedup = bench.flops_speedup(TOKENS, active), timings.speedup("exits")
    share = speedup.over(flops)
    benchmark.extra_info["flops_speedup"] = flops
    benchmark.extra_info["share_of_flops_speedup"] = share.value
    print(
        f"\nbatch {size}: {speedup.value:.2f}x, {share.value:.2f} [{share.low:.2f}, {share.high:.2f}] of {flops:.2f}x"
    )
    assert share.value >= 0.8
