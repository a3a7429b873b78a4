"""Sentences out of CoNLL files: columns (the word first, the tag last) and CoNLL-U (form and UPOS).

Sentences are parted by blank lines. Spans are marked by BIO, one tag a word: `B-x` begins a span of type x, `I-x` goes
on with it, `O` is outside. IOB1, in which `B-x` stands only between two spans of one type, is recognised over all files
of a data set and converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import UserError, did_you_mean
from common.tasks.reading import numbered_lines, shortened
from common.tasks.tagging import Sentence

DOCUMENT_START = "-DOCSTART-"
CONLLU_FIELDS = 10
_SPAN_TAG = re.compile(r"[BI]-.+")
_BIOES_TAG = re.compile(r"[ESLU]-.+")


@dataclass(frozen=True, slots=True)
class TaggedWord:
    """A word with its tag as written, and the line that it stands in."""

    word: str
    tag: str
    line: int


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """A sentence as read: at least one word."""

    path: Path
    words: tuple[TaggedWord, ...]

    def error(self, line: int, message: str) -> UserError:
        """Make an error that names the file and the line."""
        return UserError(f"{self.path}:{line}: {message}")

    @property
    def tags(self) -> list[str]:
        """Of each word."""
        return [word.tag for word in self.words]

    def tagged(self, tags: Sequence[str]) -> ReadSentence:
        """The same words with other tags."""
        return replace(self, words=tuple(replace(w, tag=t) for w, t in zip(self.words, tags, strict=True)))


# -- Files ------------------------------------------------------------------------------------------------------------


def read_sentences(path: Path) -> list[ReadSentence]:
    """The sentences of a file: CoNLL-U by its name, else columns.

    Raises:
        UserError: the file cannot be read, is malformed, or holds no sentence; the message names the line.
    """
    lines = _conllu_lines(path) if ".conllu" in path.suffixes else _column_lines(path)
    sentences: list[ReadSentence] = []
    words: list[TaggedWord] = []
    for word in lines:
        if word is not None:
            words.append(word)
        elif words:
            sentences.append(ReadSentence(path, tuple(words)))
            words = []
    if words:
        sentences.append(ReadSentence(path, tuple(words)))
    if not sentences:
        raise UserError(
            f"{path} holds no sentences: expected one word with its tag a line, blank lines between sentences."
        )
    return sentences


def _column_lines(path: Path) -> Iterator[TaggedWord | None]:
    """Words of a file of columns; None where a sentence ends."""
    columns, separator = 0, ""
    for number, line in numbered_lines(path):
        if not line.strip() or line.startswith(DOCUMENT_START):
            yield None
            continue
        separator = separator or ("\t" if "\t" in line else " ")
        fields = line.split("\t") if separator == "\t" else line.split()
        columns = columns or len(fields)
        if len(fields) < 2 or len(fields) != columns:
            wanted = f"{columns} columns as in the lines above" if columns > 1 else "a word and its tag"
            kind = "tabs" if separator == "\t" else "blanks"
            raise UserError(
                f"{path}:{number}: expected {wanted}, parted by {kind}, found {len(fields)} ('{shortened(line)}')."
            )
        word, tag = fields[0].strip(), fields[-1].strip()
        if not word or not tag:
            raise UserError(f"{path}:{number}: the {'tag' if word else 'word'} is missing ('{shortened(line)}').")
        yield TaggedWord(word, tag, number)


def _conllu_lines(path: Path) -> Iterator[TaggedWord | None]:
    """Syntactic words with their UPOS, without multiword tokens (`3-4`, whose parts follow) and empty nodes (`8.1`)."""
    for number, line in numbered_lines(path):
        if not line.strip():
            yield None
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != CONLLU_FIELDS:
                raise UserError(
                    f"{path}:{number}: expected the {CONLLU_FIELDS} fields of CoNLL-U, parted by tabs, found "
                    f"{len(fields)} ('{shortened(line)}')."
                )
            if not fields[0].isdecimal():
                if not re.fullmatch(r"\d+[-.]\d+", fields[0]):
                    raise UserError(f"{path}:{number}: expected a number as in 3, 3-4 or 3.1, found '{fields[0]}'.")
                continue
            if not fields[1].strip():
                raise UserError(f"{path}:{number}: the word is missing ('{shortened(line)}').")
            yield TaggedWord(fields[1], fields[3], number)


# -- Tags -------------------------------------------------------------------------------------------------------------


def marks_spans(sentences: Sequence[ReadSentence]) -> bool:
    """Whether tags mark spans (BIO or IOB1) rather than being of each word (parts of speech)."""
    return any(_SPAN_TAG.fullmatch(tag) for sentence in sentences for tag in sentence.tags)


def checked_spans(files: Sequence[Sequence[ReadSentence]]) -> list[list[ReadSentence]]:
    """The sentences of a data set's files, tags in BIO, IOB1 converted.

    Raises:
        UserError: a tag is none of O, B-x and I-x, or an I-x continues nothing though the files are not in IOB1.
    """
    everyone = [sentence for sentences in files for sentence in sentences]
    for sentence in everyone:
        for word in sentence.words:
            if word.tag != "O" and not _SPAN_TAG.fullmatch(word.tag):
                advice = " Convert BIOES to BIO first." if _BIOES_TAG.fullmatch(word.tag) else ""
                raise sentence.error(word.line, f"unknown tag '{word.tag}': expected O, B-x or I-x.{advice}")
    orphan = next(((s, w) for s in everyone for w in _orphans(s)), None)
    if orphan is None:
        return [list(sentences) for sentences in files]
    if any(_begins_after_other(sentence) for sentence in everyone):
        sentence, word = orphan
        raise sentence.error(
            word.line,
            f"'{word.tag}' continues no {word.tag[2:]}: a span begins with B-{word.tag[2:]} (BIO). Files in which each "
            "span begins with I- and B- only parts two neighbours (IOB1) are read too, but not a mixture.",
        )
    return [[sentence.tagged(bio_from_iob1(sentence.tags)) for sentence in sentences] for sentences in files]


def _orphans(sentence: ReadSentence) -> Iterator[TaggedWord]:
    """Words tagged I-x that continue no x."""
    for before, word in zip(["O", *sentence.tags], sentence.words, strict=False):
        if word.tag.startswith("I-") and before[2:] != word.tag[2:]:
            yield word


def _begins_after_other(sentence: ReadSentence) -> bool:
    """Whether a B-x stands where IOB1 would have an I-x: not right behind a span of type x."""
    tags = sentence.tags
    return any(tag.startswith("B-") and before[2:] != tag[2:] for before, tag in zip(["O", *tags], tags, strict=False))


def bio_from_iob1(tags: Sequence[str]) -> list[str]:
    """BIO tags for IOB1's: whatever begins a span is marked B-x."""
    bio = []
    for before, tag in zip(["O", *tags], tags, strict=False):
        bio.append(f"B-{tag[2:]}" if tag.startswith("I-") and before[2:] != tag[2:] else tag)
    return bio


def tag_names(sentences: Sequence[ReadSentence]) -> tuple[str, ...]:
    """The tags that occur, `O` first, then by type, each with its B- and I-; parts of speech in alphabetical order."""
    found = {tag for sentence in sentences for tag in sentence.tags}
    if not marks_spans(sentences):
        return tuple(sorted(found))
    types = sorted({tag[2:] for tag in found if tag != "O"})
    return ("O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))


def indexed(sentences: Sequence[ReadSentence], tags: Sequence[str]) -> tuple[Sentence, ...]:
    """Sentences with their tags as indices into `tags`.

    Raises:
        UserError: a tag is none of them; the message names file and line.
    """
    places = {tag: place for place, tag in enumerate(tags)}
    return tuple(_indexed(sentence, places) for sentence in sentences)


def _indexed(sentence: ReadSentence, places: dict[str, int]) -> Sentence:
    for word in sentence.words:
        if word.tag not in places:
            known = ", ".join(list(places)[:20]) + (", ..." if len(places) > 20 else "")
            near = did_you_mean(word.tag, places)
            raise sentence.error(word.line, f"unknown tag '{shortened(word.tag)}'{near or ';'} known: {known}.")
    where = f"{sentence.path}:{sentence.words[0].line}"
    return Sentence(tuple(w.word for w in sentence.words), tuple(places[w.tag] for w in sentence.words), None, where)
