"""Data augmentation (Algorithm 1): a text with words exchanged for others that might stand there, N_a times.

    for each word x_i   of one piece: candidates = the K likeliest words of a masked language model with x_i masked
                        of several:   candidates = the K nearest words of GloVe, by cosine
    N_a times           each word, with probability p_t, becomes a uniform draw of its candidates

Stop words and what is not purely letters are never exchanged, and a piece that continues a word is no candidate (both
as in the official code). Without GloVe's vectors, or for a word that they lack, a word of several pieces stays. Of a
pair one text is changed at a time and the other stays as it is (the official code leaves the first text's last variant
in place while it changes the second, by an oversight). A variant that came before, or is the text itself, is dropped.

The paper masks one word at a time, a pass of the model for each word. `passes` masks every so-many-th word at once:
what a processor can afford.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor

from common.errors import UserError
from common.file_hash import file_sha256
from common.tasks.reading import COMPRESSIONS, numbered_lines
from common.tasks.task import Example
from common.training.batches import rows_by_length
from common.training.pretraining.words import Words

BATCH_SIZE = 64
"""Masked texts that the language model takes at a time."""

MaskedLM = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(n, V) logits at the masked places, from ids (B, L), attention mask (B, L) and the places (B, L), booleans."""


@dataclass(frozen=True)
class Rule:
    """How a text is changed.

    Attributes:
        copies: N_a.
        probability: p_t.
        candidates: K.
        passes: a text's words are masked in so many passes of the language model, every `passes`-th word in one; None:
            each word in a pass of its own, as in the paper.
        max_length: tokens of a text that the language model reads; words beyond stay.
    """

    copies: int
    probability: float = 0.4
    candidates: int = 15
    passes: int | None = None
    max_length: int = 128


@dataclass(frozen=True)
class Word:
    """A word of a text that may be exchanged.

    Attributes:
        start, end: its characters.
        place: its token, if it is one piece; None if it is several.
    """

    start: int
    end: int
    place: int | None


# -- GloVe ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GloVe:
    """Word vectors.

    Attributes:
        words: in the file's order.
        vectors: (n, d), each of unit length.
        fingerprint: of the file.
    """

    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    fingerprint: str = ""

    @staticmethod
    def find(data_dir: Path) -> GloVe | None:
        """Those in a folder `glove...` of the data folder, in a file `glove....txt`, plain or compressed; or None.

        Raises:
            UserError: several files could be meant, or what is there cannot be read.
        """
        endings = tuple(f".txt{suffix}" for suffix in COMPRESSIONS)
        found = [path for path in sorted(data_dir.glob("glove*/glove*")) if path.name.endswith(endings)]
        if len(found) > 1:
            raise UserError(f"several files of word vectors: {', '.join(map(str, found))}. Keep one")
        return GloVe.read(found[0]) if found else None

    @staticmethod
    def read(path: Path, most: int = 100_000) -> GloVe:
        """The first `most` words of a file in GloVe's layout: a word and its numbers a line, parted by blanks.

        Raises:
            UserError: a line has another number of numbers than the first, or something that is none.
        """
        words: list[str] = []
        vectors: list[list[float]] = []
        for number, line in numbered_lines(path):
            word, *numbers = line.split(" ")
            try:
                vector = [float(value) for value in numbers]
            except ValueError as error:
                raise UserError(f"{path}:{number}: expected a word and its vector, found {line[:40]!r}") from error
            if not vector or (vectors and len(vector) != len(vectors[0])):
                wanted = f"{len(vectors[0])} numbers as before" if vectors else "numbers"
                raise UserError(f"{path}:{number}: expected a word and {wanted}, found {len(vector)}")
            words.append(word)
            vectors.append(vector)
            if len(words) == most:
                break
        if not words:
            raise UserError(f"{path} holds no word vectors: expected a word and its numbers a line")
        array = np.asarray(vectors, dtype=np.float32)
        unit = array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)
        return GloVe(tuple(words), unit, file_sha256(path))

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    def nearest(self, word: str, count: int) -> tuple[str, ...]:
        """The `count` words nearest to a word, itself left out; none for a word that is not there."""
        row = self._rows.get(word.lower())
        if row is None:
            return ()
        closeness = self.vectors @ self.vectors[row]
        closeness[row] = -np.inf
        order = np.argsort(-closeness, kind="stable")[:count]
        return tuple(self.words[i] for i in order if i != row)


# -- Words and candidates ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Augmenter:
    """Changes texts.

    Attributes:
        tokenizer: the language model's, a fast one.
        model: the language model's answers at masked places.
        rule: how.
        glove: for words of several pieces; None: they stay.
        device: where the model computes.
        advance: told how many of how many texts have their candidates.
    """

    tokenizer: Any
    model: MaskedLM
    rule: Rule
    glove: GloVe | None
    device: torch.device
    advance: Callable[[int, int], None]

    def augmented(self, examples: Sequence[Example], seed: int) -> list[Example]:
        """The examples, each followed by its variants, labels unchanged."""
        texts = list(dict.fromkeys(t for e in examples for t in (e.text_a, e.text_b) if t is not None))
        known = dict(zip(texts, self.candidates(texts), strict=True))
        rng = random.Random(seed)
        found: list[Example] = []
        for example in examples:
            found.append(example)
            found += [replace(example, text_a=text) for text in self._variants(example.text_a, known, rng)]
            if example.text_b is not None:
                found += [replace(example, text_b=text) for text in self._variants(example.text_b, known, rng)]
        return found

    def _variants(self, text: str, known: Mapping[str, Mapping[Word, Sequence[str]]], rng: random.Random) -> list[str]:
        drawn = [changed(text, known[text], self.rule.probability, rng) for _ in range(self.rule.copies)]
        return [variant for variant in dict.fromkeys(drawn) if variant != text]

    def candidates(self, texts: Sequence[str]) -> list[dict[Word, tuple[str, ...]]]:
        """For each text the candidates of its words; a word without any is left out."""
        encoded = [self.tokenizer(text, truncation=True, max_length=self.rule.max_length) for text in texts]
        words = [exchangeable(text, encoding) for text, encoding in zip(texts, encoded, strict=True)]
        found: list[dict[Word, tuple[str, ...]]] = [{} for _ in texts]
        for text, of_text, mine in zip(texts, words, found, strict=True):
            for word in of_text:
                if word.place is None and self.glove is not None:
                    mine[word] = self.glove.nearest(text[word.start : word.end], self.rule.candidates)
        ids = [encoding["input_ids"] for encoding in encoded]
        for (row, word), likeliest in self._likeliest(ids, words):
            found[row][word] = likeliest
        return [{w: mine[w] for w in sorted(mine, key=lambda w: w.start) if mine[w]} for mine in found]

    def _likeliest(
        self, ids: Sequence[Sequence[int]], words: Sequence[Sequence[Word]]
    ) -> Iterator[tuple[tuple[int, Word], tuple[str, ...]]]:
        """The K likeliest words at each word of one piece."""
        masked = [
            (row, part)
            for row, of_text in enumerate(words)
            for part in in_passes([w for w in of_text if w.place is not None], self.rule.passes)
        ]
        for done, chosen in enumerate(rows_by_length([len(ids[row]) for row, _ in masked], BATCH_SIZE), 1):
            batch = [masked[i] for i in chosen]
            logits = self._ask([ids[row] for row, _ in batch], [part for _, part in batch])
            logits = logits[:, : len(self._strings)].masked_fill(self._no_words.to(logits.device), -torch.inf)
            best = logits.topk(self.rule.candidates, dim=-1).indices.cpu().tolist()
            places = [(row, word) for row, part in batch for word in sorted(part, key=lambda w: w.place or 0)]
            for place, likeliest in zip(places, best, strict=True):
                yield place, tuple(self._strings[i] for i in likeliest)
            self.advance(done * BATCH_SIZE, max(done * BATCH_SIZE, len(masked)))

    @torch.inference_mode()
    def _ask(self, ids: Sequence[Sequence[int]], parts: Sequence[Sequence[Word]]) -> Tensor:
        """(n, V) at the masked words of all texts, text by text, from left to right."""
        shape = len(ids), max(map(len, ids))
        inputs = torch.full(shape, int(self.tokenizer.pad_token_id))
        present, places = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
        for row, (of_text, part) in enumerate(zip(ids, parts, strict=True)):
            inputs[row, : len(of_text)] = torch.tensor(of_text)
            present[row, : len(of_text)] = 1
            places[row, [word.place for word in part if word.place is not None]] = True
        inputs[places] = int(self.tokenizer.mask_token_id)
        return self.model(inputs.to(self.device), present.to(self.device), places.to(self.device)).float()

    @cached_property
    def _strings(self) -> list[str]:
        """Each id of the vocabulary as it is written."""
        tokens = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        return [str(self.tokenizer.convert_tokens_to_string([token])).strip() for token in tokens]

    @cached_property
    def _no_words(self) -> Tensor:
        """(V,) True for what is no candidate: special tokens, continuations, whatever is not purely letters."""
        words = Words.of(self.tokenizer)
        wrong = words.continues | torch.tensor([not text.isalpha() for text in self._strings])
        wrong[list(words.special)] = True
        return wrong


def exchangeable(text: str, encoding: Any) -> list[Word]:  # noqa: ANN401
    """The words of a text that may be exchanged, from left to right, by a fast tokenizer's encoding of it."""
    tokens: dict[int, list[int]] = {}
    for place, word in enumerate(encoding.word_ids()):
        if word is not None:
            tokens.setdefault(word, []).append(place)
    words = []
    for word, places in tokens.items():
        start, end = encoding.word_to_chars(word)
        written = text[start:end]
        if written.isalpha() and written.lower() not in ENGLISH_STOP_WORDS:
            words.append(Word(start, end, places[0] if len(places) == 1 else None))
    return words


def in_passes(words: Sequence[Word], passes: int | None) -> list[Sequence[Word]]:
    """The words that are masked together, pass by pass."""
    count = len(words) if passes is None else min(passes, len(words))
    return [words[first::count] for first in range(count)]


def changed(text: str, words: Mapping[Word, Sequence[str]], probability: float, rng: random.Random) -> str:
    """The text with each word, with some probability, exchanged for one of its candidates."""
    parts, end = [], 0
    for word, candidates in words.items():
        if rng.random() < probability:
            parts += [text[end : word.start], rng.choice(list(candidates))]
            end = word.end
    return "".join([*parts, text[end:]])
