"""The n-gram vocabulary of the student (Section 3.2): the |V| most frequent n-grams, 1 <= n <= 4, of a corpus.

Exactly what `CountVectorizer(ngram_range=(1, 4), max_features=|V|)` keeps, in the same order, without holding the
n-grams of the corpus in memory. Every n-gram is the beginning of a window of four words, so it is windows that are
sorted, on disk, and n-grams are never written out:

    1  the corpus becomes a stream of word numbers (the distinct words are in memory); words get ranks by spelling
    2  windows of ranks are sorted and counted in blocks, each written as a run
    3  the runs are merged, range by range; the distinct beginnings of the sorted windows are all distinct n-grams, in
       order, each with its frequency
    4  the most frequent are chosen: all frequencies are in memory for that (24 bytes for each distinct n-gram), since
       scikit-learn breaks the ties at the border by one `argsort` over all of them
    5  what was chosen becomes a trie
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from replications.sparse_distillation.engine.extraction import Bags, Trie, Vocabulary
from replications.sparse_distillation.engine.windows import (
    LONGEST,
    NgramFile,
    Spill,
    merged,
    says_what_cannot_be_written,
    sorted_runs,
)
from replications.sparse_distillation.engine.words import GrowingWordTable, WordTable, chunks, split_texts

__all__ = ["Bags", "Vocabulary", "build_vocabulary"]

_CHARACTERS_AT_ONCE = 1 << 18


def build_vocabulary(
    texts: Callable[[], Iterable[str]], size: int, longest: int = LONGEST, *, scratch: Path, block: int = 1 << 21
) -> Vocabulary:
    """The `size` most frequent n-grams of up to `longest` words; all there are if the corpus has fewer.

    N-grams of the same frequency at the border are kept or not as `CountVectorizer` decides on the same machine: by
    numpy's unstable `argsort`, whose choice may differ between processors.

    Args:
        texts: begins a pass over the corpus; called once.
        size: |V|.
        longest: 1 to 4.
        scratch: folder for temporary files, which are removed at the end: up to 28 bytes for each word of the corpus
            and 13 for each distinct n-gram.
        block: how many windows are sorted at once, at about 150 bytes of memory each.

    Raises:
        UserError: the corpus has no words, `size` or `longest` is out of range, or `scratch` cannot be written.
    """
    if size < 1:
        raise UserError(f"expected a vocabulary of at least 1 n-gram, found {size}")
    if not 1 <= longest <= LONGEST:
        raise UserError(f"expected n-grams of up to 1, 2, 3 or 4 words, found {longest}")
    with says_what_cannot_be_written(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=scratch, prefix="ngrams-")
    with temporary as name:
        folder = Path(name)
        stream = Spill(folder / "stream", np.dtype(np.int32))
        words, ranks = _ranked(_numbered(texts(), stream))
        runs = list(sorted_runs(stream, ranks, longest, block, folder))
        ngrams = NgramFile(folder)
        counts = ngrams.fill(merged(runs, block))
        kept = _most_frequent(counts, size)
        return _vocabulary(ngrams.blocks(block), kept, counts[kept], words)


# -- Texts to a stream of word numbers, and the words' ranks -----------------------------------------------------------


def _numbered(texts: Iterable[str], stream: Spill) -> list[bytes]:
    """All distinct words as they come; `stream` gets 1 + the number of each word, and 0 at the end of each text."""
    growing = GrowingWordTable()
    for some in chunks(texts, _CHARACTERS_AT_ONCE):
        split = split_texts(some)
        stream.append(np.insert(growing.number(split) + 1, split.bounds[1:], 0))
    words = growing.table().words()
    if not words:
        raise UserError("expected a corpus with words of two or more letters, found none: check the texts")
    return words


def _ranked(words: Sequence[bytes]) -> tuple[list[bytes], NDArray[np.uint64]]:
    """The words sorted (as UTF-8, hence by code point), and the rank, from 1, of each entry of the stream (0: 0)."""
    order = sorted(range(len(words)), key=words.__getitem__)
    ranks = np.zeros(len(words) + 1, np.uint64)
    ranks[np.array(order) + 1] = np.arange(1, len(words) + 1)
    return [words[number] for number in order], ranks


# -- Which are kept ----------------------------------------------------------------------------------------------------


def _most_frequent(counts: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Which n-grams are among the `size` most frequent, by the very expression of `CountVectorizer._limit_features`."""
    kept = np.full(len(counts), len(counts) <= size)
    if len(counts) > size:
        kept[(-counts).argsort()[:size]] = True
    return kept


# -- The trie of what is kept ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """Some n-grams in order, with what each begins with.

    Attributes:
        depths, words: length and last word (rank from 1).
        numbers: the node of each, -1 if it has none so far.
        parents: the place in this part of the n-gram without its last word; -1 for a single word.
    """

    depths: NDArray[np.uint8]
    words: NDArray[np.uint32]
    numbers: NDArray[np.int64]
    parents: NDArray[np.int64]

    @classmethod
    def after(
        cls, path: _Part, depths: NDArray[np.uint8], words: NDArray[np.uint32], numbers: NDArray[np.int64]
    ) -> _Part:
        """The next n-grams, led by `path`: the last one before them and what that begins with."""
        depths = np.concatenate([path.depths, depths])
        parents = np.full(len(depths), -1, np.int64)
        for depth in range(2, LONGEST + 1):
            latest = np.maximum.accumulate(np.where(depths == depth - 1, np.arange(len(depths)), -1))
            parents[depths == depth] = latest[depths == depth]
        return cls(depths, np.concatenate([path.words, words]), np.concatenate([path.numbers, numbers]), parents)

    def needed(self) -> NDArray[np.bool_]:
        """Which n-grams have a node, or begin one that has."""
        needed = self.numbers >= 0
        for depth in range(LONGEST, 1, -1):
            needed[self.parents[needed & (self.depths == depth)]] = True
        return needed

    def path(self) -> _Part:
        """The last n-gram and what it begins with; nothing if there is none."""
        rows: list[int] = []
        row = len(self.depths) - 1
        while row >= 0:
            rows.insert(0, row)
            row = int(self.parents[row])
        return _Part(self.depths[rows], self.words[rows], self.numbers[rows], np.arange(-1, len(rows) - 1))


def _vocabulary(
    blocks: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint32]]],
    kept: NDArray[np.bool_],
    counts: NDArray[np.int64],
    words: Sequence[bytes],
) -> Vocabulary:
    """The trie of the kept n-grams and of those that they begin with; only words that occur there are numbered."""
    nodes = np.concatenate(list(_nodes(blocks, kept, len(counts))), axis=1)
    _, depths, parents, ranks = nodes[:, np.argsort(nodes[0])]
    used, last_words = np.unique(ranks, return_inverse=True)
    table = WordTable.of([words[rank - 1] for rank in used.tolist()])
    trie = Trie.of(depths.astype(np.uint8), parents.astype(np.int32), last_words.astype(np.int32), len(used))
    return Vocabulary(counts, table, trie)


def _nodes(
    blocks: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint32]]], kept: NDArray[np.bool_], size: int
) -> Iterator[NDArray[np.int64]]:
    """(4, nodes) number, length, number of the parent and last word (rank) of each node.

    Kept n-grams are numbered in order, from 0, and the others that are needed as they come, from `size`.
    """
    nothing = np.empty(0, np.int64)
    part = _Part(np.empty(0, np.uint8), np.empty(0, np.uint32), nothing, nothing)
    read, members, others = 0, 0, size
    for depths, last_words in blocks:
        chosen = kept[read : read + len(depths)]
        part = _Part.after(part.path(), depths, last_words, np.where(chosen, members - 1 + np.cumsum(chosen), -1))
        other = part.needed() & (part.numbers < 0)
        part.numbers[other] = others + np.arange(other.sum())
        new = other.copy()
        new[-len(depths) :] |= chosen
        above = np.where(part.parents < 0, -1, part.numbers[part.parents])
        yield np.stack([part.numbers, part.depths, above, part.words])[:, new]
        read, members, others = read + len(depths), members + int(chosen.sum()), others + int(other.sum())
