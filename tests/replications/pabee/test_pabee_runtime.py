"""Invariants of patience on any model: batched = one by one = simulated, and nobody leaves before layer t+1."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.early_exit.rules import ConfidenceAbove, ExitRule
from common.early_exit.runtime import collect_logits, run_early_exit, simulate
from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.encoders.shapes import random_encoder
from common.training.batches import Batch
from replications.pabee.method import PABEE, leaves_after, leaves_within

DEPTH = 6


class Network:
    """A small deterministic multi-exit network in float64: layer i is an affine map and tanh, exit i a linear map."""

    num_layers = DEPTH

    def __init__(self, outputs: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator, dtype=torch.float64)

        self.table = draw(100, 6)
        self.weights = [torch.eye(6, dtype=torch.float64) + 0.4 * draw(6, 6) for _ in range(DEPTH)]
        self.exits = [draw(6, outputs) for _ in range(DEPTH)]

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return self.table[batch.input_ids[:, :1]], None

    def layer(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        return torch.tanh(hidden @ self.weights[index - 1])

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        return hidden[:, 0] @ self.exits[index - 1]


def batch_of(ids: list[int]) -> Batch:
    column = torch.tensor(ids)[:, None]
    return Batch(column, torch.ones_like(column), None, torch.zeros(len(ids)), torch.arange(len(ids)))


patiences = st.integers(1, DEPTH - 1)
texts = st.lists(st.integers(0, 99), min_size=1, max_size=12)
seeds = st.integers(0, 1000)


def check_agreement(network: Network, ids: list[int], rule: ExitRule) -> Tensor:
    batched = run_early_exit(network, batch_of(ids), rule)
    singles = [run_early_exit(network, batch_of([i]), rule) for i in ids]
    logits = collect_logits(network, [batch_of(ids)], len(ids), torch.device("cpu"))
    simulated = simulate(logits, rule)
    assert torch.equal(batched.exit_layer, torch.cat([s.exit_layer for s in singles]))
    assert torch.equal(batched.exit_layer, simulated.exit_layer)
    torch.testing.assert_close(batched.logits, torch.cat([s.logits for s in singles]))
    torch.testing.assert_close(batched.logits, simulated.logits)
    return batched.exit_layer


@settings(deadline=None, max_examples=100)
@given(texts, st.integers(2, 4), seeds, patiences)
def test_patience_on_classes(ids: list[int], classes: int, seed: int, patience: int) -> None:
    layers = check_agreement(Network(classes, seed), ids, leaves_after(patience, DEPTH))
    assert (layers >= patience + 1).all()
    assert (layers <= DEPTH).all()


@settings(deadline=None, max_examples=100)
@given(texts, seeds, patiences, st.floats(0, 2))
def test_patience_on_values(ids: list[int], seed: int, patience: int, tolerance: float) -> None:
    layers = check_agreement(Network(1, seed), ids, leaves_within(tolerance, patience, DEPTH))
    assert (layers >= patience + 1).all()


@settings(deadline=None, max_examples=50)
@given(texts, st.integers(2, 4), seeds, st.floats(0, 1))
def test_confidence(ids: list[int], classes: int, seed: int, threshold: float) -> None:
    check_agreement(Network(classes, seed), ids, ConfidenceAbove(threshold))


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 4), seeds)
def test_more_patience_never_leaves_earlier(classes: int, seed: int) -> None:
    logits = torch.randn(50, DEPTH, classes, generator=torch.Generator().manual_seed(seed))
    layers = torch.stack([simulate(logits, leaves_after(t, DEPTH)).exit_layer for t in range(1, DEPTH)])
    assert (layers.diff(dim=0) >= 0).all()


@settings(deadline=None, max_examples=50)
@given(seeds, patiences, st.floats(0, 1), st.floats(0, 1))
def test_more_tolerance_never_leaves_later(seed: int, patience: int, one: float, other: float) -> None:
    logits = torch.randn(50, DEPTH, 1, generator=torch.Generator().manual_seed(seed))
    narrow, wide = (simulate(logits, leaves_within(tau, patience, DEPTH)) for tau in sorted((one, other)))
    assert (wide.exit_layer <= narrow.exit_layer).all()


@pytest.mark.parametrize("pooling", [FIRST_TOKEN, MEAN])
def test_padded_texts_leave_as_they_do_alone(pooling: str) -> None:
    """The real model, on texts of different lengths."""
    model = PABEE.fresh(random_encoder("tiny", seed=0), 2, seed=0, pooling=pooling).eval()
    lengths = torch.tensor([9, 4, 6, 1])
    present = (torch.arange(9) < lengths[:, None]).long()
    ids = torch.randint(5, 100, present.shape, generator=torch.Generator().manual_seed(0)) * present
    batch = Batch(ids, present, None, torch.zeros(4), torch.arange(4))
    rule = leaves_after(1, model.num_layers)
    batched = run_early_exit(model, batch, rule)
    for i, length in enumerate(lengths.tolist()):
        alone = Batch(ids[i : i + 1, :length], None, None, torch.zeros(1), torch.arange(1))
        single = run_early_exit(model, alone, rule)
        assert single.exit_layer == batched.exit_layer[i]
        torch.testing.assert_close(single.logits[0], batched.logits[i])


def test_a_loaded_model_reads_as_it_was_trained_to(tmp_path: Path) -> None:
    model = PABEE.fresh(random_encoder("tiny", seed=0), 2, seed=0, pooling=MEAN)
    model.save(tmp_path)
    assert PABEE.load(tmp_path).pooling == MEAN
