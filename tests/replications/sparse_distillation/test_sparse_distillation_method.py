"""The student, its loss and its optimiser against the formulas, written out text by text and row by row.

Two differences between the paper and its code cannot be tested here, since nothing in this folder corresponds to them:
the second validation split made of the training set, and the paths that the official README gives.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_run import quiet
from torch import Tensor, nn
from torch.nn import functional as F

from common.training.loop import TrainingPlan, fit
from replications.sparse_distillation.engine.bags import Bag, BagBatch
from replications.sparse_distillation.method import (
    DAN,
    AttentivePooling,
    HybridAdam,
    MaxPooling,
    MeanPooling,
    SumPooling,
    distillation_loss,
)

V, D, C = 11, 4, 3

Texts = list[list[int]]


def bag(texts: Texts) -> Bag:
    offsets = torch.tensor([0, *torch.tensor([len(t) for t in texts]).cumsum(0)[:-1].tolist()])
    return Bag(torch.tensor([i for t in texts for i in t], dtype=torch.long), offsets)


def batch(first: Texts, second: Texts | None = None) -> BagBatch:
    rows = torch.arange(len(first))
    return BagBatch(bag(first), None if second is None else bag(second), torch.zeros(len(first)), rows)


def pooling(name: str) -> nn.Module:
    if name != "attentive":
        return {"mean": MeanPooling, "sum": SumPooling, "max": MaxPooling}[name]()
    attentive = AttentivePooling(D).double()
    for parameter in attentive.parameters():
        nn.init.normal_(parameter)  # as it starts, v is 0 and attention is uniform
    return attentive


def pooled_by_hand(module: nn.Module, table: Tensor, ids: list[int]) -> Tensor:
    """The formula for one text."""
    rows = table[ids]
    if not ids:
        return torch.zeros(table.shape[1], dtype=table.dtype)
    if isinstance(module, MeanPooling):
        return rows.sum(0) / len(ids)
    if isinstance(module, SumPooling):
        return rows.sum(0)
    if isinstance(module, MaxPooling):
        return rows.amax(0)
    assert isinstance(module, AttentivePooling)
    h = rows.sum(0) / len(ids)
    u = torch.stack(
        [
            module.value.weight[0] @ torch.tanh(module.of_ngram.weight @ e + module.of_mean.weight @ h)
            + module.value.bias[0]
            for e in rows
        ]
    )
    return (torch.softmax(u, 0)[:, None] * rows).sum(0)


def logits_by_hand(model: DAN, first: Texts, second: Texts | None) -> Tensor:
    """z = W_2 ReLU(W_1 h + b_1) + b_2, one example at a time."""
    found = []
    for i, ids in enumerate(first):
        h = pooled_by_hand(model.pooling, model.table, ids)
        if second is not None:
            h2 = pooled_by_hand(model.pooling, model.table, second[i])
            h = torch.cat([h, h2, h * h2, (h - h2).abs()])
        w1, w2 = model.layers
        found.append(w2.weight @ (w1.weight @ h + w1.bias).clamp(min=0) + w2.bias)
    return torch.stack(found)


def ragged() -> st.SearchStrategy[list[tuple[list[int], list[int]]]]:
    text = st.lists(st.integers(0, V - 1), max_size=9)
    return st.lists(st.tuples(text, text), min_size=1, max_size=5)


POOLINGS = ["mean", "sum", "max", "attentive"]


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=25, deadline=None)
@given(texts=ragged())
def test_logits_and_gradients_are_those_of_the_formula(
    name: str, pair: bool, texts: list[tuple[list[int], list[int]]]
) -> None:
    torch.manual_seed(0)
    model = DAN(V, D, C, pair=pair, pooling=pooling(name)).double().eval()
    first, second = [a for a, _ in texts], [b for _, b in texts] if pair else None
    ours, by_hand = model(batch(first, second)), logits_by_hand(model, first, second)
    torch.testing.assert_close(ours, by_hand)
    weight = torch.randn(ours.shape, dtype=torch.double)
    wanted = torch.autograd.grad((by_hand * weight).sum(), list(model.parameters()), allow_unused=True)
    (ours * weight).sum().backward()
    assert model.table.grad is not None
    assert model.table.grad.is_sparse
    for (key, parameter), gradient in zip(model.named_parameters(), wanted, strict=True):
        found = parameter.grad.to_dense() if parameter.grad is not None else torch.zeros_like(parameter)
        # Where every text is empty the loop never looks into the table: its gradient is then 0.
        torch.testing.assert_close(found, torch.zeros_like(parameter) if gradient is None else gradient, msg=key)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_text_without_ngrams_gives_exactly_0_and_alters_no_neighbour(name: str) -> None:
    torch.manual_seed(0)
    model = DAN(V, D, C, pooling=pooling(name).float()).eval()
    for texts in ([[], [1, 2], [], [3], []], [[]], [[], []]):
        found = model.features(batch(texts))
        assert torch.equal(found[[i for i, t in enumerate(texts) if not t]], torch.zeros(texts.count([]), D))
        for i, text in enumerate(texts):
            torch.testing.assert_close(found[i], model.features(batch([text]))[0])


def test_repeated_ngrams_weigh_as_often_as_they_occur() -> None:
    model = DAN(V, D, C)
    found = model.features(batch([[1, 1, 1, 2]]))[0]
    torch.testing.assert_close(found, 0.75 * model.table[1] + 0.25 * model.table[2])


def test_attention_starts_as_the_mean_with_the_official_initial_values() -> None:
    torch.manual_seed(0)
    attentive = AttentivePooling(64)
    assert attentive.of_ngram.bias is None
    assert attentive.of_mean.bias is None
    assert attentive.value.bias is not None
    assert not attentive.value.weight.any()
    for layer in (attentive.of_ngram, attentive.of_mean):
        assert 0.0009 < layer.weight.std() < 0.0011
    table, texts = torch.randn(V, 64), bag([[1, 2, 5], [], [7]])
    torch.testing.assert_close(attentive(table, texts), MeanPooling()(table, texts))


def test_attention_survives_large_scores() -> None:
    attentive = AttentivePooling(1)
    with torch.no_grad():
        attentive.of_ngram.weight.fill_(1.0)
        attentive.value.weight.fill_(500.0)
    found = attentive(torch.tensor([[5.0], [-5.0]]), bag([[0, 1], [1]]))
    torch.testing.assert_close(found, torch.tensor([[5.0], [-5.0]]))


def test_the_activation_is_relu_unless_tanh_is_asked_for() -> None:
    for more, activation in (({}, torch.relu), ({"activation": torch.tanh}, torch.tanh)):
        torch.manual_seed(0)
        model = DAN(V, D, C, **more).eval()  # type: ignore[arg-type]
        example = batch([[1, 2], [3]])
        first, last = model.layers
        torch.testing.assert_close(model(example), last(activation(first(model.features(example)))))


@pytest.mark.parametrize("pair", [False, True])
def test_there_is_one_hidden_layer_of_width_d_e(pair: bool) -> None:
    model = DAN(V, D, C, pair=pair)
    inputs = 4 * D if pair else D
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(D, inputs), (C, D)]
    assert sum(p.numel() for p in model.parameters()) == V * D + inputs * D + D + C * D + C


def test_deeper_heads_chain_the_given_widths() -> None:
    model = DAN(V, D, C, hidden=(D, 3, 2)).eval()
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(D, D), (3, D), (2, 3), (C, 2)]
    example = batch([[1, 2]])
    z = model.features(example)
    for layer in model.layers[:-1]:
        z = torch.relu(layer(z))
    torch.testing.assert_close(model(example), model.layers[-1](z))


def test_dropout_is_for_training_and_before_every_layer() -> None:
    model = DAN(V, D, C, dropout=1.0).train()
    assert torch.equal(model(batch([[1]]))[0], model.layers[-1].bias)
    with torch.no_grad():
        model.layers[-1].weight.copy_(torch.ones(C, D))
        model.layers[0].bias.fill_(2.0)
    dropped = []
    model._drop = lambda x: dropped.append(x) or x  # type: ignore[method-assign,func-returns-value]
    model(batch([[1]]))
    assert [tuple(x.shape) for x in dropped] == [(1, D), (1, D)]
    model = DAN(V, D, C, dropout=1.0).eval()
    torch.testing.assert_close(model(batch([[1], [2, 3]])), logits_by_hand(model, [[1], [2, 3]], None))


def test_the_table_is_drawn_with_the_deviation_asked_for() -> None:
    torch.manual_seed(0)
    assert DAN(2000, 50, 2).table.std().item() == pytest.approx(1.0, rel=0.02)
    assert DAN(2000, 50, 2, deviation=0.1).table.std().item() == pytest.approx(0.1, rel=0.02)


# -- The loss ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_kl_from_teacher_to_student_averaged_over_examples() -> None:
    student, teacher = (
        torch.tensor([[0.3, -1.0, 2.0], [1.0, 1.0, -3.0]]),
        torch.tensor([[2.0, 0.0, 0.0], [0.0, 4.0, 1]]),
    )
    by_hand = 0.0
    for z, t in zip(student.tolist(), teacher.tolist(), strict=True):
        of_student = torch.tensor(z).exp() / torch.tensor(z).exp().sum()
        of_teacher = torch.tensor(t).exp() / torch.tensor(t).exp().sum()
        by_hand += sum(float(p * (p / q).log()) for p, q in zip(of_teacher, of_student, strict=True)) / 2
    found = distillation_loss(student, teacher)
    assert found.item() == pytest.approx(by_hand, rel=1e-5)
    # The other direction, another temperature and a sum over examples are other numbers.
    assert found.item() != pytest.approx(distillation_loss(teacher, student).item(), rel=0.01)
    assert found.item() != pytest.approx(4 * distillation_loss(student / 2, teacher / 2).item(), rel=0.01)
    twice = distillation_loss(torch.cat([student] * 2), torch.cat([teacher] * 2))
    assert twice.item() == pytest.approx(found.item(), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=2, max_size=2), st.floats(-9, 9))
def test_the_loss_is_0_at_the_teacher_and_never_below(rows: list[list[float]], shift: float) -> None:
    student, teacher = torch.tensor(rows, dtype=torch.double).unsqueeze(1)
    assert distillation_loss(teacher + shift, teacher).item() == pytest.approx(0.0, abs=1e-9)
    assert distillation_loss(student, teacher).item() >= -1e-9


def test_the_gradient_of_the_loss_is_the_difference_of_probabilities() -> None:
    student, teacher = torch.randn(4, C, requires_grad=True), torch.randn(4, C)
    distillation_loss(student, teacher).backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, (student.softmax(-1) - teacher.softmax(-1)).detach() / 4)


# -- The optimiser ----------------------------------------------------------------------------------------------------

PLAN = TrainingPlan(
    learning_rate=0.05, epochs=3, batch_size=2, seed=1, weight_decay=0.1, warmup=0.25, max_gradient_norm=None
)


def trained(steps: list[Texts], plan: TrainingPlan = PLAN) -> tuple[DAN, HybridAdam]:
    torch.manual_seed(0)
    model = DAN(V, D, C, dropout=0.0).double()
    optimizer = HybridAdam.for_dan(model, plan)
    for texts in steps:
        optimizer.zero_grad()
        F.cross_entropy(model(batch(texts)), torch.arange(len(texts)) % C).backward()
        optimizer.step()
    return model, optimizer


def dense_twin(steps: list[Texts], decay_of_table: float) -> DAN:
    """The same training with dense gradients and PyTorch's own AdamW."""
    torch.manual_seed(0)
    model = DAN(V, D, C, dropout=0.0).double()
    dense = [p for name, p in model.named_parameters() if name != "table"]
    groups = [{"params": dense, "weight_decay": PLAN.weight_decay}]
    groups.append({"params": [model.table], "weight_decay": decay_of_table})
    optimizer = torch.optim.AdamW(groups, lr=PLAN.learning_rate, eps=SHARP.adam_epsilon)
    for texts in steps:
        optimizer.zero_grad()
        F.cross_entropy(logits_by_hand(model, texts, None), torch.arange(len(texts)) % C).backward()
        optimizer.step()
    return model


SHARP = replace(PLAN, adam_epsilon=1e-14)
"""SparseAdam adds epsilon before the bias is corrected, Adam after it: without it they are the same."""

EVERY_ROW = [list(range(0, V, 2)), list(range(1, V, 2)), [0, V - 1]]


def test_with_every_row_in_every_batch_it_is_adam_without_decay_of_the_table() -> None:
    model, _ = trained([EVERY_ROW] * 5, SHARP)
    for ours, theirs in zip(model.parameters(), dense_twin([EVERY_ROW] * 5, 0.0).parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    decayed = dense_twin([EVERY_ROW] * 5, PLAN.weight_decay)
    assert (decayed.table - model.table).abs().max() > 1e-3


def test_decay_is_of_the_dense_parameters_alone() -> None:
    one_step = [EVERY_ROW]
    with_decay, _ = trained(one_step)
    without, _ = trained(one_step, replace(PLAN, weight_decay=0.0))
    assert torch.equal(with_decay.table, without.table)
    for ours, theirs in zip(with_decay.layers.parameters(), without.layers.parameters(), strict=True):
        assert not torch.equal(ours, theirs)


def test_rows_that_no_batch_touched_keep_weights_and_moments() -> None:
    model, optimizer = trained([[[1, 2], [3]], [[2, 5], [5]]])
    torch.manual_seed(0)
    start = DAN(V, D, C).double().table
    touched = [1, 2, 3, 5]
    rest = [i for i in range(V) if i not in touched]
    assert torch.equal(model.table[rest], start[rest])
    assert (model.table[touched] != start[touched]).any(dim=1).all()
    moments = optimizer.state_dict()["state"][len(list(model.layers.parameters()))]
    for name in ("exp_avg", "exp_avg_sq"):
        assert not moments[name][rest].any()
        assert moments[name][touched].any(dim=1).all()


def test_moments_stand_still_while_a_row_is_not_touched() -> None:
    """The lazy rule by hand: only the step count of the bias correction goes on."""
    gradients = {0: torch.tensor([0.5, -1.0]), 2: torch.tensor([0.25, 3.0])}
    table = nn.Parameter(torch.zeros(2, 2))
    optimizer = HybridAdam(table, [nn.Parameter(torch.zeros(1))], PLAN)
    mean, square, row = torch.zeros(2), torch.zeros(2), torch.zeros(2)
    for step in range(3):
        there = step in gradients
        index = 0 if there else 1  # in the second step another row is touched
        value = gradients.get(step, torch.ones(2))
        table.grad = torch.sparse_coo_tensor(torch.tensor([[index]]), value[None], (2, 2), check_invariants=True)
        optimizer.step()
        if there:
            mean, square = 0.9 * mean + 0.1 * value, 0.999 * square + 0.001 * value**2
            corrected = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
            row = row - PLAN.learning_rate * corrected[0] / (corrected[1].sqrt() + PLAN.adam_epsilon)
        torch.testing.assert_close(table[0].detach(), row, rtol=1e-4, atol=1e-6)


def test_epsilon_reaches_both_parts() -> None:
    usual, _ = trained([EVERY_ROW])
    damped, _ = trained([EVERY_ROW], replace(PLAN, adam_epsilon=10.0, weight_decay=0.0))
    torch.manual_seed(0)
    start = DAN(V, D, C).double()
    for a, b, c in zip(usual.parameters(), damped.parameters(), start.parameters(), strict=True):
        assert (b - c).abs().max() < 0.1 * (a - c).abs().max()


class Source:
    def __len__(self) -> int:
        return 4

    def epoch(self, number: int) -> Iterator[BagBatch]:
        generator = torch.Generator().manual_seed(number)
        for _ in range(4):
            ids = torch.randint(0, V - 2, (6,), generator=generator)
            yield BagBatch(Bag(ids, torch.tensor([0, 2, 2])), None, torch.tensor([0, 1, 2]), torch.arange(3))


def loss(model: DAN, example: BagBatch) -> Tensor:
    return F.cross_entropy(model(example), example.targets)


def student(name: str) -> DAN:
    torch.manual_seed(0)
    return DAN(V, D, C, pooling=pooling(name).float(), dropout=0.2)


@pytest.mark.parametrize("name", ["mean", "attentive"])
@pytest.mark.parametrize("stop_at", [1, 6, 11])
def test_a_training_that_was_cut_resumes_to_the_same_bits(tmp_path: Path, stop_at: int, name: str) -> None:
    whole = student(name)
    fit(whole, Source(), loss, PLAN, checkpoint=tmp_path / "w", progress=quiet, make_optimizer=HybridAdam.for_dan)

    def kill(done: int, total: int) -> None:
        # The checkpoint of step n is written after the progress of step n was told.
        if done == stop_at + 1:
            raise RuntimeError("killed")

    cut = tmp_path / "cut"
    with pytest.raises(RuntimeError, match="killed"):
        fit(
            student(name),
            Source(),
            loss,
            PLAN,
            checkpoint=cut,
            progress=kill,
            make_optimizer=HybridAdam.for_dan,
            checkpoint_every_s=0.0,
        )
    resumed = student(name)
    report = fit(resumed, Source(), loss, PLAN, checkpoint=cut, progress=quiet, make_optimizer=HybridAdam.for_dan)
    assert report.steps == 12 - stop_at
    for (key, a), b in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), key
    assert not torch.equal(whole.table, student(name).table)


def test_the_schedule_drives_both_parts(tmp_path: Path) -> None:
    """The first step of the warm-up has rate 0: nothing may move, decay included."""
    model, start = student("mean"), student("mean")

    def stop(done: int, total: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(model, Source(), loss, PLAN, checkpoint=tmp_path / "c", progress=stop, make_optimizer=HybridAdam.for_dan)
    for a, b in zip(model.parameters(), start.parameters(), strict=True):
        assert torch.equal(a, b)
