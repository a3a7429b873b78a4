"""The paper's FLOPs count meets its published numbers; ours is that of the module."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.costs.flops import EncoderShape, classifier_flops
from common.early_exit.cost import exit_flops
from common.early_exit.imposed import shape_of
from replications.fastbert.flops import PrintedCount, head_flops, head_parameters, teacher_flops
from replications.fastbert.method import ExitClassifier

BERT_BASE = PrintedCount(layers=12, hidden=768, intermediate=3072)


def test_the_readmes_baseline_to_the_last_digit() -> None:
    assert BERT_BASE.baseline == 21_785_247_744
    assert PrintedCount.of(shape_of("bert-base")) == BERT_BASE


def test_a_layer_and_a_classifier() -> None:
    assert BERT_BASE.layer == 1_811_939_328
    assert BERT_BASE.classifier == 41_975_808


@pytest.mark.parametrize(
    ("layers", "millions", "speedup"), [(1, 1853.9, 11.75), (2, 3707.8, 5.87), (6, 11123.5, 1.96), (12, 22247.0, 0.979)]
)
def test_leaving_after_k_layers(layers: int, millions: float, speedup: float) -> None:
    assert BERT_BASE.leaving_after(layers) / 1e6 == pytest.approx(millions, abs=0.05)
    assert BERT_BASE.speedup(layers) == pytest.approx(speedup, abs=0.006)


def test_the_ceiling_and_the_floor() -> None:
    assert BERT_BASE.speedup(1) == pytest.approx(11.75, abs=0.005)
    assert BERT_BASE.speedup(12) < 1, "all layers with every classifier are slower than BERT"


def test_table_1_charges_every_token_for_the_second_map() -> None:
    parts = BERT_BASE.classifier_parts
    assert [round(v / 1e6, 1) for v in parts.values()] == [25.2, 16.8, 4.2]
    assert sum(parts.values()) / 1e6 == pytest.approx(46.1, abs=0.05)
    assert [round(v / 1e6, 1) for v in BERT_BASE.layer_parts.values()] == [604.0, 1208.0]
    assert sum(parts.values()) > BERT_BASE.classifier


def test_our_head_count_is_what_the_module_computes() -> None:
    tokens, classes = 17, 3
    with torch.device("meta"):
        classifier = ExitClassifier(96, classes).eval()
        hidden = torch.empty(1, tokens, 96)
    with FlopCounterMode(display=False) as counter:
        classifier(hidden, None)
    assert counter.get_total_flops() == head_flops(96, classes, tokens)


def test_parameters_are_those_of_the_module() -> None:
    with torch.device("meta"):
        classifier = ExitClassifier(768, 4)
    assert head_parameters(768, 4) == sum(p.numel() for p in classifier.parameters()) == 180_992 + 129 * 4


def test_every_classifier_on_the_way_is_paid_for() -> None:
    shape = EncoderShape(layers=6, hidden=384, intermediate=1536, heads=12, vocabulary=30522)
    head, plain = head_flops(384, 2, 20), classifier_flops(shape, 20, 2)
    leaving = exit_flops(shape, 20, head)
    assert leaving[5] == teacher_flops(shape, 2, 20) + 5 * head
    assert leaving[0] < plain / 5
    assert leaving[5] > plain
