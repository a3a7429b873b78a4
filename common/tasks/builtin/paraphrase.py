"""Generated task `paraphrase`: do two sentences say the same?

Levels: 1 which content words occur; 2 a synonym or a word that is none; 3 a negation together with a synonym or
with one of two things; 4 one of two things under synonyms, who did what to whom (synonyms under exchanged
roles, converses such as sold to / bought from or older / younger), and antonyms with and without negation.
From level 2 on the label is a matching, a parity or an order, so a linear model of the words is at chance.
"""

from __future__ import annotations

from common.tasks.builtin.entailment import active, passive
from common.tasks.builtin.generation import Draw, Texts
from common.tasks.builtin.lexicon import (
    ANTONYMS,
    COMPARATIVES,
    CONVERSES,
    THING_VERBS,
    VERB_SYNONYMS,
    VERBS,
    Verb,
    sentence,
    with_article,
)

_FRAMES = ("{name} said that {told}", "according to {name}, {told}")


def paraphrase(draw: Draw, level: int, label: int) -> Texts:
    """Return two sentences with the given label (0 not_paraphrase, 1 paraphrase)."""
    same = label == 1
    if level == 1:
        first, second = _content(draw, same)
    elif level == 2:
        first, second = draw.one((_verb_synonym, _noun_synonym))(draw, same)
    elif level == 3:
        first, second = draw.one((_denied_synonym, _one_of_two))(draw, same)
    else:
        hard = _synonym_of_two if draw.coin() else draw.one((_roles, _converse, _comparative, _antonym))
        first, second = hard(draw, same)
    return sentence(first), sentence(second)


def _content(draw: Draw, same: bool) -> tuple[str, str]:
    """Move the adjunct; change one content word if the two are to differ."""
    subject, object_, stranger = draw.people(3)
    verb, other_verb = draw.two(VERBS)
    adjunct = draw.adjunct()
    first = active(subject, verb, object_)
    second = first
    if not same:
        second = draw.one(
            (
                active(stranger, verb, object_),
                active(subject, verb, stranger),
                active(subject, other_verb, object_),
            )
        )
    ends = (f"{first} {adjunct}", f"{adjunct}, {second}")
    starts = (f"{adjunct}, {first}", f"{second} {adjunct}")
    return draw.one((ends, starts))


def _verb_synonym(draw: Draw, same: bool) -> tuple[str, str]:
    subject, object_ = draw.people(2)
    verb, replaced = _replaced_verb(draw, same)
    adjunct = draw.adjunct()
    return f"{active(subject, verb, object_)} {adjunct}", f"{active(subject, replaced, object_)} {adjunct}"


def _replaced_verb(draw: Draw, same: bool) -> tuple[Verb, Verb]:
    """Return a verb and its synonym, or a verb and one from another pair of synonyms."""
    pair, other = draw.two(VERB_SYNONYMS)
    index = draw.one((0, 1))
    return pair[index], (pair if same else other)[1 - index]


def _noun_synonym(draw: Draw, same: bool) -> tuple[str, str]:
    (subject,) = draw.people(1)
    pair, other = draw.two(draw.lexicon.noun_synonyms)
    index = draw.one((0, 1))
    verb, adjunct = draw.one(THING_VERBS).past, draw.adjunct()
    second = (pair if same else other)[1 - index]
    return f"{subject} {verb} the {pair[index]} {adjunct}", f"{subject} {verb} the {second} {adjunct}"


def _denied_synonym(draw: Draw, same: bool) -> tuple[str, str]:
    """The same if the verbs are synonyms and the negation agrees; otherwise exactly one of the two fails."""
    subject, object_ = draw.people(2)
    negated = draw.coin()
    mismatched_word = not same and draw.coin()
    verb, replaced = _replaced_verb(draw, same=not mismatched_word)
    # `never` here and `did not` there: a repeated word must not give the agreement away.
    first = f"{subject} {'never ' if negated else ''}{verb.past} {object_}"
    if not same and not mismatched_word:
        negated = not negated
    told = f"did not {replaced.base}" if negated else replaced.past
    return first, f"{subject} {told} {object_}"


def _one_of_two(draw: Draw, same: bool) -> tuple[str, str]:
    """One of two things was bought, the other was not: is it the same one in both sentences?"""
    (subject,) = draw.people(1)
    verb = draw.one(THING_VERBS)
    wanted, refused = draw.two(draw.lexicon.things)
    first = f"{subject} {verb.past} the {wanted} but not the {refused}"
    if not same:
        wanted, refused = refused, wanted
    return first, f"{subject} did not {verb.base} the {refused} but {verb.past} the {wanted}"


def _synonym_of_two(draw: Draw, same: bool) -> tuple[str, str]:
    """As `_one_of_two`, with a synonym for either thing."""
    (subject,) = draw.people(1)
    verb, index = draw.one(THING_VERBS), draw.one((0, 1))
    wanted, refused = draw.two(draw.lexicon.noun_synonyms)
    first = f"{subject} {verb.past} the {wanted[index]} but not the {refused[index]}"
    if not same:
        wanted, refused = refused, wanted
    other = 1 - index
    return first, f"{subject} did not {verb.base} the {refused[other]} but {verb.past} the {wanted[other]}"


def _antonym(draw: Draw, same: bool) -> tuple[str, str]:
    """`not cheap` = `expensive`: the same if antonyms and negations together cancel."""
    thing = draw.one(draw.lexicon.things)
    (name,) = draw.rng.sample(draw.lexicon.names, 1)
    pair = draw.one(ANTONYMS)
    first_word, second_word = draw.one((0, 1)), draw.one((0, 1))
    first_negated = draw.coin()
    opposite = (first_word != second_word) == same
    second_negated = first_negated != opposite
    # Two frames, so that the sentences differ even where word and negation agree.
    frame, reframed = draw.one((_FRAMES, _FRAMES[::-1]))
    first = _described(thing, pair[first_word], first_negated)
    second = _described(thing, pair[second_word], second_negated)
    return frame.format(name=name, told=first), reframed.format(name=name, told=second)


def _described(thing: str, word: str, negated: bool) -> str:
    return f"the {thing} was {'not ' if negated else ''}{word}"


def _converse(draw: Draw, same: bool) -> tuple[str, str]:
    giver, taker = draw.people(2)
    thing = with_article(draw.one(draw.lexicon.things))
    gives, takes = draw.one(CONVERSES)
    given = f"{giver} {gives[0]} {thing} {gives[1]} {taker}"
    if not same:
        giver, taker = taker, giver
    taken = f"{taker} {takes[0]} {thing} {takes[1]} {giver}"
    return (given, taken) if draw.coin() else (taken, given)


def _comparative(draw: Draw, same: bool) -> tuple[str, str]:
    more, less = draw.people(2)
    pair = draw.one(COMPARATIVES)
    word, converse = pair if draw.coin() else pair[::-1]
    first = f"{more} was {word} than {less}"
    if not same:
        more, less = less, more
    return first, f"{less} was {converse} than {more}"


def _roles(draw: Draw, same: bool) -> tuple[str, str]:
    """Active and passive with a synonym for the verb; the roles are kept or exchanged."""
    subject, object_ = draw.people(2)
    verb, synonym = _replaced_verb(draw, same=True)
    first = active(subject, verb, object_)
    if not same:
        subject, object_ = object_, subject
    return first, passive(subject, synonym, object_)
