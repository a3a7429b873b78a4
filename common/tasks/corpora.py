"""Corpora for pre-training: plain text as documents, each a sequence of sentences, from the three sources.

- builtin: texts of the generated tasks. A pair of texts is a document of two sentences; single texts are told as a
  story of four, so that the order of sentences says something. They know the training vocabulary alone.
- files: `train.txt` in the folder `corpus` of the data folder, or in `wiki_en_2021`: a paragraph a line, a blank line
  between documents.
- hub: English Wikipedia at a pinned revision, read as it comes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.file_hash import file_sha256
from common.tasks.builtin import builtin_task
from common.tasks.catalogue import SMOKE_TASKS, check_source, known_tasks
from common.tasks.hub import hub_rows
from common.tasks.plain_text import articles, find_text, sentences

Document = Sequence[str]
"""Sentences in their order."""

FOLDERS = ("corpus", "wiki_en_2021")
"""Where plain text is looked for in a data folder, one's own first."""

HUB_REPOSITORY, HUB_CONFIG = "wikimedia/wikipedia", "20231101.en"
HUB_REVISION = "b04c8d1ceb2f5cd4588862100d08de323dccfbaa"

CORPUS_SEED = 1
"""Generated text is drawn apart from the tasks, whose seed is 0."""

STORY = ("At first", "Then", "Later", "In the end")


@dataclass(frozen=True)
class Corpus:
    """Plain text, document by document.

    Attributes:
        name: of the source, for messages.
        fingerprint: identifies the text.
        documents: every document, anew at each call.
    """

    name: str
    fingerprint: str
    documents: Callable[[], Iterator[Document]]


def find_corpus(data: str, data_dir: Path | None, words: int | None, *, smoke: bool = False) -> Corpus:
    """The corpus of a source, its first documents up to about `words` words (None: all of it).

    Args:
        data: `builtin`, `files` or `hub`.
        data_dir: of `files`.
        words: how much; of builtin text it has to be said.
        smoke: builtin text of the smoke scale's tasks, which an untrained encoder learns.

    Raises:
        UserError: no such source, or it has no plain text.
    """
    check_source(data)
    if data == "builtin":
        return _generated(words or 100_000, smoke=smoke)
    return _of_hub(words) if data == "hub" else _of_files(data_dir or Path(), words)


def texts_as_corpus(name: str, texts: Sequence[str]) -> Corpus:
    """Texts at hand as a corpus, each a document."""
    found = [sentences(text) for text in texts if text.strip()]
    return Corpus(name, fingerprint_of(found), lambda: iter(found))


def up_to(documents: Iterator[Document], words: int | None) -> Iterator[Document]:
    """The first documents, until they hold so many words."""
    left = words
    for document in documents:
        if left is not None and left <= 0:
            return
        yield document
        if left is not None:
            left -= sum(len(sentence.split()) for sentence in document)


def fingerprint_of(documents: Sequence[Document]) -> str:
    """Identifies text at hand by its content."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update("\n".join(document).encode() + b"\n\n")
    return f"text:{digest.hexdigest()}"


# -- Generated --------------------------------------------------------------------------------------------------------


def _generated(words: int, *, smoke: bool) -> Corpus:
    names = [name for name in known_tasks("builtin") if (name in SMOKE_TASKS) == smoke]
    pool = [document for name in names for document in _told(name, max(120, words // (6 * len(names))))]
    random.Random(CORPUS_SEED).shuffle(pool)
    chosen = list(up_to(iter(pool), words))
    return Corpus("generated text", fingerprint_of(chosen), lambda: iter(chosen))


def _told(task: str, size: int) -> Iterator[Document]:
    """About `size` texts of a generated task as documents."""
    size = 120 * (1 + size // 120)
    examples = builtin_task(task, CORPUS_SEED, train_size=size, dev_size=120, test_size=120).train
    yield from ((e.text_a, e.text_b) for e in examples if e.text_b is not None)
    singles = [e.text_a for e in examples if e.text_b is None]
    for start in range(0, len(singles) - len(STORY) + 1, len(STORY)):
        parts = singles[start : start + len(STORY)]
        yield [f"{begins}, {text}" for begins, text in zip(STORY, parts, strict=True)]


# -- Files ------------------------------------------------------------------------------------------------------------


def _of_files(data_dir: Path, words: int | None) -> Corpus:
    for folder in FOLDERS:
        path = find_text(folder, data_dir)
        if path is not None:
            digest = file_sha256(path)
            return Corpus(
                str(path),
                f"file:{digest}:{words}",
                lambda path=path: up_to(_read(path), words),  # type: ignore[misc]
            )
    raise UserError(
        f"no plain text to pre-train on in {data_dir}: looked for train.txt (plain, .gz or .xz) in the folders "
        f"{' and '.join(FOLDERS)}. Put some English text there, a paragraph a line, a blank line between documents"
    )


def _read(path: Path) -> Iterator[Document]:
    for article in articles(path):
        yield [sentence for paragraph in article for sentence in sentences(paragraph)]


# -- Hub --------------------------------------------------------------------------------------------------------------


def _of_hub(words: int | None) -> Corpus:
    def documents() -> Iterator[Document]:
        for row in hub_rows("Wikipedia", HUB_REPOSITORY, HUB_CONFIG, HUB_REVISION):
            lines = [line for line in str(row["text"]).splitlines() if line.strip()]
            yield [sentence for line in lines for sentence in sentences(line.strip())]

    name = f"{HUB_REPOSITORY} {HUB_CONFIG}"
    return Corpus(name, f"hub:{name}@{HUB_REVISION}:{words}", lambda: up_to(documents(), words))
