"""The shapes run: sizes against transformers' own modules, the clocked parts on a small encoder."""

import pytest
from kit.toy_run import shapes_run

from common.costs.flops import EncoderShape, classifier_flops
from common.early_exit.cost import exit_flops
from common.early_exit.full_size import Bench, FullSize
from common.early_exit.imposed import TOKENS, plain_classifier, shape_of
from common.encoders.shapes import random_encoder
from common.models.classifier import PooledClassifier
from common.records.measurements import Measurement
from common.timing.paired import CONTROL
from replications.pabee import shapes
from replications.pabee.method import Exits

RUN = shapes_run()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the tiny shape with 4 layers, whichever backbone is asked for."""
    plain = plain_classifier("tiny", shapes.CLASSES)
    shape = EncoderShape.from_config(plain.encoder.config)
    bench = Bench(plain, shapes.with_random_exits(plain), shape)
    monkeypatch.setattr(FullSize, "bench", lambda self, name: bench)
    monkeypatch.setattr(shapes, "shape_of", lambda name: shape)
    monkeypatch.setattr(shapes, "PRINTED", {1: 1.6, 2: 1.2})
    monkeypatch.setattr(shapes, "TEXTS", 16)
    monkeypatch.setattr(shapes, "SPREAD", {1: 4, 32: 2})


def test_sizes_are_those_of_the_modules() -> None:
    rows = {(m.backbone, m.metric): m.value for m in shapes.sizes()}
    for name in shapes.BACKBONES:
        encoder = random_encoder(name, device="meta")
        head = sum(p.numel() for p in PooledClassifier(encoder.hidden_size, 3).parameters())
        exits = sum(p.numel() for p in Exits(encoder.num_layers, encoder.hidden_size, 3).parameters())
        assert rows[name, "exit_parameters"] == exits - head == 25_377
        assert rows[name, "exit_bytes"] == 4 * 25_377


def test_exits_cost_less_than_a_percent() -> None:
    shares = [m.value for m in shapes.sizes() if m.metric in ("exit_flops_share", "exit_parameter_share")]
    assert len(shares) == 4
    assert all(0 < share < 0.01 for share in shares)


@pytest.mark.parametrize(("patience", "printed"), [(3, 2.35), (6, 1.57), (9, 1.14)])
@pytest.mark.parametrize("count", [8, 24])
def test_imposed_layers_have_the_printed_mean_and_respect_the_patience(
    patience: int, printed: float, count: int
) -> None:
    plan = shapes.imposed_layers(patience, count, 12)
    assert len(plan) == count
    assert set(plan.tolist()) == {patience + 1, 12}
    assert plan.double().mean().item() == pytest.approx(12 / printed, abs=8 / count)


def test_a_printed_speedup_comes_out_in_four_currencies(small: None) -> None:
    rows = shapes.currencies("albert-base")
    for patience in (1, 2):
        mine = {m.metric: m for m in rows if m.at == patience}
        assert set(mine) == {"layer_speedup", "flops_speedup", "time_speedup", "throughput_ratio"}
        assert mine["flops_speedup"].value < mine["layer_speedup"].value, "exits on the way cost FLOPs"
        assert mine["time_speedup"].timed and mine["throughput_ratio"].timed
        assert not mine["layer_speedup"].timed
    assert [m.metric for m in rows if m.system == CONTROL] == ["time_speedup"], "what verdicts look for"


def test_flops_of_leaving_nowhere_are_those_of_all_exits() -> None:
    shape = shape_of("bert-base")
    full = classifier_flops(shape, TOKENS, shapes.CLASSES)
    heads = 11 * (2 * 768 * 768 + 2 * 768 * 3)
    by_layer = exit_flops(shape, TOKENS, shapes.FULL_SIZE.exit_cost(shape))
    assert by_layer[-1] == full + heads


def test_the_time_of_a_full_depth_run_is_split_in_three(small: None) -> None:
    mine = {m.metric: m.value for m in shapes.costs("bert-base")}
    assert mine["backbone_share"] + mine["exits_share"] + mine["selection_share"] == pytest.approx(1)
    assert mine["backbone_share"] == pytest.approx(1 / mine["time_ratio"])


def test_the_runtime_is_compared_with_waiting_for_the_slowest(small: None) -> None:
    rows = shapes.FULL_SIZE.spread("bert-base", shapes.SPREAD, RUN.progress)
    assert {m.setting for m in rows} == {"batch 1", "batch 32"}
    assert {m.metric for m in rows} == {
        "speedup",
        "share_of_layer_ratio",
        "speedup_over_waiting",
        "share_of_matmul_ceiling",
    }
    assert all(isinstance(m, Measurement) and m.value > 0 for m in rows)


def test_the_steps_measure_every_backbone(small: None) -> None:
    rows = [m for step in shapes.shape_steps(RUN) for m in step.measure()]
    assert {m.backbone for m in rows if m.timed and m.backbone} == set(shapes.BACKBONES)
    assert {m.backbone for m in rows if not m.timed} >= set(shapes.BACKBONES)
