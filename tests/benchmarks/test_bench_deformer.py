"""DeFormer on BERT-base at SQuAD's lengths (k = 9, 320 tokens, 27 of the question), random weights, cache on disk."""

from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch

from common.encoders.sources import load_encoder
from common.timing.paired import CONTROL
from common.training.segments import SegmentLayout
from replications.deformer.library import BEST, Library
from replications.deformer.method import DeFormer
from replications.deformer.names import DEFORMER
from replications.deformer.shapes import timed

PASSAGES = 10_000


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [1, 8])
def test_bench_deformer_reaches_its_flops_speedup(benchmark: Any, count: int) -> None:
    timings, flops = benchmark.pedantic(lambda: timed("bert-base", "squad", count), rounds=1)
    measured = timings.speedup(DEFORMER).value
    benchmark.extra_info["speedup"] = measured
    benchmark.extra_info["share_of_flops_speedup"] = measured / flops
    print(f"\n{count} at once: {measured:.2f}x of {flops:.2f}x; control {timings.speedup(CONTROL).value:.3f}")
    assert measured >= 0.9 * flops


@pytest.mark.timeout(1800)
def test_bench_a_question_over_ten_thousand_passages(benchmark: Any, tmp_path: Path) -> None:
    """MiniLM at k = 4: retrieval and the 100 nearest passages, beside the same passages with nothing cached."""
    source = load_encoder("minilm")
    model = DeFormer.reader(source.encoder, 4, seed=0).eval()
    library = Library.make(tmp_path / "library", model, source.tokenizer, SegmentLayout(320, 25))
    words = [f"word{i}" for i in range(3_000)]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(words), (PASSAGES, 40), generator=generator).tolist()
    (tmp_path / "texts").mkdir()
    text = "\n\n".join(" ".join(words[i] for i in row) for row in drawn)
    (tmp_path / "texts" / "all.txt").write_text(text)
    library.index(tmp_path / "texts")
    library.ask("word1 word2")
    question = "what of word7 and word77?"
    found = benchmark.pedantic(library.ask, args=(question,), rounds=3)
    near = library.nearest(question, BEST)
    began = perf_counter()
    with torch.inference_mode():
        for start in range(0, BEST, 20):
            ids = [source.tokenizer(question, p.text, truncation=True)["input_ids"] for p in near[start : start + 20]]
            longest = max(map(len, ids))
            batch = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
            source.encoder(batch, (batch != 0).long())
    whole = perf_counter() - began
    benchmark.extra_info["seconds_nothing_cached"] = whole
    print(f"\n{found.file}: {benchmark.stats['mean']:.2f} s; the same passages with nothing cached {whole:.2f} s")
    assert benchmark.stats["mean"] < whole
