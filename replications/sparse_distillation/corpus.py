"""The unlabelled corpus C of each task (Section 4.1), at the size that a run can afford.

The paper takes Amazon reviews for sentiment, PAQ questions for TREC, CC-News for AG News, and random pairs of PAQ
questions for QQP. What stands in for them here is text of the same kind that is at hand; the README lists it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from common.errors import UserError
from common.replication import Run
from common.tasks import load_task
from common.tasks.plain_text import paragraphs, sentences, squad_questions, texts_of, without_markup
from common.tasks.task import Example, Task

WORDS_OF_A_PARAGRAPH = 60
"""Paragraphs of Wikipedia are cut to about the length of AG News."""

FEWEST_WORDS = 3


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


def _no_text(run: Run, name: str) -> UserError:
    return UserError(
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
    if task.name in _KNOWN:
        return _KNOWN[task.name](task, data_dir)
    try:
        return paragraphs_of_own(task.name, data_dir)
    except UserError as error:
        raise UserError(
            f"{task.name}: distillation needs unlabelled text. Put some, one text a line, into train.txt in the folder "
            f"{task.name}-unlabelled of {data_dir} ({error})"
        ) from error


def paragraphs_of_own(name: str, data_dir: Path) -> Iterator[str]:
    """The user's own corpus for the user's own task."""
    return iter(list(paragraphs(f"{name}-unlabelled", data_dir)))


def _not_on_the_hub(_: Run, task: Task) -> Iterator[str]:
    raise UserError(
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


_KNOWN: dict[str, Callable[[Task, Path], Iterator[str]]] = {
    "sst-2": _review_sentences,
    "imdb": _other_reviews,
    "trec": _questions,
    "ag-news": _wiki_paragraphs,
    "qqp": _questions,
    "qqp-sample": _questions,
}

_SOURCES: dict[str, Callable[[Run, Task], Iterator[str]]] = {
    "builtin": _rest_of_train,
    "files": _from_files,
    "hub": _not_on_the_hub,
}
