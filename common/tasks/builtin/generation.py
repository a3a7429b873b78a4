"""How the generated tasks are filled: fixed shares per difficulty, balanced labels, no sentence twice.

A grammar only has to turn (level, label) into one example; this module decides how many of each are drawn,
rejects repetitions and shuffles. Everything follows from the seed: `random.Random` seeded with a string is the
same in every process, unlike `hash()`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from common.errors import UserError
from common.tasks.builtin.lexicon import Lexicon
from common.tasks.task import Example

# Share of the difficulty levels 1..4.
LEVEL_SHARES = (0.4, 0.3, 0.2, 0.1)
# A draw repeats one already made; past this many in a row the grammar is taken to be exhausted.
MAX_REPEATS = 1000

T = TypeVar("T")
Texts = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Draw:
    """Random choices from one lexicon."""

    rng: random.Random
    lexicon: Lexicon

    def one(self, options: Sequence[T]) -> T:
        """Return one of `options`."""
        return self.rng.choice(options)

    def two(self, options: Sequence[T]) -> tuple[T, T]:
        """Return two different ones of `options`."""
        first, second = self.rng.sample(options, 2)
        return first, second

    def coin(self, probability: float = 0.5) -> bool:
        """Return True with the given probability."""
        return self.rng.random() < probability

    def people(self, count: int) -> list[str]:
        """Return `count` different people as noun phrases, one in four by name."""
        nouns = self.rng.sample(self.lexicon.people, count)
        names = self.rng.sample(self.lexicon.names, count)
        return [name if self.coin(0.25) else f"the {noun}" for noun, name in zip(nouns, names, strict=True)]

    def roles(self, count: int) -> list[str]:
        """Return `count` different people as `the nurse`; never names."""
        return [f"the {noun}" for noun in self.rng.sample(self.lexicon.people, count)]

    def adjunct(self) -> str:
        """Return an adjunct of place or time."""
        return f"on {self.one(self.lexicon.days)}" if self.coin(0.4) else self.one(self.lexicon.places)


Grammar = Callable[[Draw, int, int], Texts]
"""(draw, level 1..4, label) -> the example's texts."""


def level_sizes(size: int) -> list[int]:
    """Split `size` by `LEVEL_SHARES`; the remainder goes to the easiest level."""
    sizes = [int(size * share) for share in LEVEL_SHARES]
    sizes[0] += size - sum(sizes)
    return sizes


def generate(
    grammar: Grammar, lexicon: Lexicon, size: int, labels: int, seed: str, used: set[Texts]
) -> tuple[Example, ...]:
    """Draw `size` distinct examples in random order, labels balanced within each level.

    Args:
        grammar: makes one example.
        lexicon: its words.
        size: how many.
        labels: number of classes.
        seed: any string; equal seeds give equal examples.
        used: texts that may not occur; the new ones are added.

    Raises:
        UserError: the grammar does not hold that many distinct examples.
    """
    draw = Draw(random.Random(seed), lexicon)
    examples = [
        Example(*_fresh(grammar, draw, level, index % labels, used), float(index % labels), level)
        for level, count in enumerate(level_sizes(size), 1)
        for index in range(count)
    ]
    draw.rng.shuffle(examples)
    return tuple(examples)


def _fresh(grammar: Grammar, draw: Draw, level: int, label: int, used: set[Texts]) -> Texts:
    for _ in range(MAX_REPEATS):
        texts = grammar(draw, level, label)
        if texts not in used:
            used.add(texts)
            return texts
    raise UserError(f"cannot generate that many distinct examples of difficulty {level}: ask for fewer.")
