"""The vocabulary is CountVectorizer's, and building it holds no more than a block."""

from __future__ import annotations

import random
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_counts import as_lists, assert_same, count_vectorizer, expected_bags, plain_texts, reviews, wild_texts

from common.errors import UserError
from replications.sparse_distillation.engine import ngrams
from replications.sparse_distillation.engine.ngrams import build_vocabulary
from replications.sparse_distillation.engine.windows import Spill, merged, sorted_runs


@settings(deadline=None, max_examples=150)
@given(
    texts=st.lists(plain_texts | wild_texts, min_size=1, max_size=8).map(lambda texts: [*texts, "aa ab"]),
    size=st.integers(1, 80),
    longest=st.integers(1, 4),
    block=st.integers(1, 40),
)
def test_it_keeps_what_count_vectorizer_keeps(texts: list[str], size: int, longest: int, block: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        vocabulary = build_vocabulary(lambda: texts, size, longest, scratch=Path(scratch), block=block)
    assert_same(vocabulary, texts, size, longest)
    assert [vocabulary.ngram(id) for id in range(len(vocabulary))] == vocabulary.ngrams()


def zipf_texts(count: int, words: int, seed: int = 0) -> list[str]:
    """Texts of 40 words over `words` words of very different frequency."""
    rng = random.Random(seed)
    weights = [1 / rank for rank in range(1, words + 1)]
    names = [f"w{number}" for number in range(words)]
    return [" ".join(rng.choices(names, weights, k=40)) for _ in range(count)]


@pytest.mark.parametrize("size", [1, 50, 10**6])
def test_thousands_of_ngrams(tmp_path: Path, size: int) -> None:
    texts = zipf_texts(400, 300)
    assert_same(build_vocabulary(lambda: texts, size, scratch=tmp_path, block=1000), texts, size)


def test_a_tie_of_thousands_at_the_border(tmp_path: Path) -> None:
    texts, size = zipf_texts(400, 300), 5000
    vocabulary = build_vocabulary(lambda: texts, size, scratch=tmp_path, block=1000)
    assert_same(vocabulary, texts, size)
    everything = count_vectorizer(texts, 10**6)[1]
    border = vocabulary.counts.min()
    assert (everything == border).sum() > 2000 < (everything == border).sum() - (vocabulary.counts == border).sum()


@pytest.mark.parametrize("size", [1_000, 50_000, 10**7])
def test_real_reviews(tmp_path: Path, size: int) -> None:
    texts = reviews("train", 400)
    assert_same(build_vocabulary(lambda: texts, size, scratch=tmp_path), texts, size)


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(plain_texts, max_size=6).map(lambda texts: [*texts, "aa ab 42 x_1 aa"]),
    block=st.integers(1, 40),
    seed=st.integers(0, 999),
)
def test_any_choice_of_ngrams_may_be_kept(texts: list[str], block: int, seed: int) -> None:
    """Ties may part an n-gram from what it begins with: any choice has a trie, and the trie finds just that choice."""
    names = count_vectorizer(texts, 10**6)[0]
    kept = np.random.default_rng(seed).random(len(names)) < 0.3
    kept[-1] = True
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_most_frequent", lambda counts, size: kept)
        vocabulary = build_vocabulary(lambda: texts, 1, scratch=Path(scratch), block=block)
    assert vocabulary.ngrams() == [name for name, keep in zip(names, kept, strict=True) if keep]
    assert as_lists(vocabulary.bags(texts)) == expected_bags(vocabulary.ngrams(), texts)


def test_a_small_corpus_gives_all_its_ngrams(tmp_path: Path) -> None:
    vocabulary = build_vocabulary(lambda: ["one two", "two"], 1_000_000, scratch=tmp_path)
    assert vocabulary.ngrams() == ["one", "one two", "two"]
    assert vocabulary.counts.tolist() == [1, 1, 2]


def test_one_pass_over_a_corpus_that_is_read_as_it_goes(tmp_path: Path) -> None:
    passes = 0

    def texts() -> Iterator[str]:
        nonlocal passes
        passes += 1
        yield from ("aa bb", "bb")

    assert len(build_vocabulary(texts, 10, scratch=tmp_path)) == 3
    assert passes == 1


# -- Bounded memory ---------------------------------------------------------------------------------------------------


def peak_of_building(texts: list[str], scratch: Path, block: int) -> int:
    tracemalloc.start()
    try:
        build_vocabulary(lambda: texts, 10, scratch=scratch, block=block)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_the_block_and_the_frequencies(tmp_path: Path) -> None:
    texts = zipf_texts(6000, 5000)
    distinct = len(build_vocabulary(lambda: texts, 10**9, scratch=tmp_path))
    assert distinct > 400_000
    small, large = peak_of_building(texts, tmp_path, 1 << 12), peak_of_building(texts, tmp_path, 1 << 20)
    assert small < large / 2
    assert small < 40 * distinct, "24 for the frequencies; an empty string of Python alone takes 49"


def test_a_corpus_of_one_word_is_merged_in_ranges_no_larger_than_two_blocks(tmp_path: Path) -> None:
    """Partitioning by the first word would put all of it into one part; so would most windows of a frequent word."""
    block = 64
    rng = np.random.default_rng(0)
    words = np.where(rng.random(20_000) < 0.9, 1, rng.integers(1, 40, 20_000)).astype(np.int32)
    words[::50] = 0
    stream = Spill(tmp_path / "stream", np.dtype(np.int32))
    stream.append(words)
    runs = list(sorted_runs(stream, np.arange(41, dtype=np.uint64), 4, block, tmp_path))
    ranges = list(merged(runs, block))
    sizes = [windows.shape[1] for windows in ranges]
    assert max(sizes) <= max(2 * block, 3 * len(runs)) and sum(sizes) > 5 * max(sizes)

    windows: Counter[tuple[int, ...]] = Counter()
    for start, word in enumerate(words.tolist()):
        if word:
            window = [*words[start : start + 4].tolist(), 0, 0, 0][:4]
            stop = window.index(0) if 0 in window else 4
            windows[(*window[:stop], *[0] * (4 - stop))] += 1
    found = [
        ((int(high) >> 32, int(high) & 0xFFFFFFFF, int(low) >> 32, int(low) & 0xFFFFFFFF), int(count))
        for part in ranges
        for high, low, count in part.T
    ]
    assert found == sorted(windows.items())


# -- What a user may do wrong -----------------------------------------------------------------------------------------


def test_temporary_files_are_removed_even_when_the_corpus_fails(tmp_path: Path) -> None:
    def texts() -> Iterator[str]:
        yield "aa bb"
        raise ValueError("broken corpus")

    with pytest.raises(ValueError, match="broken corpus"):
        build_vocabulary(texts, 10, scratch=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    build_vocabulary(lambda: ["aa bb"], 10, scratch=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("texts", [[], [""], ["a b !", "I"]])
def test_a_corpus_without_words(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(UserError, match="words of two or more letters"):
        build_vocabulary(lambda: texts, 10, scratch=tmp_path)


@pytest.mark.parametrize(("size", "longest", "found"), [(0, 4, "found 0"), (5, 0, "found 0"), (5, 5, "found 5")])
def test_numbers_out_of_range(tmp_path: Path, size: int, longest: int, found: str) -> None:
    with pytest.raises(UserError, match=found):
        build_vocabulary(lambda: ["aa"], size, longest, scratch=tmp_path)


def test_scratch_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*file"):
        build_vocabulary(lambda: ["aa"], 10, scratch=tmp_path / "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk() -> None:
    with pytest.raises(UserError, match="cannot write /dev/full"):
        Spill(Path("/dev/full"), np.dtype(np.int64)).append(np.zeros(100_000, np.int64))
