"""The exit runtime at BERT-base shape against its targets: batch 32, 64 tokens, exits spread evenly over all layers."""

from typing import Any

import pytest

from common.early_exit.imposed import WAITING, leaving, plain_classifier, shape_of, spread_exits, waiting
from replications.pabee.method import PABEE


@pytest.mark.timeout(600)
def test_bench_exits_reach_the_layer_ratio_and_beat_waiting(benchmark: Any) -> None:
    plain = plain_classifier("bert-base", 2)
    model = PABEE.fresh(plain.encoder, 2, seed=0).eval()
    arms = {"PABEE": leaving(model), WAITING: waiting(model)}

    def measure() -> Any:
        return spread_exits(plain, arms, shape_of("bert-base"), size=32, passes=4, rounds=3)

    spread = benchmark.pedantic(measure, rounds=1)
    share = spread.speedup("PABEE").value / spread.layer_ratio
    over_waiting = spread.over_waiting("PABEE").value
    benchmark.extra_info["share_of_layer_ratio"] = share
    benchmark.extra_info["speedup_over_waiting"] = over_waiting
    print(f"\n{share:.2f} of the layer ratio {spread.layer_ratio:.2f}; {over_waiting:.2f}x against {WAITING}")
    assert share >= 0.9
    assert over_waiting >= 1.7
