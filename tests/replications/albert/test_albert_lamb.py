"""LAMB against the update written out in NumPy, step by step, and what is left out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from common.errors import UserError
from common.training.batches import Batch
from common.training.loop import TrainingPlan, fit
from replications.albert.lamb import Lamb, excluded, lamb, trust_ratios
from replications.albert.method import Pretraining, Shape

PLAN = TrainingPlan(0.01, 1, 4, 0, weight_decay=0.1, adam_epsilon=1e-6, precision="float32")

Array = NDArray[np.float64]


def reference(weight: Array, gradients: list[Array], rate: float, decay: float, *, adapt: bool) -> Array:
    """The official lamb_optimizer.py in NumPy, tensor by tensor: no bias correction, decay within the update."""
    m, v = np.zeros_like(weight), np.zeros_like(weight)
    for g in gradients:
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        update = m / (np.sqrt(v) + 1e-6)
        update = update + decay * weight
        ratio = 1.0
        if adapt:
            size, step = np.linalg.norm(weight), np.linalg.norm(update)
            ratio = size / step if size > 0 and step > 0 else 1.0
        weight = weight - ratio * rate * update
    return weight


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(5, 3, dtype=torch.double)
        self.norm = nn.LayerNorm(3, dtype=torch.double)


def test_steps_are_those_of_the_reference_tensor_by_tensor() -> None:
    torch.manual_seed(0)
    module = Toy()
    start = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
    optimiser = lamb(module, PLAN)
    rng = np.random.default_rng(0)
    seen: dict[str, list[Array]] = {name: [] for name in start}
    for _ in range(5):
        for name, p in module.named_parameters():
            gradient = rng.normal(size=tuple(p.shape))
            seen[name].append(gradient)
            p.grad = torch.from_numpy(gradient)
        optimiser.step()
    for name, p in module.named_parameters():
        plain = name != "dense.weight"
        decay = 0.0 if plain else PLAN.weight_decay
        expected = reference(start[name], seen[name], PLAN.learning_rate, decay, adapt=not plain)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12, err_msg=name)


def test_a_first_step_written_out_by_hand() -> None:
    """w = (3, 4), g = (1, -2): m = 0.1 g, v = 0.001 g², u = ±0.1/√0.001, so ‖w‖/‖u‖ = 5 / √20 and no step of 1."""
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([1.0, -2.0])
    Lamb([weight], lr=0.1, eps=1e-12).step()
    size = 0.1 / 0.001**0.5
    ratio = 5 / (2 * size**2) ** 0.5
    torch.testing.assert_close(weight.detach(), torch.tensor([3 - 0.1 * ratio * size, 4 + 0.1 * ratio * size]))


def test_the_first_step_is_not_corrected_for_starting_at_zero() -> None:
    """With Adam's correction a first step has size 1; without it 0.1 / √0.001."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([0.5])
    Lamb([{"params": [weight], "adapt": False}], lr=1.0, eps=1e-12).step()
    assert weight.item() == pytest.approx(-0.1 / 0.001**0.5, rel=1e-5)


def test_a_tensor_of_zeros_moves_by_the_plain_step() -> None:
    ratios = trust_ratios(
        [torch.zeros(2), torch.ones(2), torch.ones(2)], [torch.ones(2), torch.zeros(2), 2 * torch.ones(2)]
    )
    assert [float(r) for r in ratios] == pytest.approx([1.0, 1.0, 0.5])


def test_biases_and_norms_have_neither_decay_nor_ratio() -> None:
    model = Pretraining.fresh(Shape(2, 16, 2, 8, vocabulary=30, positions=8), seed=0)
    names = {name for name, _ in model.named_parameters()}
    plain = {name for name in names if excluded(name)}
    norms = {f"{n}.{p}" for n, m in model.named_modules() if isinstance(m, nn.LayerNorm) for p in ("weight", "bias")}
    assert plain == norms | {name for name in names if name.endswith("bias")}
    adapted, left = lamb(model, PLAN).param_groups
    assert (adapted["weight_decay"], adapted["adapt"]) == (0.1, True)
    assert (left["weight_decay"], left["adapt"]) == (0.0, False)
    assert len(left["params"]) == len(plain) and len(adapted["params"]) == len(names - plain)


def test_a_shared_block_is_moved_once_a_step() -> None:
    """Four layers of one block give one gradient, their sum, and one step of its size."""
    model = Pretraining.fresh(Shape(4, 16, 2, 8, vocabulary=30, positions=8), seed=0)
    weights = [p for group in lamb(model, PLAN).param_groups for p in group["params"]]
    assert len(weights) == len({id(p) for p in weights}) == len(list(model.parameters()))


class Batches:
    def __len__(self) -> int:
        return 6

    def epoch(self, number: int) -> Iterator[Batch]:
        for i in range(6):
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(i))
            yield Batch((x > 0).long(), (x > 0).long(), None, x.sum(1), torch.arange(4))


class Stops(KeyboardInterrupt):
    pass


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    """LAMB's moments are in the checkpoint: without them the next step would have another size."""

    def fresh() -> nn.Linear:
        torch.manual_seed(0)
        return nn.Linear(5, 1)

    def loss(module: nn.Linear, batch: Batch) -> torch.Tensor:
        value: torch.Tensor = ((module(batch.input_ids.float())[:, 0] - batch.labels) ** 2).mean()
        return value

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise Stops

    whole, parted = fresh(), fresh()
    quiet = {"make_optimizer": lamb, "checkpoint_every_s": 0.0}
    fit(whole, Batches(), loss, PLAN, checkpoint=tmp_path / "a", progress=lambda d, t: None, **quiet)  # type: ignore[arg-type]
    with pytest.raises(Stops):
        fit(parted, Batches(), loss, PLAN, checkpoint=tmp_path / "b", progress=stop, **quiet)  # type: ignore[arg-type]
    resumed = fresh()
    fit(resumed, Batches(), loss, PLAN, checkpoint=tmp_path / "b", progress=lambda d, t: None, **quiet)  # type: ignore[arg-type]
    assert torch.equal(whole.weight, resumed.weight) and torch.equal(whole.bias, resumed.bias)
    assert not torch.equal(whole.weight, parted.weight)


def test_settings_outside_their_range_are_refused() -> None:
    for changes in ({"lr": -1.0}, {"eps": 0.0}, {"weight_decay": -0.1}, {"betas": (1.0, 0.9)}):
        with pytest.raises(UserError, match="LAMB needs a rate"):
            Lamb([nn.Parameter(torch.ones(1))], **{"lr": 0.1, **changes})
