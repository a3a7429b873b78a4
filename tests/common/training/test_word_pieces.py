"""Words to pieces: each word by its first piece, none lost, the same pieces as the tokenizer gives of the sentence."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kit.toy_tagging import tagged_split

from common.encoders.sources import load_encoder
from common.errors import UserError
from common.tasks.builtin.tagging import builtin_tagging
from common.tasks.tagging import Sentence
from common.training.batches import BucketedBatches
from common.training.word_pieces import NO_TAG, NO_WORD, encode_tagged, positions_of


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_encoder("random:tiny").tokenizer


def test_pieces_are_those_of_the_whole_sentence(tokenizer: Any) -> None:
    sentences = [s for name in ("entities", "badges") for s in builtin_tagging(name, train_size=50, dev_size=10).train]
    sentences.append(Sentence(("Unbelievably", "co-operative", "..."), (0, 1, 2)))
    split = encode_tagged(tokenizer, sentences, 512)
    for row, sentence in enumerate(sentences):
        whole = tokenizer(list(sentence.words), is_split_into_words=True)
        assert list(split.input_ids[row]) == whole["input_ids"]
        firsts = [whole.word_ids().index(word) for word in range(len(sentence.words))]
        assert list(split.starts[row]) == firsts


def test_a_batch_says_which_word_a_piece_belongs_to() -> None:
    batch = tagged_split([[1, 3, 2], [2]]).batch([0, 1])
    assert batch.word_of.tolist() == [[-1, 0, 1, 1, 1, 2, 2, -1], [-1, 0, 0, -1, -1, -1, -1, -1]]
    assert batch.starts.tolist() == [[1, 2, 5], [1, 0, 0]]
    assert batch.attention_mask.sum(1).tolist() == [8, 4]
    assert batch.is_word.tolist() == [[True, True, True], [True, False, False]]
    assert (batch.labels[~batch.is_word] == NO_TAG).all()
    assert NO_WORD == -1


def test_labels_stand_at_first_pieces_alone(tokenizer: Any) -> None:
    split = encode_tagged(tokenizer, [Sentence(("unbelievably", "so"), (3, 1))], 512)
    batch = split.batch([0])
    assert len(split.input_ids[0]) > 4, "the word must have several pieces"
    assert batch.labels.tolist() == [[3, 1]]


def test_a_word_of_which_nothing_is_left_becomes_the_unknown_piece(tokenizer: Any) -> None:
    split = encode_tagged(tokenizer, [Sentence(("a", "\u200d", "b"), (0, 1, 0))], 512)
    assert split.words == [3]
    assert split.input_ids[0][split.starts[0][1]] == tokenizer.unk_token_id


def test_what_cannot_be_encoded_says_where_it_stands(tokenizer: Any) -> None:
    long = Sentence(("a",) * 30, (0,) * 30, where="x.conll:7")
    assert encode_tagged(tokenizer, [long], 32).lengths == [32]
    with pytest.raises(UserError, match=r"x.conll:7: the sentence has 30 words in 32 pieces, and the encoder takes 31"):
        encode_tagged(tokenizer, [long], 31)
    with pytest.raises(UserError, match=r"x.conll:7: a sentence without a word"):
        encode_tagged(tokenizer, [replace(long, words=(), tags=())], 32)
    with pytest.raises(UserError, match="the split has no sentences"):
        encode_tagged(tokenizer, [], 32)


def test_a_byte_level_tokenizer_gives_every_word_its_blank() -> None:
    """RoBERTa's pieces of a word within a text are not those of a word at its beginning."""
    from tokenizers.pre_tokenizers import ByteLevel

    class Bytes:
        backend_tokenizer = SimpleNamespace(pre_tokenizer=ByteLevel())
        cls_token_id, sep_token_id, unk_token_id, pad_token_id = 0, 1, 2, 3

        def __call__(self, words: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
            return {"input_ids": [[10 + len(word)] for word in words]}

    split = encode_tagged(Bytes(), [Sentence(("ab", "c"), (0, 0))], 10)
    assert split.input_ids == ((0, 13, 12, 1),)


def test_roberta_and_mpnet_count_positions_from_2() -> None:
    for kind, expected in (("bert", 514), ("roberta", 512), ("mpnet", 512)):
        assert positions_of(SimpleNamespace(model_type=kind, max_position_embeddings=514)) == expected


def test_an_epoch_holds_every_sentence_once_and_is_the_same_whenever_asked() -> None:
    split = tagged_split([[1] * (1 + i % 5) for i in range(23)])
    batches = BucketedBatches(split, 4, seed=1)
    rows = [b.rows for b in batches.epoch(0)]
    assert len(rows) == len(batches) == 6
    assert sorted(torch.cat(rows).tolist()) == list(range(23))
    assert all(torch.equal(a, b.rows) for a, b in zip(rows, batches.epoch(0), strict=True))
