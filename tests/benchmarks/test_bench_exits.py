"""The exit runtime at BERT-base shape against its targets: batch 32, 64 tokens, random weights, imposed exits."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from common.early_exit.imposed import WAITING, leaving, shape_of, spread_exits, waiting
from replications.cascadebert import shapes as cascadebert
from replications.deebert import shapes as deebert
from replications.fastbert import shapes as fastbert
from replications.pabee import shapes as pabee


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("bench_of", "target"),
    [(deebert.FULL_SIZE.bench, 0.9), (pabee.FULL_SIZE.bench, 0.9), (fastbert.FULL_SIZE.bench, 0.85)],
    ids=["DeeBERT", "PABEE", "FastBERT"],
)
def test_bench_exits_reach_the_layer_ratio_and_beat_waiting(
    benchmark: Any, bench_of: Callable[[str], Any], target: float
) -> None:
    bench = bench_of("bert-base")
    arms = {"leaving": leaving(bench.model), WAITING: waiting(bench.model)}

    def measure() -> Any:
        return spread_exits(bench.plain, arms, shape_of("bert-base"), size=32, passes=4, rounds=2)

    spread = benchmark.pedantic(measure, rounds=1)
    share = spread.speedup("leaving").value / spread.layer_ratio
    over_waiting = spread.over_waiting("leaving").value
    benchmark.extra_info["share_of_layer_ratio"] = share
    benchmark.extra_info["speedup_over_waiting"] = over_waiting
    print(f"\n{share:.2f} of the layer ratio {spread.layer_ratio:.2f}; {over_waiting:.2f}x against {WAITING}")
    assert share >= target
    assert over_waiting >= 1.7


@pytest.mark.timeout(600)
def test_bench_a_cascade_reaches_its_closed_form(benchmark: Any) -> None:
    """2 layers before 12, one text in six passed on, what three batches of 32 pass on put together."""
    run = SimpleNamespace(progress=lambda done, total: None)
    rows = benchmark.pedantic(lambda: cascadebert.batches(run, pools=4, pool=3 * cascadebert.BATCH), rounds=1)
    shares = {m.system: m for m in rows if m.metric == "share_of_closed_form"}
    for system, share in shares.items():
        benchmark.extra_info[f"share_of_closed_form, {system}"] = share.value
        print(f"\n{system}: {share.value:.2f} [{share.ci_low:.2f}, {share.ci_high:.2f}] of the closed form")
    assert shares[cascadebert.POOLED].value >= 0.95
