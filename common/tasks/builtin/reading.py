"""Generated reading tasks, `reading` and `lookup`: short passages with questions, of known difficulty.

`reading` tells of three events, each with a place and a day, and asks where or when one of them was. Levels: 1 the
event is told by its words alone; 2 two events have the same words but for one thing, which the question names by its
kind; 3 two people do the same to each other, and the order says who did; 4 the same, asked in the passive voice. From
level 2 on the question has as many words in common with the wrong event as with the right one, so that a bag of words
is at chance between the two. Dev is built from nouns and names that never occur in train.

`lookup` is for the smoke scale: a row of words, of which the question names the kind. An encoder without pretraining
learns it in seconds, but for the level at which it matters what is asked: train and dev share the words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import UserError
from common.tasks.builtin.generation import MAX_REPEATS, Draw, level_sizes
from common.tasks.builtin.lexicon import HELD_OUT, THING_VERBS, TRAIN, VERBS, Lexicon, Verb, sentence, with_article
from common.tasks.catalogue import SPANS, find_facts, known_tasks, unknown_task
from common.tasks.spans.task import Answer, Question, SpanTask

TRAIN_SIZE, DEV_SIZE = 2_200, 600
SMOKE_TRAIN_SIZE, SMOKE_DEV_SIZE = 1_200, 300


@dataclass(frozen=True, slots=True)
class Told:
    """A passage, a question, and the text within the passage that answers it."""

    passage: str
    question: str
    answer: str


Story = Callable[[Draw, int], Told]
"""(draw, level 1..4) -> one record."""


@dataclass(frozen=True, slots=True)
class Event:
    """Someone did something to someone or something, at a place and on a day."""

    subject: str
    verb: Verb
    object: str
    place: str
    day: str

    @property
    def told(self) -> str:
        """As a sentence."""
        return sentence(f"{self.subject} {self.verb.past} {self.object} {self.place} on {self.day}")


def reading(draw: Draw, level: int) -> Told:
    """Three events in random order and a question on the first that was drawn."""
    places = draw.rng.sample(draw.lexicon.places, 3)
    days = draw.rng.sample(draw.lexicon.days, 3)
    asked, question_of = _asked(draw, level)
    events = [Event(*words, place, day) for words, place, day in zip(asked, places, days, strict=True)]
    target = events[0]
    where = draw.coin()
    # "in the garden" is answered by "the garden".
    answer = target.place.partition(" ")[2] if where else target.day
    draw.rng.shuffle(events)
    passage = " ".join(event.told for event in events)
    return Told(passage, f"{'Where' if where else 'When'} {question_of}?", answer)


Words = tuple[str, Verb, str]


def _asked(draw: Draw, level: int) -> tuple[list[Words], str]:
    """Subject, verb and object of three events, the one that is asked for first, and how it is asked for."""
    subject, other, third, fourth = draw.roles(4)
    verb, other_verb, third_verb = draw.rng.sample(THING_VERBS, 3)
    thing, other_thing, third_thing = (f"a {noun}" for noun in draw.rng.sample(_plain(draw.lexicon.things), 3))
    filler: Words = (third, third_verb, third_thing)
    if level == 1:
        told: list[Words] = [(subject, verb, thing), (other, other_verb, other_thing), filler]
        return told, f"did {subject} {verb.base} {thing}"
    if level == 2:
        (kind, members), (_, other_members) = draw.two(draw.lexicon.kinds)
        told = [
            (subject, verb, with_article(draw.one(members))),
            (subject, verb, with_article(draw.one(other_members))),
            filler,
        ]
        return told, f"did {subject} {verb.base} {with_article(kind)}"
    met = draw.one(VERBS)
    told = [(subject, met, other), (other, met, subject), (third, draw.one(VERBS), fourth)]
    if level == 3:
        return told, f"did {subject} {met.base} {other}"
    return told, f"was {other} {met.past} by {subject}"


def _plain(nouns: tuple[str, ...]) -> list[str]:
    """Those that take `a`."""
    return [noun for noun in nouns if noun[0] not in "aeiou"]


_ASKED = {
    "who": ("Anna", "David", "Maria", "Peter", "Laura"),
    "where": ("garden", "market", "station", "kitchen", "church"),
}
_NEVER_ASKED = ("Monday", "Tuesday", "Friday", "Sunday", "today", "red", "green", "blue", "white", "black")
_FILLERS = ("and", "so", "then", "there", "also", "now", "here", "still")

LOOKUP_WORDS = 7


def lookup(draw: Draw, level: int) -> Told:
    """`so then Anna and Monday now red.`: who? Beside the answer stand `level` - 1 words of kinds never asked for.

    At level 4 it is one, and a word of the other kind that is asked for: there alone it matters what is asked, and a
    reader that looks at no question is right once in two.
    """
    asked, other = draw.two(tuple(_ASKED))
    answer = draw.one(_ASKED[asked])
    words = [answer, *draw.rng.sample(_NEVER_ASKED, 1 if level == 4 else level - 1)]
    if level == 4:
        words.append(draw.one(_ASKED[other]))
    words += (draw.one(_FILLERS) for _ in range(LOOKUP_WORDS - len(words)))
    draw.rng.shuffle(words)
    return Told(" ".join(words) + ".", f"{asked}?", answer)


def reading_task(name: str, seed: int = 0, train_size: int | None = None, dev_size: int | None = None) -> SpanTask:
    """Generate a reading task.

    Args:
        name: `reading` or `lookup`.
        seed: equal seeds give equal tasks, in every process.
        train_size: number of train questions, each on a passage of its own; None: as many as there are by default.
        dev_size: likewise for dev.

    Returns:
        The task; each question knows its `difficulty`, 1 to 4 in the shares 40, 30, 20 and 10 %.

    Raises:
        UserError: no such task, or more questions than can be told apart.
    """
    facts = find_facts(name)
    if facts is None or facts.kind != SPANS or "builtin" not in facts.sources:
        raise unknown_task(name, known_tasks("builtin", SPANS), "DATA=builtin")
    if facts.name == "lookup":
        story, dev_words, sizes = lookup, TRAIN, (SMOKE_TRAIN_SIZE, SMOKE_DEV_SIZE)
    else:
        story, dev_words, sizes = reading, HELD_OUT, (TRAIN_SIZE, DEV_SIZE)
    used: set[tuple[str, str]] = set()
    train = _generated(story, TRAIN, train_size or sizes[0], f"{facts.name} train {seed}", used)
    dev = _generated(story, dev_words, dev_size or sizes[1], f"{facts.name} dev {seed}", used)
    return SpanTask(facts.name, "builtin", train, dev)


def _generated(
    story: Story, lexicon: Lexicon, size: int, seed: str, used: set[tuple[str, str]]
) -> tuple[Question, ...]:
    draw = Draw(random.Random(seed), lexicon)
    questions = [
        _fresh(story, draw, level, f"{seed} {level}-{number}", used)
        for level, count in enumerate(level_sizes(size), 1)
        for number in range(count)
    ]
    draw.rng.shuffle(questions)
    return tuple(questions)


def _fresh(story: Story, draw: Draw, level: int, id_: str, used: set[tuple[str, str]]) -> Question:
    for _ in range(MAX_REPEATS):
        told = story(draw, level)
        if (told.passage, told.question) not in used:
            used.add((told.passage, told.question))
            answer = Answer(told.answer, told.passage.index(told.answer))
            return Question(id_, told.question, told.passage, (answer,), level)
    raise UserError(f"cannot generate that many distinct questions of difficulty {level}: ask for fewer.")
