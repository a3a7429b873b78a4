"""What weight decay is of: names of norms differ between encoders and heads, kinds of modules do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from common.encoders.shapes import random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.training.decay import adamw_sparing_norms
from common.training.loop import TrainingPlan, fused_adamw
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel

PLAN = TrainingPlan(0.5, epochs=1, batch_size=1, seed=0, weight_decay=0.2, adam_epsilon=1e-3)


def language_model() -> MaskedLanguageModel:
    encoder = random_encoder("tiny", seed=0)
    return MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, 0))


def classifier() -> EncoderClassifier:
    encoder = random_encoder("tiny", seed=0)
    return EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, 2, 0.0))


def is_spared(name: str) -> bool:
    """By the names that stand in these models."""
    return name.endswith("bias") or "LayerNorm" in name or "head.norm" in name


@pytest.mark.parametrize("model", [language_model(), classifier()])
def test_biases_and_norms_sit_in_a_group_without_decay(model: nn.Module) -> None:
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, spared = adamw_sparing_norms(model, PLAN).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.2, 0.0)
    assert {names[id(p)] for p in spared["params"]} == {name for name in names.values() if is_spared(name)}
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    assert all((group["lr"], group["eps"]) == (0.5, 1e-3) for group in (decayed, spared))


def test_without_gradients_of_its_own_a_matrix_shrinks_and_a_norm_does_not() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    for p in module.parameters():
        nn.init.ones_(p)
        p.grad = torch.zeros_like(p)
    adamw_sparing_norms(module, PLAN).step()
    torch.testing.assert_close(module[0].weight, torch.full((2, 2), 1 - 0.5 * 0.2))
    for kept in (module[0].bias, module[1].weight, module[1].bias):
        assert torch.equal(kept, torch.ones(2))


def test_it_is_the_usual_optimiser_where_nothing_decays() -> None:
    plan = replace(PLAN, weight_decay=0.0)
    models = language_model(), language_model()
    for model, make in zip(models, (adamw_sparing_norms, fused_adamw), strict=True):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        make(model, plan).step()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)


def test_frozen_parameters_are_left_out_and_a_group_of_nothing_too() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.LayerNorm(2))
    module[0].requires_grad_(False)
    (group,) = adamw_sparing_norms(module, PLAN).param_groups
    assert group["weight_decay"] == 0.0
    assert [id(p) for p in group["params"]] == [id(p) for p in module[1].parameters()]
