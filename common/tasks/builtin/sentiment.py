"""Generated task `sentiment`: is the verdict of a short review positive?

Levels: 1 a polarity word; 2 a negation that does or does not reach it; 3 two clauses with opposite polarity, of
which the main or the last one decides; 4 contrast and negation together, or a negation far from its adjective.
From level 2 on, each polarity word stands as often in positive as in negative examples, so the words alone say
nothing.
"""

from __future__ import annotations

from common.tasks.builtin.generation import Draw, Texts
from common.tasks.builtin.lexicon import ADVERBS, sentence

PLAIN = (
    "{name} said that the {noun} was {adverb} {word}",
    "{name} found the {noun} {place} {adverb} {word}",
    "we thought that the {noun} was {adverb} {word}",
    "the {noun} {place} was {adverb} {word}",
    "on {day} the {noun} was {adverb} {word}",
    "it was {word}, the {noun} that {name} chose",
)
# The negation reaches the adjective: the label is the opposite of its polarity.
REVERSING = (
    "the {noun} {place} was not {word}",
    "{name} said that the {noun} was not {word}",
    "{name} did not find the {noun} {word}",
    "on {day} the {noun} was never {word}",
    "nobody found the {noun} {place} {word}",
    "{name} said that the {noun} was hardly {word}",
)
# The same negative words, but they do not reach it.
SPARING = (
    "{name} could not come, and the {noun} was {word}",
    "we did not pay, and the {noun} {place} was {word}",
    "{name} had never been there and found the {noun} {word}",
    "nobody told {name} that the {noun} was so {word}",
    "{name} will not forget how {word} the {noun} was",
    "we had hardly arrived, and the {noun} was {word}",
)
# {first} and {second} are clauses or predicates; the key says which of the two decides.
CONTRASTS = (
    ("second", "the {noun} was {first}, but the {other} was {second}"),
    ("second", "although the {noun} was {first}, the {other} was {second}"),
    ("second", "{name} found the {noun} {first} but the {other} {second}"),
    ("first", "the {noun} was {first}, although the {other} was {second}"),
    ("first", "{name} found the {noun} {first}, even though the {other} was {second}"),
)
FAR_REVERSING = (
    "the {person} who liked the {noun} did not call the {other} {word}",
    "nobody who saw the {person} {place} found the {noun} {word}",
    "{name} does not think that the {noun} {place} was {word}",
)
FAR_SPARING = (
    "the {person} who did not like the {noun} called the {other} {word}",
    "everyone who did not know the {person} found the {noun} {word}",
    "{name} does not think that the {noun} {place} was not {word}",
)
# Clauses by the number of negations in them: an odd number reverses the adjective.
SHORT_CLAUSES = (
    (0, "the {noun} was {word}"),
    (1, "the {noun} was not {word}"),
    (1, "the {noun} was never {word}"),
)
LONG_CLAUSES = (
    (1, "{name} does not think that the {noun} was {word}"),
    (1, "it is not true that the {noun} was {word}"),
    (2, "nobody thought that the {noun} was not {word}"),
    (2, "it is not true that the {noun} was never {word}"),
)
CONNECTIVES = (
    ("second", "{first}, but {second}"),
    ("second", "although {first}, {second}"),
    ("first", "{first}, although {second}"),
    ("first", "{first}, even though {second}"),
)


def sentiment(draw: Draw, level: int, label: int) -> Texts:
    """Return a review whose verdict is `label` (1 positive)."""
    text = (_plain, _negated, _contrasted, _combined)[level - 1](draw, label)
    return sentence(text), None


def _plain(draw: Draw, label: int) -> str:
    return _fill(draw, draw.one(PLAIN), word=_word(draw, label))


def _negated(draw: Draw, label: int) -> str:
    if draw.coin():
        return _fill(draw, draw.one(REVERSING), word=_word(draw, 1 - label))
    return _fill(draw, draw.one(SPARING), word=_word(draw, label))


def _contrasted(draw: Draw, label: int) -> str:
    decisive, template = draw.one(CONTRASTS)
    polarity = {"first": label, "second": label}
    polarity["second" if decisive == "first" else "first"] = 1 - label
    return _fill(draw, template, first=_word(draw, polarity["first"]), second=_word(draw, polarity["second"]))


def _combined(draw: Draw, label: int) -> str:
    if draw.coin():
        if draw.coin():
            return _fill(draw, draw.one(FAR_REVERSING), word=_word(draw, 1 - label))
        return _fill(draw, draw.one(FAR_SPARING), word=_word(draw, label))
    decisive, template = draw.one(CONNECTIVES)
    # One clause is long and negated, the other short: which one decides is left to chance, so neither the
    # number of negations nor the polarity of the adjectives says anything about the label.
    first_kind, second_kind = draw.two((SHORT_CLAUSES, LONG_CLAUSES))
    first = _clause(draw, draw.one(first_kind), label if decisive == "first" else 1 - label)
    second = _clause(draw, draw.one(second_kind), label if decisive == "second" else 1 - label)
    return template.format(first=first, second=second)


def _clause(draw: Draw, kind: tuple[int, str], verdict: int) -> str:
    negations, template = kind
    return _fill(draw, template, word=_word(draw, (verdict + negations) % 2))


def _word(draw: Draw, polarity: int) -> str:
    return draw.one(draw.lexicon.positive if polarity else draw.lexicon.negative)


def _fill(draw: Draw, template: str, **words: str) -> str:
    noun, other = draw.two(draw.lexicon.subjects)
    return template.format(
        noun=noun,
        other=other,
        name=draw.one(draw.lexicon.names),
        person=draw.one(draw.lexicon.people),
        place=draw.one(draw.lexicon.places),
        day=draw.one(draw.lexicon.days),
        adverb=draw.one(ADVERBS),
        **words,
    )
