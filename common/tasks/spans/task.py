"""What a reader learns: questions on passages, each with the spans of the passage that answer it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from common.errors import UserError
from common.tasks.catalogue import find_facts


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of a passage: its text, and the character at which it begins."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after its last."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Question:
    """A question on a passage.

    Attributes:
        id: of the record, unique within a split.
        text: the question.
        passage: what it is asked of.
        answers: at least one; dev sets have several.
        difficulty: steps that lead to the answer; only generated (builtin) tasks know it.
    """

    id: str
    text: str
    passage: str
    answers: tuple[Answer, ...]
    difficulty: int | None = None


@dataclass(frozen=True)
class SpanTask:
    """A reading task, scored by F1 of words (`common.tasks.spans.scoring`).

    Attributes:
        name: canonical name, e.g. `squad`.
        source: where it came from: `builtin`, `files` or `hub`.
        train, dev: the splits; results are reported on `dev`.
        tune: a part of the original train split, held back for choosing (see `hold_back`).
    """

    name: str
    source: str
    train: tuple[Question, ...]
    dev: tuple[Question, ...]
    tune: tuple[Question, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it is the user's own data set, not one that the project knows by name."""
        return self.source == "files" and find_facts(self.name) is None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split's content: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr(self.name).encode())
        for split in (self.train, self.dev, self.tune):
            digest.update(b"\x00split")
            for q in split:
                digest.update(repr((q.id, q.text, q.passage, q.answers)).encode())
        return digest.hexdigest()

    def hold_back(self, count: int, seed: int = 0) -> SpanTask:
        """Move about `count` train questions to `tune`, whole passages at a time.

        A passage has several questions: no passage of `tune` is trained on. The last passage taken may bring a few
        questions more; one passage at least stays in train.
        """
        passages = list(dict.fromkeys(q.passage for q in self.train))
        random.Random(seed).shuffle(passages)
        sizes: dict[str, int] = {}
        for q in self.train:
            sizes[q.passage] = sizes.get(q.passage, 0) + 1
        held: set[str] = set()
        taken = 0
        for passage in passages[:-1]:
            if taken >= count:
                break
            held.add(passage)
            taken += sizes[passage]
        return replace(
            self,
            train=tuple(q for q in self.train if q.passage not in held),
            tune=tuple(q for q in self.train if q.passage in held),
        )

    def at_most(self, train: int | None, dev: int | None, seed: int = 0) -> SpanTask:
        """Keep at most so many random train and dev questions (None: all of them)."""
        return replace(self, train=_sample(self.train, train, seed), dev=_sample(self.dev, dev, seed))


def _sample(questions: Sequence[Question], count: int | None, seed: int) -> tuple[Question, ...]:
    if count is None or len(questions) <= count:
        return tuple(questions)
    return tuple(random.Random(seed).sample(questions, count))


def check_question(question: Question, where: str) -> None:
    """Refuse a record that cannot be learned or scored.

    Args:
        question: the record.
        where: the file it stands in, for the message.

    Raises:
        UserError: an empty passage or question, no answer, an empty one, or one that is not where it says.
    """
    record = f"{where}: question {question.id!r}"
    if not question.passage.strip():
        raise UserError(f"{record}: the passage is empty. Expected a text that holds the answer")
    if not question.text.strip():
        raise UserError(f"{record}: the question is empty")
    if not question.answers:
        raise UserError(f"{record}: no answer. Expected at least one; unanswerable questions (SQuAD 2.0) are not read")
    for answer in question.answers:
        if not answer.text.strip():
            raise UserError(f"{record}: an answer is empty. Expected a part of the passage")
        if question.passage[answer.start : answer.end] == answer.text and answer.start >= 0:
            continue
        if answer.text not in question.passage:
            raise UserError(f"{record}: the answer {_short(answer.text)} does not occur in the passage")
        found = question.passage[max(0, answer.start) : max(0, answer.end)]
        raise UserError(
            f"{record}: answer_start {answer.start} points at {_short(found)}, not at the answer "
            f"{_short(answer.text)}, which begins at {question.passage.index(answer.text)}"
        )


def check_ids(questions: Iterable[Question], where: str) -> None:
    """Refuse an id that two questions of a split share: whose prediction it is could not be told.

    Raises:
        UserError: there is one.
    """
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise UserError(f"{where}: question {question.id!r} stands there twice. Give each an id of its own")
        seen.add(question.id)


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else f"{text[:limit]}...")
