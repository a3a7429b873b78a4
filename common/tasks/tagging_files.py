"""Tagging tasks from files on disk: published data sets by name, or a folder of one's own with CoNLL files.

Each file may be plain, .gz or .xz. One's own data are `train.conll` and `dev.conll` (columns, the word first, the tag
last) or `train.conllu` and `dev.conllu`; the tags are those found in train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from common.errors import UserError
from common.tasks.catalogue import WORDS, TaskFacts, find_facts, match_key
from common.tasks.conll import ReadSentence, checked_spans, indexed, marks_spans, read_sentences, tag_names
from common.tasks.published_files import find_folder
from common.tasks.reading import COMPRESSIONS, find_file, several
from common.tasks.tag_metrics import SPAN_F1, TOKEN_ACCURACY
from common.tasks.tagging import TaggingTask

OWN_SUFFIXES = (".conll", ".conllu")


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """Names of a data set's files (without .gz or .xz), each under any of its usual names; no `tune`: of train."""

    train: tuple[str, ...]
    tune: tuple[str, ...]
    dev: tuple[str, ...]


PUBLISHED_TAGGING: Mapping[str, PublishedFiles] = MappingProxyType(
    {
        "wnut-17": PublishedFiles(("wnut17train.conll",), ("emerging.dev.conll",), ("emerging.test.annotated",)),
        "ud-english-ewt": PublishedFiles(
            ("en_ewt-ud-train.conllu",), ("en_ewt-ud-dev.conllu",), ("en_ewt-ud-test.conllu",)
        ),
        "conll-2003": PublishedFiles(
            ("eng.train", "train.txt"), ("eng.testa", "valid.txt", "dev.txt"), ("eng.testb", "test.txt")
        ),
        "conll-2000": PublishedFiles(("train.txt",), (), ("test.txt",)),
    }
)


def published_tagging(facts: TaskFacts, data_dir: Path) -> TaggingTask:
    """Read a published data set; what is reported on is its test split.

    Raises:
        UserError: no folder, a missing or malformed file.
    """
    folder, names = find_folder(facts.name, data_dir), PUBLISHED_TAGGING[facts.name]
    kinds = [kind for kind in (names.train, names.tune, names.dev) if kind]
    files = [read_sentences(_published_file(facts.name, folder, kind)) for kind in kinds]
    if facts.metric == SPAN_F1:
        files = checked_spans(files)
    splits = [indexed(sentences, facts.labels) for sentences in files]
    tune = splits[1] if names.tune else ()
    return TaggingTask(facts.name, facts.labels, facts.metric, "files", splits[0], splits[-1], tune)


def _published_file(name: str, folder: Path, names: Sequence[str]) -> Path:
    path = find_file(folder, names)
    if path is None:
        looked = ", ".join(names)
        raise UserError(f"{name}: a file is missing in {folder}: looked for {looked}, each also with .gz or .xz.")
    return path


def own_tagging(name: str, data_dir: Path) -> TaggingTask:
    """Read the data set in `<data_dir>/<name>/`.

    Raises:
        UserError: a missing or malformed file; the message names the file and the line.
    """
    folder = find_folder(name, data_dir)
    train_file, dev_file = _own_file(folder, ("train",)), _own_file(folder, ("dev", "validation", "valid", "test"))
    train, dev = read_sentences(train_file), read_sentences(dev_file)
    if marks_spans([*train, *dev]):
        train, dev = checked_spans([train, dev])
    tags = tag_names(train)
    if len(tags) < 2:
        raise UserError(f"{train_file}: every word has the tag '{tags[0]}': nothing to learn.")
    metric = SPAN_F1 if marks_spans(train) else TOKEN_ACCURACY
    return TaggingTask(folder.name, tags, metric, "files", indexed(train, tags), indexed(dev, tags))


def _own_file(folder: Path, stems: Sequence[str]) -> Path:
    """The one file of a split; of several names the first that has any."""
    for stem in stems:
        names = [f"{stem}{suffix}{packed}" for suffix in OWN_SUFFIXES for packed in COMPRESSIONS]
        found = [path for name in names if (path := folder / name).is_file()]
        if len(found) > 1:
            raise several(folder, found)
        if found:
            return found[0]
    looked = ", ".join(f"{stem}{suffix}" for stem in stems for suffix in OWN_SUFFIXES)
    there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_file())) or "none"
    raise UserError(
        f"no {stems[0]} file of tagged words in {folder}: looked for {looked}, each also with .gz or .xz; files found: "
        f"{there}."
    )


def holds_tagging(name: str, data_dir: Path) -> bool:
    """Whether the data set `name` has tagged words: a published one, or a folder in `data_dir` with such files."""
    facts = find_facts(name)
    if facts is not None:
        return facts.kind == WORDS
    folders = [f for f in data_dir.iterdir() if f.is_dir() and match_key(f.name) == match_key(name)]
    return any(
        path.name.startswith(f"train{suffix}") for f in folders for path in f.iterdir() for suffix in OWN_SUFFIXES
    )


__all__ = ["PUBLISHED_TAGGING", "ReadSentence", "holds_tagging", "own_tagging", "published_tagging"]
