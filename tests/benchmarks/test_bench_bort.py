"""Bort's search without training: surrogates of size and cost, and the W-coefficient, over all 300 candidates."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from replications.bort.method import ROBERTA_LARGE, SPACE, fptas

MOST_SECONDS = 1.0


def test_bench_surrogates_over_all_candidates(benchmark: BenchmarkFixture) -> None:
    def search() -> str:
        found = fptas(SPACE.candidates, ("equal errors",), lambda xi, theta: 1.0, maximum=ROBERTA_LARGE)
        return found.winner.architecture.name

    assert benchmark(search) == "2-4-512-256"
    assert benchmark.stats["max"] < MOST_SECONDS
