"""Teachers and students that do not fit are refused in one sentence."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.encoders.shapes import find_shape, random_encoder
from common.errors import UserError
from common.training.pretraining.checks import require_label_order, require_layers, require_same_heads


def test_attention_needs_as_many_heads() -> None:
    four, two = random_encoder("tiny"), random_encoder(replace(find_shape("tiny"), heads=2))
    require_same_heads(four, four)
    with pytest.raises(UserError, match="student has 2 attention heads and the teacher 4"):
        require_same_heads(two, four)


def test_a_map_stays_within_the_teachers_layers() -> None:
    teacher = random_encoder("tiny")
    require_layers((1, 4), teacher)
    require_layers((0, 4), teacher, first=0)
    for outside, first in (((1, 5), 1), ((0, 2), 1), ((-1,), 0)):
        with pytest.raises(
            UserError, match=rf"teacher's layer {next(x for x in outside if not first <= x <= 4)}: expected"
        ):
            require_layers(outside, teacher, first=first)


def test_a_teacher_with_the_labels_the_other_way_round_is_found_out() -> None:
    labels = torch.tensor([0, 1] * 50)
    right = 2.0 * torch.nn.functional.one_hot(labels, 2).float()
    right[:10] = right[:10].flip(-1)
    require_label_order(right, labels, ("not_entailment", "entailment"))
    with pytest.raises(UserError, match=r"right on 10% of the examples, and on 90% if one reads its class 0 as 'yes'"):
        require_label_order(right.flip(-1), labels, ("no", "yes"))


def test_a_teacher_that_learned_nothing_is_not_mistaken_for_one_with_swapped_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        labels = torch.randint(2, (300,), generator=generator)
        require_label_order(torch.randn(300, 2, generator=generator), labels, ("a", "b"))


@given(st.permutations(range(4)))
def test_any_other_order_of_four_classes_is_found_out(order: list[int]) -> None:
    labels = torch.arange(4).repeat(25)
    logits = torch.nn.functional.one_hot(labels, 4).float()[:, order]
    if order == [0, 1, 2, 3]:
        require_label_order(logits, labels, tuple("abcd"))
    else:
        with pytest.raises(UserError, match="another order"):
            require_label_order(logits, labels, tuple("abcd"))


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(UserError, match="tells 3 classes apart and the task has 2"):
        require_label_order(torch.zeros(5, 3), torch.zeros(5, dtype=torch.long), ("a", "b"))
