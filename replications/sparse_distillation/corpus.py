"""The unlabelled corpus C of each task (Section 4.1), at the size that a run can afford.

The paper takes Amazon reviews for sentiment, PAQ questions for TREC, CC-News for AG News, and random pairs of PAQ
questions for QQP. What stands in for them here is text of the same kind that is at hand; the README lists it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import UserError
from common.run.replication import Run
from common.tasks import load_task
from common.tasks.catalogue import match_key
from common.tasks.plain_text import paragraphs, sentences, squad_questions, texts_of, without_markup
from common.tasks.task import Example, Task

WORDS_OF_A_PARAGRAPH = 60
"""Paragraphs of Wikipedia are cut to about the length of AG News."""

FEWEST_WORDS = 3


class NoUnlabelledText(UserError):
    """There is nothing to distil on beside the task's own examples."""


def unlabelled(run: Run, name: str, words: int, max_words: int) -> tuple[Example, ...]:
    """Random texts (or pairs) of about `words` words in all; their labels are all 0 and mean nothing.

    Args:
        run: decides where data come from.
        name: the task that the corpus is for.
        words: how much; a text counts for at most `max_words`, which is about what the teacher reads of it.
        max_words: see `words`.

    Raises:
        UserError: no corpus is known for this task and source, its files are missing, or they hold no other text.
    """
    task = run.task(name)
    texts = _shuffled(_texts(run, task))
    if not texts:
        raise _no_text(run, name)
    chosen: list[Example] = []
    budget = words
    partners = _shuffled(texts, seed=1)
    for text, partner in zip(texts, partners, strict=True):
        if budget <= 0:
            break
        second = partner if task.is_pair else None
        chosen.append(Example(text, second, 0.0))
        budget -= min(max_words, len(text.split()) + len((second or "").split()))
    return tuple(chosen)


def check_unlabelled(run: Run, name: str) -> None:
    """Raise, before anything is trained, what `unlabelled` would raise.

    Raises:
        UserError: as `unlabelled`.
    """
    if next(_texts(run, run.task(name)), None) is None:
        raise _no_text(run, name)


def has_unlabelled(run: Run, name: str) -> bool:
    """Whether there is a corpus.

    Raises:
        UserError: there is one, and it cannot be read.
    """
    try:
        check_unlabelled(run, name)
    except NoUnlabelledText:
        return False
    return True


def _no_text(run: Run, name: str) -> UserError:
    return NoUnlabelledText(
        f"{name}: distillation needs unlabelled text, and DATA={run.data} holds none beyond the labelled examples "
        f"of SCALE={run.scale.name}. Type a smaller SCALE, or add text"
    )


def _texts(run: Run, task: Task) -> Iterator[str]:
    """The source's texts without the task's own: C must not show the students what they are scored on."""
    own = set(map(_plain, _labelled(task)))
    return (text for text in _SOURCES[run.data](run, task) if _plain(text) not in own)


def _plain(text: str) -> str:
    """A text as it is compared: neither markup, case nor spacing make another of it."""
    return " ".join(without_markup(text).casefold().split())


def _shuffled(texts: Iterable[str], seed: int = 0) -> list[str]:
    """Distinct texts in random order."""
    distinct = sorted(set(texts))
    random.Random(seed).shuffle(distinct)
    return distinct


def _labelled(task: Task) -> set[str]:
    """Every text of the task itself, as it was cut."""
    examples = (*task.train, *task.tune, *task.dev, *task.test)
    return {text for e in examples for text in (e.text_a, e.text_b) if text is not None}


def _rest_of_train(run: Run, task: Task) -> Iterator[str]:
    """Builtin: what the generated training split holds beyond what the task was cut to."""
    for e in load_task(task.name, run.data, run.data_dir).train:
        yield from (text for text in (e.text_a, e.text_b) if text is not None)


def _from_files(run: Run, task: Task) -> Iterator[str]:
    data_dir = run.data_dir or Path()
    folder, read = _KNOWN.get(task.name, (f"{task.name}-unlabelled", _of_ones_own))
    there = any(match_key(path.name) == match_key(folder) for path in data_dir.iterdir() if path.is_dir())
    if not there and task.name in _KNOWN:
        raise NoUnlabelledText(f"{task.name}: distillation needs unlabelled text: no folder '{folder}' in {data_dir}.")
    if not there:
        raise NoUnlabelledText(f"{_own_text_wanted(task.name, data_dir)} (there is no such folder)")
    return read(task, data_dir)


def _of_ones_own(task: Task, data_dir: Path) -> Iterator[str]:
    """The user's own corpus for the user's own task."""
    try:
        return iter(list(paragraphs(f"{task.name}-unlabelled", data_dir)))
    except UserError as error:
        raise UserError(f"{_own_text_wanted(task.name, data_dir)} ({error})") from error


def _own_text_wanted(name: str, data_dir: Path) -> str:
    return (
        f"{name}: distillation needs unlabelled text. Put some, one text a line, into train.txt in the folder "
        f"{name}-unlabelled of {data_dir}"
    )


def _not_on_the_hub(_: Run, task: Task) -> Iterator[str]:
    raise NoUnlabelledText(
        f"{task.name}: DATA=hub has no unlabelled corpus (the paper's are not pinned on the hub). "
        "Use DATA=files with a folder of plain text, or DATA=builtin"
    )


def _review_sentences(_: Task, data_dir: Path) -> Iterator[str]:
    for review in texts_of("imdb", data_dir):
        yield from (s for s in sentences(review) if FEWEST_WORDS <= len(s.split()) <= WORDS_OF_A_PARAGRAPH)


def _other_reviews(_: Task, data_dir: Path) -> Iterator[str]:
    return texts_of("imdb", data_dir)


def _wiki_paragraphs(_: Task, data_dir: Path) -> Iterator[str]:
    for paragraph in paragraphs("wiki_en_2021", data_dir):
        words = paragraph.split()
        if len(words) >= WORDS_OF_A_PARAGRAPH // 3:
            yield " ".join(words[:WORDS_OF_A_PARAGRAPH])


def _questions(_: Task, data_dir: Path) -> Iterator[str]:
    return squad_questions(data_dir)


_KNOWN: dict[str, tuple[str, Callable[[Task, Path], Iterator[str]]]] = {
    "sst-2": ("imdb", _review_sentences),
    "imdb": ("imdb", _other_reviews),
    "trec": ("squad1.1", _questions),
    "ag-news": ("wiki_en_2021", _wiki_paragraphs),
    "qqp": ("squad1.1", _questions),
    "qqp-sample": ("squad1.1", _questions),
}
"""By task the folder that its corpus lies in, and how it is read."""

_SOURCES: dict[str, Callable[[Run, Task], Iterator[str]]] = {
    "builtin": _rest_of_train,
    "files": _from_files,
    "hub": _not_on_the_hub,
}


# -- What a student reads of a text -----------------------------------------------------------------------------------


def cut(examples: Sequence[Example], words: int) -> tuple[Example, ...]:
    """The first `words` words of each text, line-break markup removed; texts that need neither stay as they are."""

    def first(text: str) -> str:
        pieces = (plain := without_markup(text)).split()
        return " ".join(pieces[:words]) if len(pieces) > words else plain

    return tuple(
        replace(e, text_a=first(e.text_a), text_b=None if e.text_b is None else first(e.text_b)) for e in examples
    )
