"""What every paper does at a scale."""

import pytest

from common.replication import Replication, find_replications
from common.runner import Request, describe_plan
from common.scales import SCALES, find_scale


@pytest.mark.parametrize("replication", find_replications(), ids=lambda replication: replication.slug)
def test_every_paper_has_a_plan_at_the_full_scale_with_nothing_but_the_trained_run(replication: Replication) -> None:
    plan = describe_plan(replication, Request(find_scale("full"), "builtin", None, 1, ()))
    assert "full-builtin" in plan
    assert "shapes" not in plan


def test_only_the_scales_for_a_gpu_spare_nothing() -> None:
    assert {name for name, scale in SCALES.items() if not scale.spares} == {"full", "paper"}
