"""Texts as bags of n-grams of a fixed vocabulary, as fast as a student that is nearly free deserves.

The paper takes `CountVectorizer` for this, off the clock; at 600 times the teacher's speed it would be most of the
time. Here the vocabulary is a trie over numbered words: from each word of a text, a walk follows the words after it
until no n-gram of the vocabulary goes on that way. Every step is one probe of a hash table whose keys are exact, so
the ids are those of `CountVectorizer(ngram_range=(1, 4), vocabulary=...)`, one by one. The tables are what is saved:
loading maps them into memory and rebuilds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.records.measurements import atomic_write
from replications.sparse_distillation.engine.words import (
    SplitTexts,
    WordTable,
    chunks,
    compiled,
    slots_for,
    split_texts,
)

FILE_NAME = "vocabulary.safetensors"
_FORMAT = {"format": "n-gram vocabulary", "version": "1"}
_TYPES = {"U8": np.uint8, "I32": np.int32, "I64": np.int64}
_CHARACTERS_AT_ONCE = 1 << 18  # keeps what a chunk of texts needs in the processor's cache
_ID_BITS = np.int64(32)


@dataclass(frozen=True, eq=False)
class Bags:
    """N texts as bags of n-gram ids.

    Attributes:
        ids: all texts' ids, one text after the other; sorted within a text, an id as often as its n-gram occurs.
        offsets: (N + 1,) text i is ids[offsets[i]:offsets[i + 1]].
    """

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) n-grams in each text."""
        return np.diff(self.offsets)

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> Bags:
        """The texts `rows`, in that order."""
        chosen = np.asarray(rows, np.int64)
        lengths = self.lengths[chosen]
        offsets = _offsets(lengths)
        shift = self.offsets[:-1][chosen] - offsets[:-1]
        return Bags(self.ids[np.repeat(shift, lengths) + np.arange(offsets[-1])], offsets)


@dataclass(frozen=True, eq=False)
class Trie:
    """The n-grams of a vocabulary of V, as paths of words.

    Nodes 0..V-1 are the n-grams of the vocabulary by id. The nodes after them are no members: an n-gram may be kept
    while its beginning, of the same frequency, is not.

    Attributes:
        depths: (nodes,) length of each n-gram in words.
        parents: (nodes,) the n-gram without its last word; -1 for a single word.
        last_words: (nodes,) number of the last word.
        first_nodes: (W + 1,) the node of each word by itself, -1 if no n-gram begins with it. The last entry is -1 and
            is what a word outside the table (number -1) finds.
        edges: (slots, 2) open-addressing hash table: parent << 32 | last word of each node with a parent, and the node;
            -1 where empty.
    """

    depths: NDArray[np.uint8]
    parents: NDArray[np.int32]
    last_words: NDArray[np.int32]
    first_nodes: NDArray[np.int32]
    edges: NDArray[np.int64]

    @cached_property
    def longest(self) -> int:
        """Length in words of the longest n-gram."""
        return int(self.depths.max())

    @classmethod
    def of(
        cls, depths: NDArray[np.uint8], parents: NDArray[np.int32], last_words: NDArray[np.int32], words: int
    ) -> Trie:
        """The trie of these nodes, over so many numbered words."""
        first_nodes = np.full(words + 1, -1, np.int32)
        first_nodes[last_words[parents < 0]] = np.flatnonzero(parents < 0)
        nodes = np.flatnonzero(parents >= 0)
        edges = np.full((slots_for(len(nodes)), 2), -1, np.int64)
        _add_edges(parents[nodes].astype(np.int64) << _ID_BITS | last_words[nodes], nodes, edges)
        return cls(depths, parents, last_words, first_nodes, edges)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V n-grams with ids in the order of their text (by code point), and the extractor for them.

    Attributes:
        counts: (V,) how often each n-gram occurs in the corpus that the vocabulary was built on.
        table: the words that occur in the n-grams.
        trie: the n-grams.
    """

    counts: NDArray[np.int64]
    table: WordTable
    trie: Trie

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def n(self) -> NDArray[np.uint8]:
        """(V,) length in words of each n-gram."""
        return self.trie.depths[: len(self)]

    def ngram(self, id: int) -> str:
        """The words of n-gram `id`, parted by one space."""
        if not 0 <= id < len(self):
            raise IndexError(f"n-gram {id} of a vocabulary of {len(self)}")
        words: list[bytes] = []
        node = id
        while node >= 0:
            words.append(self.table.word(int(self.trie.last_words[node])))
            node = int(self.trie.parents[node])
        return b" ".join(reversed(words)).decode()

    def ngrams(self) -> list[str]:
        """All n-grams, in the order of their ids."""
        words = [word.decode() for word in self.table.words()]
        parents, last_words = self.trie.parents.tolist(), self.trie.last_words.tolist()
        names = [""] * len(parents)
        for node in np.argsort(self.trie.depths, kind="stable").tolist():
            last = words[last_words[node]]
            names[node] = last if parents[node] < 0 else f"{names[parents[node]]} {last}"
        return names[: len(self)]

    def bags(self, texts: Sequence[str]) -> Bags:
        """The n-grams of each text that are in the vocabulary, as `CountVectorizer.transform` counts them.

        The first call of an installation compiles the loops (a few seconds). It runs on one core, without the
        interpreter's lock for most of the time: threads may each take some of the texts.
        """
        parts = [self._bags(split_texts(some)) for some in chunks(texts, _CHARACTERS_AT_ONCE)]
        lengths = [part.lengths for part in parts]
        return Bags(
            np.concatenate([part.ids for part in parts] or [np.empty(0, np.int64)]),
            _offsets(np.concatenate(lengths or [np.empty(0, np.int64)])),
        )

    def _bags(self, texts: SplitTexts) -> Bags:
        trie = self.trie
        found = np.empty(len(texts.starts) * trie.longest, np.int64)
        words = self.table.find(texts)
        alive = np.empty((3, np.diff(texts.bounds).max()), np.int64)
        count = _walk(words, texts.bounds, trie.first_nodes, trie.edges, len(self), alive, found)
        found = found[:count]
        found.sort()
        lengths = np.bincount(found >> _ID_BITS, minlength=len(texts.bounds) - 1)
        return Bags(found & np.int64(0xFFFFFFFF), _offsets(lengths))

    def save(self, folder: Path) -> None:
        """Write the tables to `folder`, which is made if need be; whole or not at all.

        Raises:
            UserError: the file cannot be written.
        """
        from safetensors.numpy import save_file

        arrays = {"counts": self.counts, **_named("table.", self.table), **_named("trie.", self.trie)}
        with atomic_write(folder / FILE_NAME) as path:
            save_file(arrays, path, metadata=_FORMAT)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Map what `save` wrote into memory.

        Raises:
            UserError: the file is missing, cut short, or is something else.
        """
        arrays = _mapped(folder / FILE_NAME)
        return cls(arrays["counts"], WordTable(**_under("table.", arrays)), Trie(**_under("trie.", arrays)))


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


# -- The file ---------------------------------------------------------------------------------------------------------


def _named(prefix: str, part: WordTable | Trie) -> dict[str, NDArray[Any]]:
    return {prefix + field.name: getattr(part, field.name) for field in fields(part)}


def _under(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a vocabulary file, by name, mapped into memory (the library's own reader for numpy copies them)."""
    from safetensors import SafetensorError, safe_open

    again = "Build the vocabulary again."
    try:
        with safe_open(path, framework="np") as file:  # checks that the file is whole
            found = file.metadata() or {}
    except FileNotFoundError as error:
        raise UserError(f"{path}: expected a vocabulary of n-grams, found no file. {again}") from error
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path}: expected a vocabulary of n-grams, found another or a cut file: {error}. {again}"
        ) from error
    if found != _FORMAT:
        raise UserError(f"{path}: expected {_FORMAT}, found {found or 'another kind of file'}. {again}")
    return _arrays_of(np.asarray(np.memmap(path, np.uint8, mode="c")))


def _arrays_of(data: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of a safetensors file: a length of 8 bytes, so much JSON, then the arrays."""
    start = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(data[8:start].tobytes())
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            arrays[name] = data[start + begin : start + end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


# -- The compiled loops -----------------------------------------------------------------------------------------------


@compiled
def _edge_home(edge: np.int64, edges: NDArray[np.int64]) -> np.int64:
    """The slot where the search for `edge` begins."""
    code = np.uint64(edge)
    code = (code ^ (code >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((code ^ (code >> np.uint64(32))) & np.uint64(len(edges) - 1))


@compiled
def _edge_settle(slot: np.int64, edge: np.int64, edges: NDArray[np.int64]) -> np.int64:
    """From its home on, the slot that holds `edge`, or the empty one where it would go."""
    while edges[slot, 0] >= 0 and edges[slot, 0] != edge:
        slot = (slot + 1) & (len(edges) - 1)
    return slot


@compiled
def _add_edges(new: NDArray[np.int64], nodes: NDArray[np.int64], edges: NDArray[np.int64]) -> None:
    for i in range(len(new)):
        slot = _edge_settle(_edge_home(new[i], edges), new[i], edges)
        edges[slot, 0] = new[i]
        edges[slot, 1] = nodes[i]


@compiled
def _walk(
    words: NDArray[np.int32],
    bounds: NDArray[np.int64],
    first_nodes: NDArray[np.int32],
    edges: NDArray[np.int64],
    size: int,
    alive: NDArray[np.int64],
    found: NDArray[np.int64],
) -> int:
    """Write text << 32 | id for every n-gram of every text to `found`; returns how many.

    All walks of a text go on together, one word at a time, in two passes, since the first does not branch on what it
    reads: the processor waits for many edges at once. `alive` has three rows with room for the longest text: where
    each walk began, its node or next edge, and the slot of that edge.
    """
    starts, nodes, slots = alive[0], alive[1], alive[2]
    count = 0
    for text in range(len(bounds) - 1):
        begin, end = bounds[text], bounds[text + 1]
        walks = 0
        for start in range(begin, end):
            starts[walks] = start
            nodes[walks] = first_nodes[words[start]]
            walks += nodes[walks] >= 0
        reach = 1
        while walks > 0:
            count = _write_down(text, nodes, walks, size, count, found)
            walks = _look(words, end, reach, edges, starts, nodes, slots, walks)
            walks = _follow(edges, starts, nodes, slots, walks)
            reach += 1
    return count


@compiled
def _write_down(
    text: int, nodes: NDArray[np.int64], walks: int, size: int, count: int, found: NDArray[np.int64]
) -> int:
    for i in range(walks):
        if nodes[i] < size:  # else no member, but the beginning of one
            found[count] = text << _ID_BITS | nodes[i]
            count += 1
    return count


@compiled
def _look(
    words: NDArray[np.int32],
    end: int,
    reach: int,
    edges: NDArray[np.int64],
    starts: NDArray[np.int64],
    nodes: NDArray[np.int64],
    slots: NDArray[np.int64],
    walks: int,
) -> int:
    """Put the next edge in the place of each node; walks end with the text, at unknown words and at empty slots."""
    left = 0
    for i in range(walks):
        position = starts[i] + reach
        if position < end and words[position] >= 0:
            edge = nodes[i] << _ID_BITS | words[position]
            slot = _edge_home(edge, edges)
            starts[left], nodes[left], slots[left] = starts[i], edge, slot
            left += edges[slot, 0] >= 0
    return left


@compiled
def _follow(
    edges: NDArray[np.int64], starts: NDArray[np.int64], nodes: NDArray[np.int64], slots: NDArray[np.int64], walks: int
) -> int:
    """Put the node that it leads to in the place of each edge; walks whose edge does not exist end."""
    left = 0
    for i in range(walks):
        node = edges[_edge_settle(slots[i], nodes[i], edges), 1]
        starts[left], nodes[left] = starts[i], node
        left += node >= 0
    return left
