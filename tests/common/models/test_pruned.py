"""Pruning takes out what it says, the least important first, and what is left costs what the closed form says."""

from pathlib import Path

import pytest
import torch
from kit.toy_splits import split_of
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from common.costs.flops import EncoderShape, embedding_flops
from common.costs.pruned import pruned_layer_flops
from common.early_exit.cost import pooled_head_flops
from common.encoders.layer_parts import layer_parts
from common.encoders.narrow import Kept, distinct_layers, distinct_parts
from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.encoders.shapes import random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier, task_loss
from common.models.pruned import Importance, PrunedClassifier, importance, load_pruned

KINDS = ("tiny", "tiny-roberta", "tiny-albert", "tiny-mpnet")
HEADS, UNITS = torch.tensor([0, 3]), torch.arange(5, 200, 3)


def classifier_of(shape: str, pooling: str = MEAN) -> EncoderClassifier:
    torch.manual_seed(0)
    encoder = random_encoder(shape).first_layers(3)
    return EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, 3), pooling).eval()


def different_layers(classifier: EncoderClassifier) -> list[Kept]:
    """As many of every layer, but not the same ones."""
    heads = [HEADS if i % 2 else torch.tensor([1, 2]) for i in distinct_layers(classifier.encoder)]
    return [Kept(h, UNITS + i) for i, h in enumerate(heads)]


def silence_others(classifier: EncoderClassifier, kept: list[Kept]) -> None:
    """Zero what the others would contribute."""
    for part, stays in zip(distinct_parts(classifier.encoder), kept, strict=True):
        by_head = torch.zeros(part.heads).index_fill(0, stays.heads, 1.0)
        by_unit = torch.zeros(part.outer.in_features).index_fill(0, stays.units, 1.0)
        part.attended.weight.data *= by_head.repeat_interleave(part.attended.in_features // part.heads)
        part.outer.weight.data *= by_unit


@pytest.mark.parametrize("shape", KINDS)
def test_what_is_left_answers_like_the_whole_with_the_others_silent(shape: str, tmp_path: Path) -> None:
    silent, pruned = classifier_of(shape), classifier_of(shape)
    kept = different_layers(silent)
    silence_others(silent, kept)
    before = sum(p.numel() for p in pruned.parameters())
    pruned = PrunedClassifier.of(pruned, kept)
    batch = split_of(7).batch(range(7))
    with torch.inference_mode():
        torch.testing.assert_close(pruned(batch), silent(batch), atol=1e-5, rtol=1e-4)
        pruned.save(tmp_path)
        loaded = load_pruned(tmp_path)
        assert torch.equal(loaded(batch), pruned(batch))
    gone_heads, gone_units, width = 2 * 16, 256 - len(UNITS), 64
    gone = gone_heads * (3 * (width + 1) + width) + gone_units * (2 * width + 1)
    assert before - sum(p.numel() for p in loaded.parameters()) == len(kept) * gone
    assert loaded.pooling == MEAN


def test_a_pruned_classifier_learns(tmp_path: Path) -> None:
    pruned = PrunedClassifier.of(classifier_of("tiny"), different_layers(classifier_of("tiny")))
    batch = split_of(7).batch(range(7))
    task_loss(pruned(batch), batch.labels).backward()
    assert all(p.grad is not None for name, p in pruned.named_parameters() if ".pooler.dense" not in name)


@pytest.mark.parametrize("shape", ["tiny", "tiny-albert"])
def test_importance_is_the_gradient_of_a_gate_of_each_text(shape: str) -> None:
    """Held to gates that are really there, one text at a time."""
    classifier = classifier_of(shape, FIRST_TOKEN)
    split = split_of(6, classes=3)
    found = importance(classifier, [split.batch([0, 1, 2]), split.batch([3, 4, 5])])
    for layer, i in zip(found, distinct_layers(classifier.encoder), strict=True):
        part = layer_parts(classifier.encoder, i)
        heads, units = torch.zeros(part.heads), torch.zeros(part.outer.in_features)
        for row in range(6):
            by_head, by_unit = gate_gradients(classifier, i, split.batch([row]))
            heads, units = heads + by_head.abs(), units + by_unit.abs()
        torch.testing.assert_close(layer.heads, heads, atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(layer.units, units, atol=1e-5, rtol=1e-3)
    assert not any(p.grad is not None and p.grad.any() for p in classifier.parameters())


def gate_gradients(classifier: EncoderClassifier, i: int, batch: object) -> tuple[Tensor, Tensor]:
    part = layer_parts(classifier.encoder, i)
    by_head, by_unit = (torch.ones(n, requires_grad=True) for n in (part.heads, part.outer.in_features))
    width = part.attended.in_features // part.heads
    hooks = [
        part.attended.register_forward_pre_hook(lambda _, x: (x[0] * by_head.repeat_interleave(width),)),
        part.outer.register_forward_pre_hook(lambda _, x: (x[0] * by_unit,)),
    ]
    loss = task_loss(classifier(batch), batch.labels)  # type: ignore[arg-type, attr-defined]
    gradients = torch.autograd.grad(loss, [by_head, by_unit])
    for hook in hooks:
        hook.remove()
    return gradients[0], gradients[1]


def test_the_most_important_ones_stay_in_their_order() -> None:
    layer = Importance(torch.tensor([0.1, 3.0, 0.2, 2.0]), torch.tensor([5.0, 1.0, 2.0, 4.0, 3.0]))
    kept = layer.most(0.5)
    assert kept.heads.tolist() == [1, 3] and kept.units.tolist() == [0, 3]
    assert layer.most(0.01).heads.tolist() == [1], "one stays"


@pytest.mark.parametrize("shape", KINDS)
def test_flops_equal_the_flop_counter(shape: str) -> None:
    classifier = classifier_of(shape)
    pruned = PrunedClassifier.of(classifier, different_layers(classifier))
    pruned.encoder.set_attention("eager")
    split = split_of(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        pruned(split.batch([0]))
    sizes = EncoderShape.from_config(pruned.encoder.config)
    (tokens,) = split.lengths
    layer = pruned_layer_flops(sizes, tokens, heads=2, units=len(UNITS))
    expected = embedding_flops(sizes, tokens) + 3 * layer + pooled_head_flops(sizes, 3)
    assert counter.get_total_flops() == expected
