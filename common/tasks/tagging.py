"""What is learned word by word: sentences whose words have tags, from whichever source."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from common.tasks.catalogue import find_facts


@dataclass(frozen=True, slots=True)
class Sentence:
    """The words of a sentence with their tags.

    Attributes:
        words: as written.
        tags: of each word, an index into `TaggingTask.tags`.
        difficulty: of each word, from 1: how far one must look from it to know its tag; generated tasks know it.
        where: file and line, for messages.
    """

    words: tuple[str, ...]
    tags: tuple[int, ...]
    difficulty: tuple[int, ...] | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class TaggingTask:
    """A sequence labelling task.

    Attributes:
        name: canonical name, e.g. `wnut-17`.
        tags: tag names in index order; spans are marked by `B-x`, `I-x` and `O`.
        metric: `span_f1` or `token_accuracy` (`common.tasks.tag_metrics`).
        source: where it came from: `builtin`, `files` or `hub`.
        train, dev: results are reported on `dev`; where a data set has a labelled test split, that one is it, as in the
            papers.
        tune: for choosing thresholds: the data set's own development split, or a part of train (`hold_back`).
        held_back: how many sentences of `tune` were moved there from train.
    """

    name: str
    tags: tuple[str, ...]
    metric: str
    source: str
    train: tuple[Sentence, ...]
    dev: tuple[Sentence, ...]
    tune: tuple[Sentence, ...] = ()
    held_back: int = 0

    @property
    def is_own(self) -> bool:
        """Whether it is the user's own data set, not one that the project knows by name."""
        return self.source == "files" and find_facts(self.name) is None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split's content: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr((self.name, self.tags, self.metric)).encode())
        for split in (self.train, self.dev, self.tune):
            digest.update(b"\x00split")
            for sentence in split:
                digest.update(repr((sentence.words, sentence.tags)).encode())
        return digest.hexdigest()

    def hold_back(self, count: int, seed: int = 0) -> TaggingTask:
        """With `count` random sentences at most as `tune`: of its own development split, else moved from train."""
        if self.tune:
            return replace(self, tune=_sample(self.tune, count, seed))
        held = set(random.Random(seed).sample(range(len(self.train)), count))
        return replace(
            self,
            train=tuple(s for i, s in enumerate(self.train) if i not in held),
            tune=tuple(s for i, s in enumerate(self.train) if i in held),
            held_back=count,
        )

    def at_most(self, train: int | None, dev: int | None, seed: int = 0) -> TaggingTask:
        """Keep at most so many random sentences of train and dev (None: all of them)."""
        return replace(self, train=_sample(self.train, train, seed), dev=_sample(self.dev, dev, seed))


def _sample(sentences: Sequence[Sentence], count: int | None, seed: int) -> tuple[Sentence, ...]:
    """So many sentences in their order."""
    if count is None or len(sentences) <= count:
        return tuple(sentences)
    return tuple(sentences[i] for i in sorted(random.Random(seed).sample(range(len(sentences)), count)))
