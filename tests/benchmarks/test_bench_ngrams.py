"""Building the n-gram vocabulary of Sparse Distillation and finding its n-grams, beside CountVectorizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from common.timing.interleave import Schedule, Stopwatch, time_interleaved
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary

SIZE = 200_000
BATCH = 100


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Of the length of a film review, 230 words of Zipf's distribution, with capitals and punctuation."""
    rng = np.random.default_rng(0)
    words = np.minimum(rng.zipf(1.3, size=(2000, 230)), 50_000)
    return [", ".join(" ".join(f"Word{word}" for word in part) for part in np.array_split(row, 10)) for row in words]


@pytest.fixture(scope="module")
def vocabulary(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return build_vocabulary(lambda: texts, SIZE, scratch=tmp_path_factory.mktemp("scratch"))


def test_bench_building_a_vocabulary(benchmark: BenchmarkFixture, texts: list[str], tmp_path: Path) -> None:
    benchmark.pedantic(build_vocabulary, args=(lambda: texts, SIZE), kwargs={"scratch": tmp_path}, rounds=3)


def test_bench_loading_a_vocabulary(benchmark: BenchmarkFixture, vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path)
    benchmark(Vocabulary.load, tmp_path)


@pytest.mark.parametrize("count", [1, 32, 2000])
def test_bench_bags(benchmark: BenchmarkFixture, vocabulary: Vocabulary, texts: list[str], count: int) -> None:
    benchmark(vocabulary.bags, texts[:count])


def test_bench_bags_beside_count_vectorizer(
    benchmark: BenchmarkFixture, vocabulary: Vocabulary, texts: list[str]
) -> None:
    """Both on the same batches, interleaved; how many times as fast goes into the record."""
    from sklearn.feature_extraction.text import CountVectorizer

    ids = {ngram: id for id, ngram in enumerate(vocabulary.ngrams())}
    peer = CountVectorizer(ngram_range=(1, 4), vocabulary=ids)
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    arms = [lambda item: peer.transform(batches[item]), lambda item: vocabulary.bags(batches[item])]
    schedule = Schedule(items=len(batches), rounds=2, warmup=1, seed=0)
    seconds = benchmark.pedantic(time_interleaved, args=(arms, schedule, Stopwatch()), rounds=1)
    theirs, ours = np.median(seconds, axis=(1, 2)) / BATCH
    benchmark.extra_info.update(times_as_fast=theirs / ours, texts_per_second=1 / ours)
    print(f"\n{1 / ours:.0f} texts/s, CountVectorizer {1 / theirs:.0f}: {theirs / ours:.1f} times as fast")
