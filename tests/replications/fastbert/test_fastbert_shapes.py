"""The shapes run: sizes against the modules themselves, the clocked parts on a small encoder."""

import pytest
import torch
from kit.toy_run import shapes_run

from common.early_exit import full_size
from common.early_exit.full_size import Bench, FullSize
from common.early_exit.imposed import plain_classifier, shape_of
from common.paper import load_paper
from common.run.replication import ROOT
from replications.fastbert import shapes
from replications.fastbert.flops import PrintedCount
from replications.fastbert.method import ExitClassifier, UncertaintyAtMost

RUN = shapes_run()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the tiny shape with 4 layers, whichever backbone is asked for."""
    plain, shape = plain_classifier("tiny", shapes.CLASSES), shape_of("tiny")
    bench = Bench(plain, shapes.with_random_classifiers(plain), shape)
    monkeypatch.setattr(FullSize, "bench", lambda self, name: bench)
    monkeypatch.setattr(shapes, "shape_of", lambda name: shape)
    monkeypatch.setattr(shapes, "PRINTED", {"speed=0.1": 1.3, "speed=0.5": 2.0})
    monkeypatch.setattr(shapes, "SAMPLES", 8)
    monkeypatch.setattr(full_size, "BATCHED", 4)
    monkeypatch.setattr(shapes, "SPREAD", {1: 4, 32: 2})


def test_sizes_are_those_of_the_modules() -> None:
    rows = {(m.backbone, m.metric): m.value for m in shapes.sizes()}
    for name in shapes.BACKBONES:
        with torch.device("meta"):
            exits = 12 * sum(p.numel() for p in ExitClassifier(768, shapes.CLASSES).parameters())
        assert rows[name, "exit_parameters"] == exits == 12 * (180_992 + 258)
        assert rows[name, "exit_bytes"] == 4 * exits
        assert 0.01 < rows[name, "exit_flops_share"] < 0.026


def test_table_1_is_within_the_slip_of_its_printing() -> None:
    """603.0 is printed where 604.0 is computed, and the total misses by as much."""
    paper = load_paper(ROOT / "replications" / "fastbert" / "paper.yaml")
    printed = {(c.system, c.setting): c.value for c in paper.numbers["table1"].cells}
    computed = {(m.system, m.setting): m.value for m in shapes.table1()}
    assert computed.keys() == printed.keys()
    assert max(abs(computed[key] - printed[key]) for key in printed) < 2.1e6
    assert abs(computed["Classifier", "total"] - printed["Classifier", "total"]) < 0.05e6


def test_the_ladder_meets_the_published_numbers() -> None:
    rows = shapes.exit_speedups()
    flops = {m.at: m.value for m in rows if m.metric == "flops" and m.system == "FastBERT"}
    assert {k: int(flops[k] / 1e6) for k in (1.0, 2.0, 6.0, 12.0)} == {1.0: 1853, 2.0: 3707, 6.0: 11123, 12.0: 22246}
    assert [m.value for m in rows if m.system == "teacher"] == [21_785_247_744]


@pytest.mark.parametrize("printed", [1.6, 4.21, 7.23])
def test_imposed_layers_have_the_mean_that_a_printed_speedup_stands_for(printed: float) -> None:
    shape = shape_of("bert-base")
    plan = shapes.imposed_layers(printed, shape)
    assert len(plan) == shapes.SAMPLES
    assert set(plan.tolist()) == {1, 12}
    wanted = PrintedCount.of(shape).baseline / (printed * 1_853_915_136)
    assert plan.double().mean().item() == pytest.approx(wanted, abs=11 / 48)


def test_a_printed_speedup_comes_out_in_four_currencies(small: None) -> None:
    rows = shapes.currencies("bert-base")
    for setting in ("speed=0.1", "speed=0.5"):
        mine = {m.metric: m for m in rows if m.setting == setting}
        currencies = {"layer_speedup", "flops_speedup", "time_speedup", "throughput_ratio"}
        assert set(mine) == {"printed_count_speedup", *currencies}
        assert mine["flops_speedup"].value < mine["layer_speedup"].value, "classifiers on the way cost FLOPs"
        assert mine["time_speedup"].timed and mine["throughput_ratio"].timed
        assert not mine["layer_speedup"].timed


def test_every_batch_size_runs_the_same_exits(small: None) -> None:
    """A mean over batches of another plan would be another speed-up."""
    plan = shapes.imposed_layers(2.0, shape_of("tiny"))
    assert torch.equal(torch.cat(plan.split(4)), plan)
    assert len(plan.split(1)) == 8


def test_the_time_of_a_full_depth_run_is_split_in_three(small: None) -> None:
    mine = {m.metric: m.value for m in shapes.FULL_SIZE.costs("bert-base", UncertaintyAtMost(0.5), 4)}
    assert mine["backbone_share"] + mine["exits_share"] + mine["selection_share"] == pytest.approx(1)
    assert mine["backbone_share"] == pytest.approx(1 / mine["time_ratio"])


def test_the_runtime_is_compared_with_waiting_for_the_slowest(small: None) -> None:
    rows = shapes.FULL_SIZE.spread("bert-base", shapes.SPREAD, RUN.progress)
    assert {m.setting for m in rows} == {"batch 1", "batch 32"}
    wanted = {"speedup", "share_of_layer_ratio", "speedup_over_waiting", "share_of_matmul_ceiling"}
    assert {m.metric for m in rows} == wanted
    assert all(m.value > 0 for m in rows)


def test_the_steps_measure_every_backbone(small: None) -> None:
    rows = [m for step in shapes.shape_steps(RUN) for m in step.measure()]
    assert {m.backbone for m in rows if m.timed and m.backbone} == set(shapes.BACKBONES)
    assert {m.backbone for m in rows if not m.timed} >= set(shapes.BACKBONES)
