"""What is learned: labelled texts in three splits, from whichever source."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Example:
    """One text or pair of texts with its label.

    `label` is an index into `Task.labels`, or the target value of a regression task. `difficulty` counts the
    compositional steps that decide the label; only generated (builtin) tasks know it.
    """

    text_a: str
    text_b: str | None
    label: float
    difficulty: int | None = None


@dataclass(frozen=True)
class Task:
    """A classification or regression task.

    Attributes:
        name: canonical name, e.g. `sst-2`.
        labels: label names in index order; empty for regression.
        metric: the headline metric's name (`common.tasks.metrics`): `accuracy`, `f1`, `matthews`, ...
        source: where it came from: `builtin`, `files` or `hub`.
        train, dev, test: the splits. Results are reported on `dev`; `test` may be empty (GLUE hides its
            labels).
        tune: a part of the original train split, held back for choosing thresholds (see `hold_back`).
    """

    name: str
    labels: tuple[str, ...]
    metric: str
    source: str
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...] = ()
    tune: tuple[Example, ...] = ()

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number rather than a class."""
        return not self.labels

    @property
    def is_pair(self) -> bool:
        """Whether each example holds two texts."""
        return self.train[0].text_b is not None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split's content: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr((self.name, self.labels, self.metric)).encode())
        for split in (self.train, self.dev, self.test, self.tune):
            digest.update(b"\x00split")
            for e in split:
                digest.update(repr((e.text_a, e.text_b, e.label)).encode())
        return digest.hexdigest()

    def hold_back(self, count: int, seed: int = 0) -> Task:
        """Move `count` random train examples to `tune` (the same ones for the same seed)."""
        order = list(range(len(self.train)))
        random.Random(seed).shuffle(order)
        held = set(order[:count])
        return replace(
            self,
            train=tuple(e for i, e in enumerate(self.train) if i not in held),
            tune=tuple(e for i, e in enumerate(self.train) if i in held),
        )

    def at_most(self, train: int | None, dev: int | None, seed: int = 0) -> Task:
        """Keep at most so many random train and dev examples (None: all of them)."""
        return replace(self, train=_sample(self.train, train, seed), dev=_sample(self.dev, dev, seed))


def _sample(examples: Sequence[Example], count: int | None, seed: int) -> tuple[Example, ...]:
    if count is None or len(examples) <= count:
        return tuple(examples)
    return tuple(random.Random(seed).sample(examples, count))
