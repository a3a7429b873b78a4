"""Logits of a whole split, against the model asked about one example at a time; the head's dropout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AlbertConfig, AutoModelForSequenceClassification, BertConfig, PreTrainedConfig, RobertaConfig

from common.models.classifier import classifier_logits, head_dropout
from common.training.batches import Batch, EncodedSplit

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


@pytest.mark.parametrize(
    ("config", "rate"),
    [
        (BertConfig(hidden_dropout_prob=0.2), 0.2),
        (BertConfig(hidden_dropout_prob=0.2, classifier_dropout=0.3), 0.3),
        (RobertaConfig(hidden_dropout_prob=0.2), 0.2),
        (AlbertConfig(hidden_dropout_prob=0.0, classifier_dropout_prob=0.1), 0.1),
    ],
)
def test_the_head_drops_out_as_in_transformers(config: PreTrainedConfig, rate: float) -> None:
    assert head_dropout(config) == rate
    small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    theirs = AutoModelForSequenceClassification.from_config(type(config)(**{**config.to_diff_dict(), **small}))
    dropouts = [m.p for name, m in theirs.named_modules() if name in ("dropout", "classifier.dropout")]
    assert dropouts == [rate]
