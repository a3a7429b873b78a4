"""Extraction gives what CountVectorizer.transform gives, from whatever text, and its tables survive the disk."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_counts import WORDS, as_lists, expected_bags, plain_texts, reviews, wild_texts
from safetensors.numpy import load_file, save_file

from common.errors import UserError
from replications.sparse_distillation.engine.extraction import FILE_NAME, Bags, Vocabulary
from replications.sparse_distillation.engine.ngrams import build_vocabulary
from replications.sparse_distillation.engine.words import GrowingWordTable, WordTable, chunks, split_texts


def vocabulary_of(texts: list[str], size: int = 10**6) -> Vocabulary:
    with tempfile.TemporaryDirectory() as scratch:
        return build_vocabulary(lambda: texts, size, scratch=Path(scratch))


@pytest.fixture(scope="module")
def small() -> Vocabulary:
    return vocabulary_of([" ".join(WORDS), "the cat sat on the mat", "the cat", "Straße ÉA éa", "x_1 42 x_1 42 x_1"])


# -- The same ids as CountVectorizer ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    corpus=st.lists(plain_texts | wild_texts, max_size=5),
    texts=st.lists(plain_texts | wild_texts, max_size=6),
    size=st.integers(1, 40),
)
def test_any_text_gives_the_ids_of_count_vectorizer(corpus: list[str], texts: list[str], size: int) -> None:
    vocabulary = vocabulary_of([*corpus, "aa ab"], size)
    seen = [*texts, *corpus]
    assert as_lists(vocabulary.bags(seen)) == (expected_bags(vocabulary.ngrams(), seen) if seen else [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a",
        "I a é 日 _ 1",
        "the",
        "The CAT\tsat\x00ON\x1fthe-mat",
        "the cat's",
        "İs ΑΣ ΑΣ",
        "b\u0301b STRASSE Straße",
    ],
)
def test_single_texts(small: Vocabulary, text: str) -> None:
    assert as_lists(small.bags([text])) == expected_bags(small.ngrams(), [text])


def test_every_character_alone_and_in_a_word() -> None:
    """Each character of Unicode, with and without letters around it, becomes the words that the expression finds."""
    texts = [f"{chr(code)} x{chr(code)} y{chr(code)}y " for code in range(0x110000)]
    split = split_texts(texts)
    expected = [re.findall(r"(?u)\b\w\w+\b", text.lower()) for text in texts]
    data = split.data.tobytes()
    found = [data[a:b].decode() for a, b in zip(split.starts.tolist(), split.ends.tolist(), strict=True)]
    assert found == [word for some in expected for word in some]
    assert np.diff(split.bounds).tolist() == [len(some) for some in expected]


def test_a_text_of_a_million_words(small: Vocabulary) -> None:
    text = "the cat sat on the " * 200_000
    (ids,) = as_lists(small.bags([text]))
    names = small.ngrams()
    counts = dict(zip(*np.unique(ids, return_counts=True), strict=True))
    assert counts[names.index("the")] == 400_000
    assert counts[names.index("the cat sat on")] == 200_000
    assert ids == sorted(ids)


def test_ngrams_do_not_cross_texts(small: Vocabulary) -> None:
    apart = small.bags(["the", "cat"])
    assert [small.ngram(id) for id in apart.ids.tolist()] == ["the", "cat"]
    assert len(small.bags(["the cat"]).ids) == 3


def test_no_texts(small: Vocabulary) -> None:
    bags = small.bags([])
    assert len(bags) == 0 and bags.offsets.tolist() == [0] and bags.ids.dtype == np.int64


def test_real_reviews() -> None:
    """More text than is taken at once, a vocabulary that has not seen it, some of it beyond ASCII."""
    vocabulary, texts = vocabulary_of(reviews("train", 2000), 200_000), reviews("test", 500)
    assert sum(map(len, texts)) > 1 << 19 and not all(text.isascii() for text in texts)
    assert as_lists(vocabulary.bags(texts)) == expected_bags(vocabulary.ngrams(), texts)


# -- Bags -------------------------------------------------------------------------------------------------------------


@given(
    bags=st.lists(st.lists(st.integers(0, 9)), min_size=1, max_size=6),
    data=st.data(),
)
def test_take(bags: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(bags) - 1), max_size=8))
    offsets = np.cumsum([0, *map(len, bags)])
    all_of_them = Bags(np.array([id for bag in bags for id in bag], np.int64), offsets)
    assert len(all_of_them) == len(bags) and all_of_them.lengths.tolist() == list(map(len, bags))
    assert as_lists(all_of_them.take(rows)) == [bags[row] for row in rows]


# -- Words ------------------------------------------------------------------------------------------------------------


def test_words_whose_hashes_meet_are_told_apart() -> None:
    """Far more words than slots of a small table, added piece by piece: every number leads back to its word."""
    words = [f"word{number}".encode() for number in range(20_000)]
    growing = GrowingWordTable()
    for start in range(0, len(words), 700):
        piece = [word.decode() for word in words[start : start + 700]]
        assert growing.number(split_texts([" ".join(piece + piece)])).tolist() == 2 * list(
            range(start, start + len(piece))
        )
    table = growing.table()
    assert table.words() == words and table.word(77) == b"word77" and len(table) == 20_000
    assert WordTable.of(words).find(split_texts(["word19999 nothing word0 word word20000"])).tolist() == [
        19999,
        -1,
        0,
        -1,
        -1,
    ]


@given(st.lists(st.text(max_size=5)), st.integers(1, 20))
def test_chunks_hold_all_texts_in_order(texts: list[str], characters: int) -> None:
    runs = list(chunks(texts, characters))
    assert [text for run in runs for text in run] == texts
    assert all(run for run in runs) and all(sum(len(text) + 1 for text in run[:-1]) < characters for run in runs)


# -- The file ---------------------------------------------------------------------------------------------------------


def test_saved_and_loaded(small: Vocabulary, tmp_path: Path) -> None:
    small.save(tmp_path / "new" / "folder")
    loaded = Vocabulary.load(tmp_path / "new" / "folder")
    assert loaded.ngrams() == small.ngrams() and len(loaded) == len(small)
    assert loaded.counts.tolist() == small.counts.tolist() and loaded.n.tolist() == small.n.tolist()
    texts = [" ".join(WORDS), "The cat sat"]
    assert as_lists(loaded.bags(texts)) == expected_bags(small.ngrams(), texts)


def test_a_large_vocabulary_loads_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in row) for row in rng.integers(0, 3000, (2500, 100))]
    vocabulary = vocabulary_of(texts)
    assert len(vocabulary) > 700_000
    vocabulary.save(tmp_path)
    begin = time.process_time()
    loaded = Vocabulary.load(tmp_path)
    assert time.process_time() - begin < 0.5
    assert loaded.ngram(len(loaded) - 1) == vocabulary.ngrams()[-1]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no file. Build the vocabulary again"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_cut_file(small: Vocabulary, tmp_path: Path, left: int) -> None:
    small.save(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=f"{FILE_NAME}: .* found another or a cut file"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "n-gram vocabulary", "version": "0"}])
def test_a_foreign_file(small: Vocabulary, tmp_path: Path, metadata: dict[str, str] | None) -> None:
    small.save(tmp_path)
    path = tmp_path / FILE_NAME
    save_file(load_file(path), path, metadata=metadata)
    with pytest.raises(UserError, match=r"expected \{'format': 'n-gram vocabulary', 'version': '1'\}, found"):
        Vocabulary.load(tmp_path)


def test_an_id_out_of_range(small: Vocabulary) -> None:
    with pytest.raises(IndexError, match=f"of {len(small)}"):
        small.ngram(len(small))
