"""Generated named-entity tagging: real English words in lower case, known difficulty of every word.

`entities` wants a pretrained encoder. Its names can each be a person, a place or a firm, so that what they are follows
from elsewhere, and dev has names that never occur in train. Levels, word by word:

1. the word itself tells (most words outside; given names, countries, well-known firms);
2. a neighbour tells: `mr lincoln`, `in lincoln`, `lincoln motors`, `the baker` against `mrs baker`;
3. a word further away tells: `lincoln , as anna told us on monday , has a harbor`;
4. two facts far away must be put together: `lincoln and jordan are known to all : the latter has a harbor , the former
   has a wife`.

`badges` is for the smoke scale: an encoder without pretraining learns it in seconds, since train and dev share words. A
list under a heading: 1 the word tells, 2 its neighbour, 3 the heading, 4 nothing (a coin: nobody should be sure).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.errors import UserError
from common.tasks.builtin.generation import MAX_REPEATS, level_sizes
from common.tasks.catalogue import SMOKE_TAGGING, WORDS, find_facts, known_tasks, unknown_task
from common.tasks.tagging import Sentence, TaggingTask

Piece = tuple[str, str, int]
"""A word, its tag, and its difficulty."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True, slots=True)
class Names:
    """Words that sentences are filled with; train's and the held-out ones have no name in common.

    Attributes:
        any_kind: can be a person, a place or a firm.
        given: given names; countries; firms: each tells what it is.
        trades: nouns that are surnames too.
        days: of the week.
    """

    any_kind: tuple[str, ...]
    given: tuple[str, ...]
    countries: tuple[str, ...]
    firms: tuple[str, ...]
    trades: tuple[str, ...]
    days: tuple[str, ...]


TRAIN = Names(
    any_kind=_words(
        """lincoln jordan hamilton houston austin preston carter jackson madison cleveland wellington morgan sterling
        bradford lancaster stanley douglas washington montgomery marshall"""
    ),
    given=_words("anna david maria peter laura james emma daniel sarah thomas mary john"),
    countries=_words("france spain norway egypt brazil india mexico greece"),
    firms=_words("microsoft toyota siemens nokia boeing intel sony nestle"),
    trades=_words("baker cook miller mason potter hunter"),
    days=_words("monday tuesday wednesday thursday"),
)
HELD_OUT = Names(
    any_kind=_words("franklin chelsea kingston harrison monroe warwick dayton clifton phoenix bristol"),
    given=_words("julia michael alice robert nina george helen victor"),
    countries=_words("italy poland kenya canada japan peru"),
    firms=_words("google samsung renault philips adidas pepsi"),
    trades=_words("carpenter fisher shepherd porter"),
    days=_words("friday saturday sunday"),
)

HAS = {
    "PER": ("a wife", "two brothers", "a fever", "grey hair", "a daughter", "a loud voice"),
    "LOC": ("a harbor", "two bridges", "an old castle", "narrow streets", "a cathedral", "a warm climate"),
    "ORG": ("a new chairman", "two factories", "angry shareholders", "a logo", "three subsidiaries", "rising profits"),
}
"""What tells a kind from afar."""

KINDS = tuple(HAS)


def _plain(text: str, level: int = 1) -> list[Piece]:
    return [(word, "O", level) for word in text.split()]


def _entity(words: str, kind: str, *levels: int) -> list[Piece]:
    """An entity of one word or several, each with its level."""
    marks = ["B", *"I" * (len(words.split()) - 1)]
    return [(w, f"{mark}-{kind}", level) for w, mark, level in zip(words.split(), marks, levels, strict=True)]


@dataclass(frozen=True, slots=True)
class _Draw:
    """Random choices from one list of names."""

    rng: random.Random
    names: Names

    def one(self, options: Sequence[str]) -> str:
        return self.rng.choice(options)

    def given(self) -> list[Piece]:
        return _entity(self.one(self.names.given), "PER", 1)

    def country(self) -> list[Piece]:
        return _entity(self.one(self.names.countries), "LOC", 1)

    def firm(self) -> list[Piece]:
        return _entity(self.one(self.names.firms), "ORG", 1)

    def day(self) -> list[Piece]:
        return _plain(f"on {self.one(self.names.days)}")

    def has(self, kind: str) -> list[Piece]:
        return _plain(self.one(HAS[kind]))


# -- Sentences by their hardest word ----------------------------------------------------------------------------------


def _named(draw: _Draw) -> list[Piece]:
    parts = draw.rng.choice(
        (
            [draw.given(), _plain("met"), draw.given(), _plain("in"), draw.country(), draw.day()],
            [draw.firm(), _plain("hired"), draw.given(), _plain("in"), draw.country(), draw.day()],
            [draw.given(), _plain("left"), draw.firm(), _plain("for"), draw.firm(), draw.day()],
            [_plain("the people of"), draw.country(), _plain("like"), draw.firm(), _plain("and"), draw.given()],
        )
    )
    return [piece for part in parts for piece in part]


def _adjacent(draw: _Draw) -> list[Piece]:
    first, second = _clue(draw), _clue(draw)
    verb = draw.one(("and", "was not far from", "had to wait for", "said nothing about"))
    return [*first, *_plain(verb), *second, *draw.day()]


def _clue(draw: _Draw) -> list[Piece]:
    """A noun phrase of which a neighbour tells what it is."""
    name, trade = draw.one(draw.names.any_kind), draw.one(draw.names.trades)
    return draw.rng.choice(
        (
            [*_plain(draw.one(("mr", "mrs", "dr"))), *_entity(name, "PER", 2)],
            [*_plain(draw.one(("mr", "mrs", "dr"))), *_entity(trade, "PER", 2)],
            [*_plain("the"), *_plain(trade, 2)],
            [*_plain(draw.one(("a man in", "the roads near", "the city of"))), *_entity(name, "LOC", 2)],
            _entity(f"{name} {draw.one(('motors', 'airlines', 'bank', 'press'))}", "ORG", 2, 2),
            [*_plain(draw.one(("shares of", "a lawyer at"))), *_entity(name, "ORG", 2)],
            _entity(f"{draw.one(draw.names.given)} {name}", "PER", 1, 2),
        )
    )


def _distant(draw: _Draw) -> list[Piece]:
    kind, name = draw.one(KINDS), draw.one(draw.names.any_kind)
    entity = _entity(name, kind, 3)
    told = [*_plain("as"), *draw.given(), *_plain("told us"), *draw.day()]
    return draw.rng.choice(
        (
            [*entity, *_plain(","), *told, *_plain(", has"), *draw.has(kind)],
            [*_plain("with"), *draw.has(kind), *_plain(","), *told, *_plain(","), *entity, *_plain("is well known")],
            [
                *_plain("nobody knows"),
                *entity,
                *_plain(", though it is said"),
                *draw.day(),
                *_plain("to have"),
                *draw.has(kind),
            ],
        )
    )


def _combined(draw: _Draw) -> list[Piece]:
    kinds = draw.rng.sample(KINDS, 2)
    first, second = (_entity(n, k, 4) for n, k in zip(draw.rng.sample(draw.names.any_kind, 2), kinds, strict=True))
    facts = [
        [*_plain(f"the {which} has"), *draw.has(kind)] for which, kind in zip(("former", "latter"), kinds, strict=True)
    ]
    draw.rng.shuffle(facts)
    begin = draw.one(("are known to all :", "were on the list again :", "have little in common :"))
    return [*first, *_plain("and"), *second, *_plain(begin), *facts[0], *_plain(","), *facts[1]]


ENTITY_LEVELS = (_named, _adjacent, _distant, _combined)


def entities(rng: random.Random, names: Names, level: int) -> list[Piece]:
    """A sentence whose hardest word is of this level."""
    return [*ENTITY_LEVELS[level - 1](_Draw(rng, names)), *_plain(".")]


# -- Smoke scale ------------------------------------------------------------------------------------------------------

PEOPLE, PLACES, EITHER = (
    ("anna", "john", "mary smith"),
    ("france", "paris", "new york"),
    ("jordan", "austin", "lincoln"),
)
HEADINGS = {"people": "PER", "places": "LOC"}


def badges(rng: random.Random, names: Names, level: int) -> list[Piece]:
    """A list of three to five whose last to be drawn is of this level; the names are the same in train and dev."""
    heading = "notes" if level == 4 else rng.choice(tuple(HEADINGS))
    items = [_badge(rng, heading, rng.randint(1, min(level, 2))) for _ in range(rng.randint(2, 4))]
    items.insert(rng.randint(0, len(items)), _badge(rng, heading, level))
    return [*_plain(f"{heading} :"), *(piece for item in items for piece in [*item, *_plain(";")])]


def _badge(rng: random.Random, heading: str, level: int) -> list[Piece]:
    kind = rng.choice(("PER", "LOC"))
    if level == 1:
        words = rng.choice(PEOPLE if kind == "PER" else PLACES)
        return _entity(words, kind, *([1] * len(words.split())))
    if level == 2:
        return [*_plain("mr" if kind == "PER" else "near"), *_entity(rng.choice(EITHER), kind, 2)]
    return _entity(rng.choice(EITHER), HEADINGS.get(heading, kind), level)


# -- Tasks ------------------------------------------------------------------------------------------------------------

Grammar = Callable[[random.Random, Names, int], list[Piece]]

GRAMMARS: dict[str, Grammar] = {"entities": entities, "badges": badges}
TRAIN_SIZE, SMOKE_TRAIN_SIZE = 6_000, 1_200


def builtin_tagging(name: str, seed: int = 0, train_size: int | None = None, dev_size: int = 1_200) -> TaggingTask:
    """Generate a task; its sentences' hardest words are of levels 1 to 4 in the shares 40, 30, 20 and 10 %.

    Args:
        name: `entities` or `badges`.
        seed: equal seeds give equal tasks, in every process.
        train_size: number of train sentences, all distinct; None: as many as there are by default.
        dev_size: likewise for dev.

    Raises:
        UserError: no such task, or more sentences than the grammar holds.
    """
    facts = find_facts(name)
    if facts is None or facts.name not in GRAMMARS:
        raise unknown_task(name, known_tasks("builtin", WORDS), "DATA=builtin")
    size = train_size or (SMOKE_TRAIN_SIZE if facts.name in SMOKE_TAGGING else TRAIN_SIZE)
    used: set[tuple[str, ...]] = set()
    train = _generate(facts.name, facts.labels, TRAIN, size, f"{facts.name} train {seed}", used)
    dev = _generate(facts.name, facts.labels, HELD_OUT, dev_size, f"{facts.name} dev {seed}", used)
    return TaggingTask(facts.name, facts.labels, facts.metric, "builtin", train, dev)


def _generate(
    name: str, tags: Sequence[str], names: Names, size: int, seed: str, used: set[tuple[str, ...]]
) -> tuple[Sentence, ...]:
    rng, places = random.Random(seed), {tag: place for place, tag in enumerate(tags)}
    sentences: list[Sentence] = []
    for level, count in enumerate(level_sizes(size), 1):
        for _ in range(count):
            pieces = _fresh(GRAMMARS[name], rng, names, level, used)
            words, marks, levels = zip(*pieces, strict=True)
            sentences.append(Sentence(words, tuple(places[tag] for tag in marks), levels, f"{seed}, {len(sentences)}"))
    rng.shuffle(sentences)
    return tuple(sentences)


def _fresh(grammar: Grammar, rng: random.Random, names: Names, level: int, used: set[tuple[str, ...]]) -> list[Piece]:
    for _ in range(MAX_REPEATS):
        pieces = grammar(rng, names, level)
        words = tuple(word for word, _, _ in pieces)
        if words not in used:
            used.add(words)
            return pieces
    raise UserError(f"cannot generate that many distinct sentences of difficulty {level}: ask for fewer.")
