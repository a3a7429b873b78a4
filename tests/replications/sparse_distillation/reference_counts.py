"""The independent truth for vocabulary and extraction: scikit-learn's CountVectorizer."""

from __future__ import annotations

import lzma
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from replications.sparse_distillation.engine.extraction import Bags, Vocabulary

# Few words make many ties; two of them are no words for CountVectorizer, some are only after str.lower.
WORDS = ["aa", "ab", "b", "AA", "é", "éa", "İs", "ΑΣ", "日本", "x_1", "aa-ab", "b\u0301b", "42", "\u017ft"]

plain_texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
wild_texts = st.lists(
    st.sampled_from([*WORDS, " ", "\n", "\0", "\ud800", "\u00ad", "İ", "ẞ", "Σ", "²", "_", "\u0661", "\u212a"])
    | st.characters(categories=None),
    max_size=30,
).map("".join)


def count_vectorizer(texts: Sequence[str], size: int, longest: int = 4) -> tuple[list[str], NDArray[np.int64]]:
    """The n-grams that it keeps, in the order of their ids, and their counts."""
    vectorizer = CountVectorizer(ngram_range=(1, longest), max_features=size)
    counts = vectorizer.fit_transform(texts)
    return vectorizer.get_feature_names_out().tolist(), np.asarray(counts.sum(axis=0)).ravel()


def expected_bags(ngrams: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
    """The sorted ids of each text, repeated by count."""
    vectorizer = CountVectorizer(ngram_range=(1, 4), vocabulary={ngram: i for i, ngram in enumerate(ngrams)})
    rows = vectorizer.transform(texts).tocsr()
    rows.sort_indices()
    bounds = zip(rows.indptr, rows.indptr[1:], strict=False)
    return [np.repeat(rows.indices[a:b], rows.data[a:b]).tolist() for a, b in bounds]


def as_lists(bags: Bags) -> list[list[int]]:
    return [part.tolist() for part in np.split(bags.ids, bags.offsets[1:-1])] if len(bags) else []


def assert_same(vocabulary: Vocabulary, texts: Sequence[str], size: int, longest: int = 4) -> None:
    """`vocabulary` is what CountVectorizer keeps of `texts`."""
    ngrams, counts = count_vectorizer(texts, size, longest)
    assert vocabulary.ngrams() == ngrams
    assert vocabulary.counts.tolist() == counts.tolist()
    assert vocabulary.n.tolist() == [ngram.count(" ") + 1 for ngram in ngrams]


def reviews(split: str, count: int) -> list[str]:
    """Real IMDB reviews from the folder named by DATA_DIR; the test is skipped without it."""
    if "DATA_DIR" not in os.environ:
        pytest.skip("needs DATA_DIR")
    with lzma.open(
        Path(os.environ["DATA_DIR"]) / "imdb" / f"{split}.tsv.xz", "rt", encoding="utf-8", newline="\n"
    ) as file:
        next(file)
        return [line.rstrip("\n").split("\t")[3] for line, _ in zip(file, range(count), strict=False)]
