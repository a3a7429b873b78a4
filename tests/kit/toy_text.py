"""Small corpora for the tests of what pre-trains."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.encoders.sources import load_encoder
from common.run.artifacts import ArtifactStore
from common.tasks.corpora import Corpus, fingerprint_of
from common.training.pretraining.encoded import EncodedText, encoded_text
from common.training.pretraining.words import Words

NOUNS = ("film", "garden", "doctor", "river", "story", "house", "teacher", "window")


def documents(count: int, sentences: int = 5) -> list[list[str]]:
    """Documents that differ, in words that BERT's vocabulary has whole and in pieces."""
    return [
        [
            f"The {NOUNS[(d + s) % 8]} was unbelievably {'slow' if s % 2 else 'fine'} on day {d}."
            for s in range(sentences)
        ]
        for d in range(count)
    ]


def corpus_of(texts: Sequence[Sequence[str]]) -> Corpus:
    """A corpus at hand."""
    return Corpus("toy", fingerprint_of(texts), lambda: iter(texts))


@functools.cache
def tokenizer() -> Any:
    """BERT's uncased one."""
    return load_encoder("random:tiny").tokenizer


@functools.cache
def words() -> Words:
    """Its vocabulary."""
    return Words.of(tokenizer())


def text_of(folder: Path, texts: Sequence[Sequence[str]], **options: int) -> EncodedText:
    """The corpus, encoded in `folder`."""
    return encoded_text(ArtifactStore(folder), corpus_of(texts), tokenizer(), lambda line: None, **options)
