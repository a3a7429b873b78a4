"""The exit runtime: batched = one by one = simulated, in prediction and in exit layer."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.early_exit.rules import AskedInVain, EntropyBelow, ExitRule, ExitState, ImposedLayers
from common.early_exit.runtime import Outcome, all_exits, collect_logits, early_exit_arm, run_early_exit, simulate
from common.errors import UserError
from common.training.batches import Batch


class Network:
    """A small deterministic multi-exit network in float64, so that batching cannot flip a comparison.

    Hidden states have shape (B, 1, H); layer i is an affine map and tanh, exit i a linear map. It notes how
    many rows each layer computes at a time.
    """

    def __init__(self, num_layers: int, classes: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator, dtype=torch.float64)

        self.num_layers = num_layers
        self.table = draw(100, 6)
        self.weights = [draw(6, 6) for _ in range(num_layers)]
        self.exits = [2 * draw(6, classes) for _ in range(num_layers)]
        self.parts: list[list[int]] = [[] for _ in range(num_layers)]

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return self.table[batch.input_ids[:, :1]], batch.attention_mask[:, None, None, :]

    def layer(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is not None
        assert len(mask) == len(hidden), "mask and hidden states are compacted together"
        self.parts[index - 1].append(len(hidden))
        return torch.tanh(hidden @ self.weights[index - 1])

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        return hidden[:, 0] @ self.exits[index - 1]

    @property
    def rows_computed(self) -> list[int]:
        return [sum(parts) for parts in self.parts]


def batch_of(ids: list[int]) -> Batch:
    column = torch.tensor(ids)[:, None]
    return Batch(column, torch.ones_like(column), None, torch.zeros(len(ids)), torch.arange(len(ids)))


@dataclass(frozen=True)
class AgreesWithLast:
    """A rule with memory: leave when two exits in a row agree."""

    def __call__(self, state: ExitState) -> Tensor:
        answers = state.logits.argmax(-1)
        if state.layer < 2:
            return torch.zeros(len(answers), dtype=torch.bool)
        return answers[:, -1] == answers[:, -2]


rules = st.one_of(
    st.floats(0, 1.2, allow_nan=False).map(EntropyBelow),
    st.just(AgreesWithLast()),
)


@settings(deadline=None, max_examples=150)
@given(
    ids=st.lists(st.integers(0, 99), min_size=1, max_size=12),
    depth=st.integers(1, 6),
    classes=st.integers(2, 4),
    seed=st.integers(0, 1000),
    rule=rules,
)
def test_batched_equals_one_by_one_equals_simulated(
    ids: list[int], depth: int, classes: int, seed: int, rule: ExitRule
) -> None:
    network = Network(depth, classes, seed)
    batched = run_early_exit(network, batch_of(ids), rule)
    singles = [run_early_exit(network, batch_of([i]), rule) for i in ids]
    logits = collect_logits(network, [batch_of(ids)], len(ids), torch.device("cpu"))
    simulated = simulate(logits, rule)
    for other in (
        Outcome(torch.cat([s.logits for s in singles]), torch.cat([s.exit_layer for s in singles])),
        simulated,
    ):
        assert torch.equal(batched.exit_layer, other.exit_layer)
        torch.testing.assert_close(batched.logits, other.logits)
        assert torch.equal(batched.logits.argmax(-1), other.logits.argmax(-1))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 6)), min_size=1, max_size=12), st.integers(0, 50))
def test_a_layer_is_computed_only_for_those_who_stay(plan: list[tuple[int, int]], seed: int) -> None:
    network, layers = Network(6, 2, seed), torch.tensor([layer for _, layer in plan])
    outcome = run_early_exit(network, batch_of([i for i, _ in plan]), ImposedLayers(layers))
    assert torch.equal(outcome.exit_layer, layers)
    assert network.rows_computed == [int((layers >= i).sum()) for i in range(1, 7)]


@settings(deadline=None, max_examples=100)
@given(
    ids=st.lists(st.integers(0, 99), min_size=1, max_size=12),
    at_once=st.integers(1, 14),
    seed=st.integers(0, 1000),
    rule=rules,
)
def test_a_pool_answers_as_one_batch(ids: list[int], at_once: int, seed: int, rule: ExitRule) -> None:
    whole, pooled = (run_early_exit(Network(5, 3, seed), batch_of(ids), rule, size) for size in (None, at_once))
    assert torch.equal(whole.exit_layer, pooled.exit_layer)
    torch.testing.assert_close(whole.logits, pooled.logits)


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(1, 8))
def test_a_pool_fills_its_batches(plan: list[int], at_once: int) -> None:
    """Every layer is computed in as few parts as those who are left allow, none larger than asked for."""
    network, layers = Network(6, 2, 0), torch.tensor(plan)
    run_early_exit(network, batch_of(list(range(len(plan)))), ImposedLayers(layers), at_once)
    for index in range(1, 7):
        left = int((layers >= index).sum())
        assert sum(network.parts[index - 1]) == left
        assert len(network.parts[index - 1]) == -(-left // at_once)
        assert max(network.parts[index - 1], default=0) <= at_once


@pytest.mark.parametrize("at_once", [0, -3])
def test_a_batch_size_below_one_is_refused(at_once: int) -> None:
    with pytest.raises(UserError, match="batch size of"):
        run_early_exit(Network(3, 2, 0), batch_of([1, 2]), EntropyBelow(0.1), at_once)


def test_simulation_equals_a_brute_force_reference() -> None:
    logits = torch.randn(200, 5, 3, generator=torch.Generator().manual_seed(0))
    threshold = 0.6
    outcome = simulate(logits, EntropyBelow(threshold))
    for row in range(200):
        for layer in range(1, 6):
            p = [math.exp(z) for z in logits[row, layer - 1].tolist()]
            p = [x / sum(p) for x in p]
            if layer == 5 or -sum(x * math.log(x) for x in p) < threshold:
                assert outcome.exit_layer[row] == layer
                assert torch.equal(outcome.logits[row], logits[row, layer - 1])
                break


def test_collected_logits_are_in_the_order_of_the_split() -> None:
    network = Network(3, 2, 0)
    whole = collect_logits(network, [batch_of([4, 7, 9])], 3, torch.device("cpu"))
    shuffled = [
        Batch(torch.tensor([[9]]), torch.ones(1, 1), None, torch.zeros(1), torch.tensor([2])),
        Batch(torch.tensor([[7], [4]]), torch.ones(2, 1), None, torch.zeros(2), torch.tensor([1, 0])),
    ]
    torch.testing.assert_close(collect_logits(network, shuffled, 3, torch.device("cpu")), whole)


def test_layer_saving_is_one_minus_the_cost_ratio() -> None:
    """The official code prints the cost ratio under the name of saving; equation 2 is 1 minus that."""
    outcome = Outcome(torch.zeros(4, 2), torch.tensor([1, 1, 2, 4]))
    assert outcome.layer_saving(4) == pytest.approx(1 - (1 + 1 + 2 + 4) / 16)
    assert outcome.histogram(4).tolist() == [0.5, 0.25, 0.0, 0.25]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(UserError, match="the batch is empty"):
        run_early_exit(Network(3, 2, 0), batch_of([]), EntropyBelow(0.1))
    with pytest.raises(UserError, match="the batch is empty"):
        simulate(torch.zeros(0, 3, 2), EntropyBelow(0.1))


def test_a_batch_of_one_leaves_alone() -> None:
    outcome = run_early_exit(Network(3, 2, 0), batch_of([7]), ImposedLayers(torch.tensor([2])))
    assert outcome.exit_layer.tolist() == [2]
    assert outcome.logits.shape == (1, 2)


def test_asking_in_vain_runs_everything_and_asks_at_every_layer_but_the_last() -> None:
    asked: list[int] = []

    class Noting:
        def __call__(self, state: ExitState) -> torch.Tensor:
            asked.append(state.layer)
            return torch.ones(len(state.rows), dtype=torch.bool)

    network, batch = Network(4, 2, 0), batch_of([1, 2])
    outcome = run_early_exit(network, batch, AskedInVain(Noting()))
    assert outcome.exit_layer.tolist() == [4, 4]
    assert asked == [1, 2, 3]
    torch.testing.assert_close(outcome.logits, all_exits(network, batch)[:, -1])


def test_all_exits_are_those_that_are_collected() -> None:
    network, ids = Network(4, 3, 0), [4, 7, 9]
    collected = collect_logits(network, [batch_of(ids)], 3, torch.device("cpu"))
    torch.testing.assert_close(all_exits(network, batch_of(ids)), collected)
    assert collected.shape == (3, 4, 3)


def test_an_arm_returns_the_logits_of_its_batch() -> None:
    network, rule = Network(4, 3, 0), EntropyBelow(0.8)
    arm = early_exit_arm(network, rule)
    torch.testing.assert_close(arm(batch_of([3, 5])), run_early_exit(network, batch_of([3, 5]), rule).logits)
