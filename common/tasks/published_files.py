"""Published data sets as people have them on disk: GLUE's TSV folders, TREC, IMDB, AG News.

Each file may be plain, .gz or .xz. GLUE hides the labels of its test splits, so results are reported on its dev
split; TREC, IMDB and AG News have no dev split, so there the labelled test split is what is reported
(`Task.dev`), and anything tuned comes out of train (`Task.hold_back`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from common.errors import UserError
from common.tasks.catalogue import find_facts, match_key
from common.tasks.reading import COMPRESSIONS, Row, find_file, numbered_lines
from common.tasks.row_files import tsv_rows
from common.tasks.task import Example, Task

SplitName = Literal["train", "dev"]


class Reader(Protocol):
    """Reads one file of a data set."""

    def read(self, path: Path) -> Iterator[Example]:
        """Yield the file's examples; raise a UserError for anything malformed."""


@dataclass(frozen=True, slots=True)
class Tsv:
    """A tab-separated file without quoting.

    Attributes:
        text_a, text_b, label: column names; `text_b` is None for single texts.
        values: how the file spells the labels, in index order; empty for a score from 0 to 5.
        header: column names where the file has no header line.
    """

    text_a: str
    text_b: str | None
    label: str
    values: tuple[str, ...]
    header: tuple[str, ...] | None = None

    def read(self, path: Path) -> Iterator[Example]:
        """Yield the file's examples."""
        needed = [column for column in (self.text_a, self.text_b, self.label) if column]
        for row in tsv_rows(path, needed, self.header):
            text_b = row.fields[self.text_b] if self.text_b else None
            yield Example(row.fields[self.text_a], text_b, self._target(row))

    def _target(self, row: Row) -> float:
        if self.values:
            return float(row.class_index(self.label, self.values))
        value = row.number(self.label)
        if not 0.0 <= value <= 5.0:
            raise row.error(f"expected a score from 0 to 5 in column '{self.label}', found {value}.")
        return value


@dataclass(frozen=True, slots=True)
class Trec:
    """Lines `COARSE:fine question` (Li & Roth 2002); the coarse class is the label."""

    values: tuple[str, ...]

    def read(self, path: Path) -> Iterator[Example]:
        """Yield the file's examples."""
        for number, line in numbered_lines(path):
            if not line.strip():
                continue
            tag, _, question = line.partition(" ")
            coarse, colon, _ = tag.partition(":")
            row = Row(path, number, {"label": coarse})
            if not (colon and question.strip()):
                raise row.error(f"expected 'COARSE:fine question', found '{line[:60]}'.")
            yield Example(question.strip(), None, float(row.class_index("label", self.values)))


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """File names of a data set's splits (without .gz or .xz) and how to read them."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    reader: Reader


_TRAIN, _DEV, _TEST = ("train.tsv",), ("dev.tsv",), ("test.tsv",)
_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_QQP = PublishedSet(_TRAIN, _DEV, Tsv("question1", "question2", "is_duplicate", _BINARY))

PUBLISHED: Mapping[str, PublishedSet] = MappingProxyType(
    {
        "sst-2": PublishedSet(_TRAIN, _DEV, Tsv("sentence", None, "label", _BINARY)),
        "cola": PublishedSet(
            _TRAIN,
            _DEV,
            Tsv("sentence", None, "label", _BINARY, header=("source", "label", "star", "sentence")),
        ),
        "mrpc": PublishedSet(_TRAIN, _DEV, Tsv("#1 String", "#2 String", "Quality", _BINARY)),
        "rte": PublishedSet(_TRAIN, _DEV, Tsv("sentence1", "sentence2", "label", _ENTAILMENT)),
        "sts-b": PublishedSet(_TRAIN, _DEV, Tsv("sentence1", "sentence2", "score", ())),
        "qnli": PublishedSet(_TRAIN, _DEV, Tsv("question", "sentence", "label", _ENTAILMENT)),
        "qqp": _QQP,
        "qqp-sample": _QQP,
        "mnli": PublishedSet(
            _TRAIN,
            ("dev_matched.tsv",),
            Tsv("sentence1", "sentence2", "gold_label", ("entailment", "neutral", "contradiction")),
        ),
        "trec": PublishedSet(("train.txt",), ("test.txt",), Trec(("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"))),
        "imdb": PublishedSet(_TRAIN, _TEST, Tsv("text", None, "label", _BINARY)),
        "ag-news": PublishedSet(
            ("train.tsv", "train_sample.tsv"), _TEST, Tsv("text", None, "label", ("0", "1", "2", "3"))
        ),
    }
)


def published_task(name: str, data_dir: Path) -> Task:
    """Read a published data set by its canonical name.

    Raises:
        UserError: no folder, a missing or malformed file.
    """
    facts = find_facts(name)
    if facts is None:
        raise ValueError(f"{name} is not in the catalogue")
    folder = find_folder(name, data_dir)
    own = next((path for path in folder.iterdir() if path.name.lower() in {"task.yaml", "task.yml"}), None)
    if own is not None:
        raise UserError(
            f"{own} would be ignored: '{folder.name}' is read as the published {facts.name}, whose columns, labels and "
            "metric are known. Remove the file, or give the folder a name of its own."
        )
    train = read_split(name, data_dir, "train")
    _check_numbering(folder, train, PUBLISHED[name].reader)
    dev = read_split(name, data_dir, "dev")
    return Task(facts.name, facts.labels, facts.metric, "files", train, dev)


def _check_numbering(folder: Path, train: tuple[Example, ...], reader: Reader) -> None:
    """Refuse classes that are numbered from 1: where the last does not occur, they read as other classes."""
    values = reader.values if isinstance(reader, Tsv) else ()
    found = sorted({int(e.label) for e in train})
    if len(values) > 2 and values[0] == "0" and len(found) > 1 and found[0] > 0:
        raise UserError(
            f"{folder}: the training file has labels {', '.join(map(str, found))} and no 0: is it numbered from 1? "
            f"Expected 0 to {len(values) - 1}, each at least once."
        )


def read_split(name: str, data_dir: Path, split: SplitName) -> tuple[Example, ...]:
    """Read one split of a published data set (some are to be had without their train file).

    Raises:
        UserError: no folder, a missing, empty or malformed file.
    """
    published = PUBLISHED[name]
    folder = find_folder(name, data_dir)
    names = published.train if split == "train" else published.dev
    path = find_file(folder, names)
    if path is None:
        looked = ", ".join(f"{file}{suffix}" for file in names for suffix in COMPRESSIONS)
        raise UserError(
            f"{name}: the {'training' if split == 'train' else 'evaluation'} file is missing in {folder}: "
            f"looked for {looked}."
        )
    examples = tuple(published.reader.read(path))
    if not examples:
        raise UserError(f"{path} holds no examples.")
    return examples


def find_folder(name: str, data_dir: Path) -> Path:
    """Return the folder of a data set: `sst-2` is found as `sst2`, `SST-2`, `sst_2`, ...

    Raises:
        UserError: there is none, or several match.
    """
    folders = sorted(folder for folder in data_dir.iterdir() if folder.is_dir())
    matching = [folder for folder in folders if match_key(folder.name) == match_key(name)]
    if not matching:
        refuse_own_folder(data_dir)
        found = ", ".join(folder.name for folder in folders) or "none"
        raise UserError(f"no folder '{name}' in {data_dir}; folders found: {found}.")
    if len(matching) > 1:
        raise UserError(
            f"{name} matches several folders in {data_dir}: {', '.join(folder.name for folder in matching)}. Keep one."
        )
    return matching[0]


def refuse_own_folder(data_dir: Path) -> None:
    """Raise a UserError if `data_dir` holds a training file itself: it is a data set's folder, not that of them all."""
    inside = next((path for path in sorted(data_dir.iterdir()) if path.name.lower().startswith("train.")), None)
    if inside is not None:
        parent, name = data_dir.resolve().parent, data_dir.resolve().name
        raise UserError(
            f"{data_dir} holds {inside.name}, so it is the folder of one data set; DATA_DIR is the folder that such "
            f"folders lie in. Type DATA_DIR={parent} TASKS={name}"
        )
