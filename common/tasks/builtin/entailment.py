"""Generated task `entailment`: does the second sentence follow from the first?

Levels: 1 which content words occur; 2 one inference (negation, a quantifier, a kind of thing); 3 a kind
under negation, or of one of two things; 4 who did what to whom, across active and passive, with negation or
through a relative clause. From level 2
on the label is a parity or an order, so a linear model of the words of both sentences is at chance.
"""

from __future__ import annotations

from common.tasks.builtin.generation import Draw, Texts
from common.tasks.builtin.lexicon import THING_VERBS, VERBS, Verb, sentence, with_article

ENTAILED = 0


def entailment(draw: Draw, level: int, label: int) -> Texts:
    """Return a premise and a hypothesis with the given label (0 entailment, 1 not_entailment)."""
    holds = label == ENTAILED
    if level == 1:
        premise, hypothesis = _content(draw, holds)
    elif level == 2:
        premise, hypothesis = draw.one((_negation, _quantifier, _kind))(draw, holds)
    elif level == 3:
        premise, hypothesis = draw.one((_negated_kind, _one_of_two))(draw, holds)
    else:
        premise, hypothesis = draw.one((_roles, _negated_roles, _relative_clause))(draw, holds)
    return sentence(premise), sentence(hypothesis)


def active(subject: str, verb: Verb, object_: str) -> str:
    """Return `subject thanked object`."""
    return f"{subject} {verb.past} {object_}"


def passive(subject: str, verb: Verb, object_: str) -> str:
    """Return the passive of `active`: `object was thanked by subject`."""
    return f"{object_} was {verb.past} by {subject}"


def _content(draw: Draw, holds: bool) -> tuple[str, str]:
    """Drop or move the adjunct; or change one content word."""
    subject, object_, stranger = draw.people(3)
    verb, other_verb = draw.two(VERBS)
    adjunct = draw.adjunct()
    told = active(subject, verb, object_)
    premise = f"{adjunct}, {told}" if draw.coin() else f"{told} {adjunct}"
    if not holds:
        told = draw.one(
            (
                active(stranger, verb, object_),
                active(subject, verb, stranger),
                active(subject, other_verb, object_),
            )
        )
    return premise, told


def _negation(draw: Draw, holds: bool) -> tuple[str, str]:
    subject, object_ = draw.people(2)
    verb = draw.one(VERBS)
    premise_true = draw.coin()
    told = active(subject, verb, object_)
    if premise_true:
        premise = draw.one((f"it is true that {told}", f"{told} {draw.adjunct()}"))
    else:
        premise = draw.one((f"it is false that {told}", f"{subject} never {verb.past} {object_}"))
    hypothesis = told if premise_true == holds else f"{subject} did not {verb.base} {object_}"
    return premise, hypothesis


def _quantifier(draw: Draw, holds: bool) -> tuple[str, str]:
    person, object_ = draw.rng.sample(draw.lexicon.people, 2)
    verb = draw.one(VERBS)
    everybody = draw.coin()
    premise = f"{'every' if everybody else 'no'} {person} {verb.past} the {object_} {draw.adjunct()}"
    some = everybody == holds
    return premise, f"{'at least one' if some else 'not one'} {person} {verb.past} the {object_}"


def _kind(draw: Draw, holds: bool) -> tuple[str, str]:
    (subject,) = draw.people(1)
    verb = draw.one(THING_VERBS)
    (kind, members), (other_kind, _) = draw.two(draw.lexicon.kinds)
    premise = f"{subject} {verb.past} {with_article(draw.one(members))} {draw.adjunct()}"
    return premise, f"{subject} {verb.past} {with_article(kind if holds else other_kind)}"


def _negated_kind(draw: Draw, holds: bool) -> tuple[str, str]:
    """A rose was bought, so a flower was; no flower was bought, so no rose was."""
    (subject,) = draw.people(1)
    verb = draw.one(THING_VERBS)
    (kind, members), (other_kind, other_members) = draw.two(draw.lexicon.kinds)
    member, negated = draw.one(members), draw.coin()
    given, inferred = (kind, member) if negated else (member, kind)
    premise = f"{subject} {'never ' if negated else ''}{verb.past} {with_article(given)}"
    if not holds:
        if draw.coin():
            negated = not negated
        else:
            inferred = draw.one(other_members) if negated else other_kind
    if negated:
        return premise, f"{subject} did not {verb.base} {with_article(inferred)}"
    return premise, f"{subject} {verb.past} {with_article(inferred)}"


def _one_of_two(draw: Draw, holds: bool) -> tuple[str, str]:
    """A rose was bought, but no hammer: a flower was, a tool was not."""
    (subject,) = draw.people(1)
    verb = draw.one(THING_VERBS)
    (kind, members), (other_kind, other_members) = draw.two(draw.lexicon.kinds)
    got, refused = with_article(draw.one(members)), with_article(draw.one(other_members))
    if draw.coin():
        premise = f"{subject} {verb.past} {got} but not {refused}"
    else:
        premise = f"{subject} did not {verb.base} {refused} but {verb.past} {got}"
    return premise, f"{subject} {verb.past} {with_article(kind if holds else other_kind)}"


def _roles(draw: Draw, holds: bool) -> tuple[str, str]:
    subject, object_ = draw.people(2)
    verb = draw.one(VERBS)
    premise = f"{active(subject, verb, object_)} {draw.adjunct()}"
    if not holds:
        subject, object_ = object_, subject
    return premise, passive(subject, verb, object_)


def _negated_roles(draw: Draw, holds: bool) -> tuple[str, str]:
    """Follows if both the roles and the negation agree; otherwise exactly one of them does not."""
    subject, object_ = draw.people(2)
    verb = draw.one(VERBS)
    negated = draw.coin()
    # `never` here and `not` there: a repeated word must not give the agreement away.
    premise = f"{subject} {'never ' if negated else ''}{verb.past} {object_}"
    if not holds:
        if draw.coin():
            negated = not negated
        else:
            subject, object_ = object_, subject
    return premise, f"{object_} was {'not ' if negated else ''}{verb.past} by {subject}"


def _relative_clause(draw: Draw, holds: bool) -> tuple[str, str]:
    """`The nurse who thanked the pilot called the farmer`: by whom was the farmer called?"""
    subject, inner, object_ = draw.roles(3)
    inner_verb, verb = draw.two(VERBS)
    premise = f"{subject} who {inner_verb.past} {inner} {verb.past} {object_}"
    return premise, passive(subject if holds else inner, verb, object_)
