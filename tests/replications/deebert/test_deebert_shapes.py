"""The shapes run: sizes against transformers' own modules, the clocked parts on a small encoder."""

import pytest
from kit.toy_evidence import record_of
from kit.toy_run import shapes_run

from common.costs.flops import EncoderShape
from common.early_exit.full_size import Bench, FullSize
from common.encoders.shapes import find_shape, random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.records.predictions import Evidence, at_layer
from common.timing.paired import CONTROL
from replications.deebert import shapes
from replications.deebert.claims import expected_equals_measured

KEPT: list[Evidence] = []
RUN = shapes_run(KEPT.append)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the tiny shape, whichever backbone is asked for."""
    plain = EncoderClassifier(random_encoder("tiny"), PooledClassifier(find_shape("tiny").hidden, 2)).eval()
    shape = EncoderShape.from_config(find_shape("tiny").config())
    bench = Bench(plain, shapes.with_random_off_ramps(plain), shape)
    monkeypatch.setattr(FullSize, "bench", lambda self, name: bench)


def test_sizes_are_those_of_the_modules() -> None:
    rows = {(m.backbone, m.metric): m.value for m in shapes.sizes() if m.experiment == "sizes"}
    for name in shapes.BACKBONES:
        encoder = random_encoder(name, device="meta")
        one = sum(p.numel() for p in PooledClassifier(encoder.hidden_size, 2).parameters())
        assert rows[name, "exit_parameters"] == (encoder.num_layers - 1) * one


def test_bert_base_has_the_known_sizes() -> None:
    rows = {m.metric: m.value for m in shapes.sizes() if m.backbone == "bert-base" and m.experiment == "sizes"}
    assert rows["parameters"] == 109_482_240 + 2 * 768 + 2
    assert rows["layer_parameters"] == 7_087_872
    assert rows["exit_flops_share"] < 0.002


def test_figure_5_ends_at_the_full_model_plus_its_off_ramps() -> None:
    rows = [m for m in shapes.sizes() if m.experiment == "figure5" and m.backbone == "bert-large"]
    cost = [m.value for m in rows if m.metric == "cumulative_flops_share"]
    ramps = [m.value for m in rows if m.metric == "exit_flops_share"]
    assert len(cost) == len(ramps) == 24
    assert cost == sorted(cost)
    assert cost[-1] == pytest.approx(1 + ramps[-1])


def test_figure_3_yields_both_savings_the_control_and_the_times(small: None) -> None:
    KEPT.clear()
    rows = shapes.figure3(RUN)
    for backbone in shapes.BACKBONES:
        mine = [m for m in rows if m.backbone == backbone]
        expected = {m.at: m.value for m in mine if m.metric == "expected_saving"}
        measured = {m.at: m for m in mine if m.metric == "measured_saving"}
        assert expected.keys() == measured.keys()
        assert expected[4.0] == 0.0
        assert expected[1.0] == 0.75
        assert all(m.timed for m in measured.values())
        assert any(m.metric == "control_saving" for m in mine)
    assert {m.system for m in rows if m.metric == "control_saving"} == {CONTROL}, "what verdicts look for"
    decision = expected_equals_measured(record_of(*KEPT))
    assert decision is not None
    assert [e.task for e in KEPT] == list(shapes.BACKBONES)
    gaps = [m for m in rows if m.metric == "measured_saving" and m.setting != at_layer(4)]
    assert len(decision.cells) == 2 * len(gaps), "all but the run through all layers, both ways"


def test_spread_exits_report_speed_ceiling_and_layer_ratio(small: None) -> None:
    rows = shapes.FULL_SIZE.spread("bert-base", shapes.SPREAD, RUN.progress)
    assert {m.setting for m in rows} == {"batch 1", "batch 32"}
    assert {m.metric for m in rows} == {
        "speedup",
        "share_of_layer_ratio",
        "share_of_matmul_ceiling",
        "speedup_over_waiting",
    }
    assert all(m.value > 0 for m in rows)


def test_the_steps_measure_every_backbone(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "memory", list)  # a process of its own and a whole bert-base
    rows = [m for step in shapes.shape_steps(RUN) for m in step.measure()]
    assert {m.backbone for m in rows if m.timed and m.backbone} == set(shapes.BACKBONES)
    assert {m.backbone for m in rows if not m.timed} >= set(shapes.BACKBONES)
