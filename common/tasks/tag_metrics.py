"""The metrics of sequence labelling as sums over sentences, and the spans behind them.

Both are one form. Of each sentence three numbers count: what was answered, what is true, and what is both. Then

    score = 2 sum(both) / (sum(answered) + sum(true)),

for spans the F1 over all of them (micro-averaged), for words, of which as many are answered as are true, the accuracy.
A sentence is the unit that intervals redraw: its words depend on each other.

What counts as a span differs between two conventions where tags are not well-formed, which a model's may not be:

- `conlleval` (the shared tasks' script, and the default of seqeval): an I-x that continues no x begins a span;
- `strict` (seqeval's mode of that name for IOB2): such an I-x, and what continues it, is no span.

On well-formed tags they agree. A span is right if its first word, its last word and its type are. Tests hold both
against seqeval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import UserError

Array = NDArray[Any]

SPAN_F1, TOKEN_ACCURACY = "span_f1", "token_accuracy"

OUTSIDE, BEGIN, INSIDE = 0, 1, 2
"""What the prefix of a tag says."""


@dataclass(frozen=True)
class Counts:
    """What was answered, what is true and what is both, of each sentence: (S,) whole numbers."""

    both: Array
    answered: Array
    true: Array

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """All three, in the order that `points` takes them."""
        return self.both, self.answered, self.true

    @property
    def points(self) -> float:
        """The score, 0..100."""
        return float(points(*self.arrays))


def points(both: Array, answered: Array, true: Array, axis: int = -1) -> Array:
    """The score in points over an axis of sentences; 0 where there is neither an answer nor a truth."""
    total = answered.sum(axis=axis, dtype=np.int64) + true.sum(axis=axis, dtype=np.int64)
    return np.asarray(200 * both.sum(axis=axis, dtype=np.int64) / np.maximum(1, total))


def points_ahead(
    both: Array,
    answered: Array,
    true: Array,
    rival_both: Array,
    rival_answered: Array,
    rival_true: Array,
    axis: int = -1,
) -> Array:
    """Points that one answer scores above a rival's, of the counts of both."""
    rival = points(rival_both, rival_answered, rival_true, axis=axis)
    return np.asarray(points(both, answered, true, axis=axis) - rival)


def tag_parts(tags: Sequence[str]) -> Array:
    """(C, 2) of each tag its prefix (`OUTSIDE`, `BEGIN`, `INSIDE`) and the number of its type, 0 for O.

    A tag without a prefix, as of parts of speech, is a type that always begins.
    """
    prefixes = {"B": BEGIN, "I": INSIDE}
    types: dict[str, int] = {}
    parts = []
    for tag in tags:
        prefix, dash, kind = tag.partition("-")
        if tag == "O":
            parts.append((OUTSIDE, 0))
        elif dash and prefix in prefixes:
            parts.append((prefixes[prefix], types.setdefault(kind, len(types) + 1)))
        else:
            parts.append((BEGIN, types.setdefault(tag, len(types) + 1)))
    return np.array(parts, dtype=np.int64)


def span_counts(answers: Array, labels: Array, lengths: Array, parts: Array, *, strict: bool = False) -> Counts:
    """Spans of each sentence.

    Args:
        answers: (W,) tag indices of all words, sentence after sentence.
        labels: (W,) the true ones.
        lengths: (S,) words of each sentence; W in all.
        parts: (C, 2) of `tag_parts`.
        strict: the convention, see above.
    """
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    first = np.zeros(len(labels), dtype=bool)
    first[np.cumsum(lengths)[:-1][np.asarray(lengths)[1:] > 0]] = True
    first[:1] = True
    found, true = (_spans(parts[tags], first, strict) for tags in (answers, labels))
    both = found.begins & true.begins & (found.last == true.last) & (found.kind == true.kind)
    return Counts(
        *(np.bincount(sentence[where], minlength=len(lengths)) for where in (both, found.begins, true.begins))
    )


@dataclass(frozen=True)
class _Spans:
    """Of each word, whether a span begins there, its type, and the last word of the run that begins there, (W,)."""

    begins: Array
    kind: Array
    last: Array


def _spans(parts: Array, first: Array, strict: bool) -> _Spans:
    prefix, kind = parts[:, 0], parts[:, 1]
    goes_on = np.zeros(len(prefix), dtype=bool)
    goes_on[1:] = (prefix[1:] == INSIDE) & (kind[1:] == kind[:-1]) & (prefix[:-1] != OUTSIDE) & ~first[1:]
    heads = ~goes_on
    begins = heads & ((prefix == BEGIN) if strict else (prefix != OUTSIDE))
    places = np.flatnonzero(heads)
    last = np.zeros(len(prefix), dtype=np.int64)
    last[places] = np.append(places[1:], len(prefix)) - 1
    return _Spans(begins, kind, last)


def word_counts(answers: Array, labels: Array, lengths: Array) -> Counts:
    """Words of each sentence: right, answered and true; arguments as for `span_counts`."""
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    right = np.bincount(sentence[np.asarray(answers) == np.asarray(labels)], minlength=len(lengths))
    return Counts(right, np.asarray(lengths), np.asarray(lengths))


def tag_counts(
    metric: str, answers: ArrayLike, labels: ArrayLike, lengths: ArrayLike, parts: Array, *, strict: bool = False
) -> Counts:
    """The counts of one of the two metrics; arguments as for `span_counts`.

    Raises:
        UserError: no such metric.
        ValueError: answers and labels are not as many as the sentences have words.
    """
    if metric not in COUNTS:
        raise UserError(f"unknown metric of tagging '{metric}'; known: {', '.join(COUNTS)}.")
    given, true, words = np.asarray(answers), np.asarray(labels), np.asarray(lengths)
    if given.shape != true.shape or given.ndim != 1 or words.sum() != len(true):
        raise ValueError(f"need a tag for each of {words.sum()} words, got {given.shape} and {true.shape}")
    if metric == SPAN_F1:
        return span_counts(given, true, words, parts, strict=strict)
    return word_counts(given, true, words)


COUNTS: Mapping[str, Callable[..., Counts]] = {SPAN_F1: span_counts, TOKEN_ACCURACY: word_counts}
