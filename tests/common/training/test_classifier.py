"""Logits of a whole split, against the model asked about one example at a time."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from common.training.batches import Batch, EncodedSplit
from common.training.classifier import classifier_logits

CPU = torch.device("cpu")


class MeanEmbedding(nn.Module):
    """Classifies the mean of a text's own tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 3)

    def forward(self, batch: Batch) -> Tensor:
        mask = batch.attention_mask[..., None]
        logits: Tensor = (self.table(batch.input_ids) * mask).sum(1) / mask.sum(1)
        return logits


def split_of(lengths: list[int]) -> EncodedSplit:
    ids = tuple(tuple((7 * i + k) % 19 + 1 for k in range(length)) for i, length in enumerate(lengths))
    return EncodedSplit(ids, None, torch.zeros(len(ids), dtype=torch.long), 0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=150))
def test_logits_are_in_the_order_of_the_split(lengths: list[int]) -> None:
    model, split = MeanEmbedding(), split_of(lengths)
    found = classifier_logits(model, split, CPU)
    with torch.inference_mode():
        wanted = torch.stack([model.table(torch.tensor(ids)).mean(0) for ids in split.input_ids])
    torch.testing.assert_close(found, wanted)
    assert not found.requires_grad


def test_progress_is_told_after_every_batch_up_to_all() -> None:
    told: list[int] = []
    classifier_logits(MeanEmbedding(), split_of([3] * 150), CPU, told.append)
    assert told == [64, 128, 150]


def test_the_model_is_asked_on_its_device_and_answers_come_home() -> None:
    asked: list[torch.device] = []

    def model(batch: Batch) -> Tensor:
        asked.append(batch.input_ids.device)
        return torch.zeros(len(batch.rows), 2)

    elsewhere = torch.device("meta")
    found = classifier_logits(model, split_of([2, 5, 3]), elsewhere)
    assert asked == [elsewhere]
    assert found.device == CPU
    assert found.shape == (3, 2)
