"""A corpus as token ids on disk, memory-mapped: one that is larger than memory trains like any other.

Ids lie in shards, each written whole. An encoding that was interrupted goes on after its last shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.records.measurements import atomic_write
from common.run.artifacts import ArtifactStore
from common.tasks.corpora import Corpus, Document
from common.training.pretraining.words import Words

SHARD_TOKENS = 2**24
DOCUMENTS_AT_ONCE = 512
"""How many documents the tokenizer is given at a time."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Shard:
    """Whole documents.

    Attributes:
        tokens: (n,) ids; each document ends with the tokenizer's separator.
        sentences: (s, 2) where each sentence begins and ends in `tokens`.
        documents: (d + 1,) the first sentence of each document, and s.
    """

    tokens: Array
    sentences: Array
    documents: Array

    @staticmethod
    def read(folder: Path, number: int) -> Shard:
        """Map a shard's files."""
        parts = (np.load(_part(folder, number, name), mmap_mode="r") for name in ("tokens", "sentences", "documents"))
        return Shard(*parts)


@dataclass(frozen=True)
class EncodedText:
    """All shards of a corpus in `folder`."""

    folder: Path

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """In their order."""
        return tuple(Shard.read(self.folder, number) for number in range(_finished(self.folder)))

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(V,) how often each id occurs."""
        counts: NDArray[np.int64] = np.load(self.folder / "counts.npy")
        return counts

    @property
    def tokens(self) -> int:
        """How many in all, separators included."""
        return sum(len(shard.tokens) for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """The artifact's key."""
        return self.folder.name


def encoded_text(
    store: ArtifactStore,
    corpus: Corpus,
    tokenizer: Any,  # noqa: ANN401
    say: Callable[[str], None],
    *,
    shard_tokens: int = SHARD_TOKENS,
) -> EncodedText:
    """The corpus as token ids, encoded once.

    Raises:
        UserError: it is empty, or its text cannot be read.
    """
    words = Words.of(tokenizer)
    recipe = {
        "kind": "encoded-text",
        "corpus": corpus.fingerprint,
        "tokenizer": words.fingerprint,
        "shard_tokens": shard_tokens,
    }

    def make(folder: Path) -> None:
        _encode(folder, corpus, tokenizer, words, shard_tokens)

    return EncodedText(store.get(f"encoded/{corpus.name}", recipe, make, say))


def _encode(folder: Path, corpus: Corpus, tokenizer: Any, words: Words, shard_tokens: int) -> None:  # noqa: ANN401
    number = _finished(folder)
    done = sum(len(Shard.read(folder, n).documents) - 1 for n in range(number))
    writer = _Writer(folder, np.uint16 if words.size <= 2**16 else np.uint32, words.after[-1], number)
    documents = islice(corpus.documents(), done, None)
    while batch := list(islice(documents, DOCUMENTS_AT_ONCE)):
        for ids in _ids(tokenizer, batch):
            writer.add(ids)
            if writer.tokens >= shard_tokens:
                writer.flush()
    writer.flush()
    if not writer.number:
        raise UserError(f"{corpus.name} holds no text to pre-train on: it is empty")
    counts = np.zeros(words.size, dtype=np.int64)
    for n in range(writer.number):
        counts += np.bincount(Shard.read(folder, n).tokens, minlength=words.size)
    _write(folder / "counts.npy", counts)


def _ids(tokenizer: Any, documents: Sequence[Document]) -> Iterator[list[list[int]]]:  # noqa: ANN401
    """Ids of each sentence, document by document; sentences without any are left out."""
    flat = [sentence for document in documents for sentence in document]
    options = {"add_special_tokens": False, "truncation": False, "padding": False, "verbose": False}
    found = iter(tokenizer(flat, **options)["input_ids"] if flat else ())
    for document in documents:
        yield [ids for ids in islice(found, len(document)) if ids]


@dataclass
class _Writer:
    """Gathers documents, and writes them as the next shard."""

    folder: Path
    kind: Any
    separator: int
    number: int
    tokens: int = 0
    _ids: list[Array] = field(default_factory=list)
    _sentences: list[tuple[int, int]] = field(default_factory=list)
    _documents: list[int] = field(default_factory=lambda: [0])

    def add(self, document: Sequence[Sequence[int]]) -> None:
        """Take a document; one without sentences is counted, so that an interrupted encoding knows where it was."""
        for sentence in document:
            self._sentences.append((self.tokens, self.tokens + len(sentence)))
            self._ids.append(np.array(sentence, dtype=self.kind))
            self.tokens += len(sentence)
        if document:
            self._ids.append(np.array([self.separator], dtype=self.kind))
            self.tokens += 1
        self._documents.append(len(self._sentences))

    def flush(self) -> None:
        """Write what was gathered; the documents last, whose file says that the shard is whole."""
        if not self._sentences:
            return
        _write(_part(self.folder, self.number, "tokens"), np.concatenate(self._ids))
        _write(_part(self.folder, self.number, "sentences"), np.array(self._sentences, dtype=np.int64))
        _write(_part(self.folder, self.number, "documents"), np.array(self._documents, dtype=np.int64))
        self.number, self.tokens = self.number + 1, 0
        self._ids, self._sentences, self._documents = [], [], [0]


def _part(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number:05d}-{name}.npy"


def _finished(folder: Path) -> int:
    """How many shards are whole."""
    return len(list(folder.glob("*-documents.npy")))


def _write(path: Path, array: Array) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)
