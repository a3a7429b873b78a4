"""What is learned: labelled texts in three splits, from whichever source."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from common.tasks.catalogue import find_facts


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
        limits: at most so many train and dev examples are to be used, as the user says (None: all).
    """

    name: str
    labels: tuple[str, ...]
    metric: str
    source: str
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...] = ()
    tune: tuple[Example, ...] = ()
    limits: tuple[int | None, int | None] = (None, None)

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number rather than a class."""
        return not self.labels

    @property
    def is_own(self) -> bool:
        """Whether it is the user's own data set, not one that the project knows by name."""
        return self.source == "files" and find_facts(self.name) is None

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
        """Move `count` random train examples to `tune` (the same ones for the same seed).

        Classes keep their shares on both sides, and none leaves train while another has examples to spare.
        """
        held = set(_drawn(self._strata(self.train), count, seed, leave=1))
        return replace(
            self,
            train=tuple(e for i, e in enumerate(self.train) if i not in held),
            tune=tuple(e for i, e in enumerate(self.train) if i in held),
        )

    def at_most(self, train: int | None, dev: int | None, seed: int = 0) -> Task:
        """Keep at most so many random train and dev examples, classes in their shares (None: all of them)."""
        return replace(self, train=self._sample(self.train, train, seed), dev=self._sample(self.dev, dev, seed))

    def _sample(self, examples: Sequence[Example], count: int | None, seed: int) -> tuple[Example, ...]:
        if count is None or len(examples) <= count:
            return tuple(examples)
        return tuple(examples[i] for i in _drawn(self._strata(examples), count, seed, take=1))

    def _strata(self, examples: Sequence[Example]) -> list[list[int]]:
        """The places of each class's examples; of a regression all together."""
        places: dict[float, list[int]] = {}
        for i, e in enumerate(examples):
            places.setdefault(0.0 if self.is_regression else e.label, []).append(i)
        return [places[label] for label in sorted(places)]


def _drawn(strata: Sequence[Sequence[int]], count: int, seed: int, take: int = 0, leave: int = 0) -> list[int]:
    """`count` random places in random order, of each stratum its share."""
    generator = random.Random(seed)
    shares = proportional([len(places) for places in strata], count, take, leave)
    drawn = [i for places, share in zip(strata, shares, strict=True) for i in generator.sample(places, share)]
    generator.shuffle(drawn)
    return drawn


def proportional(sizes: Sequence[int], count: int, take: int = 0, leave: int = 0) -> list[int]:
    """How many of `count` fall to each size in proportion, to the nearest whole number.

    Of each at least `take` are taken and at least `leave` are left, where `count` allows it for all.
    """
    quotas = [count * size / sum(sizes) for size in sizes]
    low = [min(take, size) for size in sizes]
    high = [max(0, size - leave) for size in sizes]
    if sum(low) > count:
        low = [0] * len(sizes)
    if sum(high) < count:
        high = list(sizes)
    shares = [min(max(int(quota), a), b) for quota, a, b in zip(quotas, low, high, strict=True)]
    while (missing := count - sum(shares)) != 0:
        step = 1 if missing > 0 else -1
        free = [i for i, share in enumerate(shares) if (share < high[i] if step > 0 else share > low[i])]
        furthest = max(free, key=lambda i: step * (quotas[i] - shares[i]))
        shares[furthest] += step
    return shares
