"""SQuAD's JSON layout: articles of paragraphs with questions and answers, plain or compressed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.tasks.catalogue import find_facts, match_key
from common.tasks.published_files import refuse_own_folder
from common.tasks.reading import COMPRESSIONS, find_file, numbered_lines
from common.tasks.spans.task import Answer, Question, SpanTask, check_ids, check_question

TRAIN, DEV = ("train-v1.1.json", "train.json"), ("dev-v1.1.json", "dev.json")
"""File names, each plain, .gz or .xz."""

_LAYOUT = (
    'expected the layout of SQuAD 1.1: {"data": [{"paragraphs": [{"context": TEXT, "qas": [{"id": TEXT, "question": '
    'TEXT, "answers": [{"text": TEXT, "answer_start": NUMBER}]}]}]}]}'
)


def squad_task(name: str, data_dir: Path) -> SpanTask:
    """Read a reading task from its folder under `data_dir`.

    Args:
        name: a catalogued reading task, or the name of a folder of one's own in the same layout.
        data_dir: the folder that holds one folder for each data set.

    Raises:
        UserError: no folder, a missing or malformed file; the message names the file and the record.
    """
    folder = find_span_folder(name, data_dir)
    if folder is None:
        refuse_own_folder(data_dir)
        found = ", ".join(sorted(path.name for path in data_dir.iterdir() if path.is_dir())) or "none"
        raise UserError(f"no folder '{name}' in {data_dir}; folders found: {found}.")
    splits = []
    for names, what in ((TRAIN, "training"), (DEV, "evaluation")):
        path = find_file(folder, names)
        if path is None:
            looked = ", ".join(f"{file}{suffix}" for file in names for suffix in COMPRESSIONS)
            raise UserError(f"{name}: the {what} file is missing in {folder}: looked for {looked}.")
        splits.append(read_squad(path))
    facts = find_facts(name)
    return SpanTask(facts.name if facts else name, "files", splits[0], splits[1])


def find_span_folder(name: str, data_dir: Path) -> Path | None:
    """The folder of a reading task, by any of its names (`squad`, `SQuAD-1.1`); None where there is none.

    Raises:
        UserError: several match.
    """
    facts = find_facts(name)
    keys = {match_key(known) for known in ((facts.name, *facts.aliases) if facts else (name,))}
    matching = [path for path in sorted(data_dir.iterdir()) if path.is_dir() and match_key(path.name) in keys]
    if len(matching) > 1:
        several = ", ".join(path.name for path in matching)
        raise UserError(f"{name} matches several folders in {data_dir}: {several}. Keep one.")
    return matching[0] if matching else None


def holds_spans(folder: Path) -> bool:
    """Whether a folder of one's own holds a training file with this layout's name."""
    return find_file(folder, TRAIN) is not None


def read_squad(path: Path) -> tuple[Question, ...]:
    """Read one file.

    Raises:
        UserError: it cannot be read, is not JSON or not of this layout, or a record is of no use (named by its id).
    """
    text = "\n".join(line for _, line in numbered_lines(path))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}; {_LAYOUT}") from error
    questions = tuple(_questions(path, content))
    if not questions:
        raise UserError(f"{path} holds no questions; {_LAYOUT}")
    for question in questions:
        check_question(question, str(path))
    check_ids(questions, str(path))
    return questions


def _questions(path: Path, content: Any) -> Iterator[Question]:  # noqa: ANN401
    for a, article in enumerate(_list(path, content, "data", "the file")):
        for p, paragraph in enumerate(_list(path, article, "paragraphs", f"data[{a}]")):
            where = f"data[{a}].paragraphs[{p}]"
            passage = _value(path, paragraph, "context", str, where)
            for number, qa in enumerate(_list(path, paragraph, "qas", where)):
                yield _question(path, qa, passage, f"{where}.qas[{number}]")


def _question(path: Path, qa: Any, passage: str, where: str) -> Question:  # noqa: ANN401
    id_ = _value(path, qa, "id", str, where)
    answers = tuple(
        Answer(
            _value(path, answer, "text", str, f"question {id_!r}, answers[{number}]"),
            _value(path, answer, "answer_start", int, f"question {id_!r}, answers[{number}]"),
        )
        for number, answer in enumerate(_list(path, qa, "answers", f"question {id_!r}"))
    )
    return Question(id_, _value(path, qa, "question", str, f"question {id_!r}"), passage, answers)


def _list(path: Path, holder: Any, key: str, where: str) -> list[Any]:  # noqa: ANN401
    found: list[Any] = _value(path, holder, key, list, where)
    return found


def _value(path: Path, holder: Any, key: str, kind: type, where: str) -> Any:  # noqa: ANN401
    if not isinstance(holder, Mapping) or key not in holder:
        raise UserError(f"{path}: {where} has no {key!r}; {_LAYOUT}")
    value = holder[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{path}: {where}: {key!r} is {type(value).__name__}, not {kind.__name__}; {_LAYOUT}")
    return value
