"""All distinct n-grams of a corpus with their frequencies, in order, by an external sort.

The corpus is a stream of word ranks, n-grams are the beginnings of windows of four words. Windows are sorted and
counted in blocks, each written as a run; the runs are merged range by range. A set of m windows is an array (3, m): the
ranks of words 1 and 2 in one number, those of words 3 and 4 in the next (0 where the text has ended, so that an n-gram
sorts before those that it begins), and how often the window occurs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

LONGEST = 4
_HALF = np.uint64(32)

# -- What lies on disk -------------------------------------------------------------------------------------------------


@contextmanager
def says_what_cannot_be_written(path: Path) -> Iterator[None]:
    """Turn a failed write of the block into a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Expected a folder with room for up to 80 bytes for each "
            "word of the corpus; give one as `scratch`"
        ) from error


@dataclass(frozen=True)
class Spill:
    """An array on disk that grows at its end."""

    path: Path
    dtype: np.dtype[Any]

    def append(self, values: NDArray[Any]) -> None:
        """Write `values` to the end."""
        with says_what_cannot_be_written(self.path), self.path.open("ab") as file:
            values.astype(self.dtype, copy=False).tofile(file)

    def __len__(self) -> int:
        return self.path.stat().st_size // self.dtype.itemsize

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Entries start..stop, or to the end."""
        return np.fromfile(self.path, self.dtype, count=stop - start, offset=start * self.dtype.itemsize)


# -- Sorted runs of windows --------------------------------------------------------------------------------------------


def sorted_runs(
    stream: Spill, ranks: NDArray[np.uint64], longest: int, block: int, folder: Path
) -> Iterator[NDArray[np.uint64]]:
    """The windows of the stream in blocks, sorted and counted, as files mapped into memory."""
    for start in range(0, len(stream), block):
        words = ranks[stream.read(start, start + block + longest - 1)]
        high, low = _windows(words, min(block, len(stream) - start), longest)
        path = folder / f"run-{start}.npy"
        with says_what_cannot_be_written(path):
            np.save(path, _counted(high, low, np.ones_like(high)))
        yield np.load(path, mmap_mode="r")


def _windows(words: NDArray[np.uint64], count: int, longest: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The windows that begin at the first `count` entries and at a word; each stops at the end of its text."""
    padded = np.zeros(count + LONGEST - 1, np.uint64)
    padded[: len(words)] = words
    columns = [
        padded[depth : depth + count] if depth < longest else np.zeros(count, np.uint64) for depth in range(LONGEST)
    ]
    for depth in range(1, LONGEST):
        columns[depth] = np.where(columns[depth - 1] == 0, 0, columns[depth]).astype(np.uint64)
    begins = columns[0] != 0
    first, second, third, fourth = (column[begins] for column in columns)
    return first << _HALF | second, third << _HALF | fourth


def _counted(high: NDArray[np.uint64], low: NDArray[np.uint64], counts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(3, distinct) the windows sorted, equal ones as one with the sum of their counts."""
    order = np.lexsort((low, high))
    high, low, counts = high[order], low[order], counts[order]
    new = np.ones(len(order), bool)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    first = np.flatnonzero(new)
    return np.stack([high[first], low[first], np.add.reduceat(counts, first) if len(first) else counts])


# -- The runs merged, and the beginnings of their windows --------------------------------------------------------------


def merged(runs: Sequence[NDArray[np.uint64]], block: int) -> Iterator[NDArray[np.uint64]]:
    """All distinct windows in order, in ranges of about `block` at the most.

    A range ends at every K-th of the windows sampled regularly from K runs, so its parts of the runs are bounded
    together, however the words are distributed.
    """
    step = max(1, block // (2 * len(runs)))
    samples = np.concatenate([run[:2, ::step] for run in runs], axis=1)
    order = np.lexsort((samples[1], samples[0]))[len(runs) :: len(runs)]
    starts = [0] * len(runs)
    for border in [*samples[:, order].T, None]:
        ends = [run.shape[1] if border is None else _place(run, *border) for run in runs]
        pieces = [run[:, start:end] for run, start, end in zip(runs, starts, ends, strict=True)]
        together = np.concatenate(pieces, axis=1)
        if together.shape[1]:
            yield _counted(*together)
        starts = ends


def _place(run: NDArray[np.uint64], high: np.uint64, low: np.uint64) -> int:
    """How many windows of `run` come before (high, low)."""
    start, end = np.searchsorted(run[0], high, "left"), np.searchsorted(run[0], high, "right")
    return int(start + np.searchsorted(run[1, start:end], low, "left"))


@dataclass(frozen=True)
class _Ngrams:
    """Distinct n-grams in order: length, last word (rank from 1), frequency."""

    depths: NDArray[np.uint8]
    words: NDArray[np.uint32]
    counts: NDArray[np.int64]


def _beginnings(windows: NDArray[np.uint64]) -> _Ngrams:
    """The distinct n-grams that sorted windows begin with; an n-gram comes just before those that it begins."""
    columns = _columns(windows)
    new = np.empty(columns.shape, bool)
    new[0] = True
    np.logical_or.accumulate(columns[1:] != columns[:-1], axis=1, out=new[1:])
    new &= columns != 0
    totals = np.zeros(columns.shape, np.int64)
    for depth in range(LONGEST):
        rows = np.flatnonzero(new[:, depth])
        if len(rows):
            totals[rows, depth] = np.add.reduceat(np.where(columns[:, depth] == 0, 0, windows[2]), rows)
    depths = np.broadcast_to(np.arange(1, LONGEST + 1, dtype=np.uint8), new.shape)
    return _Ngrams(depths[new], columns[new], totals[new])


def _columns(windows: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """(m, 4) the ranks of the words."""
    high, low = windows[:2]
    return np.stack([high >> _HALF, high, low >> _HALF, low], axis=1, dtype=np.uint32, casting="unsafe")


class NgramFile:
    """All distinct n-grams of the corpus in order, on disk."""

    def __init__(self, folder: Path) -> None:
        self._depths = Spill(folder / "depths", np.dtype(np.uint8))
        self._words = Spill(folder / "words", np.dtype(np.uint32))
        self._counts = Spill(folder / "counts", np.dtype(np.int64))

    def fill(self, ranges: Iterable[NDArray[np.uint64]]) -> NDArray[np.int64]:
        """Write the n-grams that the windows of all ranges begin with; returns their frequencies.

        The first window of a range may go on from the last one before it: the n-grams that both begin with are
        there already, and only what is counted for them comes late.
        """
        late: list[tuple[int, int]] = []
        path, positions = np.zeros(LONGEST, np.uint32), np.zeros(LONGEST, np.int64)
        written = 0
        for windows in ranges:
            nodes = _beginnings(windows)
            first, last = _columns(windows[:, [0, -1]])
            shared = int(np.logical_and.accumulate((first == path) & (first != 0)).sum())
            late += zip(positions[:shared].tolist(), nodes.counts[:shared].tolist(), strict=True)
            for depth in range(LONGEST):
                here = np.flatnonzero(nodes.depths[shared:] == depth + 1)
                if len(here):
                    positions[depth] = written + here[-1]
            self._depths.append(nodes.depths[shared:])
            self._words.append(nodes.words[shared:])
            self._counts.append(nodes.counts[shared:])
            written += len(nodes.depths) - shared
            path = last
        counts = self._counts.read(0, written)
        for position, count in late:
            counts[position] += count
        return counts

    def blocks(self, block: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint32]]]:
        """Lengths and last words, so many n-grams at a time."""
        for start in range(0, len(self._depths), block):
            yield self._depths.read(start, start + block), self._words.read(start, start + block)
