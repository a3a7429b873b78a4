"""Invariants of a cascade of any models: batched = one by one = simulated, in answers and in who is passed on."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.early_exit.runtime import collect_logits, run_early_exit, simulate
from common.models.classifier import EncoderClassifier
from common.training.batches import Batch
from replications.cascadebert.method import Cascade, closed_form, executed_layers, settles_above

DEPTHS = (2, 4, 12)


class Reader(torch.nn.Module):
    """A stand-in for an encoder, in float64: what it says depends on a text's own tokens and on nothing else."""

    def __init__(self, layers: int, seed: int) -> None:
        super().__init__()
        self.num_layers = layers
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(100, 4, generator=generator, dtype=torch.float64)

    def encode(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> tuple[Tensor, None]:
        words = self.table[ids] * mask[..., None]
        return words.sum(1, keepdim=True), None


class Head(torch.nn.Module):
    """A linear map without parameters to train."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        self.classifier = torch.nn.Linear(4, classes).double()
        generator = torch.Generator().manual_seed(seed)
        self.classifier.weight.data = torch.randn(classes, 4, generator=generator, dtype=torch.float64)

    def forward(self, first: Tensor) -> Tensor:
        logits: Tensor = self.classifier(first)
        return logits


def cascade_of(models: int, classes: int, seed: int) -> Cascade:
    parts = [(Reader(DEPTHS[i], seed + i), Head(classes, seed + 10 + i)) for i in range(models)]
    return Cascade([EncoderClassifier(reader, head) for reader, head in parts])  # type: ignore[arg-type]


def batch_of(texts: list[list[int]]) -> Batch:
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return Batch(ids, mask, None, torch.zeros(len(texts)), torch.arange(len(texts)))


many_texts = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=6), min_size=1, max_size=12)


@settings(deadline=None, max_examples=100)
@given(many_texts, st.integers(2, 3), st.integers(2, 4), st.integers(0, 1000), st.floats(0, 1))
def test_batches_answer_as_single_texts_and_as_the_simulation(
    texts: list[list[int]], models: int, classes: int, seed: int, threshold: float
) -> None:
    cascade, rule = cascade_of(models, classes, seed), settles_above(threshold)
    batched = run_early_exit(cascade, batch_of(texts), rule)
    singles = [run_early_exit(cascade, batch_of([text]), rule) for text in texts]
    logits = collect_logits(cascade, [batch_of(texts)], len(texts), torch.device("cpu"))
    simulated = simulate(logits, rule)
    assert torch.equal(batched.exit_layer, torch.cat([s.exit_layer for s in singles]))
    assert torch.equal(batched.exit_layer, simulated.exit_layer)
    torch.testing.assert_close(batched.logits, torch.cat([s.logits for s in singles]))
    torch.testing.assert_close(batched.logits, simulated.logits)


@settings(deadline=None, max_examples=50)
@given(many_texts, st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_passes_on_no_fewer(texts: list[list[int]], seed: int, one: float, other: float) -> None:
    cascade = cascade_of(2, 2, seed)
    low, high = (run_early_exit(cascade, batch_of(texts), settles_above(t)).exit_layer for t in sorted((one, other)))
    assert (high >= low).all()


@settings(deadline=None, max_examples=50)
@given(many_texts, st.integers(0, 1000), st.floats(0, 1))
def test_layers_follow_the_closed_form(texts: list[list[int]], seed: int, threshold: float) -> None:
    outcome = run_early_exit(cascade_of(2, 2, seed), batch_of(texts), settles_above(threshold))
    executed = executed_layers(outcome.exit_layer, (2, 12)).double().mean().item()
    passed = (outcome.exit_layer == 2).double().mean().item()
    assert abs(12 / executed - closed_form(passed, 2, 12)) < 1e-9
