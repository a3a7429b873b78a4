"""End to end: what remains of the speed-up when text has to become tokens or n-grams first.

The paper's speeds leave that out. Reviews are generated from real English words, with word frequencies that fall as
1/rank; the vocabulary of n-grams and the tokenizers are made from such reviews too, by the same means as from real
text. What counts is the speed: a tokenizer with few words to tell apart is, if anything, faster than RoBERTa's or
BERT's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.records.measurements import Measurement
from common.records.statistics import bootstrap_statistic
from common.run.replication import Run
from common.tasks.builtin.lexicon import ADVERBS, HELD_OUT, THING_VERBS, TRAIN, VERBS, Lexicon
from common.timing.paired import PairedThroughput
from replications.sparse_distillation.engine.bags import Bag
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.shapes_speed import BATCH, Arm, speed_rows, timed_row
from replications.sparse_distillation.shapes_systems import STUDENT, Systems

WORDS = 230
"""Words in an IMDB review, about."""

SENTENCE = 15
CORPUS = 4_000
"""Reviews that give over a million different n-grams."""

TEXT_PASS = 4
"""Batches of reviews in a timed pass."""

MAX_TOKENS = 512
"""Where the paper cuts texts for its teacher."""

NGRAMS = "n-grams"
BPE = "byte-level BPE"
WORDPIECE = "WordPiece"


def lexicon_words() -> tuple[str, ...]:
    """Every single word of the generated tasks, in a fixed random order: its place is its rank in frequency."""
    groups = [_nouns_and_adjectives(lexicon) for lexicon in (TRAIN, HELD_OUT)]
    verbs = chain.from_iterable((verb.base, verb.past) for verb in (*VERBS, *THING_VERBS))
    words = sorted({*chain.from_iterable(groups), *verbs, *ADVERBS})
    return tuple(np.random.default_rng(0).permutation(words).tolist())


def _nouns_and_adjectives(lexicon: Lexicon) -> Iterator[str]:
    yield from chain(lexicon.people, lexicon.names, lexicon.things, lexicon.subjects)
    yield from chain(lexicon.positive, lexicon.negative)
    for _, members in lexicon.kinds:
        yield from members


def reviews(count: int, seed: int, words: int = WORDS) -> list[str]:
    """`count` texts of `words` words in sentences of `SENTENCE`."""
    known = np.array(lexicon_words())
    weights = 1 / np.arange(1, len(known) + 1)
    drawn = np.random.default_rng(seed).choice(known, size=(count, words), p=weights / weights.sum())
    ends = np.zeros(words, dtype=bool)
    ends[SENTENCE - 1 :: SENTENCE] = True
    return [" ".join(f"{word}." if end else word for word, end in zip(row, ends, strict=True)) for row in drawn]


# -- Readers: texts to what a system takes ----------------------------------------------------------------------------

Reader = Callable[[list[str]], object]


def review_vocabulary(run: Run, size: int, corpus: Sequence[str]) -> Vocabulary:
    """The `size` most frequent n-grams of `corpus`, or all that there are."""
    run.scratch.mkdir(parents=True, exist_ok=True)
    return build_vocabulary(lambda: corpus, size, scratch=run.scratch)


def ngram_reader(vocabulary: Vocabulary) -> Reader:
    """N-gram extraction."""

    def read(texts: list[str]) -> Bag:
        return Bag.of(vocabulary.bags(texts))

    return read


def tokenizer_reader(tokenizer: Any) -> Reader:  # noqa: ANN401
    """Tokens and mask as tensors, by a tokenizer of the tokenizers library, all cores at work."""
    import torch

    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()

    def read(texts: list[str]) -> object:
        encoded = tokenizer.encode_batch(texts)
        return torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded])

    return read


def trained_tokenizers(corpus: Sequence[str]) -> dict[str, Any]:
    """RoBERTa's kind of tokenizer and BERT's, of at most their vocabulary's size."""
    from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer

    bpe, wordpiece = ByteLevelBPETokenizer(), BertWordPieceTokenizer()
    bpe.train_from_iterator(corpus, vocab_size=50_265, show_progress=False)
    wordpiece.train_from_iterator(corpus, vocab_size=30_522, show_progress=False)
    return {BPE: bpe, WORDPIECE: wordpiece}


@dataclass(frozen=True)
class Reading:
    """How each system's input is made, and with how large a vocabulary of n-grams."""

    readers: Mapping[str, Reader]
    ngrams: int

    def arms(self) -> dict[str, Arm]:
        """The readers as something to be timed, on reviews that nothing was made from."""
        texts = reviews(TEXT_PASS * BATCH, seed=1)
        feed = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        return {name: Arm(read, feed, TEXT_PASS, texts[:2]) for name, read in self.readers.items()}


def prepare_reading(run: Run, ngrams: int) -> Reading:
    """Make the vocabulary and the tokenizers from generated reviews."""
    corpus = reviews(CORPUS, seed=0)
    vocabulary = review_vocabulary(run, ngrams, corpus)
    readers = {name: tokenizer_reader(t) for name, t in trained_tokenizers(corpus[:500]).items()}
    return Reading({NGRAMS: ngram_reader(vocabulary), **readers}, len(vocabulary))


# -- What is reported -------------------------------------------------------------------------------------------------


def reader_of(system: str) -> str:
    """Which reader feeds the system: the LSTMs and the CNN read the teacher's tokens."""
    return {STUDENT: NGRAMS, "DistilBERT": WORDPIECE}.get(system, BPE)


def end_to_end_rows(timings: PairedThroughput, systems: Systems, reading: Reading) -> list[Measurement]:
    """Speeds with reading and model one after the other, and the share of the time that reading takes."""

    def seconds(arm: str) -> NDArray[np.float64]:
        row: NDArray[np.float64] = timings.seconds[timings.arms.index(arm)]
        return row

    read = np.stack([seconds(reader_of(name)) for name in systems.names])
    model = np.stack([seconds(name) for name in systems.names])
    both = replace(timings, arms=systems.names, seconds=read + model)
    rows = speed_rows(both, systems.names, "end-to-end", "CPU")
    for name, reading_time, total in zip(systems.names, read, read + model, strict=True):
        share = bootstrap_statistic(_median_share, reading_time, total)
        rows.append(timed_row("end-to-end", name, "reading_share", share, "fraction", setting="CPU"))
    for name in reading.readers:
        rate = timings.throughput(name)
        rows.append(timed_row("end-to-end", name, "samples_per_second", rate, "1/s", setting="reading alone"))
    note = (
        f"generated reviews of {WORDS} words; {reading.ngrams} n-grams and tokenizers made from such; reading is timed "
        "beside the model and added"
    )
    return [row.model_copy(update={"task": "imdb", "note": note}) for row in rows]


def _median_share(part: NDArray[np.float64], whole: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return np.asarray(np.median(part / whole, axis=axis))
