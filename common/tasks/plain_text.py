"""Text without labels, for distillation and pretraining: what people have on disk beside their task.

Three layouts: lines of plain text (blank lines part articles), the questions of a SQuAD JSON file, and the texts of
a published data set whose labels are not looked at. Each may be plain, .gz or .xz.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from common.errors import UserError
from common.tasks.catalogue import match_key
from common.tasks.published_files import find_folder, read_split
from common.tasks.reading import COMPRESSIONS, find_file, numbered_lines

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_MARKUP = re.compile(r"<br\s*/?>")


def paragraphs(folder: str, data_dir: Path) -> Iterator[str]:
    """The non-empty lines of `train.txt` in a folder of plain text, e.g. `wiki_en_2021`.

    Raises:
        UserError: no folder, or the file is missing or cannot be read.
    """
    for _, line in numbered_lines(_file(folder, data_dir, "train.txt")):
        if line.strip():
            yield line.strip()


def articles(path: Path) -> Iterator[list[str]]:
    """The documents of a file of plain text, each a list of its lines; blank lines part them.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    lines: list[str] = []
    for _, line in numbered_lines(path):
        if line.strip():
            lines.append(line.strip())
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def find_text(folder: str, data_dir: Path) -> Path | None:
    """The file `train.txt`, plain or compressed, in a folder of plain text; None without either.

    Raises:
        UserError: several folders match, or several forms of the file.
    """
    there = any(match_key(path.name) == match_key(folder) for path in data_dir.iterdir() if path.is_dir())
    return find_file(find_folder(folder, data_dir), ["train.txt"]) if there else None


def squad_questions(data_dir: Path) -> Iterator[str]:
    """The questions of SQuAD 1.1's training file, in its order.

    Raises:
        UserError: no folder `squad1.1`, or the file is missing or is not SQuAD's JSON.
    """
    path = _file("squad1.1", data_dir, "train-v1.1.json")
    text = "\n".join(line for _, line in numbered_lines(path))
    try:
        for article in json.loads(text)["data"]:
            for paragraph in article["paragraphs"]:
                yield from (answer["question"].strip() for answer in paragraph["qas"])
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: expected SQuAD's JSON (data / paragraphs / qas / question): {error!r}.") from error


def texts_of(name: str, data_dir: Path) -> Iterator[str]:
    """The training texts of a published data set, line-break markup removed; labels are not looked at.

    Raises:
        UserError: as `read_split`.
    """
    for example in read_split(name, data_dir, "train"):
        yield without_markup(example.text_a)


def without_markup(text: str) -> str:
    """The text with line-break markup replaced by blanks."""
    return _MARKUP.sub(" ", text)


def sentences(text: str) -> list[str]:
    """Cut at white space after `.`, `!` or `?`."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


def _file(folder: str, data_dir: Path, name: str) -> Path:
    path = find_file(find_folder(folder, data_dir), [name])
    if path is None:
        looked = ", ".join(f"{name}{suffix}" for suffix in COMPRESSIONS)
        raise UserError(f"no plain text in {find_folder(folder, data_dir)}: looked for {looked}.")
    return path
