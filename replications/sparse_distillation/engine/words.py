r"""Texts into words, exactly as scikit-learn's `CountVectorizer` splits them, and words into numbers.

A word is what `(?u)\b\w\w+\b` finds in the lower-cased text: a longest run of two or more letters, digits and
underscores of any script. The work is done on UTF-8 bytes by compiled loops. That is exact, because a text that is not
plain ASCII first goes through `str.lower`, and every character beyond ASCII that is no word character becomes a space:
from then on a byte of 128 or more belongs to a word. `WordTable` numbers words by comparing their bytes: two words
never share a number, whatever their hashes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """`function`, compiled at its first call and cached on disk; it runs without the interpreter's lock."""
    return cast(Function, njit(nogil=True, cache=True)(function))


# -- Texts into words -------------------------------------------------------------------------------------------------

_BEYOND_ASCII_NO_WORD = re.compile(r"[^\x00-\x7f\w]")


def _lower_cased_bytes() -> NDArray[np.uint8]:
    """For each byte, itself in lower case where it belongs to a word, else 0."""
    ascii_word = [chr(byte) if chr(byte).isalnum() or chr(byte) == "_" else "\0" for byte in range(128)]
    return np.array([ord(character.lower()) for character in ascii_word] + list(range(128, 256)), np.uint8)


_LOWER = _lower_cased_bytes()
_CHARACTER_MASK, _CONTINUATION = 0xC0, 0x80  # UTF-8: all bytes of a character but the first are 10xxxxxx


@dataclass(frozen=True, eq=False)
class SplitTexts:
    """N texts as M words.

    Attributes:
        data: the texts' bytes, words in lower case.
        starts, ends: (M,) where each word lies in `data`.
        bounds: (N + 1,) the words of text i are those from bounds[i] up to bounds[i + 1].
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    bounds: NDArray[np.int64]


def split_texts(texts: Sequence[str]) -> SplitTexts:
    """The words of each text, in order."""
    return _split([_plain(text).encode() for text in texts])


def chunks(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """`texts` in runs that end as soon as they have so many characters: no run is empty."""
    run: list[str] = []
    length = 0
    for text in texts:
        run.append(text)
        length += len(text) + 1
        if length >= characters:
            yield run
            run, length = [], 0
    if run:
        yield run


def _plain(text: str) -> str:
    """A text with the same words, in which each character beyond ASCII is a lower-case word character."""
    return text if text.isascii() else _BEYOND_ASCII_NO_WORD.sub(" ", text.lower())


def _split(encoded: Sequence[bytes]) -> SplitTexts:
    data = np.frombuffer(bytearray(b"\n".join([*encoded, b""])), np.uint8)
    most = len(data) // 3 + 1  # two letters and what parts them
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    count = _find_words(data, _LOWER, starts, ends)
    text_starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) + 1 for text in encoded], out=text_starts[1:])
    return SplitTexts(data, starts[:count], ends[:count], np.searchsorted(starts[:count], text_starts))


@compiled
def _find_words(
    data: NDArray[np.uint8], lower: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> int:
    """Lower-case `data` in place and write down its words; it ends with a byte that is in no word."""
    count, characters, begin = 0, 0, 0
    for i in range(len(data)):
        byte = lower[data[i]]
        if byte == 0:
            if characters >= 2:
                starts[count] = begin
                ends[count] = i
                count += 1
            characters = 0
        else:
            if characters == 0:
                begin = i
            data[i] = byte
            characters += byte & _CHARACTER_MASK != _CONTINUATION
    return count


# -- Words into numbers -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WordTable:
    """W distinct words, numbered from 0.

    Attributes:
        letters: the words' bytes, one word after the other.
        bounds: (W + 1,) word w is letters[bounds[w]:bounds[w + 1]].
        slots: open-addressing hash table (a power of 2, at most half full) of word numbers; -1 where empty.
    """

    letters: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    slots: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @classmethod
    def of(cls, words: Sequence[bytes]) -> WordTable:
        """The table of these distinct lower-case words (UTF-8), numbered as they come."""
        growing = GrowingWordTable()
        growing.number(_split([b" ".join(words)]))
        return growing.table()

    def word(self, number: int) -> bytes:
        """Word `number` (UTF-8)."""
        return self.letters[self.bounds[number] : self.bounds[number + 1]].tobytes()

    def words(self) -> list[bytes]:
        """All words (UTF-8) by number."""
        letters, bounds = self.letters.tobytes(), self.bounds.tolist()
        return [letters[start:end] for start, end in pairwise(bounds)]

    def find(self, texts: SplitTexts) -> NDArray[np.int32]:
        """(M,) the number of each word of `texts`; -1 where the table does not have it."""
        found = np.empty(len(texts.starts), np.int32)
        homes = np.empty(len(found), np.int64)
        _find(texts.data, texts.starts, texts.ends, self.letters, self.bounds, self.slots, homes, found)
        return found


class GrowingWordTable:
    """Numbers words as they first come; the distinct words are held in memory."""

    def __init__(self) -> None:
        self._known = 0
        self._letters, self._bounds, self._slots = _empty_table(words=0, letters=0)

    def number(self, texts: SplitTexts) -> NDArray[np.int32]:
        """(M,) the number of each word of `texts`; words not seen before get the next numbers."""
        words, letters = self._known + len(texts.starts), int(self._bounds[self._known]) + len(texts.data)
        if words >= len(self._bounds) or letters > len(self._letters):
            self._resize(2 * words, 2 * letters)
        return self._add(texts.data, texts.starts, texts.ends)

    def table(self) -> WordTable:
        """What was numbered so far."""
        self._resize(self._known, int(self._bounds[self._known]))  # exact: words to come will need new arrays
        return WordTable(self._letters, self._bounds, self._slots)

    def _add(self, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int32]:
        found = np.empty(len(starts), np.int32)
        self._known = _add(data, starts, ends, self._letters, self._bounds, self._slots, self._known, found)
        return found

    def _resize(self, words: int, letters: int) -> None:
        old_letters, old_bounds = self._letters, self._bounds[: self._known + 1]
        self._letters, self._bounds, self._slots = _empty_table(words, letters)
        self._known = 0
        self._add(old_letters, old_bounds[:-1], old_bounds[1:])


def _empty_table(words: int, letters: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Letters, bounds and slots with room for so many words and letters."""
    return np.empty(letters, np.uint8), np.zeros(words + 1, np.int64), np.full(slots_for(words), -1, np.int32)


def slots_for(entries: int) -> int:
    """Size of an open-addressing table for so many entries: a power of 2, at most half of it full, never all."""
    return 1 << max(1, (2 * entries - 1).bit_length())


@compiled
def _home(data: NDArray[np.uint8], start: int, end: int, slots: NDArray[np.int32]) -> np.int64:
    """The slot where the search for the word data[start:end] begins: a hash (FNV-1a, stirred) of its bytes."""
    code = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        code = (code ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    code = (code ^ (code >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(code >> np.uint64(32)) & (len(slots) - 1)


@compiled
def _settle(
    slot: np.int64,
    data: NDArray[np.uint8],
    start: int,
    end: int,
    letters: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    slots: NDArray[np.int32],
) -> np.int64:
    """From its home on, the slot that holds the word data[start:end], or the empty one where it would go."""
    while slots[slot] >= 0:
        first, last = bounds[slots[slot]], bounds[slots[slot] + 1]
        if last - first == end - start:
            same = 0
            while same < end - start and letters[first + same] == data[start + same]:
                same += 1
            if same == end - start:
                break
        slot = (slot + 1) & (len(slots) - 1)
    return slot


@compiled
def _find(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    letters: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    slots: NDArray[np.int32],
    homes: NDArray[np.int64],
    found: NDArray[np.int32],
) -> None:
    """Two passes, since the first has no branches: the processor waits for many slots at once."""
    for i in range(len(starts)):
        homes[i] = _home(data, starts[i], ends[i], slots)
        found[i] = slots[homes[i]]
    for i in range(len(starts)):
        if found[i] >= 0:
            found[i] = slots[_settle(homes[i], data, starts[i], ends[i], letters, bounds, slots)]


@compiled
def _add(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    letters: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    slots: NDArray[np.int32],
    known: int,
    found: NDArray[np.int32],
) -> int:
    """Like `_find`, but a new word gets the number `known`, which grows; the arrays must have room."""
    for i in range(len(starts)):
        slot = _settle(_home(data, starts[i], ends[i], slots), data, starts[i], ends[i], letters, bounds, slots)
        if slots[slot] < 0:
            begin = bounds[known]
            for j in range(ends[i] - starts[i]):
                letters[begin + j] = data[starts[i] + j]
            bounds[known + 1] = begin + ends[i] - starts[i]
            slots[slot] = known
            known += 1
        found[i] = slots[slot]
    return known
