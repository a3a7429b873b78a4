"""What is added at full size, against the modules themselves; the clocked part on a small encoder."""

import pytest
import torch
from kit.toy_evidence import record_of
from kit.toy_run import shapes_run

from common.costs.flops import EncoderShape
from common.early_exit.full_size import Bench, FullSize
from common.encoders.shapes import find_shape, random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.records.claims import Check
from replications.right_tool import shapes
from replications.right_tool.claims import parameter_overhead
from replications.right_tool.method import RightTool


def test_sizes_are_those_of_the_modules_and_decide_the_claim() -> None:
    rows = [m for m in shapes.sizes() if m.metric == "exit_parameters" and m.backbone == "bert-large"]
    assert {m.setting: m.value for m in rows} == {"": 8_243, "3 classes": 12_343, "4 classes": 16_443}
    for name in shapes.BACKBONES:
        encoder = random_encoder(name, device="meta")
        with torch.device("meta"):
            model = RightTool.fresh(encoder, 2, seed=0)
        added = sum(p.numel() for p in model.classifiers.parameters())
        values = [m.value for m in shapes.sizes() if (m.backbone, m.metric) == (name, "exit_parameters")]
        assert values[0] == added
    check = parameter_overhead(record_of(measurements=shapes.sizes()))
    assert isinstance(check, Check)
    assert check.holds and check.value == pytest.approx(100 * 16_443 / 335_146_000, rel=1e-3)


def test_the_plain_classifiers_pooler_is_not_among_the_further_flops() -> None:
    shape = EncoderShape(layers=4, hidden=8, intermediate=32, heads=2, vocabulary=10)
    assert shapes.further_flops(shape) == 3 * 2 * 8 * 8 + 3 * 2 * 8 * 2 + (1 + 3 + 4) * 2 * 8


def test_the_steps_measure_every_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = EncoderClassifier(random_encoder("tiny"), PooledClassifier(find_shape("tiny").hidden, 2)).eval()
    shape = EncoderShape.from_config(find_shape("tiny").config())
    bench = Bench(plain, shapes.with_random_classifiers(plain), shape)
    monkeypatch.setattr(FullSize, "bench", lambda self, name: bench)
    rows = [m for step in shapes.shape_steps(shapes_run()) for m in step.measure()]
    assert {m.backbone for m in rows if m.timed} == {m.backbone for m in rows if not m.timed} == set(shapes.BACKBONES)
    assert {m.metric for m in rows if m.timed} >= {"speedup", "speedup_over_waiting"}
