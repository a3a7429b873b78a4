"""DistilBERT's losses, and the traps in which paper, code and habit differ."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_text import words
from torch import Tensor, nn
from torch.nn import functional as F

from common.training.pretraining.batches import MaskedBatch
from common.training.pretraining.language_model import MaskedLanguageModel
from common.training.segments import Segment, TwoSegmentBatch
from replications.distilbert.method import (
    TEMPERATURE,
    SecondDistillation,
    TripleLoss,
    Weights,
    cosine_loss,
    soft_target_loss,
)

# -- The losses -------------------------------------------------------------------------------------------------------


def by_hand(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """T^2 / N sum_n sum_i p_i (log p_i - log q_i)."""
    p, q = (torch.softmax(x.double() / temperature, dim=-1) for x in (teacher, student))
    return (temperature**2 * (p * (p.log() - q.log())).sum() / len(p)).item()


@settings(deadline=None)
@given(temperature=st.sampled_from([1.0, 2.0, 5.0]), seed=st.integers(0, 100))
def test_soft_targets_are_the_mean_over_positions_times_the_temperature_squared(temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = torch.randn(7, 30, generator=generator), 3 * torch.randn(7, 30, generator=generator)
    found = soft_target_loss(ours, theirs, temperature).item()
    assert found == pytest.approx(by_hand(ours, theirs, temperature), rel=1e-4)
    assert found >= 0
    assert soft_target_loss(theirs, theirs, temperature).item() == pytest.approx(0.0, abs=1e-5)


def test_the_gradient_does_not_shrink_with_the_temperature() -> None:
    """What T^2 is for: at a high temperature the gradient stays of the order of (s - t) / V."""
    theirs = torch.randn(5, 20, generator=torch.Generator().manual_seed(0))
    sizes = []
    for temperature in (20.0, 40.0):
        ours = torch.zeros(5, 20, requires_grad=True)
        soft_target_loss(ours, theirs, temperature).backward()
        assert ours.grad is not None
        sizes.append(ours.grad.norm().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_cosine_compares_directions_alone() -> None:
    states = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    assert cosine_loss(3 * states, states).item() == pytest.approx(0.0, abs=1e-6)
    assert cosine_loss(-states, states).item() == pytest.approx(2.0)


def expected_parts(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> tuple[float, float, float]:
    """The card's equations, position by position."""
    with torch.no_grad():
        h, t = student.states(batch), teacher.states(batch)
        present = batch.present
        s_logits, t_logits = (m.head(x[present], m.table) for m, x in ((student, h), (teacher, t)))
        ce = by_hand(s_logits, t_logits, 2.0)
        mlm = F.cross_entropy(student(batch), batch.targets).item()
        cosines = [1 - F.cosine_similarity(a, b, dim=0).item() for a, b in zip(h[present], t[present], strict=True)]
    return ce, mlm, sum(cosines) / len(cosines)


def test_the_three_losses_are_over_all_tokens_over_masked_ones_and_over_last_states(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    found = TripleLoss(teacher).parts(student, batch)
    assert [weight for weight, _ in found] == [5.0, 2.0, 1.0]
    assert TEMPERATURE == 2.0
    assert [value.item() for _, value in found] == pytest.approx(expected_parts(student, teacher, batch), rel=1e-3)
    ce, mlm, cos = expected_parts(student, teacher, batch)
    assert TripleLoss(teacher)(student, batch).item() == pytest.approx(5 * ce + 2 * mlm + cos, rel=1e-3)


def test_padding_teaches_nothing(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    ids = batch.input_ids.clone()
    ids[~batch.present] = 2999
    other = replace(batch, input_ids=ids)
    with torch.no_grad():
        ours, theirs = (TripleLoss(teacher)(student, b) for b in (batch, other))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("left_out", ["ce", "mlm", "cos"])
def test_a_loss_of_weight_zero_is_not_computed(
    left_out: str, student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    weights = Weights(**{left_out: 0.0})
    found = TripleLoss(teacher, weights).parts(student, batch)
    kept = [w for name, w in (("ce", 5.0), ("mlm", 2.0), ("cos", 1.0)) if name != left_out]
    assert [weight for weight, _ in found] == kept


def test_the_teacher_is_asked_without_dropout_and_without_gradient(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    student.train()
    TripleLoss(teacher)(student, batch).backward()
    assert not teacher.training and not any(m.training for m in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())
    with torch.no_grad():
        first, second = teacher.states(batch), teacher.states(batch)
        ours = [student.states(batch) for _ in range(2)]
    assert torch.equal(first, second) and not torch.equal(ours[0], ours[1])


def test_a_random_part_of_the_positions_has_the_same_mean(
    student: MaskedLanguageModel, teacher: MaskedLanguageModel, batch: MaskedBatch
) -> None:
    torch.manual_seed(0)
    only_ce = Weights(mlm=0, cos=0)
    with torch.no_grad():
        whole = TripleLoss(teacher, only_ce)(student, batch).item()
        parts = [TripleLoss(teacher, only_ce, share=0.25)(student, batch).item() for _ in range(60)]
    assert len(set(parts)) > 50
    assert sum(parts) / len(parts) == pytest.approx(whole, rel=0.05)


def test_both_read_the_same_masked_text(teacher: MaskedLanguageModel, batch: MaskedBatch) -> None:
    read: list[Tensor] = []

    class Spy(MaskedLanguageModel):
        def states(self, batch: MaskedBatch) -> Tensor:
            read.append(batch.input_ids)
            return super().states(batch)

    spied = Spy(teacher.encoder, teacher.head)
    TripleLoss(spied)(Spy(teacher.encoder, teacher.head), batch)
    assert len(read) == 2 and torch.equal(read[0], read[1])
    assert (read[0] == words().mask).any()


# -- The second distillation ------------------------------------------------------------------------------------------


def test_a_second_distillation_is_half_soft_targets_over_positions_and_half_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = two_segments()
    ours, theirs = (torch.randn(3, 9, 2, generator=generator) for _ in range(2))
    found = SecondDistillation(Fixed(theirs))(Fixed(ours), pairs).item()
    expected = 0.0
    for side in (0, 1):
        for row, present in enumerate(pairs.attention_mask.bool()):
            expected += 0.25 * by_hand(ours[row, present, side][None], theirs[row, present, side][None], 2.0) / 3
        expected += 0.25 * F.cross_entropy(ours[..., side], pairs.labels[:, side]).item()
    assert found == pytest.approx(expected, rel=1e-4)


class Fixed(nn.Module):
    """Always the same logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, batch: TwoSegmentBatch) -> Tensor:
        return self.logits


def two_segments() -> TwoSegmentBatch:
    mask = torch.ones(3, 5, dtype=torch.long)
    mask[1, 3:] = 0
    ids = torch.full((3, 5), 2003)
    first, second = Segment(ids[:, :4], torch.ones(3, 4, dtype=torch.long), 0), Segment(ids, mask, 1)
    return TwoSegmentBatch(first, second, torch.tensor([[4, 5], [5, 6], [6, 7]]), torch.arange(3))
