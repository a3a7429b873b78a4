"""Sizes at full size against the modules and the printed ones; the clocked part on small models."""

from typing import Any

import pytest
import torch
from kit.toy_evidence import record_of
from kit.toy_run import shapes_run
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, DistilBertConfig, DistilBertForSequenceClassification

from common.costs.flops import classifier_flops
from common.encoders.shapes import random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.records.claims import Check
from common.records.predictions import Evidence
from replications.distilbert import shapes
from replications.distilbert.claims import TIMED_SETTING, faster_by_60, smaller_by_40
from replications.distilbert.names import DISTILBERT


def test_parameters_are_those_of_the_modules_and_of_the_card() -> None:
    rows = {(m.system, m.metric): m.value for m in shapes.sizes() if not m.setting}
    with torch.device("meta"):
        encoder = AutoModel.from_config(DistilBertConfig())
        classifier = DistilBertForSequenceClassification(DistilBertConfig(num_labels=2))
    assert rows[DISTILBERT, "encoder_parameters"] == sum(p.numel() for p in encoder.parameters()) == 66_362_880
    assert rows[DISTILBERT, "classifier_parameters"] == sum(p.numel() for p in classifier.parameters())
    bert = random_encoder("bert-base", device="meta")
    assert rows["baseline", "encoder_parameters"] == sum(p.numel() for p in bert.parameters()) == 109_482_240
    check = smaller_by_40(record_of(measurements=shapes.sizes()))
    assert isinstance(check, Check) and check.holds


def test_flops_are_those_that_a_counter_sees_and_half_of_berts() -> None:
    rows = {(m.system, m.at): m.value for m in shapes.sizes() if m.metric == "flops"}
    config = DistilBertConfig(num_labels=2, attn_implementation="eager")
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = DistilBertForSequenceClassification(config).eval()
        model(input_ids=torch.zeros(1, 128, dtype=torch.long))
    assert rows[DISTILBERT, 128] == counter.get_total_flops()
    assert rows["baseline", 128] / rows[DISTILBERT, 128] == pytest.approx(2.0, rel=0.001)
    assert rows[DISTILBERT, 128] == classifier_flops(shapes.shapes()[DISTILBERT], 128, 2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = EncoderClassifier(random_encoder("tiny"), PooledClassifier(64, 2)).eval()
    config = DistilBertConfig(num_labels=2, dim=64, n_layers=2, n_heads=4, hidden_dim=128)
    student = DistilBertForSequenceClassification(config).eval()
    monkeypatch.setattr(shapes, "plain_classifier", lambda name, classes: plain)
    monkeypatch.setattr(shapes, "distilbert", lambda: student)
    monkeypatch.setattr(shapes, "SIZES", {1: 3, 32: 2})
    monkeypatch.setattr(shapes, "peak_memory", lambda function: type("P", (), {"increase": 2**20})())


def test_the_steps_time_both_and_keep_what_the_claim_reads(small: None) -> None:
    kept: list[Evidence] = []
    run: Any = shapes_run(kept.append)
    rows = [m for step in shapes.shape_steps(run) for m in step.measure()]
    assert {e.task for e in kept} == {f"bert-base, {shapes.setting_name(s, t)}" for s in (1, 32) for t in (32, 128)}
    assert TIMED_SETTING in {e.task for e in kept}
    assert faster_by_60(record_of(*kept)) is not None
    ratios = [m for m in rows if m.metric == "time_ratio" and m.system == DISTILBERT]
    assert len(ratios) == 4 and all(m.timed and m.ci_low is not None for m in ratios)
    assert {m.system for m in rows if m.metric == "peak_memory"} == {"baseline", DISTILBERT}


def test_a_pass_runs_in_a_process_of_its_own(small: None) -> None:
    shapes.run_bert()
    shapes.run_distilbert()
