"""A corpus on disk: what is in it, that it is mapped and not read, and that an interrupted encoding goes on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kit.toy_text import corpus_of, documents, text_of, tokenizer, words

from common.errors import UserError
from common.run.artifacts import ArtifactStore
from common.tasks.corpora import Corpus
from common.training.pretraining.encoded import encoded_text

TEXTS = documents(40)


def test_every_sentence_is_there_and_every_document_ends_with_the_separator(tmp_path: Path) -> None:
    text = text_of(tmp_path, TEXTS, shard_tokens=200)
    assert len(text.shards) > 3
    found: list[list[list[int]]] = []
    for shard in text.shards:
        for first, end in zip(shard.documents, shard.documents[1:], strict=False):
            found.append([shard.tokens[a:b].tolist() for a, b in shard.sentences[first:end]])
            assert shard.tokens[shard.sentences[end - 1, 1]] == tokenizer().sep_token_id
    expected = [[tokenizer()(s, add_special_tokens=False)["input_ids"] for s in document] for document in TEXTS]
    assert found == expected
    assert text.tokens == sum(len(s) for d in expected for s in d) + len(TEXTS)


def test_ids_are_mapped_from_disk_in_two_bytes_each(tmp_path: Path) -> None:
    shard = text_of(tmp_path, TEXTS).shards[0]
    assert isinstance(shard.tokens, np.memmap)
    assert shard.tokens.dtype == np.uint16


def test_counts_are_those_of_the_whole_text(tmp_path: Path) -> None:
    text = text_of(tmp_path, TEXTS, shard_tokens=200)
    assert text.counts.sum() == text.tokens
    assert len(text.counts) == words().size
    assert text.counts[tokenizer().sep_token_id] == len(TEXTS)
    assert text.counts[tokenizer().convert_tokens_to_ids("film")] == sum("film" in s for d in TEXTS for s in d)


def test_an_interrupted_encoding_goes_on_after_its_last_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.training.pretraining.encoded.DOCUMENTS_AT_ONCE", 4)
    texts = [*TEXTS[:10], [], [" "], *TEXTS[10:]]
    whole = text_of(tmp_path / "whole", texts, shard_tokens=200)
    broken, encoded = [True], []

    def interrupted() -> Iterator[list[str]]:
        for number, document in enumerate(texts):
            if broken[0] and number == 25:
                raise KeyboardInterrupt
            yield document

    corpus = Corpus("toy", corpus_of(texts).fingerprint, interrupted)
    store = ArtifactStore(tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        encoded_text(store, corpus, tokenizer(), lambda line: None, shard_tokens=200)
    kept = list(tmp_path.glob("again/partial/*/*-documents.npy"))
    assert kept
    broken[0] = False

    def counted(*arguments: object, **options: object) -> object:
        encoded.append(len(arguments[0]))  # type: ignore[arg-type]
        return tokenizer()(*arguments, **options)

    class Counting:
        def __call__(self, *arguments: object, **options: object) -> object:
            return counted(*arguments, **options)

        def __getattr__(self, name: str) -> object:
            return getattr(tokenizer(), name)

        def __len__(self) -> int:
            return len(tokenizer())

    again = encoded_text(store, corpus, Counting(), lambda line: None, shard_tokens=200)
    for ours, theirs in zip(again.shards, whole.shards, strict=True):
        assert np.array_equal(ours.tokens, theirs.tokens)
        assert np.array_equal(ours.sentences, theirs.sentences)
    assert np.array_equal(again.counts, whole.counts)
    assert sum(encoded) < 5 * len(TEXTS) - 40, "the documents before are not encoded again"


def test_long_sentences_are_not_cut(tmp_path: Path) -> None:
    text = text_of(tmp_path, [["word " * 700]])
    assert text.tokens == 701


@pytest.mark.parametrize("texts", [[], [[]], [["", "  "]]])
def test_an_empty_corpus_is_refused(tmp_path: Path, texts: list[list[str]]) -> None:
    with pytest.raises(UserError, match="toy holds no text to pre-train on"):
        text_of(tmp_path, texts)
