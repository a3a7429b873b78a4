"""The baseline of tagging against transformers' own token classifier, and what it keeps."""

from pathlib import Path

import torch
from kit.toy_tagging import tagged_split
from torch.nn import functional as F
from transformers import BertForTokenClassification

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import find_shape, random_encoder
from common.models.tagger import EncoderTagger, TagHead, tag_loss, word_logits

SPLIT = tagged_split([[1, 2, 1], [3], [1, 1, 1, 1, 2]])


def test_logits_are_those_of_transformers_on_the_same_weights() -> None:
    config = find_shape("tiny").config()
    config.num_labels = 5
    theirs = BertForTokenClassification(config).eval()
    head = TagHead(64, 5)
    head.classifier.load_state_dict(theirs.classifier.state_dict())
    ours = EncoderTagger(_layered(theirs), head).eval()
    batch = SPLIT.batch([0, 1, 2])
    with torch.inference_mode():
        expected = theirs(batch.input_ids, attention_mask=batch.attention_mask).logits
        found = ours(batch)
    for i in range(3):
        words = int(batch.is_word[i].sum())
        torch.testing.assert_close(found[i, :words], expected[i, batch.starts[i, :words]], rtol=1e-5, atol=1e-5)


def _layered(theirs: BertForTokenClassification) -> LayeredEncoder:
    encoder = random_encoder("tiny")
    encoder.model.load_state_dict(theirs.bert.state_dict(), strict=False)
    return encoder


def test_padding_does_not_count_in_the_loss() -> None:
    batch = SPLIT.batch([0, 1])
    logits = torch.randn(2, 3, 5)
    expected = F.cross_entropy(logits[batch.is_word], batch.labels[batch.is_word])
    torch.testing.assert_close(tag_loss(logits, batch.labels), expected)


def test_words_come_in_the_order_of_the_split_whatever_the_batches() -> None:
    model = EncoderTagger.fresh(random_encoder("tiny"), 5, seed=0).eval()
    together = word_logits(model, SPLIT, torch.device("cpu"))
    alone = torch.cat([word_logits(model, SPLIT, torch.device("cpu"), batch_size=1)])
    assert together.shape == (9, 5)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(together[3], model(SPLIT.batch([1]))[0, 0], rtol=1e-4, atol=1e-5)


def test_a_tagger_survives_saving(tmp_path: Path) -> None:
    model = EncoderTagger.fresh(random_encoder("tiny"), 5, seed=0).eval()
    model.save(tmp_path)
    loaded = EncoderTagger.load(tmp_path)
    assert not loaded.training
    with torch.inference_mode():
        torch.testing.assert_close(loaded(SPLIT.batch([0])), model(SPLIT.batch([0])), rtol=0, atol=0)
