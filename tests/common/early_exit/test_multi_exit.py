"""The common multi-exit model: what its heads read, what they share, and what is left of them after saving."""

from pathlib import Path

import pytest
import torch
from kit.toy_splits import split_of

from common.early_exit.multi_exit import Heads, MultiExit, adamw_with_rate, depth_weighted_loss, summed_loss
from common.encoders.pooling import FIRST_TOKEN, MEAN, POOLINGS
from common.encoders.shapes import random_encoder
from common.models.classifier import task_loss
from common.training.frozen import FrozenStates
from common.training.loop import TrainingPlan


def model(pooling: str = MEAN) -> MultiExit:
    encoder = random_encoder("tiny", seed=0).eval()
    return MultiExit(encoder, Heads.fresh(encoder, 3, 1, encoder.num_layers, pooling)).eval()


@pytest.mark.parametrize("pooling", [FIRST_TOKEN, MEAN])
def test_an_exit_reads_its_layer_by_the_pooling(pooling: str) -> None:
    exits, batch = model(pooling), split_of(7, classes=3).batch(range(7))
    hidden, mask = exits.embed(batch)
    for index in range(1, exits.num_layers + 1):
        hidden = exits.layer(index, hidden, mask)
        expected = exits.heads[index - 1](POOLINGS[pooling](hidden, mask))
        torch.testing.assert_close(exits.exit_logits(index, hidden, mask), expected)


def test_saving_keeps_encoder_heads_and_pooling(tmp_path: Path) -> None:
    exits, batch = model(), split_of(5, classes=3).batch(range(5))
    exits.save(tmp_path)
    loaded = MultiExit.load(tmp_path)
    assert loaded.heads.pooling == MEAN
    assert not loaded.training
    with torch.inference_mode():
        torch.testing.assert_close(loaded(batch), exits(batch))


def test_heads_that_share_a_part_are_not_saved_as_if_they_had_their_own(tmp_path: Path) -> None:
    heads = model().heads
    heads[1].pooler = heads[0].pooler
    with pytest.raises(RuntimeError, match="share memory"):
        heads.save(tmp_path)


def test_later_exits_weigh_more() -> None:
    logits, labels = torch.randn(6, 3, 2), torch.tensor([0, 1, 0, 1, 1, 0])
    batch = split_of(6).batch(range(6))
    batch = type(batch)(batch.input_ids, batch.attention_mask, batch.token_type_ids, labels, batch.rows)
    losses = [task_loss(logits[:, j], labels) for j in range(3)]
    expected = (losses[0] + 2 * losses[1] + 3 * losses[2]) / 6
    torch.testing.assert_close(depth_weighted_loss(lambda _: logits, batch), expected)


def test_heads_on_frozen_states_sum_their_losses() -> None:
    heads = model().heads
    states = FrozenStates(torch.randn(5, len(heads), heads[0].pooler.in_features), torch.tensor([0, 1, 2, 0, 1]))
    expected = sum(task_loss(head(states.states[:, i]), states.labels) for i, head in enumerate(heads))
    torch.testing.assert_close(summed_loss(heads, states), torch.as_tensor(expected))


def test_heads_have_a_rate_of_their_own_and_every_parameter_is_in_one_group() -> None:
    exits, plan = model(), TrainingPlan(learning_rate=1e-4, epochs=1, batch_size=2, seed=0)
    exits.heads[1].pooler = exits.heads[0].pooler
    encoder, heads = adamw_with_rate(1e-2)(exits, plan).param_groups
    assert (encoder["lr"], heads["lr"]) == (1e-4, 1e-2)
    assert {id(p) for p in heads["params"]} == {id(p) for p in exits.heads.parameters()}
    assert len(encoder["params"]) + len(heads["params"]) == len(list(exits.parameters()))
